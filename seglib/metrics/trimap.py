"""The trimap: scores of the pixels beside boundaries."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from seglib.metrics.confusion import ConfusionMatrix, Labels, integer_tensor


def boundary_band(labels: Tensor, width: int, ignore_index: int = 255) -> Tensor:
    """The trimap: the labelled pixels within `width` of a void pixel (DeepLabv3+ section 4.4, Figure 5).

    Args:
        labels: integers (..., H, W).
        width: w >= 1 pixels; the void pixels are dilated by a square of side 2w + 1.
        ignore_index: the label of void pixels, which the labels' type can hold.

    Returns:
        A bool mask (..., H, W), False on the void pixels themselves.
    """
    if width < 1:
        raise ValueError(f"width: expected at least 1 pixel, found {width}")
    if not torch.iinfo(labels.dtype).min <= ignore_index <= torch.iinfo(labels.dtype).max:
        raise ValueError(f"ignore_index: expected a value that {labels.dtype} labels can hold, found {ignore_index}")
    void = labels == ignore_index
    near = void.to(torch.uint8)
    for dim in (-2, -1):  # a square dilates by columns, then by rows
        near = _dilate(near, width, dim)
    return near.bool() & ~void


def _dilate(mask: Tensor, width: int, dim: int) -> Tensor:
    """The maximum over a window of 2 * width + 1 along one dimension, 0 beyond the edges.

    Windows are joined in pairs, so the cost grows with log2(width); that of max_pool2d grows with the width.
    """
    padding = [width, width] if dim == -1 else [0, 0, width, width]
    out, length = F.pad(mask, padding), 1
    while length < 2 * width + 1:
        step = min(length, 2 * width + 1 - length)
        size = out.shape[dim] - step
        out = out.narrow(dim, 0, size) | out.narrow(dim, step, size)
        length += step
    return out


def update_trimap(matrices: Mapping[int, ConfusionMatrix], labels: Labels, predictions: Labels) -> None:
    """Counts the pixels of each trimap.

    Args:
        matrices: the matrix of each band by the band's width in pixels; each needs its ignore_index, void.
        labels, predictions: integers (..., H, W), as in `ConfusionMatrix.update`.
    """
    labels = integer_tensor(labels, "labels")
    for width, matrix in matrices.items():
        if matrix.ignore_index is None:
            raise ValueError(f"matrices[{width}]: expected an ignore_index, found None")
        band = boundary_band(labels, width, matrix.ignore_index)
        matrix.update(labels.masked_fill(~band, matrix.ignore_index), predictions)
