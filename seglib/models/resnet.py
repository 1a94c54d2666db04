"""ResNet as a DeepLab backbone: both stems, both stride positions, any output stride, multi-grid, blocks 5 to 7."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from seglib.models.blocks import (
    OUTPUT_STRIDES,
    Features,
    atrous_plan,
    check_choice,
    conv3x3_dilations,
    conv_bn_relu,
    set_atrous,
)
from seglib.models.residual import PRE_ACTIVATION, BasicUnit, BottleneckUnit, ResidualUnit, Unit

STEM_STRIDE = 4
CASCADE_STRIDES = (64, 128, 256)


UNITS: dict[int, tuple[Unit, tuple[int, int, int, int]]] = {
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
        output_stride: 8, 16 or 32; input size over size of the last feature map. Each block behind block 4 allows one
            more: 64, 128, 256.
        multi_grid: one factor per unit of block 4 (`layer4`), multiplied with the rate of its 3x3 convolutions (both of
            them in a basic unit), and the same again in every block behind it; None is (1, 2, 4) where block 4 has
            three units, else all 1. torchvision's ImageNet weights were trained without, so a network that is to
            compute what they computed needs (1, 1, 1).
        width: channels of the first block; 64 is the published network.
        stem: "7x7", or "3x3": three 3x3 convolutions of width, width, 2 * width channels. The papers' code uses "3x3"
            (its `beta` networks; v3+ Table 3 counts that one); the public ImageNet weights of torchvision need "7x7".
        stride_unit: "last" unit of blocks 1 to 3, as in the papers' code: every unit of a dilated block carries the
            block's rate (output stride 16: 2, 4, 8 with multi-grid). "first" unit of blocks 2 to 4, as in torchvision:
            the first unit of a dilated block keeps the rate before it (1, 2, 2 without multi-grid). Take "first" with
            torchvision's weights.
        dilate_first_unit: with "first", give that unit the block's own rate all the same: a different function of the
            same weights, needed only for networks that were trained so.
        cascade_blocks: 0 to 3 copies of block 4 behind it, `layer5` to `layer7` (v3, section 3.2). Every block but the
            last has a stride of 2; where the output stride removes it, the next block's base rate is twice as large:
            2, 4, 8, 16 for blocks 4 to 7 at output stride 16 (Figure 3(b)).
        pre_activation: units with batch norm and ReLU in front of their convolutions (He et al. 2016, TF-slim's
            resnet_v2), and one more of both behind the last block. The stem's convolution then has neither, and the
            maps of the blocks before the last are sums that have seen neither.

    Parameter names are torchvision's. `forward` takes (B, 3, H, W) of any size and returns Features(low, high): low at
    stride 4 is the last map of block 1 before any striding (v3+, section 4; the papers' code takes that unit's last
    convolution, before the shortcut is added), None where it is called with low=False; high is block 4. `pyramid`
    returns the maps of all four blocks, with `pyramid_channels` channels.

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
        self.pyramid_channels = tuple(width * factor * unit.expansion for factor in (1, 2, 4, 8))
        self.low_channels, *_, self.high_channels = self.pyramid_channels

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

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.set_output_stride(output_stride)

    def _blocks(self) -> list[nn.Sequential]:
        return [self.get_submodule(f"layer{block}") for block in range(1, 5 + self.cascade_blocks)]

    def _units(self) -> Iterator[ResidualUnit]:
        for block in self._blocks():
            yield from block

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every unit the stride and rate of another output stride, in place; weights stay. Raises ValueError."""
        offered = OUTPUT_STRIDES + CASCADE_STRIDES[: self.cascade_blocks]
        check_choice("output_stride", output_stride, offered)
        units = list(self._units())
        strides = [unit.nominal_stride for unit in units]
        plan = atrous_plan(strides, output_stride, STEM_STRIDE, self.dilate_first_unit, offered)
        last_blocks = self.multi_grid * (1 + self.cascade_blocks)
        grids = (1,) * (len(units) - len(last_blocks)) + last_blocks
        for unit, step, grid in zip(units, plan, grids, strict=True):
            unit.set_atrous(step, grid)
        self.output_stride = output_stride

    def dilations(self) -> list[tuple[str, int, int]]:
        """(name, stride, dilation) of every 3x3 convolution, in order."""
        return conv3x3_dilations(self)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The last map of blocks 1 to 3 before any striding, then the last block's: strides 4, 8, 16, output stride."""
        x = self._stem(images)  # (B, C, H/4, W/4)
        maps = []
        for block in (self.layer1, self.layer2, self.layer3):
            before, x = self._through(block, x)
            maps.append(before)
        for block in self._blocks()[3:]:
            x = block(x)
        return [*maps, self._finished(x)]

    def _through(self, block: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
        """A block's last map before any striding, and its output."""
        if self.stride_unit == "last":
            before = block[:-1](x)
            return before, block[-1](before)
        x = block(x)
        return x, x

    def _finished(self, x: Tensor) -> Tensor:
        return x if self.final_norm is None else self.relu(self.final_norm(x))

    def _stem(self, images: Tensor) -> Tensor:
        if self.stem is not None:
            return self.maxpool(self.stem(images))
        x = self.bn1(self.conv1(images))
        return self.maxpool(x if self.final_norm is not None else self.relu(x))

    def forward(self, images: Tensor, low: bool = True) -> Features:
        first, *others = self._blocks()
        low_map, x = self._through(first, self._stem(images))  # (B, C, H/4, W/4)
        low_map = low_map if low else None  # freed before the other blocks run
        for block in others:
            x = block(x)
        return Features(low_map, self._finished(x))  # high (B, C, H/OS, W/OS)


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
