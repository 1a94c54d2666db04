"""The dilation explorer: depth, output stride, multi-grid and stride position -> the dilation of every 3x3."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets

from seglib.course.figures.dilations import dilation_chart
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider
from seglib.models import ResNet

WIDTH = 4  # a narrow network: only its strides and rates are wanted
MULTI_GRIDS = ((1, 1, 1), (1, 2, 1), (1, 2, 3), (1, 2, 4), (2, 2, 2))


def dilation_picture(
    depth: int = 50, output_stride: int = 16, multi_grid: Sequence[int] = (1, 2, 4), stride_unit: str = "last"
) -> bytes:
    """A PNG of the dilation of every 3x3 convolution of a ResNet.

    Args:
        depth: 18, 34, 50, 101 or 152. output_stride: 8, 16 or 32. stride_unit: "last" or "first".
        multi_grid: three factors, of block 4's units; a ResNet-18, which has two there, takes the first two.
    """
    factors = tuple(multi_grid)[: 2 if depth == 18 else 3]
    network = ResNet(depth, output_stride, factors, width=WIDTH, stride_unit=stride_unit)
    title = f"ResNet-{depth}, output stride {output_stride}, multi-grid {factors}, stride in the {stride_unit} unit"
    return png(dilation_chart({title: network.dilations()}), alt=title).data


def dilation_explorer() -> ipywidgets.VBox:
    """Sliders for depth, output stride, multi-grid and stride position above the chart they redraw."""
    return explorer(
        dilation_picture,
        "The dilation of every 3x3 convolution of a ResNet; a triangle marks a stride of 2.",
        depth=slider("depth", (18, 34, 50, 101), 50),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
        stride_unit=slider("stride in the", ("last", "first"), "last", " unit"),
    )
