"""Boundaries: trimap bands, mIoU against their width, and two predictions wiped over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from seglib.course.figures.samples import VOID, error_map, show_label
from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

LINES = ((VERMILION, "o"), (BLUE, "s"), (GREEN, "^"), (ORANGE, "D"))
NAMED_SHARE = 0.001  # a class that covers less than this of every map is not in the legend
BAND_COLOUR, PALE = (213, 94, 0), 0.25  # the band is drawn in this colour; of what lies outside it this share is left


@styled
def trimap_curves(widths: Sequence[int], curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """mIoU within a band against the band's width: the mean over the runs as a line, each run as a faint mark.

    widths: of the bands, in pixels. curves: up to four names, each with one or more runs of one mIoU in 0..1 per width.
    Raises ValueError where the numbers do not agree.
    """
    if not 1 <= len(curves) <= len(LINES):
        raise ValueError(f"curves: expected 1 to {len(LINES)}, found {list(curves)}")
    figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for (name, runs), (colour, mark) in zip(curves.items(), LINES, strict=False):
        values = np.asarray(runs, np.float64)  # (runs, widths)
        if values.ndim != 2 or values.shape[1] != len(widths) or not len(values):
            raise ValueError(f"curves[{name!r}]: expected runs of {len(widths)} values, found shape {values.shape}")
        label = name if len(values) == 1 else f"{name}, mean of {len(values)}"
        ax.plot(widths, values.mean(axis=0), marker=mark, color=colour, linewidth=2, label=label)
        if len(values) > 1:
            for run in values:
                ax.plot(widths, run, marker=mark, linestyle="", color=colour, markersize=4, alpha=0.4)
    ax.set_xticks(widths)
    ax.set_xlim(left=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("width of the band (pixels)")
    ax.set_ylabel("mIoU within the band")
    ax.grid(axis="y")
    ax.legend(loc="lower right")
    return figure


def tint_band(image: np.ndarray, band: np.ndarray) -> np.ndarray:
    """A photograph (H, W, 3) uint8, pale outside a band (H, W) bool and tinted inside it. -> (H, W, 3) uint8."""
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    inside = 0.35 * grey + 0.65 * np.array(BAND_COLOUR)
    return np.where(band[..., None], inside, _pale(grey)).astype(np.uint8)


@styled
def label_panels(
    panels: Mapping[str, np.ndarray], classes: Sequence[str], palette: np.ndarray, max_columns: int = 4
) -> Figure:
    """Label maps side by side under their titles, in the palette of their data set, with one legend for all.

    panels: title -> integers (H, W), classes 0..K-1 and 255 = void. Raises ValueError without a map.
    """
    if not panels:
        raise ValueError("panels: expected at least one label map, found none")
    columns = min(max_columns, len(panels))
    rows = -(-len(panels) // columns)
    aspect = max(label.shape[0] / label.shape[1] for label in panels.values())
    size = (11 / max_columns * columns, rows * (11 / max_columns * aspect + 0.3) + 0.4)
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", figsize=size)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, label) in zip(axes.flat, panels.items(), strict=False):
        show_label(ax, label, palette)
        ax.set_title(title)
    _label_legend(figure, panels.values(), classes, palette)
    return figure


@styled
def wipe(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    band: np.ndarray,
    *,
    position: float,
    titles: tuple[str, str],
    classes: Sequence[str],
    palette: np.ndarray,
) -> Figure:
    """Two predictions of one image, `before` left of a line and `after` right of it, and their errors within a band.

    image: (H, W, 3) uint8. label, before, after: integers (H, W). band: (H, W) bool; errors outside it are drawn pale.
    position: of the line, 0 shows only `after`, 1 only `before`. titles: the names of the two. The share of wrong
    pixels in the band is written for both, whatever the line shows.
    Raises ValueError for a position outside 0..1 and where sizes do not agree.
    """
    if not 0 <= position <= 1:
        raise ValueError(f"position: expected 0..1, found {position}")
    for name, value in (("label", label), ("before", before), ("after", after), ("band", band)):
        if value.shape != image.shape[:2]:
            raise ValueError(f"{name}: expected the image's size {image.shape[:2]}, found {value.shape}")
    edge = round(position * image.shape[1])
    shown = np.where(np.arange(image.shape[1]) < edge, before, after)
    errors = error_map(label, shown)
    errors = np.where(band[..., None], errors, _pale(errors)).astype(np.uint8)
    width = 11 / 3
    size = (11, width * image.shape[0] / image.shape[1] + 0.8)
    figure, axes = plt.subplots(1, 3, layout="constrained", figsize=size)
    axes[0].imshow(image, interpolation="nearest")
    axes[0].set_title("image")
    show_label(axes[1], np.where(label == VOID, VOID, shown), palette)
    axes[1].set_title(f"{titles[0]}  |  {titles[1]}")
    axes[2].imshow(errors, interpolation="nearest")
    axes[2].set_title("errors in the band")
    for ax in axes:
        ax.set_axis_off()
        ax.axvline(edge - 0.5, color="white", linewidth=1.5, path_effects=[withStroke(linewidth=3.5, foreground=INK)])
    wrong = [
        f"{name} {_wrong_share(label, prediction, band)}"
        for name, prediction in zip(titles, (before, after), strict=True)
    ]
    figure.suptitle("wrong in the band: " + ", ".join(wrong), fontsize=10)
    _label_legend(figure, (label, before, after), classes, palette)
    return figure


def _wrong_share(label: np.ndarray, prediction: np.ndarray, band: np.ndarray) -> str:
    counted = band & (label != VOID)
    return f"{(label != prediction)[counted].mean():.1%}" if counted.any() else "(no pixel)"


def _pale(picture: np.ndarray) -> np.ndarray:
    return 255 - PALE * (255 - picture.astype(np.float64))


def _label_legend(figure: Figure, labels: Sequence[np.ndarray], classes: Sequence[str], palette: np.ndarray) -> None:
    shares = [np.bincount(label.ravel(), minlength=VOID + 1) / label.size for label in labels]
    present = np.flatnonzero(np.max(shares, axis=0) >= NAMED_SHARE).tolist()
    names = ["void" if index == VOID else classes[index] for index in present]
    handles = [
        Patch(facecolor=palette[index] / 255, edgecolor=GREY, label=name)
        for index, name in zip(present, names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
