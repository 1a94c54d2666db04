"""Figure and explorer of notebook 03: residual units; the rate of every 3x3 convolution of a ResNet."""

import copy
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import nn

from seglib.course.explorer import MULTI_GRIDS, Explorer, slider
from seglib.course.figures.networks import CONV, MAP, Box, Page, draw_resnet
from seglib.course.figures.style import PALE, styled
from seglib.models import ResNet
from seglib.models.resnet import BasicUnit, BottleneckUnit, PreActivationBottleneckUnit

ALTS = {  # of figures before which the reader predicts what they show
    "Figure 2": "ResNet-50 at output stride 16: 2, 4, 8 in block 4. At 8: rate 2 in block 3, and 4, 8, 12 in block 4.",
    "Figure 4": "Accuracy against distance: high up to the reach of each head, then chance; with 4, 4, 4 a comb.",
    "Figure 5": "ResNet-50 at output stride 16. Stride in the last units: block 4 has 2, 2, 2; in the first: 1, 2, 2.",
    "Figure 6": "Rate 1 up to block 3, then 2 4 2, 4 8 4, 8 16 8 and 16 32 16 in blocks 4 to 7.",
}


def steps_of(unit: nn.Module, channels: int) -> list[str]:
    """The layers of a residual unit, in the order in which they run; "+" is the sum with the shortcut."""
    steps, twin = [], copy.deepcopy(unit).to("meta").eval()
    for module in twin.modules():
        text = {nn.BatchNorm2d: "batch norm", nn.ReLU: "ReLU"}.get(type(module), "")
        if isinstance(module, nn.Conv2d):
            text = f"{module.kernel_size[0]}x{module.kernel_size[0]}, {module.in_channels} to {module.out_channels}"
        if text:
            module.register_forward_hook(lambda *_, text=text: steps.append(text))
    twin(torch.empty(1, channels, 14, 14, device="meta"))
    steps.insert(len(steps) - (steps[-1] == "ReLU"), "+")  # a last ReLU follows the sum
    return steps


@styled
def draw_units() -> Figure:
    """The basic, the bottleneck and the pre-activated bottleneck unit, layer by layer, with their shortcuts."""
    channels, narrow = 256, (256, 64, 1)
    units = {"basic": BasicUnit(256, 256, 1), "bottleneck": BottleneckUnit(*narrow)}
    units["pre-activated bottleneck"] = PreActivationBottleneckUnit(*narrow)
    page = Page(9.2, 5.2)
    for x, (title, unit) in zip((1.2, 4.2, 7.2), units.items(), strict=True):
        page.write(x, 5, title, 11)
        page.write(x, 4.55, f"x: {channels} channels", va="bottom")
        last = Box(x, 4.5)
        for number, step in enumerate(steps_of(unit, channels)):
            y = 4.1 - 0.4 * number
            if step == "+":
                box = page.node(x, y)
                page.arrow((x, 4.35), (x + 1.05, 4.35), (x + 1.05, y), box.at(1))
                page.write(x + 1.1, (4.35 + y) / 2, "shortcut", ha="left")
            else:
                colour = MAP if step.startswith("3x3") else CONV if "x" in step else PALE
                box = page.box(Box(x, y, 1.5, 0.26), colour, step)
            page.arrow(last.at(up=-1), box.at(up=1))
            last = box
        page.arrow(last.at(up=-1), (x, last.at(up=-1)[1] - 0.25))
    return page.figure


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
