"""Where the taps of ASPP's branches fall on a map, what one pixel of its output sees, and runs with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from seglib.course.fields import valid_weights
from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, RULE, VERMILION, styled

PALE = "#F2F2F2"
MARKERS = ("o", "s", "^", "D", "v")


@styled
def tap_panels(rates: Sequence[int], side: int, row: int | None = None, column: int | None = None) -> Figure:
    """The nine taps of one 3x3 kernel per rate on a side x side map: on the map, or in its zero padding.

    row, column: of the output pixel, 0 to side - 1; None is the middle. Raises ValueError for a pixel off the map, a
    rate below 1, and without a rate.
    """
    row, column = (side // 2 if place is None else place for place in (row, column))
    if not (0 <= row < side and 0 <= column < side):
        raise ValueError(f"row, column = {row}, {column}; expected 0 to {side - 1} on a map of side {side}")
    if not rates or min(rates) < 1:
        raise ValueError(f"rates = {tuple(rates)}; expected at least one, each at least 1")
    taps = {r: [(row + i * r, column + j * r) for i in (-1, 0, 1) for j in (-1, 0, 1)] for r in rates}
    reach = [-1, side, *(place for places in taps.values() for tap in places for place in tap)]
    low, high = max(min(reach), -side) - 1.5, min(max(reach), 2 * side) + 1.5
    figure, axes = plt.subplots(1, len(rates), squeeze=False, layout="constrained", figsize=(2.8 * len(rates), 3.9))
    for ax, rate in zip(axes[0], rates, strict=True):
        ax.add_patch(Rectangle((-0.5, -0.5), side, side, facecolor=PALE, edgecolor=GREY))
        valid = [0 <= y < side and 0 <= x < side for y, x in taps[rate]]
        _scatter(ax, [tap for tap, on in zip(taps[rate], valid, strict=True) if on], "s", BLUE)
        _scatter(ax, [tap for tap, on in zip(taps[rate], valid, strict=True) if not on], "x", VERMILION)
        ax.set(xlim=(low, high), ylim=(high, low), xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(False)
        ax.set_title(f"rate {rate}: {sum(valid)} of 9 here")
        share = float(valid_weights(side, rate).float().mean()) / 9
        ax.set_xlabel(f"{share:.0%} on the map,\nover all positions", fontsize=9)
    handles = [
        Line2D([], [], color=BLUE, marker="s", linestyle="", label="tap on the map"),
        Line2D([], [], color=VERMILION, marker="x", linestyle="", label="tap in the padding: reads zero"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _scatter(ax: Axes, places: Sequence[tuple[int, int]], marker: str, colour: str) -> None:
    ax.plot([x for _, x in places], [y for y, _ in places], marker, color=colour, markersize=6)


@styled
def influence_panels(influences: Mapping[str, np.ndarray], row: int, column: int) -> Figure:
    """How strongly each pixel of an input map acts on one pixel of the output, on one logarithmic scale.

    influences: title -> (H, W) magnitudes, 0 where nothing is seen. row, column: of the output pixel.
    Raises ValueError where all magnitudes are 0.
    """
    largest = max(float(values.max()) for values in influences.values())
    if not largest > 0:
        raise ValueError("influences: expected a pixel that acts, found only zeros")
    norm = LogNorm(largest * 1e-4, largest, clip=True)
    figure, axes = plt.subplots(
        1, len(influences), squeeze=False, layout="constrained", figsize=(2.7 * len(influences) + 0.6, 3.0)
    )
    for ax, (title, values) in zip(axes[0], influences.items(), strict=True):
        ax.set_facecolor(PALE)
        drawn = ax.imshow(np.ma.masked_equal(values, 0), norm=norm, cmap="viridis_r")
        ax.plot(column, row, "o", color=VERMILION, markersize=9, markerfacecolor="none", markeredgewidth=2)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(title)
        ax.set_xlabel(f"{np.count_nonzero(values)} of {values.size} pixels seen", fontsize=9)
    bar = figure.colorbar(drawn, ax=axes[0, -1], shrink=0.8, label="influence")
    bar.set_ticks([largest * 1e-4, largest], labels=["weak", "strong"])
    bar.minorticks_off()
    return figure


@styled
def seed_dots(ious: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """IoU per class of several networks, a mark per seed and a bar at their mean; the last row is the mIoU.

    ious: name -> (runs, K) in 0..1. Raises ValueError where K is not the number of classes, and for six names or more.
    """
    for name, values in ious.items():
        if values.ndim != 2 or values.shape[1] != len(classes):
            raise ValueError(f"ious[{name!r}]: expected (runs, {len(classes)}), found {values.shape}")
    if not 1 <= len(ious) <= len(MARKERS):
        raise ValueError(f"ious: expected one to {len(MARKERS)} names, found {len(ious)}")
    rows = [*classes, "mIoU"]
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.5 * len(rows)), layout="constrained")
    colours = (BLUE, ORANGE, GREEN, VERMILION, INK)
    for i, (name, values) in enumerate(ious.items()):
        table = np.column_stack([values, values.mean(axis=1)])  # (runs, K + 1)
        y = np.arange(len(rows)) + 0.18 * (i - (len(ious) - 1) / 2)
        ax.plot(table.T, y, MARKERS[i], color=colours[i], markersize=4, alpha=0.6)
        ax.plot(table.mean(axis=0), y, "|", color=colours[i], markersize=11, markeredgewidth=2)
        ax.plot([], [], MARKERS[i], color=colours[i], label=f"{name} (n = {len(values)})")
    for edge in np.arange(len(rows) - 1) + 0.5:
        ax.axhline(edge, color=INK if edge > len(classes) - 1 else RULE, linewidth=0.8)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(left=False)
    ax.grid(axis="x")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_title("IoU; a mark is one seed, a bar their mean")
    figure.legend(loc="outside lower center", ncols=len(ious))
    return figure
