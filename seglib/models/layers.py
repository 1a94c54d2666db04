"""The parts that every network here is made of: strides that become dilations, convolutions, first weights."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor, nn

from seglib.geometry import Grid

OUTPUT_STRIDES = (8, 16, 32, 64, 128, 256)  # a cascade has those above 32


class Features(NamedTuple):
    """The maps of a backbone; OS is its output stride."""

    taps: list[Tensor]  # (B, tap_channels[s], H/min(s, OS), W/min(s, OS)) for each stride s asked for, in that order
    high: Tensor  # (B, high_channels, H/OS, W/OS), the last map


class Backbone(nn.Module):
    """A network that turns images (B, 3, H, W) of any size into `Features`: `backbone(images, taps=(4,))`."""

    # stride -> channels, of the maps that it offers as taps. Beyond the output stride nothing strides any more: the
    # map of tap s is at stride min(s, output_stride).
    tap_channels: dict[int, int]
    high_channels: int  # of the last map
    output_stride: int  # input size over size of the last map, with a stem of stride 4; `set_output_stride` changes it
    # Of everything before the first block. The papers' networks have 4, and strides are named after them: with a stem
    # of stride 1 every map is at a quarter of the stride that it is called by.
    stem_stride: int = 4
    cell_centred: bool = False  # a value stands for the middle of its cell; False: for its first pixel

    def grid(self, stride: int | None = None) -> Grid:
        """Tells where the values of the map lie that is called by a stride: a tap's, or None, the output stride."""
        named = self.output_stride if stride is None else min(stride, self.output_stride)
        real = named * self.stem_stride // 4
        return Grid(real, "cell_centre" if self.cell_centred else "first_pixel")

    def collect(self, found: Mapping[int, Tensor], taps: Sequence[int], high: Tensor) -> Features:
        """Returns the maps of the taps, found by stride, with the last map. Raises ValueError if one is not offered."""
        if not {*taps} <= {*self.tap_channels}:
            raise ValueError(f"taps = {(*taps,)}; {type(self).__name__} offers maps at strides {(*self.tap_channels,)}")
        return Features([found[stride] for stride in taps], high)

    def dilations(self) -> list[tuple[str, int, int]]:
        """Lists (name, stride, dilation) of every 3x3 convolution, in order."""
        return conv3x3_dilations(self)


class AtrousStep(NamedTuple):
    """One unit's stride, its rate up to the strided convolution, and its rate after that convolution."""

    stride: int
    rate: int
    next_rate: int


def atrous_plan(
    unit_strides: Sequence[int], output_stride: int, stem_stride: int, dilate_first_unit: bool = False
) -> list[AtrousStep]:
    """Plans the strides and rates of a backbone's units at an output stride, as TF-slim's `stack_blocks_dense` does.

    A unit whose stride would exceed `output_stride` runs with stride 1 at the rate reached so far, and only after it
    is the rate multiplied by the stride that was removed. Every weight of a kernel then meets the pixels that it met in
    the strided network, whose outputs are a subset of the dilated network's (DeepLab v2, section 3.1).

    Args:
        unit_strides: nominal stride of each unit, 1 or 2, in order.
        output_stride: 8, 16, ... up to all strides together.
        stem_stride: stride of everything before the first unit.
        dilate_first_unit: multiply the rate before the unit that loses its stride. Pretrained weights then compute
            something else; some public networks are built and trained that way.
    """
    whole = stem_stride * prod(unit_strides)
    check_choice("output_stride", output_stride, [stride for stride in OUTPUT_STRIDES if stride <= whole])
    current_stride, rate, plan = stem_stride, 1, []
    for stride in unit_strides:
        if current_stride * stride <= output_stride:
            current_stride *= stride
            plan.append(AtrousStep(stride, rate, rate))
        else:
            next_rate = rate * stride
            plan.append(AtrousStep(1, next_rate if dilate_first_unit else rate, next_rate))
            rate = next_rate
    return plan


def set_atrous(conv: nn.Conv2d, stride: int = 1, rate: int = 1) -> None:
    """Gives a convolution another stride and rate in place, padded so that stride 1 keeps the size. Weights stay."""
    conv.stride = (stride, stride)
    conv.dilation = (rate, rate)
    conv.padding = tuple(rate * (size - 1) // 2 for size in conv.kernel_size)


def conv3x3_dilations(model: nn.Module) -> list[tuple[str, int, int]]:
    """Lists (name, stride, dilation) of every 3x3 convolution in a model, in order of definition."""
    convs = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return [(name, conv.stride[0], conv.dilation[0]) for name, conv in convs if conv.kernel_size == (3, 3)]


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raises ValueError, which names the argument, if the value is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} = {value!r}; expected one of {tuple(choices)}")


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU. (B, in, H, W) -> (B, out, H/stride, W/stride)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def conv3x3_bn_relu(in_channels: int, out_channels: int, separable: str = "none") -> nn.Sequential:
    """A 3x3 convolution of a head with its batch norm and ReLU; keeps the size. (B, in, H, W) -> (B, out, H, W).

    `separable` makes it a depthwise 3x3 and a 1x1: "paper" with batch norm and ReLU between them, "plain" without.
    """
    if separable == "none":
        return conv_bn_relu(in_channels, out_channels, 3)
    depthwise = conv_bn_relu(in_channels, in_channels, 3, groups=in_channels)
    return nn.Sequential(depthwise if separable == "paper" else depthwise[0], *conv_bn_relu(in_channels, out_channels))


def init_convolutions(*modules: nn.Module, mode: str = "fan_in") -> None:
    """Draws the weights of every convolution in the modules by He's rule (arXiv 1502.01852), in order of definition."""
    for module in modules:
        for conv in module.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
