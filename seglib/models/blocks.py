"""What every network here is made of: the rule that turns strides into dilations, and the two kinds of convolution."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

OUTPUT_STRIDES = (8, 16, 32)


class Features(NamedTuple):
    """What a backbone returns: `low` (B, low_channels, H/4, W/4) and `high` (B, high_channels, H/OS, W/OS).

    `low` is None where a ResNet was called with low=False.
    """

    low: Tensor | None
    high: Tensor


class Conv3Features(NamedTuple):
    """Features, and `conv3` (B, C, H/8, W/8), block 2's last map before any striding."""

    low: Tensor
    high: Tensor
    conv3: Tensor


class AtrousStep(NamedTuple):
    """How one unit runs: its stride, the rate up to its strided convolution, and the rate behind that convolution."""

    stride: int
    rate: int
    next_rate: int


def atrous_plan(
    unit_strides: Sequence[int],
    output_stride: int,
    stem_stride: int,
    dilate_first_unit: bool = False,
    offered: Sequence[int] = OUTPUT_STRIDES,
) -> list[AtrousStep]:
    """Strides and rates of a backbone's units at an output stride: TF-slim's `stack_blocks_dense`.

    A unit whose stride would exceed `output_stride` runs with stride 1 at the rate reached so far, and only behind it
    is the rate multiplied by the stride that was removed. Every kernel tap then meets the pixels it met in the strided
    network: its outputs are a subset of the dilated network's (DeepLab v2, section 3.1).

    Args:
        unit_strides: nominal stride of each unit, in order.
        output_stride: one of those that are offered, 8, 16 or 32 for most backbones.
        stem_stride: stride of everything before the first unit.
        dilate_first_unit: multiply the rate before the unit that loses its stride. Pretrained weights then compute
            something else; some public networks are built and trained that way.

    Returns:
        One AtrousStep per unit.

    Raises:
        ValueError: output stride not offered, or not reached by these strides.
    """
    check_choice("output_stride", output_stride, offered)
    current_stride, rate, plan = stem_stride, 1, []
    for stride in unit_strides:
        if current_stride * stride <= output_stride:
            current_stride *= stride
            plan.append(AtrousStep(stride, rate, rate))
        else:
            next_rate = rate * stride
            plan.append(AtrousStep(1, next_rate if dilate_first_unit else rate, next_rate))
            rate = next_rate
    if current_stride != output_stride:
        raise ValueError(f"output_stride = {output_stride}; the units' strides reach {current_stride}")
    return plan


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raises ValueError naming the argument unless it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} = {value!r}; expected one of {tuple(choices)}")


def set_atrous(conv: nn.Conv2d, stride: int = 1, rate: int = 1) -> None:
    """Gives a convolution another stride and rate in place, padded so that stride 1 keeps the size. Weights stay."""
    conv.stride = (stride, stride)
    conv.dilation = (rate, rate)
    conv.padding = tuple(rate * (size - 1) // 2 for size in conv.kernel_size)


def conv3x3_dilations(model: nn.Module) -> list[tuple[str, int, int]]:
    """(name, stride, dilation) of every 3x3 convolution in a model, in order of definition."""
    convs = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return [(name, conv.stride[0], conv.dilation[0]) for name, conv in convs if conv.kernel_size == (3, 3)]


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 1, rate: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; keeps the size. (B, in, H, W) -> (B, out, H, W)."""
    padding = rate * (kernel_size - 1) // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=rate, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def conv3x3_bn_relu(in_channels: int, out_channels: int, rate: int = 1, separable: str = "none") -> nn.Sequential:
    """A 3x3 convolution of a head with its batch norm and ReLU; keeps the size. (B, in, H, W) -> (B, out, H, W).

    `separable` is a HeadVariant's: "none", "paper" (batch norm and ReLU behind the depthwise half too) or "plain".
    """
    if separable == "none":
        return conv_bn_relu(in_channels, out_channels, 3, rate)
    depthwise = conv_bn_relu(in_channels, in_channels, 3, rate, groups=in_channels)
    return nn.Sequential(depthwise if separable == "paper" else depthwise[0], *conv_bn_relu(in_channels, out_channels))
