"""The street viewer: a frame with its labels over it, a window that zooms in, and what is known of one pixel."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from seglib.course.figures import png
from seglib.course.figures.style import INK, styled
from seglib.course.widgets.explorer import LABEL_WIDTH, explorer, slider
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

ROWS = {row.id: row for row in CITYSCAPES_LABELS}
COLOURS = np.array([ROWS[i].colour for i in range(max(ROWS) + 1)], np.uint8)  # (34, 3), by id
SINGLE = 1000  # instance ids from here on are of single objects: id * 1000 + number
HALO = [withStroke(linewidth=3.5, foreground=INK)]


def pixel_text(label_ids: np.ndarray, instance_ids: np.ndarray, row: int, column: int) -> str:
    """What Cityscapes knows of one pixel: class, id, trainId or that it is ignored, category, instance.

    label_ids, instance_ids: (H, W) ids. Raises IndexError for a pixel outside.
    """
    if not (0 <= row < label_ids.shape[0] and 0 <= column < label_ids.shape[1]):
        raise IndexError(f"row {row}, column {column}: expected a pixel of {label_ids.shape[0]} x {label_ids.shape[1]}")
    known, instance = ROWS[int(label_ids[row, column])], int(instance_ids[row, column])
    scored = "ignored" if known.ignored else f"trainId {known.train_id}"
    parts = [f"{known.name} (id {known.id}, {scored})", f"category {known.category}"]
    if instance >= SINGLE:
        size = int((instance_ids == instance).sum())
        parts.append(f"instance {instance}, {size} pixels")
    elif known.has_instances:
        parts.append("a group: its members are not told apart")
    return f"row {row}, column {column}: " + "; ".join(parts)


def zoom_window(size: tuple[int, int], zoom: int, row: int, column: int) -> tuple[slice, slice]:
    """The rows and columns of the window of 1/zoom of both sides around a pixel, moved to lie inside the frame."""
    slices = []
    for side, place in zip(size, (row, column), strict=True):
        length = max(1, side // zoom)
        start = min(max(place - length // 2, 0), side - length)
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


def street_picture(
    image: np.ndarray,
    label_ids: np.ndarray,
    instance_ids: np.ndarray,
    *,
    zoom: int = 4,
    column: int = 0,
    row: int = 0,
    opacity: float = 0.5,
) -> bytes:
    """A frame and a window of it, both with the label over them, and the text of `pixel_text` above, as PNG bytes.

    Args:
        image: (H, W, 3) uint8. label_ids, instance_ids: (H, W) integers, ids.
        zoom: the window has 1/zoom of the frame's height and width, at least 1.
        column, row: of the pixel, which the window has in its middle where it can.
        opacity: of the label, 0 (the frame alone) to 1 (the label alone).

    Raises:
        ValueError: an impossible zoom or opacity. IndexError: a pixel outside.
    """
    if zoom < 1 or not 0 <= opacity <= 1:
        raise ValueError(f"zoom = {zoom}, opacity = {opacity}; expected at least 1, and 0..1")
    text = pixel_text(label_ids, instance_ids, row, column)
    blended = (1 - opacity) * image + opacity * COLOURS[label_ids]
    window = zoom_window(label_ids.shape, zoom, row, column)
    figure = _draw(blended.round().astype(np.uint8), window, (row, column), text)
    return png(figure, alt=text).data


@styled
def _draw(picture: np.ndarray, window: tuple[slice, slice], pixel: tuple[int, int], text: str) -> Figure:
    rows, columns = window
    width = 11 / 2
    size = (11, width * picture.shape[0] / picture.shape[1] + 0.6)
    figure, (whole, part) = plt.subplots(1, 2, layout="constrained", figsize=size)
    whole.imshow(picture, interpolation="nearest")
    corner = (columns.start - 0.5, rows.start - 0.5)
    outline = Rectangle(corner, columns.stop - columns.start, rows.stop - rows.start, fill=False, edgecolor="white")
    outline.set_path_effects(HALO)
    whole.add_patch(outline)
    part.imshow(picture[window], interpolation="nearest")
    y, x = pixel[0] - rows.start, pixel[1] - columns.start
    around = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=1.5)
    around.set_path_effects(HALO)
    part.add_patch(around)
    for ax in (whole, part):
        ax.set_axis_off()
    figure.suptitle(text, x=0.01, ha="left", fontsize=10)
    return figure


def street_viewer(
    images: Sequence[np.ndarray], label_ids: Sequence[np.ndarray], instance_ids: Sequence[np.ndarray]
) -> ipywidgets.VBox:
    """Sliders for frame, zoom, a pixel's column and row, and the label's opacity, over the picture they give.

    Args:
        images, label_ids, instance_ids: of frames of one size; see `street_picture`.

    Raises:
        ValueError: their numbers or sizes differ, or there is no frame.
    """
    counts = {len(values) for values in (images, label_ids, instance_ids)}
    sizes = {ids.shape for ids in (*label_ids, *instance_ids)} | {image.shape[:2] for image in images}
    if len(counts) != 1 or 0 in counts or len(sizes) != 1:
        raise ValueError(f"expected as many images as label_ids and instance_ids, of one size; found {counts}, {sizes}")
    ((height, width),) = sizes

    def draw(frame: int, zoom: int, column: int, row: int, opacity: int) -> bytes:
        arrays = (values[frame] for values in (images, label_ids, instance_ids))
        return street_picture(*arrays, zoom=zoom, column=column, row=row, opacity=opacity / 100)

    return explorer(
        draw,
        "Left the frame, right the window in it; the text names the pixel in the small square.",
        frame=slider("frame", range(len(images)), 0),
        zoom=slider("zoom", (1, 2, 4, 8, 16), 4),
        column=_pixel_slider("column", width),
        row=_pixel_slider("row", height),
        opacity=slider("label's opacity", range(0, 101, 10), 50, " %"),
    )


def _pixel_slider(name: str, side: int) -> ipywidgets.IntSlider:
    """A slider over the pixels of one side, which begins in its middle."""
    return ipywidgets.IntSlider(
        value=side // 2,
        min=0,
        max=side - 1,
        description=name,
        continuous_update=False,
        style={"description_width": LABEL_WIDTH},
        layout=ipywidgets.Layout(width="420px"),
    )
