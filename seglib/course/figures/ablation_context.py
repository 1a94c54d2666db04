"""The chart of notebook 10: the taps of a kernel that meet the map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from seglib.course.figures.charts import score_bars
from seglib.course.figures.style import GREY


def tap_use(rate: int, height: int, width: int) -> np.ndarray:
    """For each weight of a 3x3 kernel the share of a map's positions at which it meets the map and not its padding.

    (3, 3) float64 in 0..1, for an atrous rate of at least 1 and a map of height x width; a weight with 0 is never used.
    """
    down, across = (np.array([max(0, n - rate), n, max(0, n - rate)]) / n for n in (height, width))
    return np.outer(down, across)


def tap_chart(rates: Sequence[tuple[str, int]], side: int) -> Figure:
    """The share of the nine taps of each 3x3 kernel that meet a square map, by name and rate; dashed: a 1x1."""
    shares = {f"{name}: rate {rate}": tap_use(rate, side, side).mean() for name, rate in rates}
    figure = score_bars({"": shares}, f"share of the nine taps on a map of {side} x {side}")
    figure.axes[0].axvline(1 / 9, color=GREY, linestyle="--", linewidth=1)
    return figure


def cascade_rates(multi_grid: tuple[int, ...], last_block: int) -> list[tuple[str, int]]:
    """Name and rate of every unit of blocks 4 to `last_block` (at most 7) at output stride 16 (v3 Figure 3 (b)).

    The base rate is 2 in block 4 and doubles from block to block; a unit's is that times its entry of the multi-grid.
    """
    return [
        (f"block {block}, unit {unit}", 2 ** (block - 3) * entry)
        for block in range(4, last_block + 1)
        for unit, entry in enumerate(multi_grid, start=1)
    ]
