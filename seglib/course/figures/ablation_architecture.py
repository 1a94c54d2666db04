"""Figures of notebook 10: grids of rows, the taps of a kernel that meet the map, gains along borders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from seglib.course.figures.charts import draw_gains
from seglib.course.figures.style import BLUE, GREY, INK, RULE, VERMILION, name_columns, series, styled


@dataclass(frozen=True)
class Grid:
    """A table of two factors, for example multi-grid x last block; all three have the same rows and columns.

    Attributes:
        scores: mIoU in 0..1, nan where a row is not run.
        gains: difference to the base row in -1..1, nan likewise.
        sure: true where the interval of the difference is on one side of zero.
    """

    scores: pd.DataFrame
    gains: pd.DataFrame
    sure: pd.DataFrame


@styled
def score_grids(grids: Mapping[str, Grid]) -> Figure:
    """Heat maps side by side, on one scale: each cell's mIoU, below it the points over the base row, which colour it.

    grids: title -> grid. Bold is what is `sure`; cells that are not run are hatched.
    """
    largest = max(1.0, *(100 * grid.gains.abs().max(axis=None) for grid in grids.values()))
    rows, columns = next(iter(grids.values())).scores.shape
    size = (1.6 + (0.9 + 0.9 * columns) * len(grids), 1.2 + 0.62 * rows)
    figure, axes = plt.subplots(1, len(grids), squeeze=False, figsize=size)
    for ax, (title, grid) in zip(axes[0], grids.items(), strict=True):
        points, scores = 100 * grid.gains.to_numpy(float), 100 * grid.scores.to_numpy(float)
        texts = [[_cell_text(*cell) for cell in zip(*row, strict=True)] for row in zip(scores, points, strict=True)]
        drawn = draw_gains(ax, points, largest, texts, bold=grid.sure.to_numpy())
        for row, column in np.argwhere(np.isnan(scores)):
            style = {"facecolor": "white", "edgecolor": RULE, "hatch": "///", "lw": 0}
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
        ax.set_xticks(range(columns), list(grid.scores.columns))
        ax.set_yticks(range(rows), list(grid.scores.index))
        ax.set_xlabel(grid.scores.columns.name or "")
        ax.set_title(title)
    axes[0, 0].set_ylabel(grid.scores.index.name or "")
    figure.colorbar(drawn, ax=axes[0, -1], label="points over the base row")
    if any(grid.scores.isna().any(axis=None) for grid in grids.values()):
        hatched = Patch(facecolor="white", edgecolor=GREY, hatch="///", label="not run")
        figure.legend(handles=[hatched], loc="outside lower right")
    return figure


def _cell_text(score: float, gain: float) -> str:
    if np.isnan(score):
        return ""
    return f"{score:.1f}" + ("" if np.isnan(gain) else f"\n{gain:+.1f}" if gain else "\nbase")


@styled
def gain_curves(gains: Mapping[str, pd.DataFrame], published: Mapping[str, float]) -> Figure:
    """The gain within bands along the boundaries, in points, against the width of the band; shaded: the interval.

    Args:
        gains: name -> a line per width in pixels (the index), with columns difference, low and high (nan where there is
            no interval).
        published: name -> a gain whose width is not stated; drawn across all widths.
    """
    figure, ax = plt.subplots(figsize=(7.5, 4))
    ax.axhline(0, color=GREY, linewidth=1)
    for (name, table), look in zip(gains.items(), series(len(gains)), strict=True):
        ax.plot(table.index, table.difference, marker=look.marker, color=look.colour, linewidth=2, label=name)
        ax.fill_between(table.index, table.low, table.high, color=look.colour, alpha=0.15, linewidth=0)
    for (name, gain), look in zip(published.items(), series(len(published) + 1)[1:], strict=True):
        ax.axhline(gain, color=INK, linewidth=1.2, linestyle=look.dash, label=f"{name}: {gain:+.1f}")
    ax.set_xticks(sorted({width for table in gains.values() for width in table.index}))
    ax.set_xlabel("width of the band (pixels)")
    ax.set_ylabel("points of mIoU within the band")
    ax.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def tap_use(rate: int, height: int, width: int) -> np.ndarray:
    """For each weight of a 3x3 kernel the share of a map's positions at which it meets the map and not its padding.

    (3, 3) float64 in 0..1, for an atrous rate of at least 1 and a map of height x width; a weight with 0 is never used.
    """
    down, across = (np.array([max(0, n - rate), n, max(0, n - rate)]) / n for n in (height, width))
    return np.outer(down, across)


def untrained_use(rate: int, trained: tuple[int, int], scored: tuple[int, int]) -> float:
    """Share of the products on a scored map whose weight met nothing but padding on the maps of training, in 0..1.

    trained, scored: height and width of the map. Products with padding are not counted.
    """
    used, there = tap_use(rate, *trained), tap_use(rate, *scored)
    return float(there[used == 0].sum() / there.sum())


@styled
def tap_chart(rates: Sequence[tuple[str, int]], trained: tuple[int, int], scored: tuple[int, int]) -> Figure:
    """The part of each 3x3 kernel that meets the map: bars in training, frames in scoring, marks for untrained weights.

    Args:
        rates: name and atrous rate of the convolutions in order.
        trained: height and width of the map in training.
        scored: height and width of the map in scoring.
    """
    figure, ax = plt.subplots(figsize=(max(7.5, 2 + 0.55 * len(rates)), 4.2))
    for x, (_, rate) in enumerate(rates):
        ax.bar(x, tap_use(rate, *trained).mean(), width=0.7, color=BLUE)
        ax.bar(x, tap_use(rate, *scored).mean(), width=0.7, facecolor="none", edgecolor=INK, linewidth=1.2)
        if strangers := untrained_use(rate, trained, scored):  # above the axis: their share is of another whole
            ax.plot(x, 1.06, "X", color=VERMILION, markersize=8)
            ax.text(x, 1.11, f"{strangers:.0%}", ha="center", fontsize=8, color=VERMILION)
        ax.text(x, 0.02, str(rate), ha="center", fontsize=8, color="white", weight="bold")
    ax.axhline(1 / 9, color=GREY, linewidth=1, linestyle="--")
    ax.text(len(rates) - 0.45, 1 / 9, " a 1x1", fontsize=8, color=GREY, va="center")
    name_columns(ax, [name for name, _ in rates])
    ax.set_xlim(-0.6, len(rates) - 0.4)
    ax.set_ylim(0, 1.2)
    ax.set_yticks((0, 0.25, 0.5, 0.75, 1))
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set_ylabel("share of the nine taps on the map")
    ax.grid(axis="y")
    handles = [
        Patch(color=BLUE, label=f"training, map {trained[0]} x {trained[1]}; in it the rate"),
        Patch(facecolor="none", edgecolor=INK, label=f"scoring, map {scored[0]} x {scored[1]}"),
        Line2D([], [], linestyle="", marker="X", color=VERMILION, label="products with weights never trained"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
