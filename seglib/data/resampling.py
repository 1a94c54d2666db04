"""Resizing, cropping, padding and mirroring of uint8 images and label maps."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seglib.data.base import VOID

Size = tuple[int, int]  # height and width, or row and column


def resample_image(image: np.ndarray, size: Size, corner: Size, extent: Size) -> np.ndarray:
    """Cuts a window out of the bilinearly resized image, antialiased when it shrinks: equal to resizing all of it.

    Only the rows that the window needs are read. torch's vectorised kernel resizes them at full width in less time
    than Pillow needs for only the window (`resize(box=...)`).

    Args:
        image: (H, W, C) uint8.
        size: (height, width) after resizing.
        corner: (top, left) of the window in the resized image.
        extent: (height, width) of the window, which is returned.
    """
    side, reach = image.shape[0], max(1.0, image.shape[0] / size[0])  # the filter's half width in source pixels
    first = max(0, int((corner[0] + 0.5) * side / size[0] - reach) - 1)
    end = min(side, int((corner[0] + extent[0] - 0.5) * side / size[0] + reach) + 2)
    rows = _resize(image[first:end], (end - first, size[1]))[:, corner[1] : corner[1] + extent[1]]
    if side == size[0]:
        return rows[corner[0] - first : corner[0] - first + extent[0]]
    # The kernel, too, resizes along x, rounds, then along y. What is not in `rows` reaches no pixel of the window.
    columns = np.empty((side, extent[1], image.shape[2]), np.uint8)
    columns[first:end] = rows
    return _resize(columns, (size[0], extent[1]))[corner[0] : corner[0] + extent[0]]


def _resize(image: np.ndarray, size: Size) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    return to_image(F.interpolate(to_pixels(image), size=size, mode="bilinear", antialias=True))


def resample_label(label: np.ndarray, size: Size, corner: Size, extent: Size) -> np.ndarray:
    """Cuts the same window out of the label map, by nearest pixel: no new value appears."""
    rows, columns = (
        (2 * np.arange(first, first + count) + 1) * side // (2 * resized)  # pixel centres, in exact integers
        for side, resized, first, count in zip(label.shape, size, corner, extent, strict=True)
    )
    return label[rows].take(columns, axis=1)  # far faster than [:, columns]


def pad(image: np.ndarray, label: np.ndarray, size: Size, fill: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Puts image and label at the top left of new arrays of `size`, at least as large; the rest is `fill` and void."""
    height, width = label.shape
    row = np.full((size[1], image.shape[2]), fill, np.uint8)  # row by row is far faster than pixel by pixel
    padded_image, padded_label = np.empty((*size, image.shape[2]), np.uint8), np.full(size, VOID, np.uint8)
    padded_image[:height, :width] = image
    padded_image[:height, width:] = row[width:]
    padded_image[height:] = row
    padded_label[:height, :width] = label
    return padded_image, padded_label


def as_tensor(array: np.ndarray) -> Tensor:
    """Returns the array's own memory as a tensor; a copy where torch could not take it (read-only, or reversed)."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def flip(array: np.ndarray) -> np.ndarray:
    """Exchanges left and right of (H, W, ...) uint8."""
    return as_tensor(array).flip(1).numpy()  # far faster than a copy of NumPy's [:, ::-1]


def to_pixels(image: np.ndarray) -> Tensor:
    """(H, W, C) -> (1, C, H, W) without a copy, in the strides that torch's fast uint8 kernels ask for."""
    return as_tensor(image)[None].permute(0, 3, 1, 2)


def to_image(pixels: Tensor) -> np.ndarray:
    """(1, C, H, W) -> (H, W, C) without a copy."""
    return pixels[0].permute(1, 2, 0).numpy()
