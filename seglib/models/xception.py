"""Aligned Xception as a DeepLab backbone (DeepLabv3+, arXiv 1802.02611, section 3.2 and Figure 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seglib.models.layers import (
    AtrousStep,
    Backbone,
    Features,
    atrous_plan,
    check_choice,
    conv_bn_relu,
    init_convolutions,
    set_atrous,
)

ROOT_STRIDE = 2
EPSILON = 1e-3  # of batch norm, in the papers' code
MIDDLE_UNITS = {41: 8, 65: 16, 71: 16}
# Channels and stride of the entry flow's modules; the low-level features are inside the last one at stride 4.
ENTRY = ((128, 2), (256, 2), (728, 2))
DEEP_ENTRY = ((128, 2), (256, 1), (256, 2), (728, 1), (728, 2))


class SeparableConv(nn.Module):
    """3x3 depthwise, batch norm, 1x1 pointwise, batch norm. (B, in, H, W) -> (B, out, H/stride, W/stride).

    ReLU follows both batch norms if `relu_inside`, else it only precedes the depthwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, relu_inside: bool):
        super().__init__()
        self.relu_inside = relu_inside
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if not self.relu_inside:
            y = self.depthwise_norm(self.depthwise(torch.relu(x)))
            return self.pointwise_norm(self.pointwise(y))
        y = torch.relu(self.depthwise_norm(self.depthwise(x)))
        return torch.relu(self.pointwise_norm(self.pointwise(y)))


class XceptionModule(nn.Module):
    """Three separable convolutions and a shortcut; the stride sits in the third, in place of Xception's max pooling.

    The shortcut is "conv" (1x1 with batch norm), "sum" or, in the last module, "none"; that one has ReLU inside.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], stride: int = 1, shortcut: str = "conv"):
        super().__init__()
        self.nominal_stride = stride
        inputs, relu_inside = (in_channels, *channels[:-1]), shortcut == "none"
        self.convs = nn.ModuleList(SeparableConv(n, m, relu_inside) for n, m in zip(inputs, channels, strict=True))
        self.shortcut: nn.Module | None = nn.Identity() if shortcut == "sum" else None
        if shortcut == "conv":
            conv = nn.Conv2d(in_channels, channels[-1], 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels[-1]))

    def set_atrous(self, step: AtrousStep) -> None:
        """Applies a step of the plan in place; all three convolutions have the rate before the stride."""
        for index, conv in enumerate(self.convs):
            set_atrous(conv.depthwise, step.stride if index == 2 else 1, step.rate)
        if isinstance(self.shortcut, nn.Sequential):
            set_atrous(self.shortcut[0], step.stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x, self.begin(x))

    def begin(self, x: Tensor) -> Tensor:
        """The first two convolutions, before the stride."""
        return self.convs[1](self.convs[0](x))

    def finish(self, x: Tensor, y: Tensor) -> Tensor:
        """The third convolution and the sum, from the module's input x and `begin(x)`."""
        y = self.convs[2](y)
        return y if self.shortcut is None else y + self.shortcut(x)


class Xception(Backbone):
    """The modified aligned Xception: every max pooling is a strided separable convolution, so that it can be dilated.

    The paper says (section 3.2): batch norm and ReLU are added after every depthwise convolution. We do as the papers'
    code: batch norm follows every depthwise and every pointwise convolution, and ReLU is between the two only in the
    last module; elsewhere ReLU is in front of the depthwise convolution. No multi-grid, which "does not improve".

    The tap at stride 4 is the second separable convolution of the entry flow's module that strides from 4 to 8 (256
    channels); the last map has 2048 channels.

    Args:
        depth: 41, 65 (v3+ Table 5) or 71 (v3+ Table 7).
        output_stride: 8, 16 or 32.
        width_mult: factor on every number of channels.
    """

    def __init__(self, depth: int = 65, output_stride: int = 16, width_mult: float = 1.0):
        super().__init__()
        check_choice("depth", depth, tuple(MIDDLE_UNITS))

        def wide(channels: int) -> int:
            return max(1, round(channels * width_mult))

        self.root = nn.Sequential(*conv_bn_relu(3, wide(32), 3, stride=2), *conv_bn_relu(wide(32), wide(64), 3))
        modules: list[XceptionModule] = []
        channels = wide(64)
        for entry_channels, stride in DEEP_ENTRY if depth == 71 else ENTRY:
            modules.append(XceptionModule(channels, (wide(entry_channels),) * 3, stride))
            channels = wide(entry_channels)
        modules += [XceptionModule(channels, (channels,) * 3, shortcut="sum") for _ in range(MIDDLE_UNITS[depth])]
        modules.append(XceptionModule(channels, (channels, wide(1024), wide(1024)), 2))
        last = (wide(1536), wide(1536), wide(2048))
        modules.append(XceptionModule(wide(1024), last, shortcut="none"))
        self.blocks = nn.ModuleList(modules)
        self.low_module = 2 if depth == 71 else 1
        self.tap_channels, self.high_channels = {4: wide(256)}, wide(2048)
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eps = EPSILON
        init_convolutions(self, mode="fan_out")
        self.set_output_stride(output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every module another stride and rate in place; weights stay. Raises ValueError if it is not offered."""
        plan = atrous_plan([module.nominal_stride for module in self.blocks], output_stride, ROOT_STRIDE)
        for module, step in zip(self.blocks, plan, strict=True):
            module.set_atrous(step)
        self.output_stride = output_stride

    def forward(self, images: Tensor, taps: Sequence[int] = ()) -> Features:
        x, found = self.root(images), {}  # (B, 64, H/2, W/2)
        for index, module in enumerate(self.blocks):
            inner = module.begin(x)
            if index == self.low_module and 4 in taps:
                found[4] = inner  # (B, 256, H/4, W/4)
            x = module.finish(x, inner)
            del inner
        return self.collect(found, taps, x)  # high (B, 2048, H/OS, W/OS)
