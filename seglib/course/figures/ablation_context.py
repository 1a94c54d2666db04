"""The chart of notebook 10: the taps of a kernel that meet the map."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from seglib.course.fields import share_on_map
from seglib.course.figures.charts import share_bars
from seglib.course.figures.style import GREY


def tap_chart(rates: Sequence[tuple[str, int]], side: int) -> Figure:
    """The share of the nine taps of each 3x3 kernel that meet a square map, by name and rate; dashed: a 1x1."""
    shares = {f"{name}: rate {rate}": share_on_map(side, rate) for name, rate in rates}
    figure = share_bars(shares, f"share of the nine taps on a map of {side} x {side}")
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
