"""The figure of notebook 02, section on output stride."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import INK, styled


@styled
def show_maps(maps: Mapping[str, np.ndarray]) -> Figure:
    """Maps of one quantity at different resolutions, side by side at one size and in one colour scale.

    maps: title -> (H, W). The pixels that each shares with the smallest one, of m rows, are ringed: every `step`-th
    of a map of step * (m - 1) + 1 rows.
    """
    arrays = [np.asarray(values) for values in maps.values()]
    limit = max(np.abs(values).max() for values in arrays)
    fewest = min(values.shape[0] for values in arrays)
    figure, axes = draw_panels(list(maps), max_columns=len(maps), width=3.2)
    for ax, values in zip(axes, arrays, strict=True):
        ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        step = max(1, (values.shape[0] - 1) // max(1, fewest - 1))
        rows, columns = np.mgrid[: values.shape[0] : step, : values.shape[1] : step]
        ax.plot(columns.ravel(), rows.ravel(), "o", color="none", markeredgecolor=INK, markersize=7)
    return figure
