"""The confusion matrix of a data set, and the scores read from it.

Names (quoted below) follow FCN, arXiv 1411.4038, section 5: `n_ij` pixels of class i are predicted as class j, here
`matrix[i, j]`; `t_i = sum_j n_ij` is the number of pixels of class i; `p_j = sum_i n_ij` the number predicted as j.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seglib.metrics.ratios import divide, mean_present, to_json  # 0 / 0 is nan, which a mean leaves out
from seglib.metrics.runs import count_pairs  # which pairs occur, and how often

Labels = Tensor | np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one confusion matrix, as fractions in 0..1, float64.

    A class that has neither a labelled nor a predicted pixel is absent: nan in every per-class array and left out of
    every mean. A class that is predicted but never labelled has IoU 0, which counts. Without any pixel all is nan.
    """

    # per class, (K,)
    iou: np.ndarray  # n_ii / (t_i + p_i - n_ii), intersection over union, "IU"
    accuracy: np.ndarray  # n_ii / t_i, the recall; nan for a class without a labelled pixel
    dice: np.ndarray  # 2 n_ii / (t_i + p_i), the F1 (not in FCN)
    # over all classes
    miou: float  # the mean of iou, "mean IU"
    pixel_accuracy: float  # sum_i n_ii / sum_i t_i, "pixel accuracy"
    mean_accuracy: float  # the mean of accuracy, "mean accuracy"
    fwiou: float  # sum_i t_i iou_i / sum_i t_i, "frequency weighted IU"
    mean_dice: float  # the mean of dice

    def mean_iou_over(self, classes: Iterable[int]) -> float:
        """The mean IoU over a subset of the class indices; absent classes are left out, nan if all are absent."""
        indices = list(classes)
        for index in indices:
            if not 0 <= index < len(self.iou):
                raise IndexError(f"classes: expected indices in 0..{len(self.iou) - 1}, found {index}")
        return mean_present(self.iou[indices])

    def to_dict(self) -> dict[str, Any]:
        """The scores under their own names, as JSON can hold them: lists for arrays, None for nan."""
        return to_json(vars(self))


class ConfusionMatrix:
    """Counts (label, prediction) pairs over a data set; the scores are computed once, from the sum.

    `matrix` is a (K, K) int64 tensor, rows = labels, columns = predictions. To add up several processes, all-reduce
    (sum) it in place.

    Args:
        num_classes: K >= 1.
        ignore_index: the label of pixels that are not counted ("void"), None for none.
        device: where the counts are kept; updates may come from any device.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = 255, device: torch.device | str = "cpu") -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes: expected at least 1, found {num_classes}")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    @classmethod
    def from_matrix(cls, matrix: Labels, ignore_index: int | None = 255) -> ConfusionMatrix:
        """A confusion matrix that starts from given counts, (K, K) integers >= 0."""
        counts = integer_tensor(matrix, "matrix")
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or bool((counts < 0).any()):
            raise ValueError(f"matrix: expected (K, K) counts >= 0, found {tuple(counts.shape)} or negative counts")
        result = cls(counts.shape[0], ignore_index, counts.device)
        result.matrix += counts
        return result

    def update(self, labels: Labels, predictions: Labels) -> None:
        """Counts the pixels of an image or a batch, at the labels' own resolution.

        Args:
            labels, predictions: tensors or arrays of integers, of one shape, on any device. Pixels whose label is
                ignore_index are dropped, whatever is predicted there.

        Raises:
            TypeError: if they are not integers.
            ValueError: if the shapes differ, or if a label, or the prediction at a counted pixel, is outside 0..K-1.
                Nothing is counted then.
        """
        predictions = integer_tensor(predictions, "predictions")
        labels = integer_tensor(labels, "labels").to(predictions.device)
        if labels.shape != predictions.shape:
            hint = " (class scores? take .argmax(1) first)" if predictions.ndim == labels.ndim + 1 else ""
            found = f"labels {tuple(labels.shape)} and predictions {tuple(predictions.shape)}{hint}"
            raise ValueError(f"labels and predictions: expected one shape, found {found}")
        if labels.numel() == 0:
            return
        rows, columns, pixels = count_pairs(labels, predictions)
        k, ignored = self.num_classes, self.ignore_index
        if ignored is not None:
            labelled = rows != ignored
            rows, columns, pixels = rows[labelled], columns[labelled], pixels[labelled]
        for name, values in (("labels", rows), ("predictions", columns)):
            outside = values[(values < 0) | (values >= k)]
            if outside.size:
                expected = f"values in 0..{k - 1} (num_classes = {k}) where the label is not ignore_index {ignored}"
                raise ValueError(f"{name}: expected {expected}, found {outside[0]}")
        counts = np.bincount(rows * k + columns, weights=pixels, minlength=k * k)  # float64 is exact up to 2^53
        self.matrix += torch.from_numpy(counts.astype(np.int64)).view(k, k).to(self.matrix.device)

    def merge(self, other: ConfusionMatrix) -> None:
        """Adds the counts of another matrix of the same num_classes and ignore_index."""
        for name in ("num_classes", "ignore_index"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(f"other: expected {name} = {ours}, found {theirs}")
        self.matrix += other.matrix.to(self.matrix.device)

    def compute(self) -> Scores:
        """The scores of all pixels counted so far; the counts stay."""
        counts = self.matrix.cpu().numpy().astype(np.float64)
        correct, labelled, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        iou = divide(correct, labelled + predicted - correct)
        accuracy = divide(correct, labelled)
        dice = divide(2 * correct, labelled + predicted)
        return Scores(
            iou=iou,
            accuracy=accuracy,
            dice=dice,
            miou=mean_present(iou),
            pixel_accuracy=float(divide(correct.sum(), labelled.sum())),
            mean_accuracy=mean_present(accuracy),
            fwiou=float(divide((labelled * np.nan_to_num(iou)).sum(), labelled.sum())),
            mean_dice=mean_present(dice),
        )


def integer_tensor(values: Labels, name: str) -> Tensor:
    """Makes a tensor of labels. Raises TypeError naming the argument if they are no integers."""
    if isinstance(values, np.ndarray):
        # Torch takes neither negative strides nor, without a warning, the read-only arrays that PIL hands out.
        values = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    if values.is_floating_point() or values.is_complex():
        raise TypeError(f"{name}: expected integers, found {values.dtype}")
    if values.dtype == torch.bool:
        return values.to(torch.uint8)
    # Torch has few operations on the wide unsigned types.
    return values.long() if values.dtype in (torch.uint16, torch.uint32, torch.uint64) else values
