"""Figures and explorer of notebook 05: what the decoder changes along boundaries; U-Net; separable convolutions."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.networks import CLASSES, TAPS, Box, Page, shapes_in
from seglib.course.figures.pictures import LISTED_SHARE, class_colours, draw_panels, error_map, fade
from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, styled
from seglib.data import VOID
from seglib.metrics import boundary_band
from seglib.models import UNet
from seglib.models.layers import conv3x3_bn_relu

SIDE = 60  # of the part that is shown, in pixels


@styled
def zoom(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    width: int = 3,
    down: int = 50,
    across: int = 50,
) -> Figure:
    """A part of an image, and the same part of two predictions and of their errors near a void pixel.

    The share of wrong pixels in the band is that of the whole image.

    Args:
        image: (H, W, 3) uint8.
        label: (H, W), 255 = void.
        before: (H, W) classes that are predicted without the decoder.
        after: (H, W) classes that are predicted with it.
        classes: K names.
        palette: (256, 3) uint8.
        width: of the band in pixels, at least 1; errors outside it are drawn pale.
        down: place of the part in per cent: 0 is at the top, 100 at the bottom.
        across: 0 is on the left, 100 on the right.
    """
    band = boundary_band(torch.from_numpy(label.astype(np.int64)), width).numpy()
    top, left = (
        round(max(0, side - SIDE) * part / 100) for side, part in zip(label.shape, (down, across), strict=True)
    )
    titles, panels = ["image"], [image]
    for name, prediction in {"without decoder": before, "with decoder": after}.items():
        errors, counted = error_map(label, prediction), band & (label != VOID)
        wrong = (label != prediction)[counted].mean() if counted.any() else np.nan
        titles += [name, f"{wrong:.1%} wrong"]
        panels += [palette[np.where(label == VOID, VOID, prediction)], np.where(band[..., None], errors, fade(errors))]
    colours = class_colours((label, before, after), classes, palette, least=LISTED_SHARE)
    figure, axes = draw_panels(titles, max_columns=5, legend=colours)
    for ax, picture in zip(axes, panels, strict=True):
        ax.imshow(picture[top : top + SIDE, left : left + SIDE])
    return figure


def decoder_explorer(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
) -> Explorer:
    """Sliders for image, place and band; the arguments of `zoom`, one for each image."""

    def draw(image: int, down: int, across: int, band: int) -> Figure:
        arrays = (values[image] for values in (images, labels, before, after))
        return zoom(*arrays, classes=classes, palette=palette, width=band, down=down, across=across)

    return Explorer(
        draw,
        "A part of an image, both predictions there, and their errors; errors outside the band are pale.",
        image=slider("image", range(len(images)), 0),
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
        band=slider("band", range(1, 21), 3, " pixels"),
    )


@styled
def draw_unet() -> Figure:
    """A U-Net: the contracting path above, the expanding path below, and the skips that join them."""
    with torch.device("meta"):
        shapes = shapes_in(UNet(CLASSES), 512)
    page, xs = Page(10, 4.7), np.linspace(0.8, 9.2, 5)
    top = [page.map(x, 3.85, shapes[f"backbone.levels.{level}"]) for level, x in enumerate(xs)]
    for left, right in pairwise(top):
        page.arrow(left.at(1), right.at(-1), text="pool")
    path = [top[-1].at(1), (9.7, 3.85), (9.7, 1.3)]
    for place, level in enumerate((3, 2, 1, 0)):
        box = page.map(xs[level], 1.3, shapes[f"expanding.{place}"])
        page.arrow(*path, box.at(1), text="up x 2")
        page.ax.plot([box.x] * 2, [top[level].at(up=-1)[1] - 0.4, box.at(up=1)[1]], "--", color=GREY, linewidth=1.1)
        page.write(box.x + 0.06, 2.3, "c", 10, ha="left")
        path = [box.at(-1)]
    page.write(5, 0.15, f"c: the two maps are concatenated, then two 3x3.   At the end a 1x1 to {CLASSES} classes.", 9)
    return page.figure


@styled
def draw_separable() -> Figure:
    """An atrous 3x3 convolution, and beside it the separable one: a depthwise atrous 3x3, then a 1x1."""
    page, colours, channels = Page(9.6, 2.7), (BLUE, ORANGE, GREEN), 256

    def planes(x: float, inks: Sequence[str], below: str, kernel: bool = False) -> None:
        for number, ink in enumerate(inks):
            box = page.box(Box(x + 0.18 * number, 1.75 - 0.18 * number, 0.8, 0.8), "white" if kernel else ink)
            if kernel:
                page.ax.plot(*(0.24 * TAPS + box[:2]).T, "s", color=ink, markersize=3.5, zorder=2)
        page.write(x + 0.18, 0.9, below, va="top")

    for kind, x, title in (("none", 0.6, "atrous 3x3"), ("paper", 4.6, "separable: depthwise atrous 3x3, then 1x1")):
        layers = conv3x3_bn_relu(channels, channels, kind).modules()
        weights = sum(layer.weight.numel() for layer in layers if isinstance(layer, nn.Conv2d))
        page.write(x - 0.4, 2.5, title, 10, ha="left")
        page.write(x - 0.4, 0.2, f"{channels} to {channels} channels: {weights:,} weights", 9, ha="left")
        planes(x, [INK] * 3 if kind == "none" else colours, "nine taps\non each channel", kernel=True)
        page.arrow((x + 0.85, 1.6), (x + 1.4, 1.6))
        if kind == "paper":
            planes(x + 1.9, colours, "each output reads\none channel")
            page.arrow((x + 2.75, 1.6), (x + 3.4, 1.6), text="1x1")
            x += 2
        planes(x + 1.9, [GREY] * 3, "each output reads\nall channels")
    return page.figure
