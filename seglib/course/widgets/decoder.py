"""The explorer of notebook 05: predictions without and with the decoder, wiped over each other."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from seglib.course.figures.decoder import wipe
from seglib.course.widgets.explorer import Explorer, slider


def decoder_explorer(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
) -> Explorer:
    """Sliders for the image, the line between the two predictions and the band's width, over the figure they give.

    The arguments are those of `wipe`, one of each per image.
    """

    def draw(image: int, line: int, band: int) -> Figure:
        arrays = (values[image] for values in (images, labels, before, after))
        return wipe(*arrays, classes=classes, palette=palette, position=line / 100, width=band)

    return Explorer(
        draw,
        "Left of the line the prediction without the decoder, right of it with; errors outside the band are pale.",
        image=slider("image", range(len(images)), 0),
        line=slider("line", range(0, 101, 5), 50, " %"),
        band=slider("band", range(1, 21), 3, " pixels"),
    )
