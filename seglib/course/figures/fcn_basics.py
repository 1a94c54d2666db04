"""Figures of notebook 01, sections on transposed convolution and on mIoU: small maps with a text in every cell."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import GREY, INK, VOID, halo, styled

CELL_PANEL_WIDTH = 2.9  # inches
MOST_CELLS = 12  # a side beyond which numbers no longer fit into their cells


@styled
def show_numbers(grids: Mapping[str, np.ndarray], digits: int = 0) -> Figure:
    """Matrices side by side, larger numbers darker, each panel on its own scale from 0 (or its smallest) on.

    Args:
        grids: title -> (H, W) numbers; up to 12 x 12 they are written into the cells.
        digits: after the decimal point.
    """
    figure, axes = _draw_cells(grids)
    for ax, grid in zip(axes, grids.values(), strict=True):
        low, high = min(0.0, float(grid.min())), float(grid.max())
        ax.imshow(grid, cmap="Blues", vmin=low, vmax=low + 1.8 * max(high - low, 1e-9))
        if max(grid.shape) <= MOST_CELLS:
            size = 9 if max(grid.shape) <= 8 else 6
            for (row, column), number in np.ndenumerate(grid):
                ax.text(column, row, f"{number:.{digits}f}", ha="center", va="center", fontsize=size, color=INK)
    return figure


@styled
def show_label_pixels(grids: Mapping[str, np.ndarray], classes: Sequence[str], palette: np.ndarray) -> Figure:
    """Label maps of a few pixels side by side, in the palette's colours, the class written into every pixel.

    In every panel but the first, a pixel that differs from the first's, void apart, is framed.

    Args:
        grids: title -> (H, W) of one size, classes 0..K-1 and 255 = void.
        classes: K names.
        palette: (256, 3) uint8.
    """
    figure, axes = _draw_cells(grids)
    first = next(iter(grids.values()))
    for ax, grid in zip(axes, grids.values(), strict=True):
        ax.imshow(palette[grid], interpolation="nearest")
        for (row, column), index in np.ndenumerate(grid):
            name = "void" if index == VOID else classes[index]
            style = {"fontsize": 9, "color": "white", "path_effects": halo("black")}
            ax.text(column, row, name, ha="center", va="center", **style)
            if index != first[row, column] != VOID:
                frame = {"fill": False, "color": "white", "linewidth": 2.5, "path_effects": halo("black", 4.5)}
                ax.add_patch(Rectangle((column - 0.42, row - 0.42), 0.84, 0.84, **frame))
    return figure


def _draw_cells(grids: Mapping[str, np.ndarray]) -> tuple[Figure, list[Axes]]:
    figure, axes = draw_panels(list(grids), max_columns=len(grids), width=CELL_PANEL_WIDTH)
    for ax in axes:
        ax.spines[:].set(visible=True, color=GREY)
    return figure, axes
