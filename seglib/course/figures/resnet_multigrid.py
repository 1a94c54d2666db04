"""The explorer of notebook 03: the rate of every 3x3 convolution of a ResNet."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from seglib.course.explorer import MULTI_GRIDS, Explorer, slider
from seglib.course.figures.networks import draw_resnet
from seglib.models import ResNet


def show_rates(depth: int, output_stride: int, multi_grid: Sequence[int], stride_unit: str) -> Figure:
    """Draws a ResNet with its rates; a ResNet-18 has two units in block 4, and two factors."""
    factors = tuple(multi_grid)[: 2 if depth == 18 else 3]
    with torch.device("meta"):
        network = ResNet(depth, output_stride, factors, stride_unit=stride_unit)
    title = f"ResNet-{depth}, output stride {output_stride}, multi-grid {factors}, stride in the {stride_unit} unit"
    return draw_resnet({title: network})


def rate_explorer() -> Explorer:
    """Sliders for depth, output stride, multi-grid and stride position."""
    return Explorer(
        show_rates,
        "The rate of every 3x3 convolution of a ResNet; a triangle marks a stride of 2.",
        depth=slider("depth", (18, 34, 50, 101), 50),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
        stride_unit=slider("stride in the", ("last", "first"), "last", " unit"),
    )
