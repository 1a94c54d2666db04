"""The stride viewer: a label, and what a map of some output stride can say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np

from seglib.course.figures.samples import show_samples
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider

SHOWN = 12  # pictures that the slider offers


def stride_viewer(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    predictions: Mapping[int, Sequence[np.ndarray]],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    stride: int = 16,
) -> ipywidgets.VBox:
    """Sliders for picture and output stride above image, label, prediction and errors.

    Args:
        images: arrays (H, W, 3) uint8; the first twelve are offered. labels: at least as many (H, W), 255 is void.
        predictions: output stride -> at least as many (H, W), classes.
        classes, palette: as `seglib.course.figures.samples.show_samples`. stride: where the slider starts.

    Raises:
        ValueError: no prediction for that stride; numbers or sizes that do not agree.
    """
    offered = min(SHOWN, len(images))
    for name, of in {"labels": labels, **{f"predictions of stride {s}": p for s, p in predictions.items()}}.items():
        if len(of) < offered:
            raise ValueError(f"{name}: expected at least {offered}, one per image offered; found {len(of)}")

    def draw(picture: int, stride: int) -> bytes:
        i, found = picture - 1, predictions[stride][picture - 1]
        how = {"classes": classes, "palette": palette, "titles": [f"image {picture}"]}
        fig = show_samples([images[i]], [labels[i]], [found], **how)
        return png(fig, alt=f"Image {picture}, its label, a prediction of stride {stride} and its errors.").data

    return explorer(
        draw,
        "Image, label, the most that a map of this stride can say of it, and where that is wrong.",
        picture=slider("image", range(1, offered + 1), 1),
        stride=slider("output stride", predictions, stride),
    )
