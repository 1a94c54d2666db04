"""The chart and the explorer of notebook 03: the dilation of every 3x3 convolution of a ResNet."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from seglib.course.explorer import MULTI_GRIDS, Explorer, slider
from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, styled
from seglib.models import ResNet

BLOCK_COLOURS = (GREY, SKY, GREEN, ORANGE, BLUE, PURPLE)  # the stem, blocks 1 to 4, what is added after them


@styled
def dilation_chart(networks: Mapping[str, Sequence[tuple[str, int, int]]]) -> Figure:
    """The dilation of every 3x3 convolution, one row of bars per network, strided convolutions marked.

    networks: title -> (name, stride, dilation) of every 3x3 convolution in order, as `ResNet.dilations` returns them.
    """
    longest = max(map(len, networks.values()))
    highest = max(dilation for rows in networks.values() for _, _, dilation in rows)
    ticks = [2**k for k in range(max(3, int(np.ceil(np.log2(highest)))) + 1)]
    size = (9, 0.9 + 1.55 * len(networks))
    figure, axes = plt.subplots(len(networks), 1, sharex=True, squeeze=False, figsize=size)
    seen: dict[str, str] = {}
    for ax, (title, rows) in zip(axes[:, 0], networks.items(), strict=True):
        for position, (name, stride, dilation) in enumerate(rows):
            block, colour = _block(name)
            seen.setdefault(block, colour)
            # On the logarithmic axis a bar starts at 1/2, so that dilation 1 has a height.
            ax.bar(position, dilation - 0.5, bottom=0.5, width=0.8, color=colour)
            if stride > 1:
                ax.plot(position, dilation * 1.35, "v", color=INK, markersize=6, clip_on=False)
            if longest <= 24 or dilation > 1:
                ink = "white" if colour == BLUE else INK
                ax.text(position, 0.55, str(dilation), ha="center", va="bottom", fontsize=8, color=ink)
        ax.set_yscale("log", base=2)
        ax.set_yticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set(title=title, ylim=(0.5, ticks[-1] * 1.2))
        ax.grid(axis="y")
        ax.tick_params(bottom=False, labelbottom=False)
    axes[-1, 0].set(xlim=(-0.7, longest - 0.3), xlabel="3x3 convolutions, in order")
    figure.supylabel("dilation", fontsize=10)
    handles = [Patch(color=colour, label=block) for block, colour in seen.items()]
    handles.append(Line2D([], [], color=INK, marker="v", linestyle="", label="stride 2"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _block(name: str) -> tuple[str, str]:
    """Legend text and colour of the block in which a convolution lies, from its name: layer3.0.conv2 -> block 3."""
    number = 0 if "stem" in name else int(name.removeprefix("layer")[0])
    texts = ("stem", "block 1", "block 2", "block 3", "block 4", "blocks 5 to 7")
    return texts[min(number, 5)], BLOCK_COLOURS[min(number, 5)]


def show_dilations(depth: int, output_stride: int, multi_grid: Sequence[int], stride_unit: str) -> Figure:
    """The dilation of every 3x3 convolution of a ResNet; a ResNet-18 has two units in block 4, and two factors."""
    factors = tuple(multi_grid)[: 2 if depth == 18 else 3]
    network = ResNet(depth, output_stride, factors, width=4, stride_unit=stride_unit)  # narrow: only its plan is drawn
    title = f"ResNet-{depth}, output stride {output_stride}, multi-grid {factors}, stride in the {stride_unit} unit"
    return dilation_chart({title: network.dilations()})


def dilation_explorer() -> Explorer:
    """Sliders for depth, output stride, multi-grid and stride position."""
    return Explorer(
        show_dilations,
        "The dilation of every 3x3 convolution of a ResNet; a triangle marks a stride of 2.",
        depth=slider("depth", (18, 34, 50, 101), 50),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
        stride_unit=slider("stride in the", ("last", "first"), "last", " unit"),
    )
