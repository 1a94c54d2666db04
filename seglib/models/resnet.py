"""ResNet as a DeepLab backbone: residual units, two stems, two stride positions, multi-grid, blocks 5 to 7."""

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


class ResidualUnit(nn.Module):
    """The shortcut that all kinds of unit share. (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.nominal_stride = self.stride = stride
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def set_atrous(self, step: AtrousStep, grid: int) -> None:
        """Applies a step of the plan in place; `grid` is the unit's multi-grid factor."""
        self.stride = step.stride
        if self.downsample is not None:
            set_atrous(self.downsample[0], step.stride)

    def shortcut(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            return self.downsample(x)
        # TF-slim strides an unchanged shortcut by taking every stride-th pixel.
        return x[..., :: self.stride, :: self.stride] if self.stride > 1 else x


class BasicUnit(ResidualUnit):
    """Two 3x3 convolutions; the stride sits in the first (ResNet-18 and 34, arXiv 1512.03385)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def set_atrous(self, step: AtrousStep, grid: int) -> None:
        super().set_atrous(step, grid)
        set_atrous(self.conv1, step.stride, step.rate * grid)
        # conv2 comes after the stride, so where the stride is removed it already needs the next rate.
        set_atrous(self.conv2, 1, step.next_rate * grid)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class BottleneckUnit(ResidualUnit):
    """1x1, 3x3, 1x1; the stride sits in the 3x3 (ResNet-50, 101 and 152)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels * self.expansion, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)

    def set_atrous(self, step: AtrousStep, grid: int) -> None:
        super().set_atrous(step, grid)
        set_atrous(self.conv2, step.stride, step.rate * grid)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.conv3(y)  # a line of its own: y of the line before would stay in memory during the norm
        y = self.bn3(y)
        y += self.shortcut(x)
        return self.relu(y)


class PreActivation(ResidualUnit):
    """Batch norm and ReLU in front of each convolution of a unit; nothing follows the sum (arXiv 1603.05027)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        if self.expansion > 1:
            self.bn3 = nn.BatchNorm2d(channels)
        if self.downsample is not None:
            self.downsample = self.downsample[:1]  # sees activated values; without its norm

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(self.relu(self.bn2(y)))
        if self.expansion > 1:
            y = self.conv3(self.relu(self.bn3(y)))
        y += self.shortcut(activated if self.downsample is not None else x)
        return y


class PreActivationBasicUnit(PreActivation, BasicUnit):
    """Two 3x3 convolutions, each after its batch norm and ReLU."""


class PreActivationBottleneckUnit(PreActivation, BottleneckUnit):
    """1x1, 3x3, 1x1, each after its batch norm and ReLU."""


Unit = type[BasicUnit] | type[BottleneckUnit]
UNITS: dict[int, tuple[Unit, tuple[int, int, int, int]]] = {
    18: (BasicUnit, (2, 2, 2, 2)),
    34: (BasicUnit, (3, 4, 6, 3)),
    50: (BottleneckUnit, (3, 4, 6, 3)),
    101: (BottleneckUnit, (3, 4, 23, 3)),
    152: (BottleneckUnit, (3, 8, 36, 3)),
}
PRE_ACTIVATION: dict[Unit, Unit] = {BasicUnit: PreActivationBasicUnit, BottleneckUnit: PreActivationBottleneckUnit}


class ResNet(Backbone):
    """ResNet whose last blocks trade stride for dilation (DeepLabv3, section 3). Parameter names are torchvision's.

    It offers taps at strides 4, 8 and 16: the last map of blocks 1, 2 and 3 before any striding. (v3+, section 4, uses
    the one at stride 4; the papers' code takes that unit's last convolution, before the shortcut is added.)

    Args:
        depth: 18, 34, 50, 101 or 152.
        output_stride: 8, 16 or 32. Each block after block 4 allows one more: 64, 128, 256.
        multi_grid: one factor per unit of block 4 (`layer4`), multiplied with the rate of its 3x3 convolutions (both of
            them in a basic unit), and the same again in every block after it. None is (1, 2, 4) where block 4 has three
            units, else all 1. torchvision's ImageNet weights were trained with (1, 1, 1).
        width: channels of the 3x3 convolutions in the first block; 64 is the published network.
        stem: "7x7", as torchvision's weights need it; or "3x3", as in the papers' code: three 3x3 convolutions.
        stride_unit: "last" unit of blocks 1 to 3, as in the papers' code: every unit of a dilated block carries the
            block's rate. "first" unit of blocks 2 to 4, as torchvision's weights need it: the first unit of a dilated
            block keeps the rate before it.
        cascade_blocks: 0 to 3 copies of block 4 after it, `layer5` to `layer7` (v3, section 3.2). Every block but the
            last has a stride of 2; where the output stride removes it, the next block's base rate is twice as large.
        pre_activation: units with batch norm and ReLU in front of their convolutions (TF-slim's resnet_v2), and one
            more of both after the last block. The stem's last convolution and the taps have neither.
        dilate_first_unit: with stride_unit "first", give that unit the block's own rate all the same: a different
            function of the same weights, needed only for networks that were trained so.
        stem_stride: 4, or 1 for small images: a "3x3" stem without stride and without pooling. Output stride and taps
            keep their names, with every map at a quarter of that stride.
    """

    def __init__(
        self,
        depth: int = 101,
        output_stride: int = 16,
        multi_grid: Sequence[int] | None = None,
        width: int = 64,
        stem: str = "7x7",
        stride_unit: str = "last",
        cascade_blocks: int = 0,
        pre_activation: bool = False,
        dilate_first_unit: bool = False,
        stem_stride: int = 4,
    ):
        super().__init__()
        check_choice("depth", depth, tuple(UNITS))
        check_choice("stem", stem, ("7x7", "3x3"))
        check_choice("stride_unit", stride_unit, ("last", "first"))
        check_choice("cascade_blocks", cascade_blocks, range(4))
        check_choice("stem_stride", stem_stride, (4, 1))
        if stem_stride == 1 and stem != "3x3":
            raise ValueError(f'stem_stride = 1, stem = {stem!r}; expected stem = "3x3"')
        if dilate_first_unit and stride_unit != "first":
            raise ValueError('dilate_first_unit=True; expected stride_unit="first"')
        unit, counts = UNITS[depth]
        if multi_grid is None:
            multi_grid = (1, 2, 4) if counts[3] == 3 else (1,) * counts[3]
        if len(multi_grid) != counts[3] or min(multi_grid) < 1:
            expected = f"{counts[3]} factors of at least 1, one per unit of ResNet-{depth}'s block 4"
            raise ValueError(f"multi_grid = {tuple(multi_grid)}; expected {expected}")
        counts += counts[3:] * cascade_blocks
        self.stem_stride, self.stride_unit, self.dilate_first_unit = stem_stride, stride_unit, dilate_first_unit
        self.cascade_blocks, self.multi_grid = cascade_blocks, tuple(multi_grid)
        self.tap_channels = {4 * factor: width * factor * unit.expansion for factor in (1, 2, 4)}
        self.high_channels = 8 * width * unit.expansion

        self.relu = nn.ReLU(inplace=True)
        self.final_norm = nn.BatchNorm2d(self.high_channels) if pre_activation else None
        self.stem: nn.Sequential | None = None
        if stem == "7x7":
            channels = width
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.Identity() if pre_activation else nn.BatchNorm2d(width)
        else:
            channels = 2 * width
            self.stem = nn.Sequential(
                conv_bn_relu(3, width, 3, stride=2 if stem_stride == 4 else 1),
                conv_bn_relu(width, width, 3),
                conv_bn_relu(width, channels, 3),
            )
            if pre_activation:
                self.stem[2] = self.stem[2][0]
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem_stride == 4 else nn.Identity()

        if pre_activation:
            unit = PRE_ACTIVATION[unit]
        for block, count in enumerate(counts, start=1):
            strides = [1] * count
            if stride_unit == "first" and 1 < block <= 4:
                strides[0] = 2
            if (stride_unit == "last" or block >= 4) and block < len(counts):
                strides[-1] = 2  # no public weights have the blocks of a cascade: they stride as the paper's
            block_width = width * 2 ** (min(block, 4) - 1)
            inputs = [channels] + [block_width * unit.expansion] * (count - 1)
            units = [unit(n, block_width, stride) for n, stride in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{block}", nn.Sequential(*units))
            channels = block_width * unit.expansion

        init_convolutions(self, mode="fan_out")
        self.set_output_stride(output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every unit another stride and rate in place; weights stay. Raises ValueError if it is not offered."""
        units: list[ResidualUnit] = [unit for block in self._blocks() for unit in block]
        strides = [unit.nominal_stride for unit in units]
        # planned by the names: a stem that does not stride makes every real stride a quarter of its name
        plan = atrous_plan(strides, output_stride, Backbone.stem_stride, self.dilate_first_unit)
        last_blocks = self.multi_grid * (1 + self.cascade_blocks)
        grids = (1,) * (len(units) - len(last_blocks)) + last_blocks
        for unit, step, grid in zip(units, plan, grids, strict=True):
            unit.set_atrous(step, grid)
        self.output_stride = output_stride

    @torch.no_grad()
    def copy_block4(self) -> None:
        """Starts the blocks of a cascade as copies of block 4 (v3, section 3.2), in place.

        A copy's first unit takes block 4's second: block 4's own first one has a shortcut from fewer channels.
        """
        source = self.layer4
        for block in self._blocks()[4:]:
            for unit, own in zip(block, (source[1], *source[1:]), strict=True):
                unit.load_state_dict(own.state_dict())

    def forward(self, images: Tensor, taps: Sequence[int] = ()) -> Features:
        x, found = self._stem(images), {}  # (B, C, H/4, W/4)
        for index, block in enumerate(self._blocks()):
            stride = 4 * 2**index
            if stride not in taps:
                x = block(x)
            elif self.stride_unit == "last":
                found[stride] = block[:-1](x)  # before the block's last unit strides
                x = block[-1](found[stride])
            else:
                x = found[stride] = block(x)
        if self.final_norm is not None:
            x = self.relu(self.final_norm(x))
        return self.collect(found, taps, x)  # high (B, C, H/OS, W/OS)

    def _blocks(self) -> list[nn.Sequential]:
        return [self.get_submodule(f"layer{block}") for block in range(1, 5 + self.cascade_blocks)]

    def _stem(self, images: Tensor) -> Tensor:
        if self.stem is not None:
            return self.maxpool(self.stem(images))
        x = self.bn1(self.conv1(images))
        return self.maxpool(x if self.final_norm is not None else self.relu(x))
