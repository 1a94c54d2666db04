"""MobileNetV2 as a DeepLab backbone: torchvision's inverted residuals under the papers' stride-to-dilation rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models.layers import Features, atrous_plan, conv3x3_dilations, set_atrous

if TYPE_CHECKING:
    from torchvision.models.mobilenetv2 import InvertedResidual

STEM_STRIDE = 2
LOW_UNIT = 3


@dataclass(frozen=True)
class MobileNetVariant:
    """The ways in which MobileNetV2 backbones differ. The defaults are the papers' and torchvision's.

    Attributes:
        pad_stem: the first convolution is padded; without, a side of 513 gives 256 instead of 257.
        pad_before_expansion: zeros are put around a unit's input instead of around what its depthwise convolution
            sees. Batch norm's shift makes them something else than zero by then, so the map's border differs.
        late_rate: the rate of a removed stride holds from the next group of units on, not from the next unit on.
    """

    pad_stem: bool = True
    pad_before_expansion: bool = False
    late_rate: bool = False


PAPER_MOBILENET = MobileNetVariant()


class MobileNetV2(nn.Module):
    """MobileNetV2 up to its last inverted residual (v3+ code: `layer_18/output`; no 1280-channel convolution).

    Args:
        output_stride: 8, 16 or 32. A unit that loses its stride keeps the rate before it.
        width_mult: factor on every number of channels.
        variant: what a public backbone does otherwise.

    A backbone as `Features` describes. Parameter names are torchvision's `features.0` to `features.17`. Its tap at
    stride 4 is `features.3` (24 channels; the papers' code takes the 144 of that unit's depthwise convolution), the last map
    `features.17` (320 channels).

    Raises:
        ValueError: if the output stride is not offered.
    """

    # A strided convolution with padding leaves values that stand for the first pixel of their cell.
    cell_centred = False

    def __init__(self, output_stride: int = 16, width_mult: float = 1.0, variant: MobileNetVariant = PAPER_MOBILENET):
        from torchvision.models import mobilenet_v2  # here, because it takes as long to import as torch itself

        super().__init__()
        self.features = mobilenet_v2(weights=None, width_mult=width_mult).features[:-1]
        self.variant = variant
        if not variant.pad_stem:
            self.features[0][0].padding = (0, 0)
        self.tap_channels = {4: self.features[LOW_UNIT].out_channels}
        self.high_channels = self.features[-1].out_channels
        self.set_output_stride(output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every unit the stride and rate of another output stride, in place; weights stay.

        Raises:
            ValueError: if it is not offered.
        """
        units: list[InvertedResidual] = list(self.features[1:])
        plan = atrous_plan([unit.stride for unit in units], output_stride, STEM_STRIDE)
        group_rate = 1
        for unit, step in zip(units, plan, strict=True):
            if not unit.use_res_connect:  # only a group's first unit changes the number of channels
                group_rate = step.rate
            conv = _depthwise(unit)
            set_atrous(conv, step.stride, group_rate if self.variant.late_rate else step.rate)
            if self.variant.pad_before_expansion:
                conv.padding = (0, 0)
        self.output_stride = output_stride

    def dilations(self) -> list[tuple[str, int, int]]:
        """Lists (name, stride, dilation) of every 3x3 convolution, in order."""
        return conv3x3_dilations(self)

    def forward(self, images: Tensor, taps: Sequence[int] = ()) -> Features:
        low = self._run(self.features[: LOW_UNIT + 1], images)  # (B, 24, H/4, W/4)
        high = self._run(self.features[LOW_UNIT + 1 :], low)  # (B, 320, H/OS, W/OS)
        found = {4: low}
        return Features([found[stride] for stride in taps], high)

    def _run(self, layers: nn.Sequential, x: Tensor) -> Tensor:
        if not self.variant.pad_before_expansion:
            return layers(x)
        for layer in layers:
            if layer is self.features[0]:
                x = layer(x)
                continue
            y = layer.conv(F.pad(x, [_depthwise(layer).dilation[0]] * 4))
            x = x + y if layer.use_res_connect else y
        return x


def _depthwise(unit: "InvertedResidual") -> nn.Conv2d:
    return next(m for m in unit.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
