"""Pictures side by side under titles: photographs, label maps, predictions with their errors, receptive fields."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from seglib.course.figures.style import (
    GREY,
    INK,
    LETTER_HEIGHT,
    LETTER_WIDTH,
    PALE,
    VERMILION,
    halo,
    legend_columns,
    styled,
)
from seglib.data import VOID
from seglib.models.fields import Field

FIGURE_WIDTH, PANEL_WIDTH, TITLE_HEIGHT = 11, 3.6, 0.4  # inches
LEGEND_ROW_HEIGHT = 0.2  # inches
NAMED_SHARE = 0.004  # a class has its name written on a label map if a square of this share of the map fits inside it
LISTED_SHARE = 0.001  # a class that covers less than this of every map is not in the legend
CORRECT_COLOUR, WRONG_COLOUR, UNCOUNTED_COLOUR = (222, 235, 247), (213, 94, 0), (165, 165, 165)
FIELD_BLOCKS = 100  # of a receptive field along its longer side

Colour = Sequence[int] | np.ndarray


def draw_panels(
    titles: Sequence[str],
    *,
    aspects: Sequence[float] = (1,),
    max_columns: int = 3,
    width: float = PANEL_WIDTH,
    legend: Mapping[str, Colour] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Draws a figure with an empty panel under each title, without ticks and frames, and a legend of colours.

    Args:
        titles: of at least one panel.
        aspects: height over width of each panel, or one for all.
        max_columns: panels side by side.
        width: of a panel in inches, less where the columns would be wider than a page.
        legend: name -> RGB in 0..255.
    """
    columns = min(max_columns, len(titles))
    rows = -(-len(titles) // columns)
    width = min(width, FIGURE_WIDTH / columns)
    aspects = [*aspects] * (len(titles) // len(aspects))
    heights = [width * max(aspects[row * columns : (row + 1) * columns]) for row in range(rows)]
    entries = legend_columns(legend, width * columns) if legend else 1
    legend_height = LEGEND_ROW_HEIGHT * -(-len(legend) // entries) + 0.1 if legend else 0
    figure, grid = plt.subplots(
        rows,
        columns,
        squeeze=False,
        height_ratios=heights,
        figsize=(width * columns, sum(heights) + TITLE_HEIGHT * rows + legend_height),
    )
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[], anchor="N")
        ax.spines[:].set_visible(False)
    for ax, title in zip(grid.flat, titles, strict=False):
        ax.set_title(title, fontsize=11 if width > 2 else 9)
    if legend:
        figure.legend(handles=colour_patches(legend), loc="outside lower center", ncols=entries)
    return figure, list(grid.flat[: len(titles)])


def colour_patches(colours: Mapping[str, Colour]) -> list[Patch]:
    """Handles of a legend: name -> RGB in 0..255."""
    return [Patch(facecolor=np.divide(colour, 255), edgecolor=GREY, label=name) for name, colour in colours.items()]


@styled
def show_panels(
    panels: Mapping[str, np.ndarray], max_columns: int = 3, legend: Mapping[str, Colour] | None = None
) -> Figure:
    """Pictures (H, W, 3) uint8 under their titles; `class_colours` has the legend of label maps."""
    aspects = [picture.shape[0] / picture.shape[1] for picture in panels.values()]
    figure, axes = draw_panels(list(panels), aspects=aspects, max_columns=max_columns, legend=legend)
    for ax, picture in zip(axes, panels.values(), strict=True):
        ax.imshow(picture)
    return figure


def show_labels(
    panels: Mapping[str, np.ndarray], classes: Sequence[str], palette: np.ndarray, max_columns: int = 4
) -> Figure:
    """Label maps (H, W) of classes 0..K-1 and 255 = void under their titles, with one legend for all."""
    legend = class_colours(list(panels.values()), classes, palette, least=LISTED_SHARE)
    return show_panels({title: palette[label] for title, label in panels.items()}, max_columns, legend)


@styled
def show_samples(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray] | None = None,
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    titles: Sequence[str] | None = None,
    max_columns: int = 4,
) -> Figure:
    """Photographs beside their labels, and with `predictions` beside those and a map of the errors.

    Args:
        images: N arrays (H, W, 3) uint8.
        labels: N arrays (H, W), classes 0..K-1 and 255 = void.
        predictions: N arrays (H, W), classes 0..K-1.
        classes: K names.
        palette: (256, 3) uint8.
        titles: N texts over the images.
        max_columns: panels side by side; a sample has 2 or 4.

    Raises:
        ValueError: if numbers or sizes do not agree, or a value is neither a class nor void.
    """
    found = [None] * len(images) if predictions is None else list(predictions)
    colours = class_colours([*labels, *(found if predictions is not None else ())], classes, palette)
    each = 2 if predictions is None else 4
    panels: list[tuple[str, np.ndarray]] = []
    for image, label, prediction, title in zip(images, labels, found, titles or ["image"] * len(images), strict=True):
        sizes = [value.shape[:2] for value in (image, label, prediction) if value is not None]
        if len({*sizes}) > 1:
            raise ValueError(f"{title}: expected an image and its label maps of one size, found {sizes}")
        panels += [(title, image), ("label", label)]
        if prediction is not None:
            panels += [("prediction", prediction), (_error_title(label, prediction), error_map(label, prediction))]
    figure, axes = draw_panels(
        [title for title, _ in panels],
        aspects=[picture.shape[0] / picture.shape[1] for _, picture in panels],
        max_columns=max(each, max_columns // each * each),
        width=FIGURE_WIDTH / 4,
        legend=colours,
    )
    for ax, (_, picture) in zip(axes, panels, strict=True):
        if picture.ndim == 2:
            draw_label(ax, picture, palette, classes)
        else:
            ax.imshow(picture)
    if predictions is not None:
        meanings = {"correct": CORRECT_COLOUR, "wrong": WRONG_COLOUR}
        if any((label == VOID).any() for label in labels):
            meanings["void, not counted"] = UNCOUNTED_COLOUR
        figure.legend(handles=colour_patches(meanings), loc="outside upper right", ncols=len(meanings))
    return figure


@styled
def show_overlays(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], classes: Sequence[str], palette: np.ndarray
) -> Figure:
    """Pictures (H, W, 3) under titles, and below them, or beside a single one, under their label maps (H, W)."""
    pictures = [image for image, _ in panels.values()]
    aspects = [image.shape[0] / image.shape[1] for image in pictures] * 2
    legend = class_colours([label for _, label in panels.values()], classes, palette, least=LISTED_SHARE)
    figure, axes = draw_panels(
        [*panels, *([""] * len(panels))],
        aspects=aspects,
        max_columns=max(2, len(panels)),
        legend={name: colour for name, colour in legend.items() if name != classes[0]},
    )
    for ax, image in zip(axes, pictures, strict=False):
        ax.imshow(image)
    for ax, (image, label) in zip(axes[len(panels) :], panels.values(), strict=True):
        draw_label(ax, label, palette, classes, image)
    return figure


def draw_label(
    ax: Axes, label: np.ndarray, palette: np.ndarray, classes: Sequence[str], image: np.ndarray | None = None
) -> None:
    """Draws a label map (H, W) of 0..255 in exactly the palette's colours, or over its image (H, W, 3).

    The names of the classes, in the roomiest places, are for readers who cannot tell the colours apart.
    """
    shown = palette[label]
    if image is not None:  # background, class 0, stays as it is
        shown = np.where(label[..., None] > 0, 0.4 * image + 0.6 * shown, image).astype(np.uint8)
    ax.imshow(shown)
    step = 1 + min(label.shape) // 256
    coarse = label[::step, ::step]
    pixels = label.shape[1] / (ax.get_position().width * ax.figure.get_figwidth())  # per inch, or a few more
    rows, columns = step * np.indices(coarse.shape)
    present, counts = np.unique(coarse[(coarse < len(classes)) & ((coarse > 0) | (image is None))], return_counts=True)
    taken: list[tuple[float, float, float]] = []  # x, y and half the width of the names so far; small things come first
    for index in present[counts.argsort(kind="stable")].tolist():
        half = min(LETTER_WIDTH * len(classes[index]) * pixels, label.shape[1]) / 2
        across = np.clip(columns, half, label.shape[1] - half)  # no name leaves the panel
        free = np.ones(coarse.shape, bool)
        for x, y, width in taken:
            free &= (abs(across - x) > half + width) | (abs(rows - y) > LETTER_HEIGHT * pixels)
        place = _roomiest_place(coarse == index)
        if place is not None and not free[int(place[1]), int(place[0])]:
            place = _roomiest_place((coarse == index) & free)
        if place is not None:
            x, y = np.clip(place[0] * step, half, label.shape[1] - half), place[1] * step
            style = {"fontsize": 8, "color": "white", "path_effects": halo("black")}
            ax.text(x, y, classes[index], ha="center", va="center", **style)
            taken.append((x, y, half))


def _roomiest_place(mask: np.ndarray) -> tuple[float, float] | None:
    """The centre (x, y) of the most central large square inside the mask."""
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    smallest = max(2, int((NAMED_SHARE * mask.size) ** 0.5))
    side = min(mask.shape)
    while side >= smallest:
        inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
        fits = np.argwhere(inside == side * side)
        if len(fits):
            y, x = fits[((fits - fits.mean(axis=0)) ** 2).sum(axis=1).argmin()]
            return x + (side - 1) / 2, y + (side - 1) / 2
        side = side * 4 // 5
    return None


def error_map(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 of a prediction (H, W): correct pixels pale, wrong ones strong, void ones grey."""
    colours = np.array([CORRECT_COLOUR, WRONG_COLOUR, UNCOUNTED_COLOUR], np.uint8)
    return colours[np.where(label == VOID, 2, label != prediction)]


def _error_title(label: np.ndarray, prediction: np.ndarray) -> str:
    valid = label != VOID
    return f"errors: {(label != prediction)[valid].mean():.1%}" if valid.any() else "errors: all void"


def class_colours(
    maps: Sequence[np.ndarray], classes: Sequence[str], palette: np.ndarray, least: float = 0
) -> dict[str, np.ndarray]:
    """The classes that occur in label maps, by name, and "void": each with its RGB, for a legend.

    least: a class is left out that covers a smaller share of every map.

    Raises:
        ValueError: if a value is neither a class nor void.
    """
    shares = np.max([np.bincount(label.ravel(), minlength=VOID + 1) / label.size for label in maps], axis=0)
    names = {**dict(enumerate(classes)), VOID: "void"}
    if wrong := [index for index in np.flatnonzero(shares).tolist() if index not in names]:
        raise ValueError(f"labels or predictions: expected 0..{len(classes) - 1} or {VOID}, found {wrong[0]}")
    return {names[index]: palette[index] for index in np.flatnonzero(shares).tolist() if shares[index] >= least}


def instance_colours(instance_ids: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 of Cityscapes instance ids (H, W): one for each instance, grey for what has none.

    An id of 1000 or more is class * 1000 + number; a smaller one is a class whose pixels are not told apart.
    """
    ids, places = np.unique(instance_ids, return_inverse=True)
    colours = np.full((len(ids), 3), 190, dtype=np.uint8)
    things = ids >= 1000
    turns = np.arange(things.sum()) * 0.618 % 1  # of the golden section: neighbouring ids get distant hues
    colours[things] = (255 * plt.get_cmap("hsv")(turns)[:, :3] * 0.85).astype(np.uint8)
    return colours[places.reshape(instance_ids.shape)]


def fade(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 with a quarter of its contrast to white."""
    return (255 - 0.25 * (255 - picture.astype(np.float64))).astype(np.uint8)


def make_grey(image: np.ndarray) -> np.ndarray:
    """A photograph (H, W, 3) uint8 without its colours, in three equal channels."""
    return image.mean(axis=2, keepdims=True).repeat(3, axis=2)


def tint_band(image: np.ndarray, band: np.ndarray) -> np.ndarray:
    """A photograph (H, W, 3) uint8, pale outside a band (H, W) bool and tinted inside it."""
    tinted = 0.65 * image + 0.35 * np.array(WRONG_COLOUR)
    return np.where(band[..., None], tinted, fade(make_grey(image))).astype(np.uint8)


@styled
def show_fields(effective: Mapping[str, np.ndarray], theoretical: Mapping[str, tuple[Field, int, int]]) -> Figure:
    """Effective receptive fields on their input, brightest where the output pixel depends on the input most.

    Args:
        effective: title -> (H, W) magnitudes as `effective_field` of `seglib.course.fields` returns them.
        theoretical: the same titles -> the field, and row and column of the output pixel. The field is framed; a frame
            beyond the input's edge, a thin line, is padding.
    """
    figure, axes = draw_panels(list(effective))
    ends = [0]
    for ax, (title, magnitude) in zip(axes, effective.items(), strict=True):
        height, width = magnitude.shape
        # Random weights and images make single pixels noisy: blocks of them are averaged.
        block = -(-max(height, width) // FIELD_BLOCKS)
        shown = _block_means(np.asarray(magnitude), block)
        extent = (-0.5, shown.shape[1] * block - 0.5, shown.shape[0] * block - 0.5, -0.5)
        ax.imshow(shown, cmap="viridis", norm=PowerNorm(0.5, 0, shown.max() or 1), extent=extent)
        ends += [height, width]
        field, row, column = theoretical[title]
        (top, bottom), (left, right) = field.span(row), field.span(column)
        ends += [top, bottom, left, right]
        ax.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=GREY))
        frame = {"fill": False, "edgecolor": VERMILION, "linewidth": 2}
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), field.size, field.size, **frame))
        middle = ((left + right) / 2, (top + bottom) / 2)
        ax.plot(*middle, "o", color="white", markeredgecolor=INK, markersize=6)
    margin = 0.03 * (max(ends) - min(ends))
    for ax in axes:  # one frame for all
        ax.set(xlim=(min(ends) - margin, max(ends) + margin), ylim=(max(ends) + margin, min(ends) - margin))
    return figure


def _block_means(values: np.ndarray, block: int) -> np.ndarray:
    """Means of blocks of block x block pixels; blocks that reach over the end are filled with the last value."""
    height, width = values.shape
    padded = np.pad(values, [(0, -height % block), (0, -width % block)], mode="edge")
    return padded.reshape(-(-height // block), block, -(-width // block), block).mean(axis=(1, 3))


@styled
def show_influence(
    influences: Mapping[str, np.ndarray], row: int | None = None, column: int | None = None, unit: str = "pixels"
) -> Figure:
    """The influence of each pixel of an input on one pixel of the output, on one logarithmic scale; pale is none.

    Args:
        influences: title -> (H, W) magnitudes, 0 where nothing is seen.
        row: of the output pixel, which is ringed; None rings nothing.
        column: of the output pixel.
        unit: "values" if the input is a map.
    """
    arrays = [np.asarray(values) for values in influences.values()]
    largest = max(float(values.max()) for values in arrays)
    figure, axes = draw_panels(list(influences), max_columns=len(arrays), width=2.75)
    for ax, values in zip(axes, arrays, strict=True):
        ax.set_facecolor(PALE)
        norm = LogNorm(largest * 1e-4, largest, clip=True)
        drawn = ax.imshow(np.ma.masked_equal(values, 0), norm=norm, cmap="viridis_r")
        if row is not None:
            ax.plot(column, row, "o", color=VERMILION, markersize=9, markerfacecolor="none", markeredgewidth=2)
        seen = np.count_nonzero(values)
        digits = 0 if seen >= 0.1 * values.size else 1
        ax.set_xlabel(f"{seen} of {values.size} {unit} seen, {seen / values.size:.{digits}%}", fontsize=9)
    bar = figure.colorbar(drawn, ax=list(axes), shrink=0.8, label="influence")
    bar.set_ticks([largest * 1e-4, largest], labels=["weak", "strong"])
    bar.minorticks_off()
    return figure
