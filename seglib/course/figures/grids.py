"""Small maps side by side, with a number or a class name in every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from seglib.course.figures.samples import VOID
from seglib.course.figures.style import GREY, INK, styled

PANEL_INCHES = 2.9
MOST_CELLS = 12  # a side beyond which numbers no longer fit into their cells


@styled
def number_grids(grids: Mapping[str, np.ndarray], digits: int = 0) -> Figure:
    """Matrices side by side, larger numbers darker, each panel on its own scale from 0 (or its smallest) on.

    grids: title -> (H, W) numbers; up to 12 x 12 they are written into the cells. digits: behind the decimal point.
    Raises ValueError without a grid, and for one that is no matrix.
    """
    _check(grids)
    figure, axes = plt.subplots(
        1, len(grids), squeeze=False, layout="constrained", figsize=(PANEL_INCHES * len(grids), PANEL_INCHES + 0.4)
    )
    for ax, (title, grid) in zip(axes[0], grids.items(), strict=True):
        low, high = min(0.0, float(grid.min())), float(grid.max())
        ax.imshow(grid, cmap="Blues", vmin=low, vmax=low + 1.8 * max(high - low, 1e-9))
        _frame(ax, title)
        if max(grid.shape) <= MOST_CELLS:
            size = 9 if max(grid.shape) <= 8 else 6
            for (row, column), number in np.ndenumerate(grid):
                ax.text(column, row, f"{number:.{digits}f}", ha="center", va="center", fontsize=size, color=INK)
    return figure


@styled
def label_grids(grids: Mapping[str, np.ndarray], classes: Sequence[str], palette: np.ndarray) -> Figure:
    """Label maps of a few pixels side by side, in the palette's colours, the class written into every pixel.

    grids: title -> (H, W) integers, classes 0..K-1 and 255 = void. palette: (256, 3) uint8. In every panel but the
    first, a pixel that differs from the first's, void apart, is framed. Raises ValueError without a grid, for one that
    is no matrix, and where sizes differ.
    """
    _check(grids)
    first = next(iter(grids.values()))
    if any(grid.shape != first.shape for grid in grids.values()):
        raise ValueError(f"grids: expected one size, found {[grid.shape for grid in grids.values()]}")
    figure, axes = plt.subplots(
        1, len(grids), squeeze=False, layout="constrained", figsize=(PANEL_INCHES * len(grids), PANEL_INCHES + 0.4)
    )
    for ax, (title, grid) in zip(axes[0], grids.items(), strict=True):
        ax.imshow(palette[grid], interpolation="nearest")
        _frame(ax, title)
        for (row, column), index in np.ndenumerate(grid):
            name = "void" if index == VOID else classes[index]
            text = ax.text(column, row, name, ha="center", va="center", fontsize=9, color="white")
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])
            if index != first[row, column] != VOID:
                box = Rectangle((column - 0.42, row - 0.42), 0.84, 0.84, fill=False, color="white", linewidth=2.5)
                box.set_path_effects([withStroke(linewidth=4.5, foreground="black")])
                ax.add_patch(box)
    return figure


def _check(grids: Mapping[str, np.ndarray]) -> None:
    if not grids:
        raise ValueError("grids: expected at least one, found none")
    for title, grid in grids.items():
        if grid.ndim != 2:
            raise ValueError(f"grids[{title!r}]: expected (H, W), found {grid.shape}")


def _frame(ax: Axes, title: str) -> None:
    ax.set_title(title)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(GREY)
