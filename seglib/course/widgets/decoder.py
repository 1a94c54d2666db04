"""The decoder explorer: predictions without and with the decoder, wiped over each other, errors within a trimap."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch

from seglib.course.figures import png
from seglib.course.figures.boundaries import wipe
from seglib.course.widgets.explorer import explorer, slider
from seglib.metrics import boundary_band

TITLES = ("without decoder", "with decoder")
WIDTHS = range(1, 21)


def wipe_picture(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    position: float = 0.5,
    width: int = 3,
) -> bytes:
    """Two predictions wiped over each other, and their errors within `width` pixels of a void pixel, as PNG bytes.

    Args:
        image: (H, W, 3) uint8. label, before, after: (H, W) integers, 255 = void; before is without the decoder.
        position: of the line between the two, as a share of the width.
        width: of the trimap in pixels, at least 1.
    """
    band = boundary_band(torch.from_numpy(label.astype(np.int64)), width).numpy()
    figure = wipe(image, label, before, after, band, position=position, titles=TITLES, classes=classes, palette=palette)
    alt = f"Left of {position:.0%} the prediction without the decoder, right of it with; errors within {width} pixels"
    return png(figure, alt=alt).data


def decoder_explorer(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
) -> ipywidgets.VBox:
    """Sliders for the image, the line between the two predictions and the band's width, over the picture they give.

    Args:
        images, labels, before, after: as many arrays each as there are images; see `wipe_picture`.

    Raises:
        ValueError: numbers differ, or there is no image.
    """
    counts = {len(values) for values in (images, labels, before, after)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"images, labels, before, after: expected one number of each above 0, found {sorted(counts)}")

    def draw(image: int, line: int, band: int) -> bytes:
        arrays = (values[image] for values in (images, labels, before, after))
        return wipe_picture(*arrays, classes=classes, palette=palette, position=line / 100, width=band)

    return explorer(
        draw,
        "Left of the line the prediction without the decoder, right of it with; errors outside the band are pale.",
        image=slider("image", range(len(images)), 0),
        line=slider("line", range(0, 101, 5), 50, " %"),
        band=slider("band", WIDTHS, 3, " pixels"),
    )
