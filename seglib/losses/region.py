"""Dice, which looks at regions, and its combination with cross-entropy."""

import torch.nn.functional as F
from torch import Tensor

from seglib.losses.pixel import check_sizes, cross_entropy


def dice(logits: Tensor, labels: Tensor, smooth: float = 1.0, ignore_index: int = 255) -> Tensor:
    """1 - mean over classes of (2 * intersection + smooth) / (predicted + labelled + smooth), of softmax probabilities.

    Sums run over the valid pixels of the whole batch. An absent class counts too. An all-void batch gives
    0 with zero gradients.

    Args:
        logits, labels, ignore_index: as `cross_entropy`, with its errors.
        smooth: added to numerator and denominator, so that an absent class that is not predicted scores 1.
    """
    check_sizes(logits, labels, ignore_index)
    targets, valid = _one_hot(labels, logits.shape[1], ignore_index)
    probabilities = logits.float().softmax(dim=1) * valid  # (B, K, H, W)
    intersection = (probabilities * targets).sum(dim=(0, 2, 3))  # (K,)
    predicted, labelled = probabilities.sum(dim=(0, 2, 3)), targets.sum(dim=(0, 2, 3))
    return (1 - (2 * intersection + smooth) / (predicted + labelled + smooth)).mean()


def combined(
    logits: Tensor,
    labels: Tensor,
    alpha: float = 0.6,
    smoothing: float = 0.1,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
) -> Tensor:
    """alpha * label-smoothed cross-entropy + (1 - alpha) * Dice, the loss of a course report on DeepLabv3+.

    Its smoothing is the report's. Arguments and errors are those of `cross_entropy`.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha = {alpha}; expected 0 <= alpha <= 1")
    pixelwise = cross_entropy(logits, labels, ignore_index, class_weights, smoothing=smoothing, smoothed="report")
    return alpha * pixelwise + (1 - alpha) * dice(logits, labels, ignore_index=ignore_index)


def _one_hot(labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """-> (B, K, H, W) float32 with 0 where void, and (B, 1, H, W) bool, true where valid."""
    valid = labels != ignore_index
    targets = F.one_hot(labels.long().where(valid, 0), num_classes).movedim(-1, 1) * valid[:, None]
    return targets.float(), valid[:, None]
