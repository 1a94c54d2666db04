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
    """The receptive fields of a map, in input pixels: output pixel i sees `span(i)`, along either axis.

    Attributes:
        size: input pixels from the first to the last that is seen; there may be gaps in between.
        stride: input pixels between the fields of neighbouring output pixels.
        start: first input pixel that output pixel 0 sees; negative where it is padding.
    """

    size: int
    stride: int
    start: int

    def span(self, index: int) -> tuple[int, int]:
        """First and last input pixel that output pixel `index` sees, padding included."""
        first = self.start + self.stride * index
        return first, first + self.size - 1


def theoretical_field(layers: Iterable[Layer]) -> Field:
    """The receptive field of a chain of layers: every input pixel that can change an output pixel lies inside it.

    A layer of kernel size k and dilation r spans r (k - 1) + 1 pixels of its input, and its input's pixels are `stride`
    input pixels apart.
    """
    size, stride, start = 1, 1, 0
    for layer in layers:
        size += layer.dilation * (layer.kernel_size - 1) * stride
        start -= layer.padding * stride
        stride *= layer.stride
    return Field(size, stride, start)


def path_counts(layers: Sequence[Layer]) -> Tensor:
    """The number of paths from each input pixel of the field to the output pixel, along one axis.

    (size,) float64. A zero is a pixel inside the field that the output pixel cannot see: gridding. Along both axes the
    counts are the outer product.
    """
    counts = torch.ones(1, 1, 1, dtype=torch.float64)
    for layer in reversed(layers):
        taps = torch.ones(1, 1, layer.kernel_size, dtype=torch.float64)
        counts = F.conv_transpose1d(counts, taps, stride=layer.stride, dilation=layer.dilation)
    return counts[0, 0]


def backbone_layers(backbone: nn.Module) -> list[Layer]:
    """The longest way through a backbone (ResNet, MobileNetV2): its convolutions and poolings, without the shortcuts.

    Shortcuts are 1x1 and see less. Append `Layer(3, 1, rate, rate)` for an ASPP branch after it.

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

    Args:
        network: (B, C, H, W) -> (B, K, h, w), or a backbone, whose last map is taken; in evaluation mode: batch norm
            in training mode would let every pixel of the batch see every other.
        images: (B, C, H, W), such as `torch.randn`; the magnitude is averaged over them.
        row: of the output pixel, whose K channels are added.
        column: of the output pixel.

    Returns:
        (H, W), the absolute gradient summed over the C channels, averaged over the images. Largest value 1.

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
    """Gives batch norm the statistics of `images`, and leaves the network in evaluation mode; weights stay.

    An untrained network needs it: with batch norm's first statistics, mean 0 and variance 1, its values grow from unit
    to unit, and the last units count for more than they do in training.
    """
    reestimate_batch_norm(network, [images], lambda pixels: pixels)
    network.eval()


def effective_size(field: Tensor) -> float:
    """Side in pixels of a square with as many pixels as the effective field has (Luo et al. 2016, section 3).

    field: (H, W) as `effective_field` returns it.
    """
    return float((field > EFFECTIVE_PART * field.max()).sum()) ** 0.5


def valid_weights(side: int, rate: int) -> Tensor:
    """The number of the nine weights of a 3x3 kernel that meet the map, and not its zero padding, at each position.

    (side, side) int64, for a map of side x side pixels and an atrous rate of at least 1, padded to keep its size.
    """
    ones = torch.ones(1, 1, side, side)
    return F.conv2d(ones, torch.ones(1, 1, 3, 3), padding=rate, dilation=rate)[0, 0].long()


def valid_weight_fractions(side: int, rate: int) -> dict[int, float]:
    """The share of the positions at which 1, 2, 4, 6 or 9 weights are valid (DeepLabv3, Figure 4: side 65).

    No map has positions with three: an axis along which one weight is valid has none along which three are.
    """
    counts = torch.bincount(valid_weights(side, rate).flatten(), minlength=10)
    return {number: float(counts[number]) / side**2 for number in (1, 2, 4, 6, 9)}
