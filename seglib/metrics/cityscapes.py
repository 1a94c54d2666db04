"""Cityscapes' scores, equal to those of its evaluation script: IoU and iIoU, of classes and of categories.

`StreetScores` counts arrays, `score_folders` files, `score_cityscapes` is the command. All count in ids, as submissions
do; `seglib.metrics.cityscapes_labels.train_ids_to_ids` makes them from trainIds. Torch is not imported: that would take
longer than to score twenty frames. Pillow is imported where it is used, for the same reason.
"""

from __future__ import annotations

import math
from concurrent import futures
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from tqdm.auto import tqdm

from seglib.files import write_json
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS
from seglib.metrics.ratios import divide, mean_present, to_json
from seglib.metrics.runs import pieces_of, runs_of

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
    "person": 3462.4756337644, "rider": 3930.4788056518, "car": 12794.0202738185, "truck": 27855.1264367816,
    "bus": 35732.1511111111, "train": 67583.7075812274, "motorcycle": 6298.7200839748, "bicycle": 4672.3249222261,
}  # fmt: skip
MEAN_SIZE_OF_ID = np.array([MEAN_INSTANCE_SIZE.get(row.name, 0.0) for row in LABELS])  # 0: not counted
CATEGORY_OF_ID = np.array([row.category_id for row in LABELS])
WITHOUT_INSTANCES = {row.id for row in EVALUATED if not row.has_instances}
PLANES = ("label_ids", "prediction_ids", "instance_ids")
CONVERT = "`seglib.metrics.cityscapes_labels.train_ids_to_ids` turns them into ids"

Frame = tuple[Path, Path, Path]  # labelIds, prediction, instanceIds
PNG_START = b"\x89PNG\r\n\x1a\n"
GREY = (b"\x08\x00", b"\x10\x00")  # bits and kind of colour in a PNG's header: 8 and 16 bits of grey
ID_MODES = ("L", "P", "I;16", "I;16B", "I")  # Pillow's names of 8, 16 and 32 bits of grey, and of palette indices


@dataclass(frozen=True)
class StreetResult:
    """Scores as fractions in 0..1 by name; a class neither labelled nor predicted is nan and left out of the means."""

    iou: dict[str, float]  # of the 19 evaluated classes
    iiou: dict[str, float]  # of the eight that have instances
    category_iou: dict[str, float]  # of the seven categories
    category_iiou: dict[str, float]  # of human and vehicle
    miou: float  # this and the rest: the means of these four
    miiou: float
    category_miou: float
    category_miiou: float

    def to_dict(self) -> dict[str, Any]:
        """The scores under their own names, as JSON can hold them: None for nan."""
        return to_json(vars(self))

    def table(self) -> str:
        """The scores as text, laid out as the evaluation script prints them; "-" where there is no score."""
        lines = []
        for title, ious, iious, mean, instance_mean in (
            ("classes", self.iou, self.iiou, self.miou, self.miiou),
            ("categories", self.category_iou, self.category_iiou, self.category_miou, self.category_miiou),
        ):
            lines += [f"{title:<14}     IoU    iIoU", "-" * 30]
            rows = [(name, iou, iious.get(name, math.nan)) for name, iou in ious.items()]
            for name, *scores in [*rows, ("mean", mean, instance_mean)]:
                numbers = "".join(f"{score:8.3f}" for score in scores)
                lines.append(f"{name:<14}" + numbers.replace("nan", "  -"))
            lines.append("")
        return "\n".join(lines)


class StreetScores:
    """Counts over frames; Cityscapes' scores are computed once, from the sum.

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
        """Counts a frame: three integer arrays of one shape. If one is refused, nothing is counted.

        Args:
            label_ids, prediction_ids: ids, 0 to 33.
            instance_ids: id * 1000 + k for a single instance, else the id.
        """
        planes = (label_ids, prediction_ids, instance_ids)
        for name, plane in zip(PLANES, planes, strict=True):
            if not np.issubdtype(plane.dtype, np.integer):
                raise TypeError(f"{name}: expected integers, found {plane.dtype}")
            if plane.shape != label_ids.shape:
                raise ValueError(f"{name}: expected the shape of label_ids, {label_ids.shape}, found {plane.shape}")
        if label_ids.size == 0:
            return
        found = [runs_of(piece) for piece in pieces_of(planes)]  # of two million pixels, some ten thousand runs
        labels, predictions, instances, lengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
        for name, ids in (("label_ids", labels), ("prediction_ids", predictions)):
            if wrong := [int(value) for value in np.unique(ids) if not 0 <= value < len(LABELS)]:
                hint = f"; 255 is void among trainIds: are these trainIds? {CONVERT}" if 255 in wrong else ""
                raise ValueError(f"{name}: expected ids, 0 to {len(LABELS) - 1}, found {wrong}{hint}")
        single = instances > CROWD_END
        by_class, by_category = _count_instances(instances[single], predictions[single], lengths[single])
        codes = labels * len(LABELS) + predictions
        counts = np.bincount(codes, weights=lengths, minlength=self.matrix.size)  # float64 is exact up to 2^53
        self.matrix += counts.astype(np.int64).reshape(self.matrix.shape)
        self.instances += by_class
        self.category_instances += by_category

    def merge(self, other: StreetScores) -> None:
        """Adds the counts of another one."""
        for name, counts in vars(self).items():
            counts += getattr(other, name)

    def compute(self) -> StreetResult:
        """The scores of all frames counted so far; the counts stay."""
        members = {name: [row.id for row in LABELS if row.category == name] for name in CATEGORIES}
        scores = (
            {row.name: self._iou([row.id]) for row in EVALUATED},
            {row.name: self._iiou([row.id], self.instances) for row in EVALUATED if row.has_instances},
            {name: self._iou([i for i in ids if not LABELS[i].ignored]) for name, ids in members.items()},
            {name: self._iiou(members[name], self.category_instances) for name in INSTANCE_CATEGORIES},
        )
        return StreetResult(*scores, *(mean_present(values.values()) for values in scores))

    def _iou(self, ids: list[int]) -> float:
        right, labelled = self.matrix[np.ix_(ids, ids)].sum(), self.matrix[ids].sum()
        return float(divide(right, labelled + self._count_false_positives(ids)))

    def _iiou(self, ids: list[int], instances: np.ndarray) -> float:
        right, wrong = instances[ids].sum(axis=0)
        return float(divide(right, right + wrong + self._count_false_positives(ids)))

    def _count_false_positives(self, ids: list[int]) -> int:
        """Counts the pixels predicted as one of these ids where the label is another evaluated class."""
        others = [row.id for row in EVALUATED if row.id not in ids]
        return int(self.matrix[np.ix_(others, ids)].sum())

    @property
    def suspects_train_ids(self) -> bool:
        """True if no predicted id is above 18, as sky, person and car are, but some belong to no evaluated class.

        TrainIds look like that. It is a sign, not a proof; such predictions are counted as any other.
        """
        predicted = set(np.flatnonzero(self.matrix.sum(axis=0)).tolist())
        return bool(predicted) and max(predicted) <= 18 and any(LABELS[i].ignored for i in predicted - {0})


def _count_instances(instances: np.ndarray, predictions: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Weighted right and wrong pixels (34, 2) by class, for right = the id and for right = its category."""
    instances, places = np.unique(instances, return_inverse=True)
    ids = instances // 1000
    if wrong := [int(i) for i in instances if i // 1000 >= len(LABELS) or i // 1000 in WITHOUT_INSTANCES]:
        raise ValueError(f"instance_ids: expected ids, or id * 1000 + k for the classes with instances; found {wrong}")
    sizes = np.bincount(places, weights=lengths, minlength=len(instances))
    weights = MEAN_SIZE_OF_ID[ids] / sizes  # 0 for an ignored class
    found = []
    for groups in (np.arange(len(LABELS)), CATEGORY_OF_ID):
        right = lengths * (groups[predictions] == groups[ids][places])
        right = np.bincount(places, weights=right, minlength=len(instances))
        pairs = (right * weights, (sizes - right) * weights)
        found.append(np.stack([np.bincount(ids, weights=pair, minlength=len(LABELS)) for pair in pairs], axis=1))
    return found


def find_frames(ground_truth: str | Path, predictions: str | Path) -> list[Frame]:
    """Pairs files as the evaluation script does: CITY_NUMBER_NUMBER_*_labelIds.png with CITY_NUMBER_NUMBER*.png.

    Both folders are searched with all folders in them. Returns (labelIds, prediction, instanceIds) sorted by name.

    Raises:
        FileNotFoundError: if a folder, all labelIds, or one's instanceIds or prediction do not exist.
        ValueError: if a labelIds file is not named as Cityscapes names them, or has several predictions.
    """
    labels = _files_in(ground_truth, "*_labelIds.png")
    if not labels:
        raise FileNotFoundError(f"{ground_truth}: expected files CITY_NUMBER_NUMBER_gtFine_labelIds.png, found none")
    candidates = sorted((path.name, path) for path in _files_in(predictions, "*.png"))
    frames = []
    for label in sorted(labels):
        if label.name.count("_") not in (3, 4):
            raise ValueError(f"{label}: expected a name such as aachen_000000_000019_gtFine_labelIds.png")
        frame = "_".join(label.name.split("_")[:3])
        found = [path for name, path in candidates if name.startswith(frame)]
        if not found:
            raise FileNotFoundError(f"{predictions}: expected a prediction {frame}*.png for {label}, found none")
        if len(found) > 1:
            raise ValueError(f"{predictions}: expected one prediction {frame}*.png, found {', '.join(map(str, found))}")
        instances = label.with_name(label.name.replace("_labelIds", "_instanceIds"))
        if not instances.is_file():
            raise FileNotFoundError(f"{instances}: no such file; expected it beside {label.name}, for the iIoU")
        frames.append((label, found[0], instances))
    return frames


def _files_in(folder: str | Path, pattern: str) -> list[Path]:
    if not Path(folder).is_dir():
        found = "a file" if Path(folder).exists() else "nothing"
        raise FileNotFoundError(f"{folder}: expected a folder, found {found}")
    return list(Path(folder).rglob(pattern))


def score_frame(frame: Frame) -> StreetScores:
    """Counts one frame's files: labelIds, prediction, instanceIds. Raises ValueError that names the file at fault."""
    planes = [_read_ids(path) for path in frame]
    for path, plane in zip(frame, planes, strict=True):
        if plane.shape != planes[0].shape:
            size, found = (f"{width} x {height}" for height, width in (planes[0].shape, plane.shape))
            raise ValueError(f"{path}: expected {size}, the size of {frame[0].name}, found {found}")
    scores = StreetScores()
    try:
        scores.update(*planes)
    except ValueError as error:
        path = frame[PLANES.index(str(error).split(":")[0])]
        raise ValueError(f"{path}: {error}") from None
    return scores


def _read_ids(path: Path) -> np.ndarray:
    """(H, W) the value that an image stores for each pixel: a shade of grey, or an index into its palette."""
    try:
        content = path.read_bytes()
        header = content[24:26] if content.startswith(PNG_START) else b""
        if header in GREY:
            ids = imagecodecs.png_decode(content)  # three quarters of Pillow's time
            if ids.ndim == 2:  # else it has transparency too
                return ids
        from PIL import Image  # here: few files need it, and every process would take the time

        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, imagecodecs.PngError) as error:  # what both raise on damaged files
        raise ValueError(f"{path}: not an image that can be read ({error})") from error
    if header in (b"\x02\x00", b"\x04\x00"):  # Pillow makes shades of them
        raise ValueError(f"{path}: {header[0]} bits of grey, which may be ids or shades; expected 8 bits")
    if image.mode not in ID_MODES:
        raise ValueError(f"{path}: an image of mode {image.mode}; expected one id for each pixel, a mode of {ID_MODES}")
    return np.asarray(image)


def score_folders(ground_truth: str | Path, predictions: str | Path, workers: int = 1) -> StreetScores:
    """The counts of all frames of two folders; the same, bit for bit, for any number of processes.

    Raises:
        FileNotFoundError, ValueError: as `find_frames` and `score_frame`.
        ValueError: if the predictions look like trainIds (`StreetScores.suspects_train_ids`), or if workers < 1.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, found {workers}")
    frames = find_frames(ground_truth, predictions)
    total = StreetScores()
    with futures.ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        counts = map(score_frame, frames) if pool is None else pool.map(score_frame, frames)
        for scores in tqdm(counts, total=len(frames), unit="frame", disable=None):
            total.merge(scores)
    if total.suspects_train_ids:
        found = "holds no id above 18, but ids that are not evaluated"
        raise ValueError(f"{predictions}: {found}: are these trainIds? {CONVERT}")
    return total


def score_cityscapes(ground_truth: Path, predictions: Path, /, *, output: Path | None = None, workers: int = 1) -> None:
    """Prints IoU and iIoU of predictions as Cityscapes' evaluation script has them.

    Args:
        ground_truth: Folder with *_labelIds.png and *_instanceIds.png, such as gtFine/val.
        predictions: Folder with CITY_NUMBER_NUMBER*.png, which hold ids.
        output: JSON file that the scores and the confusion matrix are written to.
        workers: Processes.
    """
    counts = score_folders(ground_truth, predictions, workers)
    scores = counts.compute()
    print(scores.table())
    if output is not None:
        write_json(output, {**scores.to_dict(), "matrix": counts.matrix.tolist()})
