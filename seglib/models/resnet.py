"""ResNet as a DeepLab backbone: residual units, two stems, two stride positions, multi-grid, blocks 5 to 7."""

from collections.abc import Sequence

from torch import Tensor, nn

from seglib.models.layers import (
    OUTPUT_STRIDES,
    AtrousStep,
    Features,
    atrous_plan,
    check_choice,
    conv3x3_dilations,
    conv_bn_relu,
    init_convolutions,
    set_atrous,
)

STEM_STRIDE = 4
CASCADE_STRIDES = (64, 128, 256)


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

    def drop_norm_of_shortcut(self) -> None:
        """A pre-activation unit's 1x1 shortcut sees activated values and is added as it is."""
        if self.downsample is not None:
            self.downsample = nn.Sequential(self.downsample[0])


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


class PreActivationBasicUnit(BasicUnit):
    """BasicUnit with batch norm and ReLU in front of each convolution; nothing follows the sum (arXiv 1603.05027)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.drop_norm_of_shortcut()

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(self.relu(self.bn2(y)))
        y += self.shortcut(activated if self.downsample is not None else x)
        return y


class PreActivationBottleneckUnit(BottleneckUnit):
    """BottleneckUnit with batch norm and ReLU in front of each convolution; nothing follows the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.bn3 = nn.BatchNorm2d(channels)
        self.drop_norm_of_shortcut()

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        y = self.conv1(activated)
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        y += self.shortcut(activated if self.downsample is not None else x)
        return y


Unit = type[BasicUnit] | type[BottleneckUnit]
UNITS: dict[int, tuple[Unit, tuple[int, int, int, int]]] = {
    18: (BasicUnit, (2, 2, 2, 2)),
    34: (BasicUnit, (3, 4, 6, 3)),
    50: (BottleneckUnit, (3, 4, 6, 3)),
    101: (BottleneckUnit, (3, 4, 23, 3)),
    152: (BottleneckUnit, (3, 8, 36, 3)),
}
PRE_ACTIVATION: dict[Unit, Unit] = {BasicUnit: PreActivationBasicUnit, BottleneckUnit: PreActivationBottleneckUnit}


class ResNet(nn.Module):
    """ResNet whose last blocks trade stride for dilation (DeepLabv3, section 3).

    A backbone as `Features` describes. It offers taps at strides 4, 8 and 16: the last map of blocks 1, 2 and 3 before
    any striding. (v3+, section 4, uses the one at stride 4; the papers' code takes that unit's last convolution,
    before the shortcut is added.) Parameter names are torchvision's.

    Args:
        depth: 18, 34, 50, 101 or 152.
        output_stride: 8, 16 or 32; input size over size of the last map. Each block after block 4 allows one more: 64,
            128, 256.
        multi_grid: one factor per unit of block 4 (`layer4`), multiplied with the rate of its 3x3 convolutions (both of
            them in a basic unit), and the same again in every block after it. None is (1, 2, 4) where block 4 has three
            units, else all 1. torchvision's ImageNet weights were trained without, so a network that is to compute what
            they computed needs (1, 1, 1).
        width: channels of the first block; 64 is the published network.
        stem: "7x7", or "3x3": three 3x3 convolutions of width, width, 2 * width channels. The papers' code uses "3x3"
            (its `beta` networks; v3+ Table 3 counts that one); torchvision's public weights need "7x7".
        stride_unit: "last" unit of blocks 1 to 3, as in the papers' code: every unit of a dilated block carries the
            block's rate (output stride 16: 2, 4, 8 with multi-grid). "first" unit of blocks 2 to 4, as in torchvision:
            the first unit of a dilated block keeps the rate before it (1, 2, 2 without multi-grid). Take "first" with
            torchvision's weights.
        dilate_first_unit: with "first", give that unit the block's own rate all the same: a different function of the
            same weights, needed only for networks that were trained so.
        cascade_blocks: 0 to 3 copies of block 4 after it, `layer5` to `layer7` (v3, section 3.2). Every block but the
            last has a stride of 2; where the output stride removes it, the next block's base rate is twice as large:
            2, 4, 8, 16 for blocks 4 to 7 at output stride 16 (Figure 3(b)).
        pre_activation: units with batch norm and ReLU in front of their convolutions (TF-slim's resnet_v2), and one
            more of both after the last block. The stem's convolution then has neither, and the taps are sums that have
            seen neither.

    Raises:
        ValueError: if an argument is outside the values above.
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
        cascade_blocks: int = 0,
        pre_activation: bool = False,
    ):
        super().__init__()
        check_choice("depth", depth, tuple(UNITS))
        check_choice("stem", stem, ("7x7", "3x3"))
        check_choice("stride_unit", stride_unit, ("last", "first"))
        check_choice("cascade_blocks", cascade_blocks, range(len(CASCADE_STRIDES) + 1))
        if dilate_first_unit and stride_unit != "first":
            raise ValueError(
                'dilate_first_unit=True; expected stride_unit="first", where a block starts with its stride'
            )
        if width < 1:
            raise ValueError(f"width = {width!r}; expected a positive number of channels")
        unit, counts = UNITS[depth]
        counts = (*counts, *(counts[3],) * cascade_blocks)
        self.stride_unit = stride_unit
        self.cascade_blocks = cascade_blocks
        self.dilate_first_unit = dilate_first_unit
        self.multi_grid = _check_multi_grid(multi_grid, counts[3], depth)
        self.tap_channels = {4 * factor: width * factor * unit.expansion for factor in (1, 2, 4)}
        self.high_channels = 8 * width * unit.expansion

        self.relu = nn.ReLU(inplace=True)
        self.final_norm = nn.BatchNorm2d(self.high_channels) if pre_activation else None
        self.stem: nn.Sequential | None = None
        if stem == "7x7":
            stem_channels = width
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.Identity() if pre_activation else nn.BatchNorm2d(width)
        else:
            stem_channels = 2 * width
            self.stem = nn.Sequential(
                conv_bn_relu(3, width, 3), conv_bn_relu(width, width, 3), conv_bn_relu(width, stem_channels, 3)
            )
            set_atrous(self.stem[0][0], stride=2)
            if pre_activation:
                self.stem[2] = self.stem[2][0]
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        if pre_activation:
            unit = PRE_ACTIVATION[unit]
        channels = stem_channels
        for block, count in enumerate(counts, start=1):
            strides = _block_strides(block, count, len(counts), stride_unit)
            block_width = width * 2 ** (min(block, 4) - 1)
            inputs = [channels] + [block_width * unit.expansion] * (count - 1)
            units = [unit(n, block_width, stride) for n, stride in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{block}", nn.Sequential(*units))
            channels = block_width * unit.expansion

        init_convolutions(self, mode="fan_out")
        self.set_output_stride(output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every unit the stride and rate of another output stride, in place; weights stay.

        Raises:
            ValueError: if it is not offered.
        """
        offered = OUTPUT_STRIDES + CASCADE_STRIDES[: self.cascade_blocks]
        units: list[ResidualUnit] = [unit for block in self._blocks() for unit in block]
        strides = [unit.nominal_stride for unit in units]
        plan = atrous_plan(strides, output_stride, STEM_STRIDE, self.dilate_first_unit, offered)
        last_blocks = self.multi_grid * (1 + self.cascade_blocks)
        grids = (1,) * (len(units) - len(last_blocks)) + last_blocks
        for unit, step, grid in zip(units, plan, grids, strict=True):
            unit.set_atrous(step, grid)
        self.output_stride = output_stride

    def dilations(self) -> list[tuple[str, int, int]]:
        """Lists (name, stride, dilation) of every 3x3 convolution, in order."""
        return conv3x3_dilations(self)

    def forward(self, images: Tensor, taps: Sequence[int] = ()) -> Features:
        x, found = self._stem(images), {}  # (B, C, H/4, W/4)
        for stride, block in zip((4, 8, 16, None), self._blocks()[:4], strict=True):
            if stride in taps:
                found[stride], x = self._before_stride(block, x)
            else:
                x = block(x)
        for block in self._blocks()[4:]:
            x = block(x)
        if self.final_norm is not None:
            x = self.relu(self.final_norm(x))
        return Features([found[stride] for stride in taps], x)  # high (B, C, H/OS, W/OS)

    def _blocks(self) -> list[nn.Sequential]:
        return [self.get_submodule(f"layer{block}") for block in range(1, 5 + self.cascade_blocks)]

    def _stem(self, images: Tensor) -> Tensor:
        if self.stem is not None:
            return self.maxpool(self.stem(images))
        x = self.bn1(self.conv1(images))
        return self.maxpool(x if self.final_norm is not None else self.relu(x))

    def _before_stride(self, block: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
        """Runs a block; returns its last map before any striding, and its output."""
        if self.stride_unit == "last":
            before = block[:-1](x)
            return before, block[-1](before)
        x = block(x)
        return x, x


def _check_multi_grid(multi_grid: Sequence[int] | None, units: int, depth: int) -> tuple[int, ...]:
    if multi_grid is None:
        return (1, 2, 4) if units == 3 else (1,) * units
    if len(multi_grid) != units or min(multi_grid) < 1:
        raise ValueError(
            f"multi_grid = {tuple(multi_grid)}; expected {units} factors of at least 1, "
            f"one per unit of ResNet-{depth}'s block 4"
        )
    return tuple(multi_grid)


def _block_strides(block: int, count: int, blocks: int, stride_unit: str) -> list[int]:
    strided = block < blocks if stride_unit == "last" else block >= 2
    position = count - 1 if stride_unit == "last" else 0
    return [2 if strided and unit == position else 1 for unit in range(count)]
