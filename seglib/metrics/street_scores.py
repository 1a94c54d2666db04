"""Cityscapes' scores, equal to those of its evaluation script: IoU and iIoU, of classes and of categories.

Everything counts in ids, as submissions do; `seglib.metrics.cityscapes_labels.train_ids_to_ids` makes them from trainIds.
`seglib.metrics.cityscapes_scores` scores folders of files.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

LABELS = tuple(row for row in CITYSCAPES_LABELS if row.id >= 0)  # a row's place is its id: 0 to 33
EVALUATED = tuple(row for row in LABELS if not row.ignored)
CATEGORIES = tuple(dict.fromkeys(row.category for row in EVALUATED))
# A category has an iIoU if all its classes have instances, the ignored ones included.
INSTANCE_CATEGORIES = tuple(
    category for category in CATEGORIES if all(row.has_instances for row in LABELS if row.category == category)
)
CROWD_END = 1000  # instanceIds up to here are plain ids: stuff, and groups whose members are not told apart
# Mean size in pixels of a class's instances in the training set, as the evaluation script has them.
MEAN_INSTANCE_SIZE = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
MEAN_SIZE_OF_ID = np.array([MEAN_INSTANCE_SIZE.get(row.name, 0.0) for row in LABELS])  # 0: not counted
CATEGORY_OF_ID = np.array([row.category_id for row in LABELS])
WITHOUT_INSTANCES = {row.id for row in EVALUATED if not row.has_instances}
PLANES = ("label_ids", "prediction_ids", "instance_ids")
CACHE_PIXELS = 2**16  # a piece whose arrays stay in a processor's cache
CONVERT = "`seglib.metrics.cityscapes_labels.train_ids_to_ids` turns them into ids"


@dataclass(frozen=True)
class StreetResult:
    """Scores as fractions in 0..1 by name; what neither is labelled nor predicted is nan and left out of the means.

    iou: of the 19 evaluated classes. iiou: of the eight that have instances. category_iou: of the seven categories.
    category_iiou: of human and vehicle. miou, miiou, category_miou, category_miiou: their means.
    """

    iou: dict[str, float]
    iiou: dict[str, float]
    category_iou: dict[str, float]
    category_iiou: dict[str, float]
    miou: float
    miiou: float
    category_miou: float
    category_miiou: float

    def to_dict(self) -> dict[str, Any]:
        """The scores under their own names, as JSON can hold them: None for nan."""

        def plain(value: float) -> float | None:
            return None if math.isnan(value) else value

        return {
            name: {key: plain(v) for key, v in value.items()} if isinstance(value, dict) else plain(value)
            for name, value in vars(self).items()
        }

    def table(self) -> str:
        """The scores as text, laid out as the evaluation script prints them; "-" where there is no score."""
        parts = (
            ("classes", self.iou, self.iiou, self.miou, self.miiou),
            ("categories", self.category_iou, self.category_iiou, self.category_miou, self.category_miiou),
        )
        lines = []
        for title, ious, iious, mean, instance_mean in parts:
            lines += [f"{title:<14}     IoU    iIoU", "-" * 30]
            lines += [_line(name, iou, iious.get(name, math.nan)) for name, iou in ious.items()]
            lines += [_line("mean", mean, instance_mean), ""]
        return "\n".join(lines)


class StreetScores:
    """Counts over frames what Cityscapes' scores are computed from, once, by `compute`.

    `matrix`: (34, 34) int64, rows = ids of the labels, columns = predicted ids; ignored classes are counted here and
    left out by `compute`. `instances`: (34, 2) float64, pixels of single instances by class, right and wrong, each
    divided by its instance's size and multiplied by the class's mean size; right is the id itself.
    `category_instances`: the same where right is any id of the category.
    """

    def __init__(self) -> None:
        self.matrix = np.zeros((len(LABELS), len(LABELS)), np.int64)
        self.instances = np.zeros((len(LABELS), 2))
        self.category_instances = np.zeros((len(LABELS), 2))

    def update(self, label_ids: np.ndarray, prediction_ids: np.ndarray, instance_ids: np.ndarray) -> None:
        """Count a frame: three integer arrays of one shape.

        Args:
            label_ids, prediction_ids: ids, 0 to 33. instance_ids: id * 1000 + k for a single instance, else the id.

        Raises:
            TypeError: no integers. ValueError: the shapes differ; a value that is no id; an instance of a class
            without instances. Nothing is counted then.
        """
        planes = (label_ids, prediction_ids, instance_ids)
        for name, plane in zip(PLANES, planes, strict=True):
            if not np.issubdtype(plane.dtype, np.integer):
                raise TypeError(f"{name}: expected integers, found {plane.dtype}")
            if plane.shape != label_ids.shape:
                raise ValueError(f"{name}: expected the shape of label_ids, {label_ids.shape}, found {plane.shape}")
        found = [runs_of(piece) for piece in pieces_of(planes)]
        if not found:
            return
        labels, predictions, instances, lengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
        _check_ids("label_ids", labels)
        _check_ids("prediction_ids", predictions)
        single = instances > CROWD_END
        counted = _count_instances(instances[single], predictions[single], lengths[single])
        codes = labels * len(LABELS) + predictions
        counts = np.bincount(codes, weights=lengths, minlength=self.matrix.size)  # float64 is exact up to 2^53
        self.matrix += counts.astype(np.int64).reshape(self.matrix.shape)
        self.instances += counted[0]
        self.category_instances += counted[1]

    def merge(self, other: "StreetScores") -> None:
        """Add the counts of another one."""
        self.matrix += other.matrix
        self.instances += other.instances
        self.category_instances += other.category_instances

    def compute(self) -> StreetResult:
        """The scores of all frames counted so far; nothing is reset."""
        ious = {row.name: self._iou([row.id]) for row in EVALUATED}
        iious = {row.name: self._iiou([row.id], self.instances) for row in EVALUATED if row.has_instances}
        members = {name: [row.id for row in LABELS if row.category == name] for name in CATEGORIES}
        category_ious = {name: self._iou([i for i in ids if not LABELS[i].ignored]) for name, ids in members.items()}
        category_iious = {name: self._iiou(members[name], self.category_instances) for name in INSTANCE_CATEGORIES}
        scores = (ious, iious, category_ious, category_iious)
        return StreetResult(*scores, *(_mean_present(values.values()) for values in scores))

    def _iou(self, ids: list[int]) -> float:
        right = int(self.matrix[np.ix_(ids, ids)].sum())
        return _ratio(right, int(self.matrix[ids].sum()) + self._wrongly_predicted(ids))

    def _iiou(self, ids: list[int], instances: np.ndarray) -> float:
        right, wrong = instances[ids].sum(axis=0)
        return _ratio(right, right + wrong + self._wrongly_predicted(ids))

    def _wrongly_predicted(self, ids: list[int]) -> int:
        """Pixels predicted as one of these ids where the label is evaluated and none of them."""
        others = [row.id for row in EVALUATED if row.id not in ids]
        return int(self.matrix[np.ix_(others, ids)].sum())

    @property
    def suspects_train_ids(self) -> bool:
        """Whether the predictions look like trainIds: none above 18, which sky, persons and cars are, but ids that no
        evaluated class has, 1 to 6 and the like. A sign, not a proof; such predictions are counted as any other.
        """
        predicted = set(np.flatnonzero(self.matrix.sum(axis=0)).tolist())
        return bool(predicted) and max(predicted) <= 18 and any(LABELS[i].ignored for i in predicted - {0})


def pieces_of(planes: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Cuts arrays of one shape into flat pieces of CACHE_PIXELS."""
    flat = [plane.reshape(-1) for plane in planes]
    for start in range(0, flat[0].size, CACHE_PIXELS):
        yield [plane[start : start + CACHE_PIXELS] for plane in flat]


def runs_of(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cuts flat arrays wherever any of them changes: what each is from there on, as int64, and then the lengths.

    A frame of two million pixels has some ten thousand runs, and to find them is to compare neighbours, once.
    """
    changes = planes[0][1:] != planes[0][:-1]
    for plane in planes[1:]:
        changes |= plane[1:] != plane[:-1]
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return [*(plane[starts].astype(np.int64) for plane in planes), np.diff(starts, append=planes[0].size)]


def _count_instances(instances: np.ndarray, predictions: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Weighted right and wrong pixels (34, 2) by class, for right = the id and for right = its category."""
    instances, places = np.unique(instances, return_inverse=True)
    ids = instances // 1000
    impossible = [int(i) for i in instances if i // 1000 >= len(LABELS)]
    impossible += [int(i) for i in instances if i // 1000 in WITHOUT_INSTANCES]
    if impossible:
        raise ValueError(
            f"instance_ids: expected ids, or id * 1000 + k for the classes that have instances; found {impossible}"
        )
    sizes = np.bincount(places, weights=lengths, minlength=len(instances))
    weights = MEAN_SIZE_OF_ID[ids] / sizes  # 0 for an ignored class
    found = []
    for groups in (np.arange(len(LABELS)), CATEGORY_OF_ID):
        right = lengths * (groups[predictions] == groups[ids][places])
        right = np.bincount(places, weights=right, minlength=len(instances))
        pairs = (right * weights, (sizes - right) * weights)
        found.append(np.stack([np.bincount(ids, weights=pair, minlength=len(LABELS)) for pair in pairs], axis=1))
    return found


def _check_ids(name: str, values: np.ndarray) -> None:
    if values.min() < 0 or values.max() >= len(LABELS):
        wrong = [int(value) for value in np.unique(values) if not 0 <= value < len(LABELS)]
        hint = f"; 255 is void among trainIds: are these trainIds? {CONVERT}" if 255 in wrong else ""
        raise ValueError(f"{name}: expected ids, 0 to {len(LABELS) - 1}, found {wrong}{hint}")


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else math.nan


def _mean_present(values: Iterable[float]) -> float:
    """The mean of the values that are not nan; nan if there is none."""
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def _line(name: str, iou: float, iiou: float) -> str:
    return f"{name:<14}" + "".join("       -" if math.isnan(score) else f"{score:8.3f}" for score in (iou, iiou))
