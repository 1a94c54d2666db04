"""Figures and explorer of notebook 00: objects cut out of their picture, and a network on a picture of one's own."""

import io
from collections.abc import Callable
from os import PathLike
from typing import Any, BinaryIO

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from scipy import ndimage

from seglib.course.explorer import Explorer
from seglib.course.figures.pictures import show_overlays
from seglib.data import SegmentationDataset

ALTS = {  # of figures before which the reader predicts what they show
    "Figure 3": "A cup, called dining table; a dahlia, called bird; and a rocket, which is left as background.",
    "Figure 6": "The four pictures they come from: grass, a lake, the sea floor, and the sky; below, their labels.",
}
LOOK_ALIKES = {"A": (30, "tent"), "B": (9, "boat"), "C": (103, "fish"), "D": (72, "kite")}  # toy val set: index, class


def cut_out(image: np.ndarray, label: np.ndarray, index: int) -> np.ndarray:
    """The largest patch of one class in the frame that just holds it, everything around it grey. -> (h, w, 3) uint8."""
    patches, _ = ndimage.label(label == index)
    inside = patches == np.bincount(patches.ravel())[1:].argmax() + 1
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    frame = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.where(inside[..., None], image, np.uint8(190))[frame]


def read_picture(file: str | PathLike | BinaryIO) -> np.ndarray:
    """Reads a picture as its camera meant it to be seen, its longer side at most 513. -> (H, W, 3) uint8."""
    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    picture.thumbnail((513, 513))
    return np.asarray(picture)


def picture_explorer(
    segment: Callable[[np.ndarray], np.ndarray], dataset: SegmentationDataset, example: np.ndarray
) -> Explorer:
    """A button that takes a picture of the reader's and shows its prediction; before that, that of an example.

    segment: (H, W, 3) uint8 -> (H, W) class indices of the data set.
    """

    def draw(picture: Any) -> Figure:
        files = [*picture.values()] if isinstance(picture, dict) else picture  # as ipywidgets 7 has them, and 8
        try:
            image = read_picture(io.BytesIO(files[-1]["content"])) if files else example
        except OSError as error:
            raise ValueError("this file cannot be read as a picture; save it as JPEG or PNG") from error
        return show_overlays(
            {"yours" if files else "an example": (image, segment(image))}, dataset.classes, dataset.palette
        )

    upload = ipywidgets.FileUpload(accept="image/*", description="your picture")
    return Explorer(draw, "A picture, and the prediction over it.", picture=upload)
