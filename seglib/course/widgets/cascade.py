"""The cascade explorer: multi-grid, depth, crop and image -> which weights of its kernels meet the map."""

from __future__ import annotations

import ipywidgets

from seglib.course.figures.architecture import tap_chart
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider

GRIDS = ("1, 1, 1", "1, 2, 1", "1, 2, 3", "1, 2, 4", "2, 2, 2")
SIDES = (65, 97, 129, 161, 257, 321, 513)
OUTPUT_STRIDE = 16


def cascade_rates(multi_grid: tuple[int, ...], last_block: int) -> list[tuple[str, int]]:
    """Name and rate of every unit of blocks 4 to `last_block` at output stride 16 (v3 Figure 3 (b)).

    The base rate is 2 in block 4 and doubles from block to block; a unit's is that times its entry of the multi-grid.
    Raises ValueError for a last block outside 4..7.
    """
    if not 4 <= last_block <= 7:
        raise ValueError(f"last_block = {last_block}; expected 4 to 7")
    return [
        (f"block {block}, unit {unit}", 2 ** (block - 3) * entry)
        for block in range(4, last_block + 1)
        for unit, entry in enumerate(multi_grid, start=1)
    ]


def cascade_picture(multi_grid: str = "1, 2, 4", last_block: int = 7, crop: int = 513, image: int = 513) -> bytes:
    """A PNG of the share of each unit's nine taps that meet the map, in training and in scoring.

    Args:
        multi_grid: three factors with commas between them. last_block: 4 to 7.
        crop, image: sides in pixels of what is trained on and of what is scored, at output stride 16.
    """
    rates = cascade_rates(tuple(int(entry) for entry in multi_grid.split(",")), last_block)
    trained, scored = -(-crop // OUTPUT_STRIDE), -(-image // OUTPUT_STRIDE)
    figure = tap_chart(rates, (trained, trained), (scored, scored))
    return png(figure, alt="Share of the nine taps of each unit that meet the map, in training and in scoring.").data


def cascade_explorer() -> ipywidgets.VBox:
    """Sliders for multi-grid, depth, crop and image above the picture they redraw."""
    return explorer(
        cascade_picture,
        "Bars: training; frames: scoring; crosses: products with weights that met nothing but padding in training.",
        multi_grid=slider("multi-grid", GRIDS, "1, 2, 4"),
        last_block=slider("last block", (4, 5, 6, 7), 7),
        crop=slider("crop", SIDES, 513, " pixels"),
        image=slider("image", SIDES, 513, " pixels"),
    )
