"""Checks of notebook 07: ids of a submission, iIoU of a class, where windows begin, what squashing does to a box."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

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
    wrong = f"An array of shape {prediction.shape} is expected, found {type(found).__name__} {np.shape(found)}."
    expect(isinstance(found, np.ndarray) and found.shape == prediction.shape, wrong)
    chained = prediction.copy()
    for train_id, its_id in ID_OF.items():
        chained[chained == train_id] = its_id
    right = np.vectorize(ID_OF.get)(prediction)
    place = (found != right).argmax()
    train_id_of = {row.id: row.train_id for row in CITYSCAPES_LABELS}
    usual = {
        "these are still trainIds: road is 0 there, and 7 among ids.": prediction,
        "your table goes from ids to trainIds; it should go the other way.": np.vectorize(train_id_of.get)(prediction),
        "some values were replaced twice (0 became 7, then all 7 became 20); compare with the prediction.": chained,
    }
    wrong = f"trainId {prediction.flat[place]} became {found.flat[place]}; expected {right.flat[place]}."
    hint = "the ids that are not scored leave gaps between the others; read them from CITYSCAPES_LABELS."
    diagnose(found, right, usual, wrong, hint)
    expect(found.dtype == np.uint8, f"The ids are right, but of type {found.dtype}.", "a PNG of ids is uint8.")


@exercise("7.2", "A single car counts as one whatever its size; groups and ignored regions count neither way.")
def iiou_of(answer: Callable[[np.ndarray, np.ndarray, np.ndarray, int, float], float]) -> None:
    """Compares the iIoU of cars in frames with one more difficulty each with sums over instances."""

    def usual(*case: Any) -> dict[str, float]:
        iiou = partial(_iiou, *case)
        return {
            "this is the plain IoU: each instance's pixels weigh mean_size / its own size.": iiou(power=0),
            "the weight is upside down: large instances should weigh less per pixel.": iiou(power=-1),
            "pixels predicted as the class on another one are FP, each of weight 1.": iiou(false_positives=False),
            "pixels of a group (instance id = class id) are not iFN or iTP: its members have no size.": iiou(
                groups=True
            ),
            "a caravan is ignored in the scores: whatever is predicted there is not an FP.": iiou(ignored=True),
        }

    compare(answer, _car_frames(), _iiou, usual, hint="iTP / (iTP + FP + iFN), sum by sum.", read=float)


def _car_frames() -> dict[str, Case]:
    labels = np.full((12, 30), ROAD, np.uint8)
    instances = labels.astype(np.int32)
    cars = (slice(1, 9), slice(1, 11)), (slice(1, 3), slice(14, 18)), (slice(5, 7), slice(14, 18))
    for number, place in enumerate(cars):
        labels[place] = CAR
        instances[place] = CAR * 1000 + number
    large = np.where(instances == CAR * 1000, CAR, ROAD)
    parts = large.copy()
    parts[1:9, 6:11] = ROAD
    parts[cars[1]] = CAR
    false = large.copy()
    false[10, 1:11] = CAR
    beside = np.zeros(labels.shape, bool)
    beside[5:9, 20:28] = True
    grouped, group_ids = np.where(beside, CAR, labels), np.where(beside, CAR, instances)
    parked, parked_ids = np.where(beside, CARAVAN, labels), np.where(beside, CARAVAN * 1000, instances)
    planes = {
        "where one car of three is found": (labels, large, instances),
        "where parts are found": (labels, parts, instances),
        "where road is taken for a car": (labels, false, instances),
        "beside a group of cars": (grouped, false, group_ids),
        "beside a caravan": (parked, np.where(beside, CAR, false), parked_ids),
    }
    return {f"The iIoU {where}": (*arrays, CAR, 30.0) for where, arrays in planes.items()}


def _iiou(
    labels: np.ndarray,
    predictions: np.ndarray,
    instances: np.ndarray,
    class_id: int,
    mean_size: float,
    power: int = 1,
    false_positives: bool = True,
    groups: bool = False,
    ignored: bool = False,
) -> float:
    """The iIoU, or what a usual mistake makes of it; power 0 is the plain IoU."""
    hit = labelled = 0.0
    for instance in np.unique(instances[labels == class_id]).tolist():
        mask, group = instances == instance, instance == class_id
        if group and not groups and power:
            continue
        weight = 1.0 if group else (mean_size / mask.sum()) ** power
        hit += weight * (predictions[mask] == class_id).sum()
        labelled += weight * mask.sum()
    counted = (labels != class_id) & (np.isin(labels, list(ID_OF.values())) | ignored)
    return float(hit / (labelled + false_positives * (predictions[counted] == class_id).sum()))


@exercise("7.3", "Windows cover the side, none leaves it, and the last one ends where the side ends.")
def starts_of(answer: Callable[[int, int, int], Sequence[int]]) -> None:
    """Takes sides that the stride divides, that it does not, that one window fills, and that are shorter than it."""
    for length, window, stride in ((10, 4, 3), (12, 4, 3), (2048, 769, 512), (769, 769, 512), (500, 769, 512)):
        found = [int(start) for start in call(answer, length, window, stride)]
        where = f"for length {length}, window {window}, stride {stride}"
        expect(bool(found) and found[0] == 0, f"The windows {found} do not begin at 0 {where}.")
        if length <= window:
            expect(found == [0], f"One window is enough {where}, found {found}.", "such a side is padded up to it.")
            continue
        offsets = np.arange(length)[:, None] - found
        seen = ((offsets >= 0) & (offsets < window)).any(axis=1)
        expect(bool(seen.all()), f"Pixel {seen.argmin()} is in no window {where}.", "the rest needs a last window.")
        hint = "move the last one back, so that it ends with the side; the network then sees no padding."
        expect(max(found) + window <= length, f"A window ends at {max(found) + window} {where}.", hint)
        expect(len(set(found)) == len(found), f"{found} {where} has a window twice.", "look at the last two.")
        regular = found[:-1] == list(range(0, stride * (len(found) - 1), stride))
        expect(regular, f"{found} {where} is not one stride apart.", "only the last one is moved.")
        needed = -(-(length - window) // stride) + 1
        expect(len(found) == needed, f"{len(found)} windows {where}; {needed} cover it.", "the moved one replaces one.")


@exercise("7.4", "Height and width have a factor each, and where these differ a thing changes its shape.")
def squashed_box(answer: Callable[[tuple, tuple, tuple], tuple[float, float]]) -> None:
    """Takes boxes under factors that differ, that are equal, and that enlarge."""

    def right(box: tuple, frame: tuple, target: tuple) -> tuple[float, float]:
        return box[0] * target[0] / frame[0], box[1] * target[1] / frame[1]

    compare(
        answer,
        [
            ((120, 48), (1024, 2048), (512, 512)),
            ((9, 7), (256, 512), (128, 128)),
            ((30, 12), (360, 480), (180, 240)),
            ((10, 10), (100, 200), (200, 100)),
        ],
        right,
        usual=lambda box, frame, target: {
            "these are (width, height), as in Pillow; arrays have their rows first.": right(box, frame, target)[::-1],
            "both sides have the factor of the heights.": right(box, frame[:1] * 2, target[:1] * 2),
            "both sides have the factor of the widths.": right(box, frame[1:] * 2, target[1:] * 2),
            "a box is measured in fractions here: do not round.": tuple(map(int, right(box, frame, target))),
            "that would enlarge what a resize shrinks.": right(box, target, frame),
        },
        hint="a pair (height, width) is expected: target / frame, side by side.",
    )
