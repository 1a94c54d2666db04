"""Theoretical receptive fields."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn


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


def backbone_layers(backbone: nn.Module) -> list[Layer]:
    """The convolutions and poolings of a backbone (ResNet, MobileNetV2) in order, without shortcuts, which see less.

    Append `Layer(3, 1, rate, rate)` for an ASPP branch after it. Raises ValueError for a layer that is not square.
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
