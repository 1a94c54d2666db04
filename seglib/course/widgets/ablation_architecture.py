"""The explorer of notebook 10: multi-grid, depth, crop and image -> which weights of the cascade meet the map."""

from matplotlib.figure import Figure

from seglib.course.figures.ablation_architecture import tap_chart
from seglib.course.widgets.explorer import MULTI_GRIDS, Explorer, slider

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
    """The share of each unit's nine taps that meet the map.

    Args:
        multi_grid: three factors.
        last_block: 4 to 7.
        crop: side in pixels of what is trained on, at output stride 16.
        image: side in pixels of what is scored.
    """
    trained, scored = -(-crop // OUTPUT_STRIDE), -(-image // OUTPUT_STRIDE)
    return tap_chart(cascade_rates(multi_grid, last_block), (trained, trained), (scored, scored))


def cascade_explorer() -> Explorer:
    """Sliders for multi-grid, depth, crop and image above the figure they redraw."""
    return Explorer(
        show_cascade,
        "Bars: training; frames: scoring; crosses: products with weights that met nothing but padding in training.",
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
        last_block=slider("last block", (4, 5, 6, 7), 7),
        crop=slider("crop", SIDES, 513, " pixels"),
        image=slider("image", SIDES, 513, " pixels"),
    )
