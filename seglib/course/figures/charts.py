"""Charts: training curves, scores per class, rows of a study, seeds and their spread."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from seglib.course.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    RULE,
    VERMILION,
    halo,
    name_columns,
    name_rows,
    series,
    styled,
    write_plainly,
)
from seglib.metrics import Scores

LETTER_SHARE = 0.014  # of a panel's width
MOST_MARKS = 24  # on a line, beyond which marks run into each other
VERDICT_COLOURS = {"confirmed": GREEN, "contradicted": VERMILION, "higher": BLUE, "lower": BLUE}


@styled
def training_curves(histories: pd.DataFrame | Mapping[str, pd.DataFrame]) -> Figure:
    """Loss, learning rate and validation mIoU over the iterations, of one run or of several.

    histories: `Trainer.history`, or name -> such a table: columns iteration, loss, lr, and optionally miou in 0..1; nan
    where nothing was logged or evaluated.
    """
    runs = {"": histories} if isinstance(histories, pd.DataFrame) else histories
    figure, axes = plt.subplots(1, 3, figsize=(11, 3 if len(runs) == 1 else 3.3))
    titles = ["training loss, moving mean", "learning rate", "validation mIoU: not evaluated"]
    for (name, history), look in zip(runs.items(), series(len(runs)), strict=True):
        loss, rate = history.dropna(subset=["loss"]), history.dropna(subset=["lr"])
        evaluated = history.reindex(columns=["iteration", "miou"]).dropna()
        smooth = loss.loss.rolling(max(1, len(loss) // 20), min_periods=1, center=True).mean()
        axes[0].plot(loss.iteration, loss.loss, color=look.colour, alpha=0.25, linewidth=1)
        axes[0].plot(loss.iteration, smooth, color=look.colour, linewidth=2, label=name)
        axes[1].plot(rate.iteration, rate.lr, color=look.colour, linewidth=2)
        if len(evaluated):
            line = {"color": look.colour, "marker": look.marker, "linewidth": 2, "markersize": 4, "clip_on": False}
            axes[2].plot(evaluated.iteration, evaluated.miou, **line)
            best = evaluated.loc[evaluated.miou.idxmax()]
            titles[2] = f"validation mIoU, best {best.miou:.1%} at {best.iteration:.0f}"
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[2].yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    end = max(history.iteration.max() for history in runs.values())
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlabel="iteration", xlim=(0, end + 1))
        ax.set_ylim(bottom=0)
        ax.grid(axis="y")
    if len(runs) > 1:
        axes[2].set_title("validation mIoU")
        figure.legend(loc="outside lower center", ncols=len(runs))
    return figure


@styled
def line_chart(
    xs: Sequence[float],
    lines: Mapping[object, Sequence[float] | np.ndarray],
    xlabel: str,
    ylabel: str,
    *,
    legend: str | None = None,
    log: bool = False,
) -> Figure:
    """Shares in 0..1 as lines, each with a colour, dashes and marks of its own.

    Args:
        xs: N places, ascending.
        lines: name -> N values, nan where there is none, or (runs, N), of which the mean is drawn as the line and each
            run as faint marks.
        xlabel: the quantity of the places.
        ylabel: the quantity of the values.
        legend: the legend's title.
        log: give the places a logarithmic axis.
    """
    figure, ax = plt.subplots(figsize=(7.5, 3.6))
    for (name, values), look in zip(lines.items(), series(len(lines)), strict=True):
        runs = np.atleast_2d(values)
        marker = look.marker if len(xs) <= MOST_MARKS else ""
        style = {"color": look.colour, "marker": marker, "markersize": 5}
        label = name if len(runs) == 1 else f"{name}, mean of {len(runs)}"
        ax.plot(xs, runs.mean(axis=0), linestyle=look.dash, linewidth=2, label=label, **style)
        if len(runs) > 1:
            ax.plot(xs, runs.T, linestyle="", alpha=0.4, **style)
    if log:
        ax.set_xscale("log")
        write_plainly(ax.xaxis, xs)
    elif len(xs) <= MOST_MARKS:
        ax.set_xticks(xs)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid()
    figure.legend(title=legend, loc="outside right upper")
    return figure


@styled
def iou_bars(
    scores: Scores,
    classes: Sequence[str],
    other: Scores | None = None,
    names: tuple[str, str] = ("this run", "the other"),
) -> Figure:
    """IoU per class as bars, absent classes marked as such, and the mIoU as a line.

    Args:
        scores: of K classes.
        classes: K names.
        other: scores that are drawn beside them.
        names: the legend of the two.
    """
    runs = [scores] if other is None else [scores, other]
    figure, ax = plt.subplots(figsize=(7.5, 1 + (0.26 if other is None else 0.4) * len(classes)))
    thickness = 0.8 / len(runs)
    for i, (run, name, colour, dash) in enumerate(zip(runs, names, (BLUE, ORANGE), ("--", ":"), strict=False)):
        y = np.arange(len(classes)) + thickness * (i - (len(runs) - 1) / 2)
        ax.barh(y, np.nan_to_num(run.iou), height=thickness, color=colour, label=None if other is None else name)
        ax.axvline(run.miou, color=colour, linestyle=dash, linewidth=1.5, label=f"mIoU {run.miou:.1%}")
        for value, position in zip(run.iou, y, strict=True):
            _write(ax, np.nan_to_num(value) + 0.01, position, "absent" if np.isnan(value) else f"{100 * value:.1f}")
    name_rows(ax, classes)
    ax.set_xlim(0, 1.08)
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_title("IoU per class")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def class_share_bars(pixel_counts: Sequence[int], classes: Sequence[str]) -> Figure:
    """The share of the pixels that each class has, on a logarithmic axis: how unbalanced a data set is.

    pixel_counts: in the order of the class names, without void.
    """
    share = np.asarray(pixel_counts, np.float64) / np.sum(pixel_counts)
    smallest = 10 ** np.floor(np.log10(share[share > 0].min()))
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.26 * len(classes)))
    ax.barh(np.arange(len(classes)), share, height=0.8, color=BLUE)
    ax.set_xscale("log")
    ax.set_xlim(smallest / 2, 3)
    for position, value in enumerate(share):
        digits = np.format_float_positional(100 * value, precision=2, fractional=False, trim="-")
        _write(ax, max(value, smallest / 2) * 1.1, position, f"{digits}%" if value else "no pixel")
    name_rows(ax, classes)
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    ax.set_title("share of the labelled pixels (logarithmic)")
    return figure


def _write(ax: Axes, x: float, y: float, text: str) -> None:
    ax.text(x, y, text, va="center", fontsize=8, path_effects=halo("white"))


@styled
def confusion_heatmap(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """A confusion matrix as shares of each row: where the pixels of a class went.

    matrix: (K, K) counts, array or CPU tensor, rows = labels, columns = predictions. Up to 12 classes the percentages
    are written in. A class without a labelled pixel has an empty row.

    Raises:
        ValueError: if the matrix does not have a row and a column for each class.
    """
    counts = np.asarray(matrix, np.float64)
    k = len(classes)
    if counts.shape != (k, k):
        raise ValueError(f"matrix: expected ({k}, {k}) for {k} classes, found {counts.shape}")
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    size = 2.4 + (0.42 if k <= 12 else 0.3) * k
    figure, ax = plt.subplots(figsize=(size + 0.8, size))
    # The square root spreads the small shares, where the confusions are.
    drawn = ax.imshow(np.ma.masked_invalid(share), cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    ax.set_facecolor(PALE)
    name_columns(ax, classes)
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
    figure.colorbar(drawn, ax=ax, shrink=0.8, ticks=ticks, format="{x:.0%}", label="share of the row")
    return figure


@styled
def seed_dots(ious: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """IoU per class of several networks, a mark per seed and a bar at their mean; the last row is the mIoU.

    ious: name -> (runs, K) in 0..1.
    """
    rows = [*classes, "mIoU"]
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.5 * len(rows)))
    for i, ((name, values), look) in enumerate(zip(ious.items(), series(len(ious)), strict=True)):
        table = np.column_stack([values, values.mean(axis=1)])  # (runs, K + 1)
        y = np.arange(len(rows)) + 0.18 * (i - (len(ious) - 1) / 2)
        ax.plot(table.T, y, look.marker, color=look.colour, markersize=4, alpha=0.6)
        ax.plot(table.mean(axis=0), y, "|", color=look.colour, markersize=11, markeredgewidth=2)
        ax.plot([], [], look.marker, color=look.colour, label=f"{name} (n = {len(values)})")
    for edge in np.arange(len(rows) - 1) + 0.5:
        ax.axhline(edge, color=INK if edge > len(classes) - 1 else RULE, linewidth=0.8)
    name_rows(ax, rows)
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_title("IoU; a mark is one seed, a bar their mean")
    figure.legend(loc="outside lower center", ncols=len(ious))
    return figure


@styled
def study_dots(values: Mapping[str, Sequence[float]], base: str, xlabel: str = "mIoU") -> Figure:
    """A line per row of a study: a small mark per seed, the mean, and a bar of one standard deviation to either side.

    Args:
        values: row -> a score in 0..1 per seed; a row without any is drawn as "not run".
        base: the row whose mean is drawn as a vertical line.
        xlabel: the score's name.
    """
    figure, ax = plt.subplots(figsize=(7.5, 1.1 + 0.36 * len(values)))
    ax.axvline(np.mean(values[base]), color=GREY, linewidth=1, linestyle="--")
    for y, (row, scores) in enumerate(values.items()):
        if not len(scores):
            ax.text(np.mean(values[base]), y, " not run", va="center", fontsize=9, color=GREY)
            continue
        colour = INK if row == base else BLUE
        spread = np.std(scores, ddof=1) if len(scores) > 1 else 0
        ax.plot(scores, np.full(len(scores), y - 0.17), "o", color=colour, alpha=0.5, markersize=4)
        ax.errorbar(np.mean(scores), y + 0.1, xerr=spread, fmt="D", color=colour, markersize=6, capsize=4)
    name_rows(ax, list(values))
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel(xlabel)
    figure.suptitle(f"dots: seeds; diamond and bar: mean and sd; dashed: mean of {base}", x=0.01, ha="left", fontsize=9)
    return figure


@styled
def effects_figure(table: pd.DataFrame) -> Figure:
    """A line per row of a study: our difference to the base row with its interval, and the paper's, in points.

    Filled: ours, with a bar where there are two seeds or more. Hollow: the paper's. The verdict stands on the right; a
    row without a run is grey. A study without any run is drawn too.

    table: `Study.table()`.
    """
    base = table.index[table["effect"] == "base"][0]
    figure, ax = plt.subplots(figsize=(8, 1.4 + 0.36 * len(table)))
    ax.axvline(0, color=GREY, linewidth=1)
    for y, (row, line) in enumerate(table.iterrows()):
        _draw_effect(ax, y, line, is_base=row == base)
    name_rows(ax, list(table.index))
    for label, runs in zip(ax.get_yticklabels(), table["n"], strict=True):
        label.set_color(INK if runs else GREY)
    ax.margins(x=0.08)
    if table[["difference", "paper difference"]].isna().all(axis=None):
        ax.set_xlim(-1, 1)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    ax.set_xlabel(f"difference to {base}, points of mIoU")
    ax.plot([], [], "o", color=INK, label="ours, 95 % interval")
    if table["paper difference"].notna().any():
        ax.plot([], [], "D", color=INK, markerfacecolor="white", label="the paper's")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw_effect(ax: Axes, y: int, line: pd.Series, is_base: bool) -> None:
    verdict = "base, not run" if is_base and not line["n"] else line["effect"]
    colour = VERDICT_COLOURS.get(verdict, INK) if line["n"] else GREY
    if not np.isnan(line["paper difference"]):
        style = {"color": INK if line["n"] else GREY, "markerfacecolor": "white", "markersize": 6}
        ax.plot(100 * line["paper difference"], y + 0.14, "D", **style)
    if not np.isnan(line["difference"]):  # a nan at the ends draws no bar
        ax.plot([100 * line["low"], 100 * line["high"]], [y - 0.14] * 2, color=colour, lw=2, solid_capstyle="butt")
        ax.plot(100 * line["difference"], y - 0.14, "o", color=colour, markersize=7)
    ax.text(1.02, y, verdict, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=colour)


@styled
def difference_map(differences: pd.DataFrame) -> Figure:
    """The gains (blue) and losses (red) of each row of a study in each class, in points of IoU.

    differences: rows of a study x classes, in -1..1; nan is left empty.
    """
    figure, ax = plt.subplots(figsize=(2.6 + 0.62 * differences.shape[1], 1.3 + 0.34 * len(differences)))
    points = 100 * differences.to_numpy(float)
    largest = max(1.0, float(np.nanmax(np.abs(points))))
    drawn = draw_gains(ax, points, largest, [[_signed(value) for value in row] for row in points])
    name_columns(ax, list(differences.columns))
    ax.set_yticks(range(len(differences)), list(differences.index))
    figure.colorbar(drawn, ax=ax, label="points of IoU")
    return figure


def _signed(points: float) -> str:
    return "" if np.isnan(points) else f"{points:+.0f}" if round(points) else "0"


def draw_gains(
    ax: Axes,
    points: np.ndarray,
    largest: float,
    texts: Sequence[Sequence[str]],
    bold: np.ndarray | None = None,
) -> ScalarMappable:
    """Draws a table of gains (blue) and losses (red) up to `largest`, each cell with its text; nan stays white."""
    drawn = ax.imshow(points, cmap="RdBu", norm=TwoSlopeNorm(0, -largest, largest), aspect="auto")
    for (row, column), value in np.ndenumerate(points):
        colour = "white" if abs(value) > 0.65 * largest else INK
        weight = "bold" if bold is not None and bold[row, column] else "normal"
        style = {"fontsize": 9 if "\n" in texts[row][column] else 8, "color": colour, "weight": weight}
        ax.text(column, row, texts[row][column], ha="center", va="center", **style)
    ax.tick_params(left=False, bottom=False)
    return drawn


@styled
def class_curves(class_history: pd.DataFrame) -> Figure:
    """IoU of every class over training, each line named at its end; dashed: their mean.

    class_history: a row per evaluation, indexed by the iteration, a column per class (`Trainer.class_history`).

    Raises:
        ValueError: if there are fewer than two evaluations, which make no line.
    """
    if len(class_history) < 2:
        raise ValueError(f"class_history: expected at least two evaluations, found {len(class_history)}")
    figure, ax = plt.subplots(figsize=(8, 4.4))
    shown = class_history.dropna(axis="columns", how="all")
    colours = {"mean": GREY}
    for name, look in zip(shown, series(shown.shape[1]), strict=True):
        ax.plot(shown.index, shown[name], color=look.colour, marker=look.marker, linewidth=1.5, markersize=4)
        colours[name] = look.colour
    ax.plot(shown.index, shown.mean(axis=1), "--", color=GREY, linewidth=3)
    ends = shown.iloc[-1].to_dict() | {"mean": shown.iloc[-1].mean()}
    right = shown.index[-1] + 0.015 * (shown.index[-1] - shown.index[0])
    for name, y in _spread(ends, 0.042).items():
        ax.text(right, y, f"{name} {100 * ends[name]:.0f}", color=colours[name], va="center", fontsize=8)
    ax.set_xlabel("iteration")
    ax.set_ylim(0, 1)
    ax.set_xlim(shown.index[0], shown.index[-1])
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.grid(axis="y")
    ax.set_title("IoU on the val list over training")
    return figure


def _spread(values: Mapping[str, float], gap: float) -> dict[str, float]:
    """The values moved up, from the lowest on, until neighbours are `gap` apart: places for their names."""
    places: dict[str, float] = {}
    lowest = -np.inf
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        places[name] = lowest = max(value, lowest + gap)
    return places


@styled
def score_bars(groups: Mapping[str, Mapping[str, float]], xlabel: str = "mIoU") -> Figure:
    """Horizontal bars in groups of one colour, each with its value in per cent.

    Args:
        groups: name -> name of a bar -> a share such as a score, at least 0.
        xlabel: its name.
    """
    figure, ax = plt.subplots(figsize=(7.5, 1))
    y, places, names = 0.5, [], []
    for (group, bars), look in zip(groups.items(), series(len(groups)), strict=True):
        at = [y + 1 + number for number in range(len(bars))]
        ax.barh(at, list(bars.values()), height=0.8, color=look.colour, label=group)
        for place, value in zip(at, bars.values(), strict=True):
            ax.text(value + 0.005, place, f"{100 * value:.1f}", va="center", fontsize=8)
        places, names, y = [*places, *at], [*names, *bars], at[-1] + 0.5
    figure.set_figheight(1 + 0.27 * y)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.tick_params(left=False)
    ax.set_xlim(0, 1.12 * max(max(bars.values()) for bars in groups.values()))
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel(xlabel)
    ax.grid(axis="x")
    if len(groups) > 1:
        figure.legend(loc="outside lower center", ncols=len(groups))
    return figure


@styled
def scatter_named(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Named marks, a panel per title and a look per group, x on a logarithmic axis; what has no number is left out.

    panels: title -> group -> columns x and y, whose names stand at the axes, and optionally low and high, the ends of
    y's interval. The index names the marks; "" is not written.
    """
    tables = [(title, group, rows) for title, members in panels.items() for group, rows in members.items()]
    xlabel, ylabel, *_ = tables[0][2].columns
    fields = ("x", "y", "low", "high")
    points = pd.concat(
        [
            rows.set_axis(fields[: rows.shape[1]], axis=1).dropna(subset=["x", "y"]).assign(panel=title, group=group)
            for title, group, rows in tables
        ]
    )
    groups = list(dict.fromkeys(group for _, group, _ in tables))
    looks = dict(zip(groups, series(len(groups)), strict=True))
    size = (3 + 4 * len(panels), 4.3)
    figure, axes = plt.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True, figsize=size)
    axes[0, 0].set(xscale="log", ylabel=ylabel)
    if len(points):
        low, high = points.x.min() / 1.5, points.x.max() * 1.9
        margin = 0.14 * (points.y.max() - points.y.min()) or 0.1
        axes[0, 0].set(xlim=(low, high), ylim=(points.y.min() - margin, points.y.max() + margin))
        write_plainly(axes[0, 0].xaxis, points.x)
    for ax, title in zip(axes[0], panels, strict=True):
        ax.set(title=title, xlabel=xlabel)
        ax.grid()
        here = points[points.panel == title]
        for group, rows in here.groupby("group", sort=False):
            style = {"color": looks[group].colour, "label": group, "markersize": 6}
            ax.plot(rows.x, rows.y, looks[group].marker, **style)
            if "low" in rows:
                ax.vlines(rows.x, rows.low, rows.high, color=style["color"], linewidth=1, alpha=0.6)
        if here.empty:
            ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", va="center", color=GREY)
            continue
        shares = ax.transAxes.inverted().transform(ax.transData.transform(here[["x", "y"]].to_numpy(float)))
        places = _name_places(*shares.T, list(here.index))
        for (name, mark), (offset, side) in zip(here.iterrows(), places, strict=True):
            style = {"fontsize": 8, "ha": side, "va": "center", "path_effects": halo("white")}
            style["color"] = looks[mark.group].colour
            ax.annotate(name, (mark.x, mark.y), offset, textcoords="offset points", **style)
    if len(groups) > 1:
        marks = [
            Line2D([], [], linestyle="", color=looks[group].colour, marker=looks[group].marker) for group in groups
        ]
        figure.legend(marks, groups, loc="outside lower center", ncols=3)
    return figure


def _name_places(x: Sequence[float], y: Sequence[float], names: Sequence[str]) -> list[tuple[tuple[int, int], str]]:
    """Offset in points and alignment of each mark's name, so that names lie on no mark and on no other name.

    x, y: shares of the panel's sides. Where no place is free, a name stands right of its mark.
    """
    taken = [(a - 0.012, b - 0.02, a + 0.012, b + 0.02) for a, b in zip(x, y, strict=True)]
    places = []
    for a, b, name in zip(x, y, names, strict=True):
        width = LETTER_SHARE * len(name)
        boxes = {
            place: (left, middle - 0.02, left + width, middle + 0.02)
            for place, (left, middle) in {
                ((6, 0), "left"): (a + 0.015, b),
                ((-6, 0), "right"): (a - 0.015 - width, b),
                ((0, 10), "center"): (a - width / 2, b + 0.045),
                ((0, -10), "center"): (a - width / 2, b - 0.045),
            }.items()
        }
        free = [place for place, box in boxes.items() if box[0] > 0 and not any(_overlap(box, o) for o in taken)]
        places.append(free[0] if free else next(iter(boxes)))
        taken.append(boxes[places[-1]])
    return places


def _overlap(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    """Tells if two boxes (left, bottom, right, top) share a point."""
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
