"""The chart and the explorer of notebook 10: the taps of a kernel that meet the map."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from seglib.course.explorer import MULTI_GRIDS, Explorer, slider
from seglib.course.figures.charts import score_bars
from seglib.course.figures.style import GREY


def tap_use(rate: int, height: int, width: int) -> np.ndarray:
    """For each weight of a 3x3 kernel the share of a map's positions at which it meets the map and not its padding.

    (3, 3) float64 in 0..1, for an atrous rate of at least 1 and a map of height x width; a weight with 0 is never used.
    """
    down, across = (np.array([max(0, n - rate), n, max(0, n - rate)]) / n for n in (height, width))
    return np.outer(down, across)


def untrained_use(rate: int, trained: tuple[int, int], scored: tuple[int, int]) -> float:
    """Share of the products on a scored map whose weight met nothing but padding on the maps of training, in 0..1.

    trained, scored: height and width of the map. Products with padding are not counted.
    """
    used, there = tap_use(rate, *trained), tap_use(rate, *scored)
    return float(there[used == 0].sum() / there.sum())


def tap_chart(rates: Sequence[tuple[str, int]], trained: tuple[int, int], scored: tuple[int, int]) -> Figure:
    """The share of the nine taps of each 3x3 kernel that meet the map, in training and in scoring; dashed: a 1x1.

    A third bar, where there is one, is the share of the products in scoring whose weights were never trained.

    Args:
        rates: name and atrous rate of each convolution.
        trained: height and width of the map.
        scored: height and width of the map.
    """
    rows = {f"{name}: rate {rate}": rate for name, rate in rates}
    strangers = {row: untrained_use(rate, trained, scored) for row, rate in rows.items()}
    groups = {
        f"training, map {trained[0]} x {trained[1]}": {row: tap_use(r, *trained).mean() for row, r in rows.items()},
        f"scoring, map {scored[0]} x {scored[1]}": {row: tap_use(r, *scored).mean() for row, r in rows.items()},
    }
    if any(strangers.values()):
        groups["products with weights never trained"] = {row: share for row, share in strangers.items() if share}
    figure = score_bars(groups, "share of the nine taps on the map")
    figure.axes[0].axvline(1 / 9, color=GREY, linestyle="--", linewidth=1)
    return figure


SIDES = (65, 97, 129, 161, 257, 321, 513)
OUTPUT_STRIDE = 16


def cascade_rates(multi_grid: tuple[int, ...], last_block: int) -> list[tuple[str, int]]:
    """Name and rate of every unit of blocks 4 to `last_block` (at most 7) at output stride 16 (v3 Figure 3 (b)).

    The base rate is 2 in block 4 and doubles from block to block; a unit's is that times its entry of the multi-grid.
    """
    return [
        (f"block {block}, unit {unit}", 2 ** (block - 3) * entry)
        for block in range(4, last_block + 1)
        for unit, entry in enumerate(multi_grid, start=1)
    ]


def show_cascade(multi_grid: tuple[int, ...], last_block: int, crop: int, image: int) -> Figure:
    """`tap_chart` for blocks 4 to `last_block`, trained on crops and scored on images of these sides in pixels."""
    trained, scored = -(-crop // OUTPUT_STRIDE), -(-image // OUTPUT_STRIDE)
    return tap_chart(cascade_rates(multi_grid, last_block), (trained, trained), (scored, scored))


def cascade_explorer() -> Explorer:
    """Sliders for multi-grid, depth, crop and image."""
    return Explorer(
        show_cascade,
        "The share of the nine taps on the map, and of the products whose weights met only padding in training.",
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
        last_block=slider("last block", (4, 5, 6, 7), 7),
        crop=slider("crop", SIDES, 513, " pixels"),
        image=slider("image", SIDES, 513, " pixels"),
    )
