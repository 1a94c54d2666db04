"""The explorer of notebook 09: a label, and what a map of some output stride can say of it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from seglib.course.explorer import Explorer, slider
from seglib.course.figures import show_samples


def stride_explorer(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    predictions: Mapping[int, Sequence[np.ndarray]],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
) -> Explorer:
    """Sliders for picture and output stride above image, label, prediction and errors.

    Args:
        images: (H, W, 3) uint8, all of which are offered.
        labels: (H, W), of these images first.
        predictions: output stride, 16 among them -> (H, W) classes of these images first.
        classes: K names.
        palette: (256, 3) uint8.
    """

    def draw(picture: int, stride: int) -> Figure:
        arrays = ([values[picture - 1]] for values in (images, labels, predictions[stride]))
        return show_samples(*arrays, classes=classes, palette=palette, titles=[f"image {picture}"])

    return Explorer(
        draw,
        "Image, label, the most that a map of this stride can say of it, and where that is wrong.",
        picture=slider("image", range(1, len(images) + 1), 1),
        stride=slider("output stride", predictions, 16),
    )
