"""MobileNetV2 as a DeepLab backbone: torchvision's inverted residuals under the papers' stride-to-dilation rule."""

from collections.abc import Sequence

from torch import Tensor, nn

from seglib.models.layers import Backbone, Features, atrous_plan, set_atrous

STEM_STRIDE = 2
LOW_UNIT = 3


class MobileNetV2(Backbone):
    """MobileNetV2 up to its last inverted residual (v3+ code: `layer_18/output`; no 1280-channel convolution).

    Parameter names are torchvision's `features.0` to `features.17`. The tap at stride 4 is `features.3` (24 channels;
    the papers' code takes the 144 of that unit's depthwise convolution), the last map `features.17` (320 channels).

    Args:
        output_stride: 8, 16 or 32. A unit that loses its stride keeps the rate before it.
        width_mult: factor on every number of channels.
    """

    def __init__(self, output_stride: int = 16, width_mult: float = 1.0):
        from torchvision.models import mobilenet_v2  # here, because it takes as long to import as torch itself

        super().__init__()
        self.features = mobilenet_v2(weights=None, width_mult=width_mult).features[:-1]
        self.tap_channels = {4: self.features[LOW_UNIT].out_channels}
        self.high_channels = self.features[-1].out_channels
        self.set_output_stride(output_stride)

    def set_output_stride(self, output_stride: int) -> None:
        """Gives every unit another stride and rate in place; weights stay. Raises ValueError if it is not offered."""
        units = self.features[1:]  # inverted residuals, whose `stride` is the nominal one
        plan = atrous_plan([unit.stride for unit in units], output_stride, STEM_STRIDE)
        for unit, step in zip(units, plan, strict=True):
            set_atrous(find_depthwise(unit.conv), step.stride, step.rate)
        self.output_stride = output_stride

    def forward(self, images: Tensor, taps: Sequence[int] = ()) -> Features:
        low = self.features[: LOW_UNIT + 1](images)  # (B, 24, H/4, W/4)
        high = self.features[LOW_UNIT + 1 :](low)  # (B, 320, H/OS, W/OS)
        return self.collect({4: low}, taps, high)


def find_depthwise(layers: nn.Sequential) -> nn.Conv2d:
    """Returns the 3x3 convolution of an inverted residual's layers: (expansion,) depthwise, projection, norm."""
    return layers[-3][0]
