"""The figures and the explorer of notebook 07: ignored regions, pictures of several sizes, single pixels."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.pictures import draw_panels, fade, make_grey, show_panels
from seglib.course.figures.style import INK, halo, styled
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS


def show_regions(frames: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Mapping[int, str]) -> Figure:
    """Frames in pale grey on which the regions of some ids have a colour each.

    Args:
        frames: title -> image (H, W, 3) uint8 and ids (H, W).
        names: id -> its name in the legend.
    """
    present = [i for i in names if any((ids == i).any() for _, ids in frames.values())]
    turns = (255 * plt.get_cmap("turbo")(np.linspace(0.05, 0.95, len(present)))[:, :3]).astype(np.uint8)
    turns = np.concatenate([turns[start::3] for start in range(3)])  # ids that follow each other often touch in a frame
    panels = {}
    for title, (image, ids) in frames.items():
        panels[title] = fade(make_grey(image))
        for i, colour in zip(present, turns, strict=True):
            panels[title][ids == i] = colour
    return show_panels(panels, legend={f"{names[i]} ({i})": turn for i, turn in zip(present, turns, strict=True)})


def show_at_one_scale(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Pictures (H, W, 3) uint8 side by side in which a pixel has one size, so that a smaller picture looks smaller."""
    height, width = np.max([picture.shape[:2] for picture in pictures.values()], axis=0)
    on_white = {
        title: np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)), constant_values=255)
        for title, p in pictures.items()
    }
    return show_panels(on_white, max_columns=len(pictures))


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
    lengths = [max(1, side // zoom) for side in size]
    places = zip(size, lengths, (row, column), strict=True)
    top, left = (min(max(place - length // 2, 0), side - length) for side, length, place in places)
    return slice(top, top + lengths[0]), slice(left, left + lengths[1])


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
        label_ids: (H, W).
        instance_ids: (H, W).
        row: of the pixel, which is in the middle of the window where it can be.
        column: of the pixel.
        zoom: the window has 1/zoom of the frame's height and width, at least 1.
        opacity: of the label, in 0..1.
    """
    picture = ((1 - opacity) * image + opacity * COLOURS[label_ids]).round().astype(np.uint8)
    rows, columns = zoom_window(label_ids.shape, zoom, row, column)
    figure, (whole, part) = draw_panels(("", ""), aspects=(image.shape[0] / image.shape[1],), width=5.5)
    whole.imshow(picture)
    part.imshow(picture[rows, columns])
    corner = (columns.start - 0.5, rows.start - 0.5)
    frame = {"fill": False, "edgecolor": "white", "path_effects": halo(INK, 3.5)}
    whole.add_patch(Rectangle(corner, columns.stop - columns.start, rows.stop - rows.start, **frame))
    part.add_patch(Rectangle((column - columns.start - 0.5, row - rows.start - 0.5), 1, 1, **frame))
    figure.suptitle(describe_pixel(label_ids, instance_ids, row, column), x=0.01, ha="left", fontsize=10)
    return figure


def street_explorer(
    images: Sequence[np.ndarray],
    label_ids: Sequence[np.ndarray],
    instance_ids: Sequence[np.ndarray],
    pixel: tuple[int, int],
) -> Explorer:
    """Sliders for frame, zoom, a pixel, and the label's opacity; the arguments of `show_street`, one for each frame.

    pixel: row and column of the first one.
    """
    height, width = label_ids[0].shape

    def draw(frame: int, zoom: int, column: int, row: int, opacity: int) -> Figure:
        arrays = (values[frame] for values in (images, label_ids, instance_ids))
        return show_street(*arrays, zoom=zoom, column=column, row=row, opacity=opacity / 100)

    return Explorer(
        draw,
        "Left the frame, right the window in it; the text names the pixel in the small square.",
        frame=slider("frame", range(len(images)), 0),
        zoom=slider("zoom", (1, 2, 4, 8, 16), 4),
        column=slider("column", range(width), pixel[1]),
        row=slider("row", range(height), pixel[0]),
        opacity=slider("label's opacity", range(0, 101, 10), 50, " %"),
    )
