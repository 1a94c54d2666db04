"""Receptive fields, theoretical and effective; paths through a chain of layers; the valid weights of a kernel."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglib.models import Features
from seglib.train.optim import reestimate_batch_norm

# Two standard deviations of a Gaussian: a pixel belongs to the effective field above this part of the largest gradient
# (Luo et al. 2016, section 3, who take the centre's gradient for the largest).
EFFECTIVE_PART = 1 - 0.9545


class Layer(NamedTuple):
    """A square convolution or pooling, as far as geometry is concerned."""

    kernel_size: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0


class Field(NamedTuple):
    """The receptive fields of a map, in input pixels: output pixel i sees `span(i)`, along either axis."""

    size: int  # from the first to the last pixel that is seen; there may be gaps in between
    stride: int  # between the fields of neighbouring output pixels
    start: int  # first pixel that output pixel 0 sees; negative where it is padding

    def span(self, index: int) -> tuple[int, int]:
        """First and last input pixel that output pixel `index` sees, padding included."""
        first = self.start + self.stride * index
        return first, first + self.size - 1


def theoretical_field(layers: Iterable[Layer]) -> Field:
    """The receptive field of a chain of layers: every input pixel that can change an output pixel lies inside it."""
    size, stride, start = 1, 1, 0
    for layer in layers:
        size += layer.dilation * (layer.kernel_size - 1) * stride
        start -= layer.padding * stride
        stride *= layer.stride
    return Field(size, stride, start)


def path_counts(layers: Sequence[Layer]) -> Tensor:
    """The number of paths from each input pixel of the field to the output pixel, along one axis: (size,) float64.

    A zero is a pixel that the output pixel cannot see: gridding. Along both axes the counts are the outer product.
    """
    counts = torch.ones(1, 1, 1, dtype=torch.float64)
    for layer in reversed(layers):
        taps = torch.ones(1, 1, layer.kernel_size, dtype=torch.float64)
        counts = F.conv_transpose1d(counts, taps, stride=layer.stride, dilation=layer.dilation)
    return counts[0, 0]


def backbone_layers(backbone: nn.Module) -> list[Layer]:
    """The convolutions and poolings of a backbone (ResNet, MobileNetV2) in order, without shortcuts, which see less.

    Append `Layer(3, 1, rate, rate)` for an ASPP branch after it.

    Raises:
        ValueError: if a layer's kernel, stride, dilation or padding differs between the axes.
    """
    layers = []
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d) and "downsample" not in name:
            settings = [module.kernel_size, module.stride, module.dilation, module.padding]
            pairs = [value if isinstance(value, tuple) else (value, value) for value in settings]
            if any(down != across for down, across in pairs):
                raise ValueError(f"{name}: expected a square layer, found {module}")
            layers.append(Layer(*(down for down, _ in pairs)))
    return layers


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


def valid_weight_fractions(side: int, rate: int) -> dict[int, float]:
    """The share of the positions at which 1, 2, 4, 6 or 9 weights are valid (DeepLabv3, Figure 4: side 65).

    No map has positions with three: an axis along which one weight is valid has none along which three are.
    """
    counts = torch.bincount(valid_weights(side, rate).flatten(), minlength=10)
    return {number: float(counts[number]) / side**2 for number in (1, 2, 4, 6, 9)}
