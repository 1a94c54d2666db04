"""The explorer of notebook 07: a street with its labels over it, a window that zooms in, and what a pixel is."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import INK, halo, styled
from seglib.course.widgets.explorer import Explorer, slider
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

ROWS = {row.id: row for row in CITYSCAPES_LABELS}
COLOURS = np.array([ROWS[i].colour for i in range(max(ROWS) + 1)], np.uint8)  # (34, 3), by id
SINGLE = 1000  # instance ids from here on are of single objects: id * 1000 + number


def describe_pixel(label_ids: np.ndarray, instance_ids: np.ndarray, row: int, column: int) -> str:
    """The class of one pixel of two id maps (H, W), its id, trainId or that it is ignored, category, instance."""
    known, instance = ROWS[int(label_ids[row, column])], int(instance_ids[row, column])
    scored = "ignored" if known.ignored else f"trainId {known.train_id}"
    parts = [f"{known.name} (id {known.id}, {scored})", f"category {known.category}"]
    if instance >= SINGLE:
        parts.append(f"instance {instance}, {(instance_ids == instance).sum()} pixels")
    elif known.has_instances:
        parts.append("a group: its members are not told apart")
    return f"row {row}, column {column}: " + "; ".join(parts)


def zoom_window(size: Sequence[int], zoom: int, row: int, column: int) -> tuple[slice, slice]:
    """The rows and columns of the window of 1/zoom of both sides around a pixel, moved to lie inside the frame."""
    slices = []
    for side, place in zip(size, (row, column), strict=True):
        length = max(1, side // zoom)
        start = min(max(place - length // 2, 0), side - length)
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


@styled
def show_street(
    image: np.ndarray,
    label_ids: np.ndarray,
    instance_ids: np.ndarray,
    *,
    row: int,
    column: int,
    zoom: int = 4,
    opacity: float = 0.5,
) -> Figure:
    """A frame and a window of it, both with the label over them, and the description of a pixel above.

    Args:
        image: (H, W, 3) uint8.
        label_ids: (H, W), ids.
        instance_ids: (H, W), ids.
        row: of the pixel, which the window has in its middle where it can.
        column: of the pixel.
        zoom: the window has 1/zoom of the frame's height and width, at least 1.
        opacity: of the label, 0 (the frame only) to 1 (the label only).
    """
    picture = ((1 - opacity) * image + opacity * COLOURS[label_ids]).round().astype(np.uint8)
    rows, columns = zoom_window(label_ids.shape, zoom, row, column)
    figure, (whole, part) = draw_panels(("", ""), aspects=(image.shape[0] / image.shape[1],), width=5.5)
    whole.imshow(picture, interpolation="nearest")
    part.imshow(picture[rows, columns], interpolation="nearest")
    corner = (columns.start - 0.5, rows.start - 0.5)
    frame = {"fill": False, "edgecolor": "white", "path_effects": halo(INK, 3.5)}
    whole.add_patch(Rectangle(corner, columns.stop - columns.start, rows.stop - rows.start, **frame))
    part.add_patch(Rectangle((column - columns.start - 0.5, row - rows.start - 0.5), 1, 1, **frame))
    text = describe_pixel(label_ids, instance_ids, row, column)
    figure.suptitle(text, x=0.01, ha="left", fontsize=10)
    return figure


def street_explorer(
    images: Sequence[np.ndarray], label_ids: Sequence[np.ndarray], instance_ids: Sequence[np.ndarray]
) -> Explorer:
    """Sliders for frame, zoom, a pixel's column and row, and the label's opacity, over the figure they give.

    The arguments are those of `show_street`, one of each per frame, all of one size.
    """
    height, width = label_ids[0].shape

    def draw(frame: int, zoom: int, column: int, row: int, opacity: int) -> Figure:
        arrays = (values[frame] for values in (images, label_ids, instance_ids))
        return show_street(*arrays, zoom=zoom, column=column, row=row, opacity=opacity / 100)

    def pixels(name: str, side: int) -> ipywidgets.IntSlider:
        like = slider(name, (0,), 0)
        style = {"continuous_update": False, "style": {"description_width": like.style.description_width}}
        return ipywidgets.IntSlider(side // 2, 0, side - 1, description=name, layout=like.layout, **style)

    return Explorer(
        draw,
        "Left the frame, right the window in it; the text names the pixel in the small square.",
        frame=slider("frame", range(len(images)), 0),
        zoom=slider("zoom", (1, 2, 4, 8, 16), 4),
        column=pixels("column", width),
        row=pixels("row", height),
        opacity=slider("label's opacity", range(0, 101, 10), 50, " %"),
    )
