"""The ablations: a study's effects beside the paper's, the noise of batch statistics, cost and loss against stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

LINES = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"), (INK, "v"))
VERDICT_COLOURS = {"confirmed": GREEN, "contradicted": VERMILION, "higher": BLUE, "lower": BLUE}


@styled
def effects_figure(table: pd.DataFrame) -> Figure:
    """A line per row of a study: our difference to the base row with its interval, and the paper's, in points.

    Filled: ours, with a bar where there are two seeds or more. Hollow: the paper's. The verdict stands on the right; a
    row without a run is grey. A study without any run is drawn too.

    table: `Study.table()`. Raises ValueError: a column is missing, or no row is the base.
    """
    needed = ("n", "difference", "low", "high", "paper difference", "effect")
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"table: expected the columns of Study.table(), {missing} are missing")
    if list(table["effect"]).count("base") != 1:
        raise ValueError(f"table: expected one row whose effect is 'base', found {list(table['effect'])}")
    base = table.index[table["effect"] == "base"][0]
    figure, ax = plt.subplots(figsize=(8, 1.4 + 0.36 * len(table)), layout="constrained")
    ax.axvline(0, color=GREY, linewidth=1)
    for y, (row, line) in enumerate(table.iterrows()):
        _draw_effect(ax, y, line, is_base=row == base)
    ax.set_yticks(range(len(table)), list(table.index))
    for label, runs in zip(ax.get_yticklabels(), table["n"], strict=True):
        label.set_color(INK if runs else GREY)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.tick_params(left=False)
    ax.grid(axis="x")
    ax.margins(x=0.08)
    if not np.isfinite(table[["difference", "paper difference"]].to_numpy(dtype=float)).any():
        ax.set_xlim(-1, 1)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    ax.set_xlabel(f"difference to {base}, points of mIoU")
    ours = ax.plot([], [], "o", color=INK, label="ours, 95 % interval")
    theirs = ax.plot([], [], "D", color=INK, markerfacecolor="white", label="the paper's")
    published = table["paper difference"].notna().any()
    figure.legend(handles=ours + (theirs if published else []), loc="outside lower center", ncols=2)
    return figure


def _draw_effect(ax: Axes, y: int, line: pd.Series, is_base: bool) -> None:
    if not np.isnan(line["paper difference"]):
        colour = INK if line["n"] else GREY
        ax.plot(100 * line["paper difference"], y + 0.14, "D", color=colour, markerfacecolor="white", markersize=6)
    if not np.isnan(line["difference"]):
        colour = VERDICT_COLOURS.get(line["effect"], INK)
        low, high = 100 * line["low"], 100 * line["high"]
        if not np.isnan(low):
            ax.plot([low, high], [y - 0.14] * 2, color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(100 * line["difference"], y - 0.14, "o", color=colour, markersize=7)
    word = "base" if is_base else line["effect"]
    if is_base and not line["n"]:
        word = "base, not run"
    colour = VERDICT_COLOURS.get(word, INK) if line["n"] else GREY
    ax.text(1.02, y, word, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=colour)


@styled
def batch_noise(samples: Mapping[int, np.ndarray], spreads: Mapping[str, Mapping[int, float]]) -> Figure:
    """Left: the means of many batches of one channel, by batch size; right: their spread in several layers.

    The grey line on the right falls as one over the square root of the batch size; it lies above all layers.

    Args:
        samples: batch size -> means of batches drawn at random, in standard deviations of the channel.
        spreads: layer -> batch size -> standard deviation of the batch mean, same unit.

    Raises:
        ValueError: no batch size, or no layer.
    """
    if not samples or not spreads:
        raise ValueError(f"expected samples and spreads, found {len(samples)} batch sizes and {len(spreads)} layers")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    edges = np.linspace(*np.quantile(np.concatenate(list(samples.values())), [0.001, 0.999]), 61)
    for height, (size, means) in enumerate(samples.items()):
        counts, _ = np.histogram(means, edges)
        left.fill_between(
            edges, -height, -height + 0.9 * np.append(counts, 0) / counts.max(), step="post", color=BLUE, alpha=0.6
        )
        left.text(edges[0], -height + 0.12, f"{size}", fontsize=9, color=INK)
    left.axvline(0, color=GREY, linewidth=1)
    left.set_yticks([])
    left.set_ylabel("batch size")
    left.set_xlabel("batch mean, in standard deviations of the channel")
    left.set_title(f"the means of {len(means):,} batches each")
    for (layer, line), (colour, marker) in zip(spreads.items(), cycle(LINES), strict=False):
        sizes = np.array(list(line))
        values = np.array(list(line.values()))
        right.plot(sizes, values, color=colour, marker=marker, markersize=5, linewidth=1.5, label=layer)
    highest = max(max(line.values()) for line in spreads.values())
    right.plot(sizes, 1.3 * highest * np.sqrt(sizes[0] / sizes), color=GREY, linewidth=1, linestyle="--")
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    _plain_powers(right, [value for line in spreads.values() for value in line.values()])
    _plain_ticks(right, sizes)
    right.set_xlabel("batch size")
    right.set_title("spread of the batch mean")
    right.grid(axis="y", which="both")
    right.legend(loc="lower left")
    return figure


@styled
def against_stride(strides: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A panel per quantity, each with a line per network or set over the output stride; both axes logarithmic.

    Args:
        strides: output strides, ascending.
        panels: title -> name of a line -> a positive value per stride; nan is left out.

    Raises:
        ValueError: no panel, or a line of another length.
    """
    if not panels:
        raise ValueError("panels: expected at least one, found none")
    figure, axes = plt.subplots(1, len(panels), figsize=(3.5 * len(panels) + 0.5, 3.4), layout="constrained")
    for ax, (title, lines) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for (name, values), (colour, marker) in zip(lines.items(), cycle(LINES), strict=False):
            if len(values) != len(strides):
                raise ValueError(f"{title}, {name}: expected {len(strides)} values, found {len(values)}")
            ax.plot(strides, values, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        _plain_powers(ax, [value for values in lines.values() for value in values])
        _plain_ticks(ax, strides)
        ax.set_xlabel("output stride")
        ax.set_title(title)
        ax.grid(axis="y")
        if len(lines) > 1:
            ax.legend()
    return figure


@styled
def survival_curves(sizes: Sequence[float], curves: Mapping[int, Sequence[float]]) -> Figure:
    """The share of an object that is left, against the object's size, a line per output stride.

    Args:
        sizes: middle of each class of sizes, in pixels, ascending.
        curves: output stride -> a share in 0..1 per size, nan where there is no object.
    """
    figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(curves)))
    for (stride, shares), colour, (_, marker) in zip(curves.items(), shades, cycle(LINES), strict=False):
        ax.plot(sizes, shares, color=colour, marker=marker, markersize=5, linewidth=1.5, label=f"{stride}")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("pixels of the object")
    ax.set_ylabel("share of its pixels that is kept")
    ax.grid(axis="y")
    figure.legend(title="output stride", loc="outside right upper")
    return figure


@styled
def class_scatter(xs: Sequence[float], ys: Sequence[float], classes: Sequence[str], xlabel: str, ylabel: str) -> Figure:
    """A named dot per class, x on a logarithmic axis; a class whose y is nan is left out.

    Raises ValueError: the three differ in length.
    """
    if not len(xs) == len(ys) == len(classes):
        raise ValueError(f"expected a value per class, found {len(xs)}, {len(ys)} for {len(classes)} classes")
    figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for place, (x, y, name) in enumerate(sorted(zip(xs, ys, classes, strict=True))):
        if not np.isnan(y):
            ax.plot(x, y, "o", color=BLUE, markersize=6)
            beside = {"xytext": (0, 6 if place % 2 else -15), "ha": "center"}  # neighbours' names must not meet
            ax.annotate(name, (x, y), textcoords="offset points", fontsize=9, **beside)
    ax.set_xscale("log")
    for formatter in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        formatter(StrMethodFormatter("{x:g}"))
    ax.margins(x=0.12, y=0.12)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid()
    if np.isnan(np.asarray(ys, dtype=float)).all():
        ax.set_xlim(min(xs) / 1.2, max(xs) * 1.2)
        ax.set_ylim(0, 1)
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", va="center", color=GREY)
    return figure


@styled
def points_against_cost(groups: Mapping[str, pd.DataFrame]) -> Figure:
    """Score against compute, a mark per row of each group; rows without a score are left out.

    groups: name -> columns "billions" (Mult-Adds) and "points" (mIoU in %), the index names the rows.
    """
    figure, ax = plt.subplots(figsize=(8, 5.2), layout="constrained")
    for (name, rows), (colour, marker), below in zip(groups.items(), cycle(LINES), cycle((True, False)), strict=False):
        rows = rows.dropna()
        ax.plot(rows["billions"], rows["points"], marker, color=colour, markersize=7, label=name, linestyle="none")
        for row, line in rows.iterrows():
            place = (line["billions"], line["points"])
            beside = {"xytext": (0, -13 if below else 6), "ha": "center"}  # neighbours' names must not meet
            ax.annotate(str(row), place, textcoords="offset points", fontsize=8, color=colour, **beside)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.margins(x=0.15, y=0.12)
    ax.set_xlabel("billion Mult-Adds per image")
    ax.set_ylabel("mIoU, %")
    ax.grid()
    figure.legend(loc="outside lower center", ncols=len(groups))
    return figure


def _plain_powers(ax: Axes, values: Sequence[float]) -> None:
    """Numbers on a logarithmic y axis without powers of ten; between these too where it spans less than two."""
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    few = max(values) < 100 * min(values)
    ax.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}") if few else NullFormatter())


def _plain_ticks(ax: Axes, values: Sequence[int]) -> None:
    ax.set_xticks(list(values), [str(value) for value in values])
    ax.xaxis.set_minor_locator(NullLocator())
