"""The dilation explorer: depth, output stride, multi-grid and stride position -> the dilation of every 3x3."""

from __future__ import annotations

from functools import cache

import ipywidgets
import torch

from seglib.models import ResNet
from seglib.plots import png
from seglib.plots.dilations import dilation_chart

DEPTHS = (18, 34, 50, 101)
OUTPUT_STRIDES = (32, 16, 8)
MULTI_GRIDS = ((1, 1, 1), (1, 2, 1), (1, 2, 3), (1, 2, 4), (2, 2, 2))
STRIDE_UNITS = ("last", "first")


@cache
def dilation_picture(
    depth: int = 50, output_stride: int = 16, multi_grid: tuple[int, ...] = (1, 2, 4), stride_unit: str = "last"
) -> bytes:
    """The dilation chart of a ResNet as PNG bytes.

    Args:
        depth, output_stride, stride_unit: of the ResNet. multi_grid: one factor per unit of block 4; where block 4 has
            fewer units (ResNet-18), the first of them.

    Raises:
        ValueError: what ResNet refuses.
    """
    factors = multi_grid[:2] if depth == 18 else multi_grid
    with torch.device("meta"):  # a network of shapes: only its strides and rates are wanted
        network = ResNet(depth, output_stride, factors, stride_unit=stride_unit)
    title = f"ResNet-{depth}, output stride {output_stride}, multi-grid {factors}, stride in the {stride_unit} unit"
    block4 = [str(dilation) for name, _, dilation in network.dilations() if name.startswith("layer4")]
    return png(dilation_chart({title: network.dilations()}), alt=f"{title}; block 4: {', '.join(block4)}").data


def dilation_explorer() -> ipywidgets.VBox:
    """Buttons for depth, output stride, multi-grid and stride position over the chart that they give."""
    style = {"description_width": "110px", "button_width": "72px"}
    controls = {
        "depth": ipywidgets.ToggleButtons(
            options=[(f"ResNet-{depth}", depth) for depth in DEPTHS], value=50, description="depth", style=style
        ),
        "output_stride": ipywidgets.ToggleButtons(
            options=OUTPUT_STRIDES, value=16, description="output stride", style=style
        ),
        "multi_grid": ipywidgets.ToggleButtons(
            options=[(str(factors), factors) for factors in MULTI_GRIDS],
            value=(1, 2, 4),
            description="multi-grid",
            style=style,
        ),
        "stride_unit": ipywidgets.ToggleButtons(
            options=STRIDE_UNITS, value="last", description="stride in the", style=style
        ),
    }
    picture = ipywidgets.Image(value=dilation_picture(), format="png")

    def redraw(_: object) -> None:
        picture.value = dilation_picture(**{name: control.value for name, control in controls.items()})

    for control in controls.values():
        control.observe(redraw, names="value")
    return ipywidgets.VBox([*controls.values(), picture])
