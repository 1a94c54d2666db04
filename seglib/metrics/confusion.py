"""Segmentation metrics: one confusion matrix over a whole data set, the scores read from it, and the trimap.

Names follow FCN (arXiv 1411.4038), section 5: `n_ij` is the number of pixels of class i predicted as class j, here
`matrix[i, j]`; `t_i = sum_j n_ij` is the number of pixels of class i; `p_j = sum_i n_ij` the number predicted as j.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Labels = Tensor | np.ndarray

CACHE_PIXELS = 2**19
RUN_LENGTH = 4  # pixels: the mean from which counting runs is faster than counting pixels
TABLE_PIXELS = 2**16  # a table of all pairs of bytes is larger than a smaller image


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one confusion matrix, as fractions in 0..1, float64.

    A class that has neither a labelled nor a predicted pixel is absent: nan in every per-class array and left out of
    every mean. A class that is predicted but never labelled has IoU 0, which counts. Without any pixel all is nan.

    Per class, numpy arrays of shape (K,), FCN section 5:
      iou       n_ii / (t_i + p_i - n_ii), the paper's "IU"
      accuracy  n_ii / t_i, the recall of a class; nan for a class without a labelled pixel
      dice      2 n_ii / (t_i + p_i), the F1 of a class (not in FCN)

    Over all classes, floats:
      miou            the mean of iou, "mean IU"
      pixel_accuracy  sum_i n_ii / sum_i t_i, "pixel accuracy"
      mean_accuracy   the mean of accuracy, "mean accuracy"
      fwiou           sum_i t_i iou_i / sum_i t_i, "frequency weighted IU"
      mean_dice       the mean of dice
    """

    iou: np.ndarray
    accuracy: np.ndarray
    dice: np.ndarray
    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float
    mean_dice: float

    def mean_iou_over(self, classes: Iterable[int]) -> float:
        """Mean IoU over a subset of the class indices; absent classes are left out, nan if all are absent.

        Raises IndexError for an index outside 0..K-1.
        """
        indices = list(classes)
        for index in indices:
            if not 0 <= index < len(self.iou):
                raise IndexError(f"classes: expected indices in 0..{len(self.iou) - 1}, found {index}")
        return _mean_present(self.iou[indices])

    def to_dict(self) -> dict[str, float | list[float | None] | None]:
        """The scores under their own names, as JSON can hold them: lists for arrays, None for nan."""

        def plain(value: float) -> float | None:
            return None if math.isnan(value) else float(value)

        return {
            name: [plain(v) for v in value] if isinstance(value, np.ndarray) else plain(value)
            for name, value in vars(self).items()
        }


class ConfusionMatrix:
    """Counts (label, prediction) pairs over a data set; the scores are computed once, from the sum.

    num_classes: K >= 1. ignore_index: the label of pixels that are not counted ("void"), None for none.
    device: where the counts are kept, the CPU if None; updates may come from any device.

    `matrix` is a (K, K) int64 tensor, rows = labels, columns = predictions. To add up several processes, all-reduce
    (sum) it in place.
    """

    def __init__(
        self, num_classes: int, ignore_index: int | None = 255, device: torch.device | str | None = None
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, found {num_classes}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device or "cpu")

    @classmethod
    def from_matrix(cls, matrix: Labels, ignore_index: int | None = 255) -> ConfusionMatrix:
        """A confusion matrix that starts from given counts, (K, K) integers >= 0; also `from_matrix(**state_dict)`."""
        counts = _integer_tensor(matrix, "matrix")
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or bool((counts < 0).any()):
            raise ValueError(
                f"matrix: expected (K, K) counts >= 0, found shape {tuple(counts.shape)} or negative counts"
            )
        result = cls(counts.shape[0], ignore_index, counts.device)
        result.matrix += counts
        return result

    def state_dict(self) -> dict[str, Tensor | int | None]:
        """A copy of the counts and the ignore_index, for `torch.save`; undone by `from_matrix(**state_dict)`."""
        return {"matrix": self.matrix.clone(), "ignore_index": self.ignore_index}

    def reset(self) -> None:
        """Back to no pixel counted."""
        self.matrix.zero_()

    def update(self, labels: Labels, predictions: Labels) -> None:
        """Count the pixels of an image or a batch, at the labels' own resolution.

        labels, predictions: tensors or arrays of integers, of one shape, on any device. Pixels whose label is
        ignore_index are dropped, whatever was predicted there. Raises TypeError if they are not integers, ValueError if
        the shapes differ, or if a label, or the prediction at a counted pixel, is outside 0..K-1; nothing is counted
        then.
        """
        predictions = _integer_tensor(predictions, "predictions")
        labels = _integer_tensor(labels, "labels").to(predictions.device)
        if labels.shape != predictions.shape:
            hint = " (class scores? take .argmax(1) first)" if predictions.ndim == labels.ndim + 1 else ""
            raise ValueError(
                f"labels and predictions: expected one shape, found labels {tuple(labels.shape)} "
                f"and predictions {tuple(predictions.shape)}{hint}"
            )
        if labels.numel() == 0:
            return
        # On a CPU the work is done in pieces that stay in its cache; on a GPU pieces would only be waits.
        piece = CACHE_PIXELS if labels.device.type == "cpu" else labels.numel()
        pieces = zip(labels.reshape(-1).split(piece), predictions.reshape(-1).split(piece), strict=True)
        self.matrix += sum(self._count(*pair) for pair in pieces).to(self.matrix.device)

    def _count(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """(N,) labels and predictions -> (K, K) counts."""
        bytes_ = _as_bytes(labels, predictions)
        return self._count_values(labels, predictions) if bytes_ is None else self._count_bytes(*bytes_)

    def _count_bytes(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """`_count` of uint8 on the CPU: all 256 x 256 pairs are counted, and looked at only then."""
        pairs = _byte_pairs(labels.numpy(), predictions.numpy())
        if self.ignore_index is not None and 0 <= self.ignore_index < 256:
            pairs[self.ignore_index] = 0
        k = self.num_classes
        for name, beyond in (("labels", pairs.any(1)), ("predictions", pairs.any(0))):
            if beyond[k:].any():
                raise ValueError(self._out_of_range(name, int(beyond.nonzero()[0][-1])))
        counts = torch.zeros(k, k, dtype=torch.int64)
        counts[:256, :256] = torch.from_numpy(pairs[:k, :k])
        return counts

    def _count_values(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """`_count` of any integers on any device."""
        k = self.num_classes
        valid = None
        # An ignore_index that the labels' type cannot hold (-1 in uint8) would wrap round onto a real class.
        if self.ignore_index is not None and _can_hold(labels, self.ignore_index):
            # Zeros and ones of the labels' own type: on a CPU ten times as fast to fill as a bool mask, and uint8 maps
            # stay at one byte per pixel.
            valid = torch.ne(labels, self.ignore_index, out=torch.empty_like(labels))
            labels, predictions = labels * valid, predictions * valid
        # One transfer for all four bounds, so that a GPU is waited for once.
        bounds = torch.stack([bound.long() for x in (labels, predictions) for bound in x.aminmax()]).tolist()
        for name, low, high in (("labels", *bounds[:2]), ("predictions", *bounds[2:])):
            if low < 0 or high >= k:
                raise ValueError(self._out_of_range(name, low if low < 0 else high))
        # 16-bit codes: the histogram is bound by memory traffic, and int64 codes take four times as long to write.
        code = labels.to(torch.int16 if k * k <= torch.iinfo(torch.int16).max else torch.int32)
        code = code.mul(k).add_(predictions)
        counts = torch.bincount(code, minlength=k * k)
        if valid is not None:
            # Every dropped pixel became (0, 0); taking them off there is cheaper than copying the others out.
            counts[0] -= valid.numel() - valid.count_nonzero()
        return counts.view(k, k)

    def _out_of_range(self, name: str, found: int) -> str:
        k = self.num_classes
        return (
            f"{name}: expected values in 0..{k - 1} (num_classes = {k}) where the label is not ignore_index "
            f"{self.ignore_index}, found {found}"
        )

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix with the same num_classes and ignore_index (ValueError otherwise)."""
        for name in ("num_classes", "ignore_index"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(f"other: expected {name} = {ours}, found {theirs}")
        self.matrix += other.matrix.to(self.matrix.device)

    def compute(self) -> Scores:
        """The scores of all pixels counted so far; nothing is reset."""
        counts = self.matrix.cpu().numpy().astype(np.float64)
        correct, labelled, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        iou = _ratio(correct, labelled + predicted - correct)
        accuracy = _ratio(correct, labelled)
        dice = _ratio(2 * correct, labelled + predicted)
        total = labelled.sum()
        return Scores(
            iou=iou,
            accuracy=accuracy,
            dice=dice,
            miou=_mean_present(iou),
            pixel_accuracy=float(_ratio(correct.sum(), total)),
            mean_accuracy=_mean_present(accuracy),
            fwiou=float(_ratio((labelled * np.nan_to_num(iou)).sum(), total)),
            mean_dice=_mean_present(dice),
        )


def boundary_band(labels: Tensor, width: int, ignore_index: int = 255) -> Tensor:
    """The trimap: the labelled pixels within `width` of a void pixel (DeepLabv3+ section 4.4, Figure 5).

    labels: integers (..., H, W). width: w >= 1 pixels; the void pixels are dilated by a square of side 2w + 1.
    Returns a bool mask (..., H, W), False on the void pixels themselves. Raises ValueError for width < 1 and for an
    ignore_index outside the range of the labels' type.
    """
    if width < 1:
        raise ValueError(f"width: expected at least 1 pixel, found {width}")
    if not _can_hold(labels, ignore_index):
        raise ValueError(f"ignore_index: expected a value that {labels.dtype} labels can hold, found {ignore_index}")
    void = labels == ignore_index
    near = void.to(torch.uint8)
    for dim in (-2, -1):  # a square dilates by columns, then by rows
        near = _dilate(near, width, dim)
    return near.bool() & ~void


def _dilate(mask: Tensor, width: int, dim: int) -> Tensor:
    """The maximum over a window of 2 * width + 1 along one dimension, 0 beyond the edges.

    Windows are joined in twos, so that the cost grows with log2(width); max_pool2d's grows with the width.
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
    """Count the pixels of each trimap: `matrices` maps a band's width in pixels to the matrix of that band.

    labels, predictions: integers (..., H, W). Raises ValueError as `boundary_band` and `ConfusionMatrix.update` do, and
    for a matrix without an ignore_index, since the band grows out of the void pixels.
    """
    labels = _integer_tensor(labels, "labels")
    for width, matrix in matrices.items():
        if matrix.ignore_index is None:
            raise ValueError(f"matrices[{width}]: expected an ignore_index, found None")
        band = boundary_band(labels, width, matrix.ignore_index)
        matrix.update(labels.masked_fill(~band, matrix.ignore_index), predictions)


def _integer_tensor(values: Labels, name: str) -> Tensor:
    if isinstance(values, np.ndarray):
        # Torch takes neither negative strides nor, without a warning, the read-only arrays that PIL hands out.
        usable = values.flags.writeable and all(stride >= 0 for stride in values.strides)
        values = torch.from_numpy(values if usable else values.copy())
    if values.is_floating_point() or values.is_complex():
        raise TypeError(f"{name}: expected integers, found {values.dtype}")
    if values.dtype == torch.bool:
        return values.to(torch.uint8)
    # Torch has few operations on the wide unsigned types.
    return values.long() if values.dtype in (torch.uint16, torch.uint32, torch.uint64) else values


def _as_bytes(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor] | None:
    """Both as uint8 where that loses nothing and pays: an eighth of the traffic of the int64 that `argmax` returns."""
    if labels.device.type != "cpu":
        return None  # to ask for the bounds would be to wait for the GPU once more
    if labels.numel() < TABLE_PIXELS:
        return None
    for values in (labels, predictions):
        if values.dtype != torch.uint8:
            low, high = (int(bound) for bound in values.aminmax())
            if low < 0 or high > 255:
                return None
    return labels.to(torch.uint8), predictions.to(torch.uint8)


def _byte_pairs(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """(N,) uint8 each -> (256, 256) int64: how often each pair of values occurs.

    Label maps consist of runs: to find where a pair changes takes a tenth of the time of a histogram over all pixels,
    which is then taken over the runs, unless there are too many.
    """
    ends = np.empty(labels.size, dtype=bool)
    ends[-1] = True
    np.not_equal(labels[1:], labels[:-1], out=ends[:-1])
    ends[:-1] |= predictions[1:] != predictions[:-1]
    if np.count_nonzero(ends) * RUN_LENGTH > labels.size:
        code = torch.from_numpy(labels).to(torch.int32).mul_(256).add_(torch.from_numpy(predictions))
        return torch.bincount(code, minlength=2**16).numpy().reshape(256, 256)
    last = np.flatnonzero(ends)
    code = labels[last].astype(np.int64) * 256 + predictions[last]
    counts = np.bincount(code, weights=np.diff(last, prepend=-1), minlength=2**16)
    return counts.astype(np.int64).reshape(256, 256)


def _can_hold(labels: Tensor, value: int) -> bool:
    return torch.iinfo(labels.dtype).min <= value <= torch.iinfo(labels.dtype).max


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, nan where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def _mean_present(values: np.ndarray) -> float:
    """The mean of the values that are not nan; nan if there is none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan
