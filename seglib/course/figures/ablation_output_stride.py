"""The figure of notebook 09, section on the price of a stride."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from seglib.course.figures.style import scale_log, series, styled


@styled
def against_stride(strides: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A panel per quantity, each with a line per network or set over the output stride; both axes logarithmic.

    Args:
        strides: output strides, ascending.
        panels: title -> name of a line -> a positive value per stride; nan is left out.
    """
    size = (3.5 * len(panels) + 0.5, 3.4)
    figure, axes = plt.subplots(1, len(panels), squeeze=False, figsize=size)
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
