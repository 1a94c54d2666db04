"""Figures of notebook 03, sections on the plan of a ResNet's dilations and on its costs."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, series, styled

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
        ax.set_ylim(0.5, ticks[-1] * 1.2)
        ax.set_yticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_title(title)
        ax.grid(axis="y")
        ax.tick_params(bottom=False, labelbottom=False)
    axes[-1, 0].set_xlim(-0.7, longest - 0.3)
    axes[-1, 0].set_xlabel("3x3 convolutions, in order")
    figure.supylabel("dilation", fontsize=10)
    handles = [Patch(color=colour, label=block) for block, colour in seen.items()]
    handles.append(Line2D([], [], color=INK, marker="v", linestyle="", label="stride 2"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _block(name: str) -> tuple[str, str]:
    """Legend text and colour of the block in which a convolution lies, from its name: layer3.0.conv2 -> block 3."""
    number = next((int(part[5:]) for part in name.split(".") if part.startswith("layer") and part[5:].isdigit()), None)
    if number is not None and number <= 4:
        return f"block {number}", BLOCK_COLOURS[number]
    return ("stem", BLOCK_COLOURS[0]) if "stem" in name else ("blocks 5 to 7", BLOCK_COLOURS[5])


@styled
def cost_bars(output_strides: Sequence[int], costs: Mapping[str, Sequence[float]]) -> Figure:
    """One panel of bars per kind of cost over the output strides.

    costs: title with its unit -> one value per output stride.
    """
    figure, axes = plt.subplots(1, len(costs), squeeze=False, figsize=(3.6 * len(costs), 2.8))
    for ax, (title, values), look in zip(axes[0], costs.items(), series(len(costs)), strict=True):
        ax.bar([str(stride) for stride in output_strides], values, width=0.6, color=look.colour)
        for position, value in enumerate(values):
            ax.text(position, value, f"{value:.3g}", ha="center", va="bottom", fontsize=9)
        ax.set_xlabel("output stride")
        ax.set_ylim(0, 1.12 * max(values))
        ax.set_title(title)
        ax.grid(axis="y")
    return figure
