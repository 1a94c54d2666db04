"""Pictures side by side, each under its title, and colours for instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from seglib.course.figures.samples import colour_patches, legend_columns
from seglib.course.figures.style import styled

PANEL_INCHES = 3.6
MAX_WIDTH = 11  # inches
LEGEND_ROW_INCHES = 0.2


@styled
def show_panels(
    panels: Mapping[str, np.ndarray], max_columns: int = 3, legend: Mapping[str, Sequence[int]] | None = None
) -> Figure:
    """Pictures (H, W, 3) uint8 under their titles, `max_columns` side by side. Raises ValueError without a picture.

    legend: name -> RGB in 0..255, below the pictures; `seglib.course.figures.class_colours` has those of label maps.
    """
    if not panels:
        raise ValueError("panels: expected at least one picture, found none")
    columns = min(max_columns, len(panels))
    rows = -(-len(panels) // columns)
    tallest = max(picture.shape[0] / picture.shape[1] for picture in panels.values())
    side = min(PANEL_INCHES, MAX_WIDTH / columns)
    entries = legend_columns(legend, side * columns) if legend else 1
    legend_height = LEGEND_ROW_INCHES * -(-len(legend) // entries) + 0.1 if legend else 0
    size = (side * columns, (side * tallest + 0.4) * rows + legend_height)
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", figsize=size)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, picture) in zip(axes.flat, panels.items(), strict=False):
        ax.imshow(picture, interpolation="nearest")
        ax.set_title(title)
    if legend:
        figure.legend(handles=colour_patches(legend), loc="outside lower center", ncols=entries)
    return figure


def instance_colours(instance_ids: np.ndarray) -> np.ndarray:
    """Cityscapes instance ids (H, W) -> (H, W, 3) uint8: a colour of its own for each instance, grey for what has none.

    An id of 1000 or more is class * 1000 + number; a smaller one is a class whose pixels are not told apart.
    """
    ids, places = np.unique(instance_ids, return_inverse=True)
    colours = np.full((len(ids), 3), 190, dtype=np.uint8)
    things = ids >= 1000
    turns = np.linspace(0, 1, things.sum(), endpoint=False)
    colours[things] = (255 * plt.get_cmap("hsv")(turns)[:, :3] * 0.85).astype(np.uint8)
    return colours[places.reshape(instance_ids.shape)]
