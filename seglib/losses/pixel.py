"""Losses that are a mean over pixels: cross-entropy with class weights and label smoothing, focal, hard pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    denominator: str = "weights",
    smoothing: float = 0.0,
    smoothed: str = "pytorch",
) -> Tensor:
    """Cross-entropy averaged over the valid pixels of the whole batch (TF code `train_utils.py`; v3 names no loss).

    Args:
        logits: (B, K, H, W), any floating dtype; the sum is taken in float32.
        labels: (B, H, W) integers in 0..K-1, or `ignore_index` where a pixel has no class.
        class_weights: (K,) factor of each class.
        denominator: what the weighted sum is divided by. "weights": the sum of the valid pixels' weights, so that a
            common factor of all weights changes nothing (PyTorch); "pixels": the number of valid pixels, so that a
            crop full of rare classes also weighs more than others (the TF code).
        smoothing: share s of the target that is spread evenly over all K classes.
        smoothed: "pytorch": target 1 - s + s/K for the labelled class and s/K for each other, which sum to 1.
            "report": 1 - s and s/K, which sum to 1 - s/K: the rule of a course report on DeepLabv3+.

    Returns:
        A scalar. A batch that is all void gives 0 with zero gradients, where `F.cross_entropy` by itself gives nan.

    Raises:
        ValueError: if logits and labels do not have the same batch and spatial size, a label is no class (which is
            looked at only on a CPU), or the denominator is unknown.
    """
    if denominator not in ("weights", "pixels"):
        raise ValueError(f"denominator = {denominator!r}; expected 'weights' or 'pixels'")
    check_sizes(logits, labels, ignore_index)
    total = cross_entropy_sum(logits, labels, ignore_index, class_weights, smoothing, smoothed)
    return total / valid_total(labels, ignore_index, class_weights if denominator == "weights" else None)


def focal(
    logits: Tensor, labels: Tensor, gamma: float = 2.0, ignore_index: int = 255, class_weights: Tensor | None = None
) -> Tensor:
    """Focal loss: cross-entropy times (1 - p)^gamma, averaged over the valid pixels (Lin et al. 2017, eq. 5).

    p is the pixel's probability of its labelled class; `class_weights` (K,) is the paper's alpha. Shapes, the all-void
    batch and errors as `cross_entropy`, with the denominator "pixels".
    """
    check_sizes(logits, labels, ignore_index)
    losses = pixel_cross_entropy(logits, labels, ignore_index)  # (B, H, W), 0 at void
    # the least number above 0 leaves every value as it is, and keeps the gradient of 0 ** gamma, gamma < 1, finite
    losses = (1 - torch.exp(-losses)).clamp(min=torch.finfo(torch.float32).tiny) ** gamma * losses
    if class_weights is not None:
        losses = losses * _weight_of(labels, ignore_index, class_weights)
    return losses.sum() / valid_total(labels, ignore_index)


def hard_pixel_cross_entropy(logits: Tensor, labels: Tensor, keep: float = 1.0, ignore_index: int = 255) -> Tensor:
    """Cross-entropy of only the hardest pixels (as the TF code's `top_k_percent_pixels`, whose share counts void too).

    `keep` is the share of the batch's valid pixels, by descending loss, over which the mean is taken; at least one
    pixel. The others are the arguments of `cross_entropy`.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep = {keep}; expected 0 < keep <= 1")
    check_sizes(logits, labels, ignore_index)
    losses = pixel_cross_entropy(logits, labels, ignore_index)[labels != ignore_index]  # (valid,)
    if losses.numel() == 0:
        return logits.float().sum() * 0
    return losses.topk(max(1, int(keep * losses.numel()))).values.mean()


def pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """-log p of the labelled class, (B, K, H, W) and (B, H, W) -> (B, H, W) float32; 0 where void."""
    return F.cross_entropy(logits.float(), labels.long(), ignore_index=ignore_index, reduction="none")


def cross_entropy_sum(
    logits: Tensor, labels: Tensor, ignore_index: int, class_weights: Tensor | None, smoothing: float, smoothed: str
) -> Tensor:
    """Sums `cross_entropy` over the valid pixels; logits may also be (N, K) with labels (N,)."""
    if smoothed not in ("pytorch", "report"):
        raise ValueError(f"smoothed = {smoothed!r}; expected 'pytorch' or 'report'")
    logits, labels = logits.float(), labels.long()
    weight = None if class_weights is None else class_weights.to(logits)
    options = {"weight": weight, "ignore_index": ignore_index, "reduction": "sum"}
    total = F.cross_entropy(logits, labels, label_smoothing=smoothing, **options)
    if smoothing and smoothed == "report":
        # The rules differ in the labelled class, which has s/K less here.
        total = total - smoothing / logits.shape[1] * F.cross_entropy(logits, labels, **options)
    return total


def valid_total(labels: Tensor, ignore_index: int, class_weights: Tensor | None = None) -> Tensor:
    """Computes the number of valid pixels, or the sum of their weights; 1 where there is none."""
    if class_weights is None:
        return (labels != ignore_index).sum().clamp(min=1)
    total = _weight_of(labels, ignore_index, class_weights).sum()
    return torch.where(total > 0, total, torch.ones_like(total))


def check_sizes(logits: Tensor, labels: Tensor, ignore_index: int) -> None:
    """Raises ValueError unless logits are (B, K, H, W) and labels (B, H, W) class indices of `check_labels`."""
    if logits.shape[0] != labels.shape[0] or logits.shape[-2:] != labels.shape[-2:]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: expected (B, K, H, W) and (B, H, W)"
        )
    check_labels(labels, logits.shape[1], ignore_index)


def check_labels(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raises ValueError unless labels are integers and, on a CPU, classes or void; a GPU is not waited for."""
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels: expected integers, class indices; found {labels.dtype}")
    if labels.device.type == "cpu":
        wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
        if wrong.any():
            found = labels[wrong].unique().tolist()
            raise ValueError(f"labels: {found}; expected 0 to {num_classes - 1}, or {ignore_index} where void")


def _weight_of(labels: Tensor, ignore_index: int, class_weights: Tensor) -> Tensor:
    """Looks up each pixel's class weight. -> (B, H, W) float32; 0 where void."""
    valid = labels != ignore_index
    weights = class_weights.to(device=labels.device, dtype=torch.float32)
    return weights[labels.long().where(valid, 0)] * valid
