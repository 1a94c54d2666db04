"""ResNet as a DeepLab backbone: both stems, both stride positions, output stride 8, 16 or 32, multi-grid."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from seglib.models.blocks import (
    AtrousStep,
    Features,
    atrous_plan,
    check_choice,
    conv3x3_dilations,
    conv_bn_relu,
    set_atrous,
)

STEM_STRIDE = 4


class ResidualUnit(nn.Module):
    """What both kinds of unit share: the shortcut. (B, in, H, W) -> (B, out, H/stride, W/stride)."""

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
    """Two 3x3 convolutions; the stride sits in the first (ResNet-18 and 34)."""

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
        # conv2 comes behind the stride, so where the stride is removed it already needs the next rate.
        set_atrous(self.conv2, 1, step.next_rate * grid)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.shortcut(x))


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
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.shortcut(x))


UNITS: dict[int, tuple[type[BasicUnit] | type[BottleneckUnit], tuple[int, int, int, int]]] = {
    18: (BasicUnit, (2, 2, 2, 2)),
    34: (BasicUnit, (3, 4, 6, 3)),
    50: (BottleneckUnit, (3, 4, 6, 3)),
    101: (BottleneckUnit, (3, 4, 23, 3)),
    152: (BottleneckUnit, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """ResNet whose last blocks trade stride for dilation (DeepLabv3, section 3).

    Args:
        depth: 18, 34, 50, 101 or 152.
        output_stride: 8, 16 or 32; input size over size of the last feature map.
        multi_grid: one factor per unit of block 4 (`layer4`), multiplied with the rate of its 3x3 convolutions (both of
            them in a basic unit); None is (1, 2, 4) where block 4 has three units, else all 1. torchvision's ImageNet
            weights were trained without, so a network that is to compute what they computed needs (1, 1, 1).
        width: channels of the first block; 64 is the published network.
        stem: "7x7", or "3x3": three 3x3 convolutions of width, width, 2 * width channels. The papers' code uses "3x3"
            (its `beta` networks; v3+ Table 3 counts that one); the public ImageNet weights of torchvision need "7x7".
        stride_unit: "last" unit of blocks 1 to 3, as in the papers' code: every unit of a dilated block carries the
            block's rate (output stride 16: 2, 4, 8 with multi-grid). "first" unit of blocks 2 to 4, as in torchvision:
            the first unit of a dilated block keeps the rate before it (1, 2, 2 without multi-grid). Take "first" with
            torchvision's weights.
        dilate_first_unit: with "first", give that unit the block's own rate all the same: a different function of the
            same weights, needed only for networks that were trained so.

    Parameter names are torchvision's. `forward` takes (B, 3, H, W) of any size and returns Features(low, high): low at
    stride 4 is the last map of block 1 before any striding (v3+, section 4; the papers' code takes that unit's last
    convolution, before the shortcut is added), high is block 4. `pyramid` returns the maps of all four blocks, with
    `pyramid_channels` channels.

    Raises:
        ValueError: an argument outside the values above.
    """

    # A strided convolution with padding leaves values that stand for the first pixel of their cell.
    cell_centred = False

    def __init__(
        self,
        depth: int = 101,
        output_stride: int = 16,
        multi_grid: Sequence[int] | None = None,
        width: int = 64,
        stem: str = "7x7",
        stride_unit: str = "last",
        dilate_first_unit: bool = False,
    ):
        super().__init__()
        check_choice("depth", depth, tuple(UNITS))
        check_choice("stem", stem, ("7x7", "3x3"))
        check_choice("stride_unit", stride_unit, ("last", "first"))
        if dilate_first_unit and stride_unit != "first":
            raise ValueError(
                'dilate_first_unit=True; expected stride_unit="first", where a block starts with its stride'
            )
        if width < 1:
            raise ValueError(f"width = {width!r}; expected a positive number of channels")
        unit, counts = UNITS[depth]
        self.stride_unit = stride_unit
        self.dilate_first_unit = dilate_first_unit
        self.multi_grid = _check_multi_grid(multi_grid, counts[3], depth)
        self.pyramid_channels = tuple(width * factor * unit.expansion for factor in (1, 2, 4, 8))
        self.low_channels, *_, self.high_channels = self.pyramid_channels

        self.stem: nn.Sequential | None = None
        if stem == "7x7":
            stem_channels = width
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.relu = nn.ReLU(inplace=True)
        else:
            stem_channels = 2 * width
            self.stem = nn.Sequential(
                conv_bn_relu(3, width, 3), conv_bn_relu(width, width, 3), conv_bn_relu(width, stem_channels, 3)
            )
            set_atrous(self.stem[0][0], stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        channels = (stem_channels, *self.pyramid_channels[:-1])
        for block, (in_channels, count) in enumerate(zip(channels, counts, strict=True), start=1):
            strides = _block_strides(block, count, stride_unit)
            block_width = width * 2 ** (block - 1)
            inputs = [in_channels] + [block_width * unit.expansion] * (count - 1)
            units = [unit(n, block_width, stride) for n, stride in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{block}", nn.Sequential(*units))

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.set_output_stride(output_stride)

    def _units(self) -> Iterator[ResidualUnit]:
        for block in (self.layer1, self.layer2, self.layer3, self.layer4):
            yield from block

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every unit the stride and rate of another output stride, in place; weights stay. Raises ValueError."""
        units = list(self._units())
        strides = [unit.nominal_stride for unit in units]
        plan = atrous_plan(strides, output_stride, STEM_STRIDE, self.dilate_first_unit)
        grids = [1] * (len(units) - len(self.multi_grid)) + list(self.multi_grid)
        for unit, step, grid in zip(units, plan, grids, strict=True):
            unit.set_atrous(step, grid)
        self.output_stride = output_stride

    def dilations(self) -> list[tuple[str, int, int]]:
        """(name, stride, dilation) of every 3x3 convolution, in order."""
        return conv3x3_dilations(self)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The last map of blocks 1 to 3 before any striding, then block 4: strides 4, 8, 16 (or the output stride)."""
        x = self.relu(self.bn1(self.conv1(images))) if self.stem is None else self.stem(images)
        x = self.maxpool(x)  # (B, C, H/4, W/4)
        maps = []
        for block in (self.layer1, self.layer2, self.layer3):
            if self.stride_unit == "last":
                maps.append(block[:-1](x))
                x = block[-1](maps[-1])
            else:
                x = block(x)
                maps.append(x)
        return [*maps, self.layer4(x)]  # the last one (B, C, H/OS, W/OS)

    def forward(self, images: Tensor) -> Features:
        low, *_, high = self.pyramid(images)
        return Features(low, high)


def _check_multi_grid(multi_grid: Sequence[int] | None, units: int, depth: int) -> tuple[int, ...]:
    if multi_grid is None:
        return (1, 2, 4) if units == 3 else (1,) * units
    if len(multi_grid) != units or min(multi_grid) < 1:
        raise ValueError(
            f"multi_grid = {tuple(multi_grid)}; expected {units} factors of at least 1, "
            f"one per unit of ResNet-{depth}'s block 4"
        )
    return tuple(multi_grid)


def _block_strides(block: int, count: int, stride_unit: str) -> list[int]:
    strided = block <= 3 if stride_unit == "last" else block >= 2
    position = count - 1 if stride_unit == "last" else 0
    return [2 if strided and unit == position else 1 for unit in range(count)]
