"""The explorer of notebook 03: depth, output stride, multi-grid and stride position -> every 3x3's dilation."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from seglib.course.figures.resnet_multigrid import dilation_chart
from seglib.course.widgets.explorer import MULTI_GRIDS, Explorer, slider
from seglib.models import ResNet


def show_dilations(depth: int, output_stride: int, multi_grid: Sequence[int], stride_unit: str) -> Figure:
    """The dilation of every 3x3 convolution of a ResNet; a ResNet-18 has two units in block 4, and two factors."""
    factors = tuple(multi_grid)[: 2 if depth == 18 else 3]
    network = ResNet(depth, output_stride, factors, width=4, stride_unit=stride_unit)  # narrow: only its plan is drawn
    title = f"ResNet-{depth}, output stride {output_stride}, multi-grid {factors}, stride in the {stride_unit} unit"
    return dilation_chart({title: network.dilations()})


def dilation_explorer() -> Explorer:
    """Sliders for depth, output stride, multi-grid and stride position above the chart they redraw."""
    return Explorer(
        show_dilations,
        "The dilation of every 3x3 convolution of a ResNet; a triangle marks a stride of 2.",
        depth=slider("depth", (18, 34, 50, 101), 50),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
        stride_unit=slider("stride in the", ("last", "first"), "last", " unit"),
    )
