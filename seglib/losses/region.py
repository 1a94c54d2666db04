"""Losses that look at regions: Dice, its combination with cross-entropy, and region mutual information."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seglib.losses.pixel import check_sizes, cross_entropy

RIDGE = 5e-4  # added to covariances' diagonals; the value of the authors' code


def dice(logits: Tensor, labels: Tensor, smooth: float = 1.0, ignore_index: int = 255) -> Tensor:
    """1 - mean over classes of (2 * intersection + smooth) / (predicted + labelled + smooth), of softmax probabilities.

    Sums run over the valid pixels of the whole batch. A class without a pixel in it counts too. An all-void batch gives
    0 with zero gradients.

    Args:
        logits, labels, ignore_index: as `cross_entropy`, with its errors.
        smooth: added above and below, so that an absent class that is not predicted scores 1.
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


def region_mutual_information(
    logits: Tensor, labels: Tensor, ignore_index: int = 255, weight: float = 0.5, radius: int = 3, stride: int = 4
) -> Tensor:
    """RMI loss (Zhao et al. 2019, eq. 10 to 15): pixels predict together, as neighbourhoods, what the label shows.

    Each class's label and probability (of a sigmoid) maps are averaged down by `stride`; every `radius` x `radius`
    window is one vector; the loss is half the log-determinant of what is left of the labels' covariance when the best
    linear prediction from the probabilities is taken away, divided by the vectors' length, averaged over images and
    summed over classes. In float64, as the authors found necessary.

    Args:
        logits, labels, ignore_index: as `cross_entropy`, with its errors; at least `radius * stride` pixels on a side.
        weight: the loss is weight * binary cross-entropy (mean over valid pixels, sum over classes) + (1 - weight) *
            the region term.

    Returns:
        A scalar, which may be negative. Void pixels are 0 in both maps; images that are all void do not count.
    """
    check_sizes(logits, labels, ignore_index)
    targets, valid = _one_hot(labels, logits.shape[1], ignore_index)
    binary = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none") * valid
    binary = binary.sum() / valid.sum().clamp(min=1)
    probabilities = logits.float().sigmoid() * valid
    counted = valid.flatten(1).any(dim=1)  # (B,)
    left = _unexplained(_windows(targets, radius, stride), _windows(probabilities, radius, stride))  # (B, K, d, d)
    identity = torch.eye(left.shape[-1], dtype=left.dtype, device=left.device)
    log_determinant = 2 * torch.linalg.cholesky(left + RIDGE * identity).diagonal(dim1=-2, dim2=-1).log().sum(-1)
    per_image = 0.5 * log_determinant.sum(dim=1) / left.shape[-1]  # (B,)
    region = (per_image * counted).sum() / counted.sum().clamp(min=1)
    return weight * binary + (1 - weight) * region.float()


def _one_hot(labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """-> (B, K, H, W) float32 with 0 where void, and (B, 1, H, W) bool, true where valid."""
    valid = labels != ignore_index
    targets = F.one_hot(labels.long().where(valid, 0), num_classes).movedim(-1, 1) * valid[:, None]
    return targets.float(), valid[:, None]


def _windows(maps: Tensor, radius: int, stride: int) -> Tensor:
    """(B, K, H, W) -> (B, K, radius^2, windows) float64, each row with mean 0."""
    small = F.avg_pool2d(maps, stride).double()
    windows = F.unfold(small.flatten(0, 1)[:, None], radius).unflatten(0, small.shape[:2])
    return windows - windows.mean(dim=-1, keepdim=True)


def _unexplained(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Cov(Y) - Cov(Y, P) Cov(P)^-1 Cov(P, Y): (B, K, d, N) twice -> (B, K, d, d); sums, not means, over N."""
    across = labels @ probabilities.mT
    own = probabilities @ probabilities.mT
    own = own + RIDGE * torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
    return labels @ labels.mT - across @ torch.linalg.solve(own, across.mT)
