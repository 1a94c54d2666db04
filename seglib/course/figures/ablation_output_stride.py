"""Figures of notebook 09, sections on classes that survive a stride and on its price."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from seglib.course.figures.style import GREY, scale_log, series, styled


@styled
def against_stride(strides: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A panel per quantity, each with a line per network or set over the output stride; both axes logarithmic.

    Args:
        strides: output strides, ascending.
        panels: title -> name of a line -> a positive value per stride; nan is left out.
    """
    size = (3.5 * len(panels) + 0.5, 3.4)
    figure, axes = plt.subplots(1, len(panels), squeeze=False, figsize=size, layout="constrained")
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for (name, values), look in zip(lines.items(), series(len(lines)), strict=True):
            style = {"color": look.colour, "marker": look.marker, "markersize": 5, "linewidth": 1.5}
            ax.plot(strides, values, label=name, **style)
        scale_log(ax, strides, [value for values in lines.values() for value in values])
        ax.set_xlabel("output stride")
        ax.set_title(title)
        ax.grid(axis="y")
        if len(lines) > 1:
            ax.legend()
    return figure


@styled
def scatter_named(groups: Mapping[str, pd.DataFrame]) -> Figure:
    """A named mark per row of each group, x on a logarithmic axis; rows without a number are left out.

    groups: name -> two columns, x and y, whose names stand at the axes; the index names the rows.
    """
    figure, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for number, ((name, rows), look) in enumerate(zip(groups.items(), series(len(groups)), strict=True)):
        ax.set(xlabel=rows.columns[0], ylabel=rows.columns[1])
        rows = rows.dropna().sort_values(rows.columns[0])
        ax.plot(rows.iloc[:, 0], rows.iloc[:, 1], look.marker, color=look.colour, markersize=7, label=name)
        for place, (row, x, y) in enumerate(rows.itertuples()):
            below = (number if len(groups) > 1 else place) % 2 == 0  # neighbours' names must not meet
            style = {"xytext": (0, -14 if below else 6), "ha": "center", "fontsize": 8, "color": look.colour}
            ax.annotate(str(row), (x, y), textcoords="offset points", **style)
    if not ax.texts:
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_xscale("log")
    for formatter in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        formatter("{x:g}")
    ax.margins(x=0.15, y=0.14)
    ax.grid()
    if len(groups) > 1:
        figure.legend(loc="outside lower center", ncols=len(groups))
    return figure
