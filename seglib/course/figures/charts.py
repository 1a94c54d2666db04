"""Charts: lines, bars, heat maps, seeds and their spread, rows of a study, named marks."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Bbox

from seglib.course.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PALE,
    RULE,
    VERMILION,
    Look,
    halo,
    legend_columns,
    name_columns,
    name_rows,
    png,
    series,
    styled,
    write_per_cent,
    write_plainly,
)
from seglib.studies.study import Study

NAME_PLACES = (((6, 0), "left"), ((-6, 0), "right"), ((0, 10), "center"), ((0, -10), "center"))  # in points
MOST_MARKS = 24  # on a line, beyond which marks run into each other
MOST_TICKS = 12  # with the places' own numbers, beyond which these do
LONG_NAME = 36  # of a line, which stands below the chart and not beside it
MOST_CLASSES = 12  # of a confusion matrix whose percentages are written in
VERDICT_COLOURS = {"confirmed": GREEN, "contradicted": VERMILION, "higher": BLUE, "lower": BLUE}

Line = Sequence[float] | np.ndarray | pd.DataFrame


@styled
def training_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss, learning rate and validation mIoU of runs over the iterations.

    histories: name -> `Trainer.history`: columns iteration, loss, lr and, where it was evaluated, miou in 0..1.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.3))
    for (name, history), look in zip(histories.items(), series(len(histories)), strict=True):
        loss, rate = history.dropna(subset=["loss"]), history.dropna(subset=["lr"])
        evaluated = history.reindex(columns=["iteration", "miou"]).dropna()
        smooth = loss.loss.rolling(max(1, len(loss) // 20), min_periods=1, center=True).mean()
        axes[0].plot(loss.iteration, loss.loss, color=look.colour, alpha=0.25, linewidth=1)
        axes[0].plot(loss.iteration, smooth, color=look.colour, label=name)
        axes[1].plot(rate.iteration, rate.lr, color=look.colour)
        if len(evaluated):
            axes[2].plot(evaluated.iteration, evaluated.miou, color=look.colour, marker=look.marker, clip_on=False)
    axes[1].yaxis.set_major_formatter("{x:g}")
    write_per_cent(axes[2].yaxis)
    end = max(history.iteration.max() for history in histories.values())
    for ax, title in zip(axes, ("training loss, moving mean", "learning rate", "validation mIoU"), strict=True):
        ax.set(title=title, xlabel="iteration", xlim=(0, end + 1))
        ax.set_ylim(bottom=0)
        ax.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=len(histories))
    return figure


@styled
def line_chart(
    xs: Sequence[float],
    panels: Mapping[str, Mapping[object, Line]],
    xlabel: str,
    ylabel: str = "",
    *,
    legend: str | None = None,
    log: str = "",
    percent: bool = True,
) -> Figure:
    """Lines in one panel or in several, a look for each name.

    Args:
        xs: N places, ascending.
        panels: title -> name -> N values, nan where there is none; or (runs, N), of which the mean is drawn as the line
            and each run as faint marks; or N rows with columns difference, low and high, the ends of a shaded interval.
        xlabel: the quantity of the places.
        ylabel: the quantity of the values.
        legend: the legend's title.
        log: the axes that are logarithmic: "", "x" or "xy".
        percent: the values are shares in 0..1.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    looks = dict(zip(names, series(len(names)), strict=True))
    size = (7.5, 3.6) if len(panels) == 1 else (2 + 3.2 * len(panels), 3.8)
    figure, axes = plt.subplots(1, len(panels), squeeze=False, figsize=size)
    handles: dict[str, Line2D] = {}
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for name, values in lines.items():
            line = draw_line(ax, xs, values, looks[name], str(name))
            handles[line.get_label()] = line
        scale(ax, xs, log, percent)
        ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    beside = len(panels) == 1 and max(map(len, handles)) < LONG_NAME
    place, columns = ("right upper", 1) if beside else ("lower center", legend_columns(handles, size[0]))
    figure.legend(handles.values(), handles, title=legend, loc=f"outside {place}", ncols=columns)
    return figure


def draw_line(ax: Axes, xs: Sequence[float], values: Line, look: Look, name: str) -> Line2D:
    """Draws a line of `line_chart` and returns it, labelled for the legend."""
    style = {"color": look.colour, "marker": look.marker if len(xs) <= MOST_MARKS else ""}
    if isinstance(values, pd.DataFrame):
        ax.fill_between(xs, values.low, values.high, color=look.colour, alpha=0.15, linewidth=0)
        values = values.difference
    runs = np.atleast_2d(values)
    if len(runs) > 1:
        ax.plot(xs, runs.T, linestyle="", alpha=0.4, **style)
        name = f"{name}, mean of {len(runs)}"
    return ax.plot(xs, runs.mean(axis=0), linestyle=look.dash, label=name, **style)[0]


def scale(ax: Axes, xs: Sequence[float], log: str, percent: bool = False) -> None:
    """Makes the axes in `log` logarithmic, and writes a number at each place and plain ones along the values."""
    if "x" in log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    if len(xs) <= MOST_TICKS:
        ax.set_xticks(list(xs), [f"{x:g}" for x in xs])
    if "y" in log:
        ax.set_yscale("log")
        write_plainly(ax.yaxis, ax.get_ylim())
    elif ax.get_ylim()[0] < 0:
        ax.axhline(0, color=GREY, linewidth=1)
    if percent:
        write_per_cent(ax.yaxis)
    ax.grid()


@styled
def share_bars(shares: Mapping[str, float], xlabel: str) -> Figure:
    """Horizontal bars with their values in per cent, a row for each name."""
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.26 * len(shares)))
    bars = ax.barh(range(len(shares)), [*shares.values()], color=BLUE)
    ax.bar_label(bars, fmt=lambda share: f"{100 * share:.3g}", padding=3, fontsize=8, path_effects=halo("white"))
    ax.set(xlabel=xlabel, xlim=(0, 1.12 * max(shares.values())))
    name_rows(ax, list(shares))
    write_per_cent(ax.xaxis)
    return figure


@styled
def seed_dots(
    groups: Mapping[str, Mapping[str, Sequence[float]] | pd.DataFrame], xlabel: str = "mIoU", base: str | None = None
) -> Figure:
    """A mark for each seed, and a bar at the mean with one standard deviation to either side.

    Args:
        groups: name -> row -> a score in 0..1 for each seed; a row without any is "not run". All have the same rows.
        xlabel: the score's name.
        base: a row whose mean in the first group is drawn as a vertical line.
    """
    rows = list(next(iter(groups.values())))
    step = 0.8 / len(groups)
    figure, ax = plt.subplots(figsize=(7.5, 1.1 + (0.22 + 0.12 * len(groups)) * len(rows)))
    for number, ((group, scores), look) in enumerate(zip(groups.items(), series(len(groups)), strict=True)):
        for row, seeds in scores.items():
            y = rows.index(row) + step * (number - (len(groups) - 1) / 2)
            colour = INK if row == base else look.colour
            if not len(seeds):
                ax.text(0.01, y, "not run", va="center", fontsize=9, color=GREY, transform=ax.get_yaxis_transform())
                continue
            spread = np.std(seeds, ddof=1) if len(seeds) > 1 else 0
            ax.plot(seeds, np.full(len(seeds), y), look.marker, color=colour, alpha=0.6, markersize=4)
            ax.errorbar(np.mean(seeds), y, xerr=spread, fmt="|", color=colour, markersize=11, markeredgewidth=2, lw=1)
        numbers = sorted({len(seeds) for _, seeds in scores.items() if len(seeds)}) or [0]
        told = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
        ax.plot([], [], look.marker, color=look.colour, label=f"{group} (n = {told})")
    note = "marks: seeds; bar: mean and standard deviation"
    if base is not None:
        note += f"; dashed: mean of {base}"
        ax.axvline(np.mean(next(iter(groups.values()))[base]), color=GREY, linewidth=1, linestyle="--")
    name_rows(ax, rows)
    write_per_cent(ax.xaxis)
    ax.set(xlabel=xlabel, xlim=(max(ax.get_xlim()[0], -0.02), None))  # a deviation may reach below 0, a score does not
    figure.suptitle(note, x=0.01, ha="left", fontsize=9)
    if len(groups) > 1:
        for edge in np.arange(1, len(rows)) - 0.5:
            ax.axhline(edge, color=RULE, linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=len(groups))
    return figure


@styled
def effects_figure(table: pd.DataFrame) -> Figure:
    """A line per row of a study: our difference to the base row with its interval, and the paper's, in points.

    Filled: ours, with a bar where there are two seeds or more. Hollow: the paper's. The verdict stands on the right; a
    row without a run is grey.

    table: `Study.table()`.
    """
    base = table.index[table["effect"] == "base"][0]
    figure, ax = plt.subplots(figsize=(8, 1.4 + 0.36 * len(table)))
    ax.axvline(0, color=GREY, linewidth=1)
    name_rows(ax, list(table.index))
    apart = 0.14 if table["paper difference"].notna().any() else 0.0  # ours lies above the paper's
    for y, (_, line) in enumerate(table.iterrows()):
        ink = INK if line["n"] else GREY
        colour = VERDICT_COLOURS.get(line["effect"].split(" (")[0], INK) if line["n"] else GREY
        # what is nan draws nothing
        ax.plot(100 * line["paper difference"], y + apart, "D", color=ink, markerfacecolor="white", markersize=6)
        ax.plot(100 * line[["low", "high"]].astype(float), [y - apart] * 2, color=colour, solid_capstyle="butt")
        ax.plot(100 * line["difference"], y - apart, "o", color=colour, markersize=7)
        ax.text(1.02, y, line["effect"], transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=colour)
        ax.get_yticklabels()[y].set_color(ink)
    ax.margins(x=0.08)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    ax.set_xlabel(f"difference to {base}, points of mIoU")
    ax.plot([], [], "o", color=INK, label="ours, 95 % interval")
    if table["paper difference"].notna().any():
        ax.plot([], [], "D", color=INK, markerfacecolor="white", label="the paper's")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_effects(study: Study, caption: str, alt: str) -> None:
    """Shows `effects_figure` of a study and a caption below it, or says how to run one that has no difference yet."""
    table = study.table()
    if table["difference"].notna().any():
        display(png(effects_figure(table), alt=alt), Markdown(f"*{caption}*"))
    else:
        print(f"No picture yet. To run the table: {study.command()}")


def draw_cells(
    ax: Axes, values: np.ndarray, texts: Sequence[Sequence[str]] | None, cmap: str, norm: Normalize, fontsize: int = 8
) -> ScalarMappable:
    """Draws a table (H, W) of numbers as a heat map, with a text in every cell; nan stays as it is."""
    drawn = ax.imshow(values, cmap=cmap, norm=norm, aspect="auto")
    red, green, blue, alpha = np.moveaxis(drawn.to_rgba(np.ma.masked_invalid(values)), -1, 0)
    inks = np.where((0.3 * red + 0.6 * green + 0.1 * blue < 0.5) & (alpha > 0), "white", INK)
    for (row, column), ink in np.ndenumerate(inks if texts is not None else []):
        ax.text(column, row, texts[row][column], ha="center", va="center", fontsize=fontsize, color=ink)
    ax.tick_params(left=False, bottom=False)
    return drawn


@styled
def confusion_heatmap(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """A confusion matrix as shares of each row, in per cent: where the pixels of a class went.

    matrix: (K, K) counts, array or CPU tensor, rows = labels, columns = predictions. A class without a labelled pixel
    has an empty row.

    Raises:
        ValueError: if the matrix does not have a row and a column for each class.
    """
    counts = np.asarray(matrix, np.float64)
    k = len(classes)
    if counts.shape != (k, k):
        raise ValueError(f"matrix: expected ({k}, {k}) for {k} classes, found {counts.shape}")
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    size = 2.4 + (0.42 if k <= MOST_CLASSES else 0.3) * k
    figure, ax = plt.subplots(figsize=(size + 0.8, size))
    ax.set_facecolor(PALE)
    texts = [["" if np.isnan(value) else f"{100 * value:.0f}" for value in row] for row in share]
    # The square root spreads the small shares, where the confusions are.
    drawn = draw_cells(ax, share, texts if k <= MOST_CLASSES else None, "Blues", PowerNorm(0.5, 0, 1))
    name_columns(ax, classes)
    ax.set_yticks(range(k), classes)
    ax.set(xlabel="predicted as", ylabel="label", title="where the pixels of each class went")
    ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]
    figure.colorbar(drawn, ax=ax, shrink=0.8, ticks=ticks, format="{x:.0%}", label="share of the row")
    return figure


@styled
def difference_map(
    panels: Mapping[str, pd.DataFrame], texts: Mapping[str, pd.DataFrame] | None = None, label: str = "points of IoU"
) -> Figure:
    """Tables of gains (blue) and losses (red) side by side, on one scale.

    Args:
        panels: title -> gains in -1..1, nan for none; index and columns name the rows and columns, the same in all.
        texts: title -> the texts of the cells; None for the gains in points.
        label: of the scale.
    """
    points = {title: 100 * table.astype(float) for title, table in panels.items()}
    if texts is None:
        texts = {title: table.map(_write_gain) for title, table in points.items()}
    largest = max(1.0, *(table.abs().max(axis=None) for table in points.values()))
    rows, columns = next(iter(points.values())).shape
    lines = 1 + max(str(text).count("\n") for table in texts.values() for text in table.to_numpy().flat)
    size = (1.4 + (1.2 + 0.62 * columns) * len(points), 1.3 + (0.16 + 0.18 * lines) * rows)
    figure, axes = plt.subplots(1, len(points), squeeze=False, figsize=size)
    for ax, (title, table) in zip(axes[0], points.items(), strict=True):
        norm = Normalize(-largest, largest)
        drawn = draw_cells(ax, table.to_numpy(), texts[title].to_numpy(), "RdBu", norm)
        name_columns(ax, list(table.columns))
        ax.set_yticks(range(rows), list(table.index))
        ax.set(title=title, xlabel=table.columns.name or "", ylabel=table.index.name or "")
    figure.colorbar(drawn, ax=axes[0, -1], label=label)
    return figure


def _write_gain(points: float) -> str:
    return "" if np.isnan(points) else f"{points:+.0f}" if round(points) else "0"


@styled
def scatter_named(groups: Mapping[str, pd.DataFrame]) -> Figure:
    """Named marks, a look per group, x on a logarithmic axis; what has no number is left out.

    groups: name -> columns x and y, whose names stand at the axes. The index names the marks.
    """
    figure, ax = plt.subplots(figsize=(7, 4.3))
    parts = []
    for (group, rows), look in zip(groups.items(), series(len(groups)), strict=True):
        parts.append(rows.set_axis(["x", "y"], axis=1).dropna().assign(colour=look.colour))
        ax.plot(parts[-1].x, parts[-1].y, look.marker, color=look.colour, markersize=6, label=group)
    points, (xlabel, ylabel) = pd.concat(parts), rows.columns
    margin = 0.14 * (points.y.max() - points.y.min())
    ax.set(xscale="log", xlabel=xlabel, xlim=(points.x.min() / 1.5, points.x.max() * 1.9))
    ax.set(ylabel=ylabel, ylim=(points.y.min() - margin, points.y.max() + margin))
    write_plainly(ax.xaxis, points.x)
    ax.grid()
    figure.legend(loc="outside lower center", ncols=3)
    figure.draw_without_rendering()  # from here on the axes stand where they will
    # A name lies on no mark and on no other name if there is such a place beside its mark, else on the right.
    radius = 4 * figure.dpi / 72
    centres = ax.transData.transform(points[["x", "y"]].to_numpy(float))
    taken = [Bbox.from_extents(x - radius, y - radius, x + radius, y + radius) for x, y in centres]
    for name, mark in points.iterrows():
        style = {"fontsize": 8, "va": "center", "path_effects": halo("white"), "color": mark.colour}
        text = ax.annotate(name, (mark.x, mark.y), (0, 0), textcoords="offset points", **style)
        for text.xyann, side in (*NAME_PLACES, NAME_PLACES[0]):
            text.set_horizontalalignment(side)
            box = text.get_window_extent()
            if box.x0 > ax.bbox.x0 and not any(map(box.overlaps, taken)):
                break
        taken.append(box)
    return figure
