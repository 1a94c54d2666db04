"""Checks of notebook 07: ids of a submission, iIoU of a class, where windows begin, one prediction of many windows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS, train_ids_to_ids

Case = tuple[np.ndarray, np.ndarray, np.ndarray, int, float]  # label ids, predicted ids, instance ids, class, mean size
ROAD, CARAVAN, CAR = 7, 29, 26
ID_OF = {row.train_id: row.id for row in CITYSCAPES_LABELS if not row.ignored}


@exercise("7.1", "Each of the 19 trainIds has become its id, in bytes that a PNG can hold.")
def submission_ids(answer: Callable[[np.ndarray], np.ndarray]) -> None:
    """Takes all 19 trainIds in an order that a chain of replacements would not survive."""
    prediction = np.random.default_rng(0).permutation(np.arange(19).repeat(4)).reshape(4, 19).astype(np.uint8)
    given = prediction.copy()
    found = call(answer, given)
    expect(np.array_equal(given, prediction), "The prediction that was handed in has changed.", "write to a new array.")
    chained = prediction.copy()
    for train_id, its_id in ID_OF.items():
        chained[chained == train_id] = its_id
    train_id_of = {row.id: row.train_id for row in CITYSCAPES_LABELS}
    usual = {
        "these are still trainIds: road is 0 there, and 7 among ids.": prediction,
        "your table goes from ids to trainIds, the wrong way.": np.vectorize(train_id_of.get)(prediction),
        "some values were replaced twice (0 became 7, then all 7 became 20).": chained,
    }
    hint = "the ids that are not scored leave gaps between the others; read them from CITYSCAPES_LABELS."
    diagnose("The array of ids", found, train_ids_to_ids(prediction), usual, hint)
    expect(np.asarray(found).dtype == np.uint8, "The ids are right, but of another type.", "a PNG of ids is uint8.")


@exercise("7.2", "A single car counts as one whatever its size; groups and ignored regions count neither way.")
def iiou_of(answer: Callable[[np.ndarray, np.ndarray, np.ndarray, int, float], float]) -> None:
    """Takes frames of cars, with one more difficulty each."""

    def values(*case: Any) -> tuple[float, dict[str, float]]:
        return _iiou(case), {
            "this is the plain IoU: each instance's pixels weigh mean_size / its own size.": _iiou(case, power=0),
            "the weight is upside down: large instances should weigh less per pixel.": _iiou(case, power=-1),
            "pixels predicted as the class on another one are FP.": _iiou(case, false_positives=0),
            "pixels of a group (instance id = class id) are not iFN or iTP.": _iiou(case, groups=True),
            "a caravan is ignored: whatever is predicted there is not an FP.": _iiou(case, ignored=True),
            "a group is labelled as the class: what is predicted there is not an FP.": _iiou(case, beside=True),
        }

    compare(answer, _car_frames(), values, "iTP / (iTP + FP + iFN), sum by sum.", read=float)


def _car_frames() -> dict[str, Case]:
    labels = np.full((12, 30), ROAD, np.uint8)
    instances = labels.astype(np.int32)
    cars = (slice(1, 9), slice(1, 11)), (slice(1, 3), slice(14, 18)), (slice(5, 7), slice(14, 18))
    for number, place in enumerate(cars):
        labels[place], instances[place] = CAR, CAR * 1000 + number
    large = np.where(instances == CAR * 1000, CAR, ROAD)
    parts, false, beside = large.copy(), large.copy(), np.zeros(labels.shape, bool)
    parts[1:9, 6:11], parts[cars[1]] = ROAD, CAR
    false[10, 1:11] = CAR
    beside[5:9, 20:28] = True
    half = false.copy()
    half[5:7, 20:28] = CAR
    parked = [np.where(beside, *pair) for pair in ((CARAVAN, labels), (CAR, false), (CARAVAN * 1000, instances))]
    planes = {
        "where one car of three is found": (labels, large, instances),
        "where parts are found": (labels, parts, instances),
        "where road is taken for a car": (labels, false, instances),
        "beside a group of cars": (np.where(beside, CAR, labels), false, np.where(beside, CAR, instances)),
        "where half of a group is found": (np.where(beside, CAR, labels), half, np.where(beside, CAR, instances)),
        "beside a caravan": parked,
    }
    return {f"The iIoU {where}": (*arrays, CAR, 30.0) for where, arrays in planes.items()}


def _iiou(
    case: Case,
    power: int = 1,
    false_positives: int = 1,
    groups: bool = False,
    ignored: bool = False,
    beside: bool = False,
) -> float:
    """The iIoU, or what a usual mistake makes of it; power 0 is the plain IoU."""
    labels, predictions, instances, class_id, mean_size = case
    hit = labelled = 0.0
    for instance in np.unique(instances[labels == class_id]).tolist():
        mask, group = instances == instance, instance == class_id
        if group and not groups and power:
            continue
        weight = 1.0 if group else (mean_size / mask.sum()) ** power
        hit += weight * (predictions[mask] == class_id).sum()
        labelled += weight * mask.sum()
    counted = ((labels != class_id) | (beside & (instances == class_id))) & (
        np.isin(labels, list(ID_OF.values())) | ignored
    )
    return float(hit / (labelled + false_positives * (predictions[counted] == class_id).sum()))


@exercise("7.3", "Windows cover the side, none leaves it, and the last one ends where the side ends.")
def starts_of(answer: Callable[[int, int, int], Sequence[int]]) -> None:
    """Takes sides that the stride divides, that it does not, that one window fills, and that are shorter than it."""

    def values(length: int, window: int, stride: int) -> tuple[list[int], dict[str, list[int]]]:
        last = max(length - window, 0)
        right = [*range(0, last, stride), last]
        return right, {
            "the rest needs a last window.": [*range(0, last + 1, stride)],
            "move the last one back, so that it ends with the side.": [*range(0, length, stride)],
            "look at the last two: a window is there twice.": [*range(0, last + 1, stride), last],
            "only the last one is moved.": [int(start) for start in np.linspace(0, last, len(right)).round()],
        }

    cases = [(10, 4, 3), (12, 4, 3), (2048, 769, 512), (769, 769, 512), (500, 769, 512)]
    hint = "0, stride, 2 * stride and so on while a window fits, then the one that ends with the side."
    compare(answer, cases, values, hint, read=lambda found: [int(start) for start in found])


@exercise("7.4", "Each pixel has the mean of the windows that see it: the edges of one are the middle of another.")
def stitch(answer: Callable[[list[tuple[int, int, np.ndarray]], int, int], np.ndarray]) -> None:
    """Takes windows that overlap once, twice and not at all, on a frame that is not square."""
    rng, (height, width, side) = np.random.default_rng(0), (7, 11, 4)
    corners = [(top, left) for top in (0, 3) for left in (0, 2, 4, 7)]
    windows = [(*corner, rng.dirichlet(np.ones(3), (side, side)).transpose(2, 0, 1)) for corner in corners]
    total, last, largest = np.zeros((3, 3, height, width))
    seen = np.zeros((height, width))
    for top, left, probabilities in windows:
        place = (slice(None), slice(top, top + side), slice(left, left + side))
        total[place] += probabilities
        seen[place[1:]] += 1
        last[place], largest[place] = probabilities, np.maximum(largest[place], probabilities)
    usual = {
        "this is the sum: divide each pixel by the number of windows that see it.": total,
        "the last window that sees a pixel has the word; take the mean of all.": last,
        "the largest probability is no mean, and does not sum to one.": largest,
        "divide by the windows that see the pixel, not by all of them.": total / len(windows),
        "return probabilities: classes cannot be averaged.": (total / seen).argmax(axis=0),
    }
    found = call(answer, [(top, left, p.copy()) for top, left, p in windows], height, width)
    diagnose("The array of probabilities", np.asarray(found), total / seen, usual, "sum and count, pixel by pixel.")
