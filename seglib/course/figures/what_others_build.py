"""The figure of notebook 15, section on the dilations of public implementations."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.figures.style import INK, VERMILION, styled

GAP = 0.6
LARGEST_RATE = 36


@styled
def dilation_table(profiles: Mapping[str, Mapping[str, Sequence[int]]], reference: str) -> Figure:
    """A row of cells per network, a cell per 3x3 convolution with its dilation; framed where it is not `reference`'s.

    profiles: network -> group of convolutions ("block 4") -> dilations. Every network has the groups of the reference.
    """
    groups = {name: len(rates) for name, rates in profiles[reference].items()}
    starts = dict(zip(groups, np.cumsum([0, *(size + GAP for size in groups.values())])[:-1], strict=True))
    width = sum(groups.values()) + GAP * (len(groups) - 1)
    figure, ax = plt.subplots(figsize=(9, 0.9 + 0.36 * len(profiles)))
    for row, profile in enumerate(profiles.values()):
        for group, rates in profile.items():
            for place, (rate, expected) in enumerate(zip(rates, profiles[reference][group], strict=True)):
                _cell(ax, starts[group] + place, row, rate, framed=rate != expected)
    for group, start in starts.items():
        ax.text(start, -0.25, group, va="bottom", fontsize=10, color=INK)
    ax.set_yticks(np.arange(len(profiles)) + 0.5, list(profiles))
    ax.set_xlim(-0.15, width + 0.15)
    ax.set_ylim(len(profiles) + 0.15, -1)
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2)]
    figure.legend(handles, [f"not as in {reference}"], loc="outside lower right")
    return figure


def _cell(ax: Axes, x: float, row: int, rate: int, framed: bool) -> None:
    depth = np.log2(rate) / np.log2(LARGEST_RATE)
    ax.add_patch(Rectangle((x + 0.04, row + 0.08), 0.92, 0.84, color=plt.get_cmap("Blues")(0.08 + 0.75 * depth)))
    if framed:
        ax.add_patch(Rectangle((x + 0.07, row + 0.11), 0.86, 0.78, fill=False, edgecolor=VERMILION, linewidth=2))
    ink = "white" if depth > 0.6 else INK
    ax.text(x + 0.5, row + 0.5, str(rate), ha="center", va="center", fontsize=9, color=ink)
