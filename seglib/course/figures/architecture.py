"""Ablations of an architecture: grids of rows, what a point costs, and the taps of a kernel that meet the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, RULE, VERMILION, styled

MARKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (VERMILION, "D"), (INK, "v"), ("#CC79A7", "P"))
COST_COLUMNS = ("study", "ratio", "gain", "low", "high", "label")


@dataclass(frozen=True)
class Grid:
    """A table of two factors, for example multi-grid x last block; all three have the same rows and columns.

    Attributes:
        scores: mIoU in 0..1, nan where a row is not run. gains: difference to the base row in -1..1, nan likewise.
        sure: whether the interval of the difference is on one side of zero.
    """

    scores: pd.DataFrame
    gains: pd.DataFrame
    sure: pd.DataFrame


@styled
def score_grids(grids: Mapping[str, Grid]) -> Figure:
    """Heat maps side by side, on one scale: each cell's mIoU, below it the points over the base row, which colour it.

    grids: title -> grid. Bold is what is `sure`; cells that are not run are hatched. Raises ValueError without a grid.
    """
    if not grids:
        raise ValueError("grids: expected at least one, found none")
    gains = np.concatenate([100 * grid.gains.to_numpy(float).ravel() for grid in grids.values()])
    largest = max(1.0, np.max(np.abs(gains[~np.isnan(gains)]), initial=0.0))
    rows, columns = next(iter(grids.values())).scores.shape
    size = (1.6 + (0.9 + 0.9 * columns) * len(grids), 1.2 + 0.62 * rows)
    figure, axes = plt.subplots(1, len(grids), squeeze=False, layout="constrained", figsize=size)
    drawn = None
    for ax, (title, grid) in zip(axes[0], grids.items(), strict=True):
        points = 100 * grid.gains.to_numpy(float)
        drawn = ax.imshow(points, cmap="RdBu", norm=TwoSlopeNorm(0, -largest, largest), aspect="auto")
        for (row, column), score in np.ndenumerate(grid.scores.to_numpy(float)):
            if np.isnan(score):
                ax.add_patch(
                    Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="white", edgecolor=RULE, hatch="///", lw=0)
                )
                continue
            gain = points[row, column]
            colour = "white" if abs(gain) > 0.65 * largest else INK
            weight = "bold" if grid.sure.iloc[row, column] else "normal"
            text = f"{100 * score:.1f}" + ("" if np.isnan(gain) else f"\n{gain:+.1f}" if gain else "\nbase")
            ax.text(column, row, text, ha="center", va="center", fontsize=9, color=colour, weight=weight)
        ax.set_xticks(range(columns), list(grid.scores.columns))
        ax.set_yticks(range(rows), list(grid.scores.index))
        ax.set_xlabel(grid.scores.columns.name or "")
        ax.set_ylabel((grid.scores.index.name or "") if ax is axes[0, 0] else "")
        ax.tick_params(left=False, bottom=False)
        ax.set_title(title)
    figure.colorbar(drawn, ax=axes[0, -1], label="points over the base row")
    if any(grid.scores.isna().any(axis=None) for grid in grids.values()):
        hatched = Patch(facecolor="white", edgecolor=GREY, hatch="///", label="not run")
        figure.legend(handles=[hatched], loc="outside lower right")
    return figure


@styled
def gain_against_cost(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Points over a study's base row against multiply-adds, as a multiple of the base row's; a panel per source.

    panels: title -> one line per row, with columns study, ratio (of multiply-adds, above 0), gain, low, high (points;
    the last two nan where there is no interval) and label ("" writes nothing). Above the line and to the left is cheap.
    Raises ValueError: no panel, a column missing, more studies than marks.
    """
    if not panels:
        raise ValueError("panels: expected at least one, found none")
    for title, table in panels.items():
        if missing := [name for name in COST_COLUMNS if name not in table]:
            raise ValueError(f"panels[{title!r}]: expected columns {COST_COLUMNS}, found no {missing}")
    studies = list(dict.fromkeys(name for table in panels.values() for name in table.study))
    if len(studies) > len(MARKS):
        raise ValueError(f"panels: expected at most {len(MARKS)} studies, found {studies}")
    look = dict(zip(studies, MARKS, strict=False))
    figure, axes = plt.subplots(
        1, len(panels), squeeze=False, sharex=True, layout="constrained", figsize=(1 + 4.6 * len(panels), 4.4)
    )
    for ax, (title, table) in zip(axes[0], panels.items(), strict=True):
        ax.axhline(0, color=GREY, linewidth=1)
        ax.axvline(1, color=GREY, linewidth=1, linestyle=":")
        for line in table.itertuples():
            colour, mark = look[line.study]
            if line.low == line.low:
                ax.vlines(line.ratio, line.low, line.high, color=colour, linewidth=1, alpha=0.6)
            ax.plot(line.ratio, line.gain, mark, color=colour, markersize=6, alpha=0.85)
            if line.label:
                ax.annotate(line.label, (line.ratio, line.gain), (6, 3), textcoords="offset points", fontsize=8)
        if table.empty:
            ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", color=GREY)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"x {value:g}")
        ax.xaxis.set_minor_formatter(lambda value, _: "")
        ax.set_xlabel("Mult-Adds over the base row's")
        ax.set_title(title)
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("points of mIoU over the base row")
    handles = [Line2D([], [], linestyle="", color=look[s][0], marker=look[s][1], label=s) for s in studies]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


@styled
def gain_curves(gains: Mapping[str, pd.DataFrame], published: Mapping[str, float]) -> Figure:
    """What is gained within bands along the boundaries, against the width of the band, in points; shaded: the interval.

    gains: up to six names -> a line per width in pixels (the index), with columns difference, low and high (nan where
    there is no interval). published: name -> a gain whose width is not stated; drawn across all widths.
    Raises ValueError for more names than marks.
    """
    if len(gains) > len(MARKS):
        raise ValueError(f"gains: expected at most {len(MARKS)} names, found {list(gains)}")
    figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
    ax.axhline(0, color=GREY, linewidth=1)
    widths: list[int] = []
    for (name, table), (colour, mark) in zip(gains.items(), MARKS, strict=False):
        widths = sorted({*widths, *table.index})
        ax.plot(table.index, table.difference, marker=mark, color=colour, linewidth=2, label=name)
        ax.fill_between(table.index, table.low, table.high, color=colour, alpha=0.15, linewidth=0)
    for (name, gain), line in zip(published.items(), ("--", ":", "-."), strict=False):
        ax.axhline(gain, color=INK, linewidth=1.2, linestyle=line, label=f"{name}: {gain:+.1f}")
    ax.set_xticks(widths)
    ax.set_xlabel("width of the band (pixels)")
    ax.set_ylabel("points of mIoU within the band")
    ax.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def tap_use(rate: int, height: int, width: int) -> np.ndarray:
    """For each weight of a 3x3 kernel the share of a map's positions at which it meets the map and not its padding.

    (3, 3) float64 in 0..1, for an atrous rate of at least 1 and a map of height x width; a weight with 0 is never used.
    """
    if rate < 1 or height < 1 or width < 1:
        raise ValueError(f"rate = {rate}, map {height} x {width}; expected all to be at least 1")
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
    """How much of each 3x3 kernel meets the map: bars in training, frames in scoring, marks for weights never trained.

    rates: name and atrous rate of the convolutions in order. trained, scored: height and width of the map in pixels.
    Raises ValueError without a convolution.
    """
    if not rates:
        raise ValueError("rates: expected at least one convolution, found none")
    figure, ax = plt.subplots(figsize=(max(7.5, 2 + 0.55 * len(rates)), 4.2), layout="constrained")
    for x, (_, rate) in enumerate(rates):
        in_training, in_scoring = float(tap_use(rate, *trained).mean()), float(tap_use(rate, *scored).mean())
        ax.bar(x, in_training, width=0.7, color=BLUE)
        ax.bar(x, in_scoring, width=0.7, facecolor="none", edgecolor=INK, linewidth=1.2)
        strangers = untrained_use(rate, trained, scored)
        if strangers:  # above the axis: their share is of another whole
            ax.plot(x, 1.06, "X", color=VERMILION, markersize=8)
            ax.text(x, 1.11, f"{strangers:.0%}", ha="center", fontsize=8, color=VERMILION)
        ax.text(x, 0.02, str(rate), ha="center", fontsize=8, color="white", weight="bold")
    ax.axhline(1 / 9, color=GREY, linewidth=1, linestyle="--")
    ax.text(len(rates) - 0.45, 1 / 9, " a 1x1", fontsize=8, color=GREY, va="center", clip_on=False)
    ax.set_xticks(range(len(rates)), [name for name, _ in rates], rotation=45, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(rates) - 0.4)
    ax.set_ylim(0, 1.2)
    ax.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0%", "25%", "50%", "75%", "100%"))
    ax.set_ylabel("share of the nine taps on the map")
    ax.grid(axis="y")
    handles = [
        Patch(color=BLUE, label=f"training, map {trained[0]} x {trained[1]}; in it the rate"),
        Patch(facecolor="none", edgecolor=INK, label=f"scoring, map {scored[0]} x {scored[1]}"),
        Line2D([], [], linestyle="", marker="X", color=VERMILION, label="products with weights never trained"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
