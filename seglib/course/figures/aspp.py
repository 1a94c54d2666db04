"""Figures of notebook 04, sections on the taps of ASPP's branches and on what one pixel of its output sees."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from seglib.course.fields import valid_weights
from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import BLUE, GREY, PALE, VERMILION, styled


@styled
def show_taps(rates: Sequence[int], side: int, row: int | None = None, column: int | None = None) -> Figure:
    """The nine taps of one 3x3 kernel per rate on a side x side map: on the map, or in its zero padding.

    row, column: of the output pixel, 0 to side - 1; None is the middle.
    """
    row, column = (side // 2 if place is None else place for place in (row, column))
    taps = {r: [(row + i * r, column + j * r) for i in (-1, 0, 1) for j in (-1, 0, 1)] for r in rates}
    reach = [-1, side, *(place for places in taps.values() for tap in places for place in tap)]
    low, high = max(min(reach), -side) - 1.5, min(max(reach), 2 * side) + 1.5
    on_map = {r: [tap for tap in taps[r] if min(tap) >= 0 and max(tap) < side] for r in rates}
    titles = [f"rate {r}: {len(on_map[r])} of 9 here" for r in rates]
    figure, axes = draw_panels(titles, aspects=(1.25,), max_columns=len(rates), width=2.8)
    for ax, rate in zip(axes, rates, strict=True):
        ax.add_patch(Rectangle((-0.5, -0.5), side, side, facecolor=PALE, edgecolor=GREY))
        padding = [tap for tap in taps[rate] if tap not in on_map[rate]]
        for places, marker, colour in ((on_map[rate], "s", BLUE), (padding, "x", VERMILION)):
            ax.plot([x for _, x in places], [y for y, _ in places], marker, color=colour, markersize=6)
        ax.set(xlim=(low, high), ylim=(high, low), aspect="equal")
        share = float(valid_weights(side, rate).float().mean()) / 9
        ax.set_xlabel(f"{share:.0%} on the map,\nover all positions", fontsize=9)
    handles = [
        Line2D([], [], color=BLUE, marker="s", linestyle="", label="tap on the map"),
        Line2D([], [], color=VERMILION, marker="x", linestyle="", label="tap in the padding: reads zero"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@styled
def show_influence(influences: Mapping[str, np.ndarray], row: int, column: int) -> Figure:
    """The influence of each pixel of an input map on one pixel of the output, on one logarithmic scale.

    Args:
        influences: title -> (H, W) magnitudes, 0 where nothing is seen.
        row: of the output pixel.
        column: of the output pixel.
    """
    largest = max(float(values.max()) for values in influences.values())
    norm = LogNorm(largest * 1e-4, largest, clip=True)
    figure, axes = draw_panels(list(influences), max_columns=len(influences), width=2.75)
    for ax, values in zip(axes, influences.values(), strict=True):
        ax.set_facecolor(PALE)
        drawn = ax.imshow(np.ma.masked_equal(values, 0), norm=norm, cmap="viridis_r")
        ax.plot(column, row, "o", color=VERMILION, markersize=9, markerfacecolor="none", markeredgewidth=2)
        ax.set_xlabel(f"{np.count_nonzero(values)} of {values.size} pixels seen", fontsize=9)
    bar = figure.colorbar(drawn, ax=axes[-1], shrink=0.8, label="influence")
    bar.set_ticks([largest * 1e-4, largest], labels=["weak", "strong"])
    bar.minorticks_off()
    return figure
