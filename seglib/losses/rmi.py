"""Region mutual information: a loss of neighbourhoods."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seglib.losses.pixel import check_sizes
from seglib.losses.region import _one_hot

RIDGE = 5e-4  # added to covariances' diagonals; the value of the authors' code


def region_mutual_information(
    logits: Tensor, labels: Tensor, ignore_index: int = 255, weight: float = 0.5, radius: int = 3, stride: int = 4
) -> Tensor:
    """RMI loss (Zhao et al. 2019; their `losses/rmi/rmi.py`): neighbourhoods of pixels predict the label's together.

    Each class's label and probability (of a sigmoid) maps are averaged down by `stride`; every `radius` x `radius`
    window is one vector; the loss is half the log-determinant of what is left of the labels' covariance when the best
    linear prediction from the probabilities is taken away, divided by the vectors' length, averaged over images and
    summed over classes. In float64, as in the authors' code.

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
