"""Comparisons of runs: seeds and their spread, classes gained and lost, folds and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
COLOURS = (INK, BLUE, ORANGE, GREEN, VERMILION)


@styled
def study_dots(values: Mapping[str, Sequence[float]], base: str, xlabel: str = "mIoU") -> Figure:
    """A line per row of a study: a small mark per seed, the mean, and a bar of one standard deviation to either side.

    Args:
        values: row -> a score in 0..1 per seed; a row without any is drawn as "not run".
        base: the row whose mean is drawn as a vertical line.

    Raises:
        ValueError: no such row, or it has no score.
    """
    if not len(values.get(base, ())):
        run = [row for row, scores in values.items() if len(scores)]
        raise ValueError(f"base = {base!r}; expected a row with scores, one of {run}")
    figure, ax = plt.subplots(figsize=(7.5, 1.1 + 0.36 * len(values)), layout="constrained")
    ax.axvline(np.mean(values[base]), color=GREY, linewidth=1, linestyle="--")
    for y, (row, scores) in enumerate(values.items()):
        if not len(scores):
            ax.text(np.mean(values[base]), y, " not run", va="center", fontsize=9, color=GREY)
            continue
        colour = INK if row == base else BLUE
        spread = np.std(scores, ddof=1) if len(scores) > 1 else 0
        ax.plot(scores, np.full(len(scores), y - 0.17), "o", color=colour, alpha=0.5, markersize=4)
        ax.errorbar(np.mean(scores), y + 0.1, xerr=spread, fmt="D", color=colour, markersize=6, capsize=4)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.4, -0.6)
    ax.tick_params(left=False)
    ax.grid(axis="x")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel(xlabel)
    figure.suptitle(f"dots: seeds; diamond and bar: mean and sd; dashed: mean of {base}", x=0.01, ha="left", fontsize=9)
    return figure


@styled
def difference_map(differences: pd.DataFrame) -> Figure:
    """What each row of a study gains (blue) and loses (red) in each class, in points of IoU.

    differences: rows of a study x classes, in -1..1; nan is left empty. Raises ValueError without a number in it.
    """
    points = 100 * differences.to_numpy(dtype=float)
    if not points.size or np.isnan(points).all():
        raise ValueError(f"differences: expected a table with numbers, found {differences.shape}")
    largest = max(1.0, float(np.nanmax(np.abs(points))))
    height, width = points.shape
    figure, ax = plt.subplots(figsize=(2.6 + 0.62 * width, 1.3 + 0.34 * height), layout="constrained")
    drawn = ax.imshow(points, cmap="RdBu", norm=TwoSlopeNorm(0, -largest, largest), aspect="auto")
    for (row, column), value in np.ndenumerate(points):
        if not np.isnan(value):
            colour = "white" if abs(value) > 0.65 * largest else INK
            text = "0" if round(value) == 0 else f"{value:+.0f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    ax.set_xticks(range(width), list(differences.columns), rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(height), list(differences.index))
    ax.tick_params(left=False, bottom=False)
    figure.colorbar(drawn, ax=ax, label="points of IoU")
    return figure


@styled
def class_curves(class_history: pd.DataFrame) -> Figure:
    """IoU of every class over training, each line named at its end; dashed: their mean.

    class_history: a row per evaluation, indexed by the iteration, a column per class (`Trainer.class_history`).
    Raises ValueError for fewer than two evaluations.
    """
    if len(class_history) < 2:
        raise ValueError(f"class_history: expected at least two evaluations, found {len(class_history)}")
    figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
    shown = class_history.dropna(axis="columns", how="all")
    for number, name in enumerate(shown):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        ax.plot(shown.index, shown[name], linewidth=1.5, markersize=4, **style)
    ax.plot(shown.index, shown.mean(axis=1), "--", color=GREY, linewidth=3)
    ends = {name: float(shown[name].iloc[-1]) for name in shown} | {"mean": float(shown.iloc[-1].mean())}
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(shown)} | {"mean": GREY}
    places = _apart(ends, 0.042)
    right = shown.index[-1] + 0.015 * (shown.index[-1] - shown.index[0])
    for name, y in places.items():
        ax.text(right, y, f"{name} {100 * ends[name]:.0f}", color=colours[name], va="center", fontsize=8, clip_on=False)
    ax.set_xlabel("iteration")
    ax.set_ylim(0, 1)
    ax.set_xlim(shown.index[0], shown.index[-1])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(axis="y")
    ax.set_title("IoU on the val list over training")
    return figure


@styled
def compared_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Training loss (moving mean) and val mIoU of several runs over the iterations, a colour and a mark for each.

    histories: name -> `Trainer.history`, up to five. Raises ValueError for none or more, and a run without scores.
    """
    if not 1 <= len(histories) <= len(COLOURS):
        raise ValueError(f"histories: expected one to {len(COLOURS)}, found {len(histories)}")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for (name, history), colour, marker in zip(histories.items(), COLOURS, MARKERS, strict=False):
        losses, scores = history.dropna(subset=["loss"]), history.dropna(subset=["miou"])
        if scores.empty:
            raise ValueError(f"histories[{name!r}]: expected rows with a miou, found none")
        smooth = losses.loss.rolling(max(1, len(losses) // 10), min_periods=1, center=True).mean()
        left.plot(losses.iteration, losses.loss, color=colour, alpha=0.25, linewidth=1)
        left.plot(losses.iteration, smooth, color=colour, linewidth=2, label=name)
        right.plot(scores.iteration, scores.miou, color=colour, marker=marker, markersize=4, linewidth=2)
    left.set_title("training loss")
    right.set_title("mIoU on the val list")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for ax in (left, right):
        ax.set_xlabel("iteration")
        ax.set_ylim(bottom=0)
        ax.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=len(histories))
    return figure


@styled
def score_bars(groups: Mapping[str, Mapping[str, float]], xlabel: str = "mIoU") -> Figure:
    """Horizontal bars in groups, each with its value: the mIoU per fold, and of what is made of the folds.

    groups: name -> name of a bar -> score in 0..1. A group has one colour. Raises ValueError without a bar.
    """
    bars = [(group, name, value) for group, members in groups.items() for name, value in members.items()]
    if not bars:
        raise ValueError("groups: expected at least one bar, found none")
    places, y = [], 0.0
    for number, (group, _, _) in enumerate(bars):
        y += 1.0 if number and group == bars[number - 1][0] else 1.5
        places.append(y)
    colours = dict(zip(groups, (BLUE, ORANGE, GREEN, VERMILION, GREY), strict=False))
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.27 * y), layout="constrained")
    for place, (group, _, value) in zip(places, bars, strict=True):
        ax.barh(place, value, height=0.8, color=colours[group])
        ax.text(value + 0.005, place, f"{100 * value:.1f}", va="center", fontsize=8)
    ax.set_yticks(places, [name for _, name, _ in bars])
    ax.invert_yaxis()
    ax.tick_params(left=False)
    ax.set_xlim(0, min(1.1, 1.12 * max(value for _, _, value in bars)))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel(xlabel)
    ax.grid(axis="x")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[group]) for group in groups]
    figure.legend(handles, list(groups), loc="outside lower center", ncols=len(groups))
    return figure


def _apart(values: Mapping[str, float], gap: float) -> dict[str, float]:
    """The values moved up, from the lowest on, until neighbours are `gap` apart: places for their names."""
    places: dict[str, float] = {}
    lowest = -np.inf
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        places[name] = lowest = max(value, lowest + gap)
    return places
