"""Photographs, label maps, predictions and their errors, in the palette of the data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from seglib.course.figures.style import GREY, styled

VOID = 255
FIGURE_WIDTH, LEGEND_PATCH_WIDTH, LETTER_WIDTH = 11, 0.6, 0.075  # inches
NAMED_SHARE = 0.004  # a class has its name written on a label map if a square of this share of the map fits inside it
CORRECT_COLOUR, WRONG_COLOUR, UNCOUNTED_COLOUR = (222, 235, 247), (213, 94, 0), (165, 165, 165)


def show_label(ax: Axes, label: np.ndarray, palette: np.ndarray, classes: Sequence[str] | None = None) -> None:
    """Draw a label map in exactly the palette's colours, void (255) in palette[255].

    label: integers (H, W) in 0..255. palette: (256, 3) uint8. classes: if given, the K names are written on the map,
    each in the roomiest place of its class, for readers who cannot tell the colours apart.
    """
    ax.imshow(palette[label], interpolation="nearest")
    ax.set_axis_off()
    if classes is None:
        return
    step = 1 + min(label.shape) // 256
    coarse = label[::step, ::step]
    for index in np.unique(coarse[coarse < len(classes)]).tolist():
        if (place := _roomiest_place(coarse == index)) is not None:
            x, y = place[0] * step, place[1] * step
            text = ax.text(x, y, classes[index], ha="center", va="center", fontsize=8, color="white")
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def error_map(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(H, W) integers twice -> (H, W, 3) uint8: correct pixels pale, wrong ones strong, void ones grey."""
    colours = np.array([CORRECT_COLOUR, WRONG_COLOUR, UNCOUNTED_COLOUR], np.uint8)
    return colours[np.where(label == VOID, 2, label != prediction)]


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
    names: bool = True,
) -> Figure:
    """Photographs beside their labels, and with `predictions` beside those and a map of the errors.

    images: N arrays (H, W, 3) uint8. labels, predictions: N arrays (H, W), classes 0..K-1 and 255 = void.
    classes: K names. palette: (256, 3) uint8. titles: N texts over the images. max_columns: panels side by side, at
    least the 2 or 4 panels of one sample. names: write the class names on the maps. The legend lists the classes that
    are drawn, and void if it is. Raises ValueError where numbers or sizes do not agree.
    """
    panels = 2 if predictions is None else 4
    _check_samples(images, labels, predictions, titles)
    if max_columns < panels:
        raise ValueError(f"max_columns: expected at least {panels}, the panels of one sample, found {max_columns}")
    colours = class_colours([*labels, *(() if predictions is None else predictions)], classes, palette)
    per_row = min(max_columns // panels, len(images))
    rows = -(-len(images) // per_row)
    shapes = [image.shape for image in images]
    width = FIGURE_WIDTH / max(4, per_row * panels)
    entries = legend_columns(colours, width * per_row * panels)
    legend_rows = -(-len(colours) // entries)
    heights = [width * max(h / w for h, w, _ in shapes[r * per_row : (r + 1) * per_row]) for r in range(rows)]
    figure, axes = plt.subplots(
        rows,
        per_row * panels,
        squeeze=False,
        layout="constrained",
        height_ratios=heights,
        figsize=(width * per_row * panels, sum(heights) + 0.3 * (rows + 1) + 0.2 * legend_rows),
    )
    for ax in axes.flat:
        ax.set_axis_off()
    written = classes if names else None
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        row = axes[i // per_row, i % per_row * panels :]
        row[0].imshow(image)
        row[0].set_title(titles[i] if titles else "image")
        show_label(row[1], label, palette, written)
        row[1].set_title("label")
        if predictions is not None:
            show_label(row[2], predictions[i], palette, written)
            row[2].set_title("prediction")
            row[3].imshow(error_map(label, predictions[i]), interpolation="nearest")
            row[3].set_title(_error_title(label, predictions[i]))
    figure.legend(handles=colour_patches(colours), loc="outside lower center", ncols=entries)
    if predictions is not None:
        meanings = {"correct": CORRECT_COLOUR, "wrong": WRONG_COLOUR}
        if any((label == VOID).any() for label in labels):
            meanings["void, not counted"] = UNCOUNTED_COLOUR
        figure.legend(handles=colour_patches(meanings), loc="outside upper right", ncols=len(meanings))
    return figure


def _check_samples(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray] | None,
    titles: Sequence[str] | None,
) -> None:
    if not len(images):
        raise ValueError("images: expected at least one, found none")
    for name, values in (("labels", labels), ("predictions", predictions), ("titles", titles)):
        if values is not None and len(values) != len(images):
            raise ValueError(f"{name}: expected {len(images)}, one per image, found {len(values)}")
    for name, values in (("labels", labels), ("predictions", predictions)):
        for i, (image, value) in enumerate(zip(images, values if values is not None else (), strict=False)):
            if image.shape[:2] != value.shape:
                raise ValueError(f"{name}[{i}]: expected the image's size {image.shape[:2]}, found {value.shape}")


def _error_title(label: np.ndarray, prediction: np.ndarray) -> str:
    valid = label != VOID
    return f"errors: {(label != prediction)[valid].mean():.1%}" if valid.any() else "errors: all void"


def class_colours(maps: Sequence[np.ndarray], classes: Sequence[str], palette: np.ndarray) -> dict[str, np.ndarray]:
    """The classes that occur in label maps, by name, and "void": each with its RGB, for a legend.

    Raises ValueError for a value that is neither a class nor void.
    """
    present = np.unique(np.concatenate([np.unique(m) for m in maps])).tolist()
    for index in present:
        if index != VOID and not 0 <= index < len(classes):
            raise ValueError(f"labels or predictions: expected 0..{len(classes) - 1} or {VOID}, found {index}")
    return {"void" if index == VOID else classes[index]: palette[index] for index in present}


def legend_columns(names: Collection[str], width: float) -> int:
    """How many entries of a legend stand side by side in `width` inches, at least one and at most all."""
    return max(1, min(len(names), int(width / (LEGEND_PATCH_WIDTH + LETTER_WIDTH * max(map(len, names))))))


def colour_patches(colours: Mapping[str, Sequence[int]]) -> list[Patch]:
    """Handles of a legend: name -> RGB in 0..255."""
    return [Patch(facecolor=np.divide(colour, 255), edgecolor=GREY, label=name) for name, colour in colours.items()]


def _roomiest_place(mask: np.ndarray) -> tuple[float, float] | None:
    """The centre (x, y) of a large square that lies wholly inside the mask, the most central one; None without any."""
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
