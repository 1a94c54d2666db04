"""Effective receptive fields; paths through a chain of layers; the valid weights of a kernel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglib.models import Features
from seglib.models.fields import Layer
from seglib.train.optim import reestimate_batch_norm

# Two standard deviations of a Gaussian: a pixel belongs to the effective field above this part of the largest gradient
# (Luo et al. 2016, section 3, who take the centre's gradient for the largest).
EFFECTIVE_PART = 1 - 0.9545


def path_counts(layers: Sequence[Layer]) -> Tensor:
    """The number of paths from each input pixel of the field to the output pixel, along one axis: (size,) float64.

    A zero is a pixel that the output pixel cannot see: gridding. Along both axes the counts are the outer product.
    """
    counts = torch.ones(1, 1, 1, dtype=torch.float64)
    for layer in reversed(layers):
        taps = torch.ones(1, 1, layer.kernel_size, dtype=torch.float64)
        counts = F.conv_transpose1d(counts, taps, stride=layer.stride, dilation=layer.dilation)
    return counts[0, 0]


def effective_field(network: nn.Module, images: Tensor, row: int, column: int) -> Tensor:
    """The influence of each input pixel on one output pixel: the gradient's magnitude (Luo et al. 2016, section 3).

    The absolute gradient of the sum of the output's channels, summed over the C channels and averaged over the images:
    (H, W) with largest value 1.

    Args:
        network: (B, C, H, W) -> (B, K, h, w), or a backbone, whose last map is taken; in evaluation mode: batch norm
            in training mode would let every pixel of the batch see every other.
        images: (B, C, H, W), such as `torch.randn`.
        row: of the output pixel.
        column: of the output pixel.

    Raises:
        ValueError: if the network is in training mode, or the output has no such pixel.
    """
    if network.training:
        raise ValueError("network: expected evaluation mode, found training mode; call network.eval()")
    images = images.detach().requires_grad_()
    output = network(images)
    output = output.high if isinstance(output, Features) else output
    height, width = output.shape[2:]
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"row, column = {row}, {column}; expected a pixel of the {height} x {width} output")
    (gradient,) = torch.autograd.grad(output[:, :, row, column].sum(), images)
    magnitude = gradient.abs().sum(dim=1).mean(dim=0)  # (H, W)
    return magnitude / magnitude.max().clamp_min(torch.finfo(magnitude.dtype).tiny)


def settle_batch_norm(network: nn.Module, images: Tensor) -> None:
    """Gives batch norm the statistics of `images`, and leaves the network in evaluation mode.

    Without them the values of an untrained network grow from unit to unit.
    """
    reestimate_batch_norm(network, [images], lambda pixels: pixels)
    network.eval()


def effective_size(field: Tensor) -> float:
    """Side in pixels of a square with as many pixels as an effective field (H, W) has (Luo et al. 2016, section 3)."""
    return float((field > EFFECTIVE_PART * field.max()).sum()) ** 0.5


def valid_weights(side: int, rate: int) -> Tensor:
    """The number of the nine weights of a 3x3 kernel that meet a map and not its padding: (side, side) int64."""
    ones = torch.ones(1, 1, side, side)
    return F.conv2d(ones, torch.ones(1, 1, 3, 3), padding=rate, dilation=rate)[0, 0].long()


def share_on_map(side: int, rate: int) -> float:
    """The share of a 3x3 kernel's taps that meet a map and not its padding, over all positions."""
    return float(valid_weights(side, rate).float().mean()) / 9


def valid_weight_fractions(side: int, rate: int) -> dict[int, float]:
    """The share of the positions at which 1, 2, 4, 6 or 9 weights are valid (DeepLabv3, Figure 4: side 65).

    No map has positions with three: an axis along which one weight is valid has none along which three are.
    """
    counts = torch.bincount(valid_weights(side, rate).flatten(), minlength=10)
    return {number: float(counts[number]) / side**2 for number in (1, 2, 4, 6, 9)}
