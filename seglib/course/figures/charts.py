"""Training curves, per-class bars and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from seglib.course.figures.style import BLUE, GREEN, INK, ORANGE, VERMILION, styled
from seglib.metrics import Scores


@styled
def training_curves(history: pd.DataFrame) -> Figure:
    """Loss, learning rate and validation mIoU over the iterations.

    history: columns iteration, loss, lr, and optionally miou in 0..1; nan where nothing was logged or evaluated.
    Raises ValueError naming a column that is missing, and for an empty history.
    """
    for column in ("iteration", "loss", "lr"):
        if column not in history:
            raise ValueError(f"history: expected a column {column!r}, found {list(history.columns)}")
    if history.empty:
        raise ValueError("history: expected at least one row, found none")
    evaluated = history.dropna(subset=["miou"]) if "miou" in history else history.iloc[:0]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    loss, rate = history.dropna(subset=["loss"]), history.dropna(subset=["lr"])
    window = max(1, len(loss) // 20)
    smooth = loss.loss.rolling(window, min_periods=1, center=True).mean()
    axes[0].plot(loss.iteration, loss.loss, color=BLUE, alpha=0.3, linewidth=1, label="logged")
    axes[0].plot(loss.iteration, smooth, color=BLUE, linewidth=2, label=f"moving mean of {window}")
    axes[0].legend()
    axes[0].set_title("training loss")
    axes[1].plot(rate.iteration, rate.lr, color=GREEN, linewidth=2)
    axes[1].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[1].set_title("learning rate")
    if len(evaluated):
        axes[2].plot(
            evaluated.iteration, evaluated.miou, "o-", color=VERMILION, linewidth=2, markersize=4, clip_on=False
        )
        best = evaluated.loc[evaluated.miou.idxmax()]
        axes[2].set_title(f"validation mIoU, best {best.miou:.1%} at {best.iteration:.0f}")
        axes[2].yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    else:
        axes[2].set_title("validation mIoU: not evaluated")
    for ax in axes:
        ax.set_xlabel("iteration")
        ax.set_xlim(history.iteration.min(), history.iteration.max() + 1)
        ax.set_ylim(bottom=0)
        ax.grid(axis="y")
    return figure


@styled
def iou_bars(
    scores: Scores,
    classes: Sequence[str],
    other: Scores | None = None,
    names: tuple[str, str] = ("this run", "the other"),
) -> Figure:
    """IoU per class as bars, the mIoU as a line; `other` is drawn beside it. names: the legend of the two.

    Absent classes are marked as such. Raises ValueError if the number of classes differs.
    """
    runs = [scores] if other is None else [scores, other]
    for run in runs:
        _check_length("scores", len(run.iou), classes)
    figure, ax = plt.subplots(figsize=(7.5, 1 + (0.26 if other is None else 0.4) * len(classes)), layout="constrained")
    thickness = 0.8 / len(runs)
    for i, (run, name, colour, line) in enumerate(zip(runs, names, (BLUE, ORANGE), ("--", ":"), strict=False)):
        y = np.arange(len(classes)) + thickness * (i - (len(runs) - 1) / 2)
        ax.barh(y, np.nan_to_num(run.iou), height=thickness, color=colour, label=None if other is None else name)
        ax.axvline(run.miou, color=colour, linestyle=line, linewidth=1.5, label=f"mIoU {run.miou:.1%}")
        for value, position in zip(run.iou, y, strict=True):
            _write(ax, np.nan_to_num(value) + 0.01, position, "absent" if np.isnan(value) else f"{100 * value:.1f}")
    _class_axis(ax, classes)
    ax.set_xlim(0, 1.08)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_title("IoU per class")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def class_share_bars(pixel_counts: Sequence[int], classes: Sequence[str]) -> Figure:
    """The share of the pixels that each class has, on a logarithmic axis: how unbalanced a data set is.

    pixel_counts: K counts, in the order of the K class names; void is not among them. Raises ValueError otherwise.
    """
    counts = np.asarray(pixel_counts, np.float64)
    _check_length("pixel_counts", len(counts), classes)
    if not counts.sum() > 0:
        raise ValueError("pixel_counts: expected at least one pixel, found none")
    share = counts / counts.sum()
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.26 * len(classes)), layout="constrained")
    smallest = 10 ** np.floor(np.log10(share[share > 0].min()))
    ax.barh(np.arange(len(classes)), share, height=0.8, color=BLUE)
    ax.set_xscale("log")
    ax.set_xlim(smallest / 2, 3)
    for position, value in enumerate(share):
        digits = np.format_float_positional(100 * value, precision=2, fractional=False, trim="-")
        _write(ax, max(value, smallest / 2) * 1.1, position, f"{digits}%" if value else "no pixel")
    _class_axis(ax, classes)
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    ax.set_title("share of the labelled pixels (logarithmic)")
    return figure


@styled
def confusion_heatmap(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """A confusion matrix as shares of each row: where the pixels of a class went.

    matrix: (K, K) counts, array or CPU tensor, rows = labels, columns = predictions. Up to 12 classes the percentages
    are written in. A class without a labelled pixel has an empty row. Raises ValueError if the matrix is not K x K.
    """
    counts = np.asarray(matrix, np.float64)
    k = len(classes)
    if counts.shape != (k, k):
        raise ValueError(f"matrix: expected ({k}, {k}) for {k} classes, found {counts.shape}")
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    size = 2.4 + (0.42 if k <= 12 else 0.3) * k
    figure, ax = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    # The square root spreads the small shares, where the confusions are.
    drawn = ax.imshow(np.ma.masked_invalid(share), cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    ax.set_facecolor("#EEEEEE")
    ax.set_xticks(range(k), classes, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(k), classes)
    ax.set_xlabel("predicted as")
    ax.set_ylabel("label")
    ax.set_title("where the pixels of each class went")
    if k <= 12:
        for (row, column), value in np.ndenumerate(share):
            if not np.isnan(value):
                colour = "white" if value > 0.35 else INK
                ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    figure.colorbar(
        drawn, ax=ax, shrink=0.8, ticks=ticks, format=PercentFormatter(1, decimals=0), label="share of the row"
    )
    return figure


def _write(ax: Axes, x: float, y: float, text: str) -> None:
    written = ax.text(x, y, text, va="center", fontsize=8)
    written.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _class_axis(ax: Axes, classes: Sequence[str]) -> None:
    ax.set_yticks(range(len(classes)), classes)
    ax.set_ylim(len(classes) - 0.4, -0.6)
    ax.grid(axis="x")


def _check_length(name: str, found: int, classes: Sequence[str]) -> None:
    if found != len(classes):
        raise ValueError(f"{name}: expected {len(classes)} values, one per class, found {found}")
