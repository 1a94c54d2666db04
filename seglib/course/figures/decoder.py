"""The figure and the explorer of notebook 05: what the decoder changes along boundaries."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.pictures import LISTED_SHARE, class_colours, draw_panels, error_map, fade
from seglib.course.figures.style import styled
from seglib.data import VOID
from seglib.metrics import boundary_band

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
