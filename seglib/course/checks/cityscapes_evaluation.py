"""Checks of notebook 07: ids of a submission, iIoU of a class, where windows begin, what squashing does to a box."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seglib.course.checks.verdict import Mistake, call, exercise, expect
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # label ids, predicted ids, instance ids
ROAD, CARAVAN, CAR = 7, 29, 26
SCORED = [row.id for row in CITYSCAPES_LABELS if not row.ignored]


@exercise("7.1", correct="Each of the 19 trainIds has become its id, in bytes that a PNG can hold.")
def submission_ids(answer: Callable[[np.ndarray], np.ndarray]) -> None:
    """All 19 trainIds in an order that a chain of replacements would not survive."""
    id_of = {row.train_id: row.id for row in CITYSCAPES_LABELS if not row.ignored}
    prediction = np.random.default_rng(0).permutation(np.arange(19).repeat(4)).reshape(4, 19).astype(np.uint8)
    given = prediction.copy()
    found = call(answer, given)
    expect(np.array_equal(given, prediction), "The prediction that was handed in has changed.", "write to a new array.")
    expect(
        isinstance(found, np.ndarray) and found.shape == prediction.shape,
        f"An array of shape {prediction.shape} is expected, found {type(found).__name__} {np.shape(found)}.",
    )
    true = np.array([[id_of[value] for value in row] for row in prediction.tolist()])
    if np.array_equal(found, true):
        expect(found.dtype == np.uint8, f"The ids are right, but of type {found.dtype}.", "a PNG of ids is uint8.")
        return
    expect(not np.array_equal(found, prediction), "These are still trainIds.", "road is 0 there, and 7 among ids.")
    train_of = {row.id: row.train_id for row in CITYSCAPES_LABELS}
    other_way = np.vectorize(train_of.get)(prediction)
    expect(
        not np.array_equal(found, other_way),
        "Your table goes from ids to trainIds.",
        "its index should be the trainId, its value the id.",
    )
    chained = prediction.copy()
    for row in CITYSCAPES_LABELS:
        if not row.ignored:
            chained[chained == row.train_id] = row.id
    expect(
        not np.array_equal(found, chained),
        "Some values were replaced twice: 0 became 7, and then all 7 became 20.",
        "compare with the prediction, not with the array that you are writing.",
    )
    wrong = prediction[found != true][0]
    raise Mistake(
        f"trainId {wrong} became {found[prediction == wrong][0]}; expected {id_of[int(wrong)]}.",
        "the ids that are not scored leave gaps between the others; read them from CITYSCAPES_LABELS.",
    )


@exercise("7.2", correct="A single car counts as one whatever its size; groups and ignored regions count neither way.")
def iiou_of(answer: Callable[[np.ndarray, np.ndarray, np.ndarray, int, float], float]) -> None:
    """iIoU of cars in frames with one more difficulty each, against sums over instances."""
    for what, planes, hints in _car_frames():
        mean_size = 30.0
        found = float(call(answer, *(plane.copy() for plane in planes), CAR, mean_size))
        true = _iiou(planes, mean_size)
        if np.isclose(found, true):
            continue
        for hint, variant in hints.items():
            expect(not np.isclose(found, _iiou(planes, mean_size, **variant)), f"It is {found:.3f} {what}.", hint)
        raise Mistake(f"It is {found:.3f} {what}; expected {true:.3f}.", "iTP / (iTP + FP + iFN), sum by sum.")


def _car_frames() -> list[tuple[str, Planes, dict[str, dict]]]:
    """(in words, planes, hint -> the variant of `_iiou` that makes this mistake), the easy one first."""
    labels = np.full((12, 30), ROAD, np.uint8)
    instances = labels.astype(np.int32)
    for number, (rows, columns) in enumerate(
        ((slice(1, 9), slice(1, 11)), (slice(1, 3), slice(14, 18)), (slice(5, 7), slice(14, 18)))
    ):
        labels[rows, columns] = CAR
        instances[rows, columns] = CAR * 1000 + number
    large = np.where(instances == CAR * 1000, CAR, ROAD)
    half = large.copy()
    half[1:9, 6:11] = ROAD
    half[1:3, 14:18] = CAR
    plain = "this is the plain IoU: each instance's pixels weigh mean_size / its own size."
    usual = {
        plain: {"weighted": False},
        "the weight is upside down: large instances should weigh less per pixel.": {"inverted": True},
    }
    weights = (labels, large.copy(), instances), (labels, half, instances)
    frames = [("where one car of three is found", weights[0], usual), ("where parts are found", weights[1], usual)]

    false = large.copy()
    false[10, 1:11] = CAR
    left_out = "pixels predicted as the class where another one is labelled are FP, each of weight 1."
    frames.append(("where road is taken for a car", (labels, false, instances), {left_out: {"false_positives": False}}))

    grouped = labels.copy()
    grouped[5:9, 20:28] = CAR
    group_ids = np.where(grouped != labels, CAR, instances)
    missed = "a group's members have no size of their own: its pixels (instance id = class id) are no iFN and no iTP."
    frames.append(("beside a group of cars", (grouped, false, group_ids), {missed: {"groups": True}}))

    parked = labels.copy()
    parked[5:9, 20:28] = CARAVAN
    with_caravan = np.where(parked == CARAVAN, CAR, false)
    parked_ids = np.where(parked == CARAVAN, CARAVAN * 1000, instances)
    outside = "a caravan is ignored in the scores: whatever is predicted there is no FP."
    frames.append(("beside a caravan", (parked, with_caravan, parked_ids), {outside: {"ignored": True}}))
    return frames


def _iiou(
    planes: Planes,
    mean_size: float,
    weighted: bool = True,
    inverted: bool = False,
    false_positives: bool = True,
    groups: bool = False,
    ignored: bool = False,
) -> float:
    """iIoU of cars, or what a usual mistake makes of it."""
    labels, predictions, instances = planes
    hit = miss = 0.0
    for instance in np.unique(instances[labels == CAR]).tolist():
        if instance == CAR and not groups and weighted:
            continue
        mask = instances == instance
        size = mask.sum()
        weight = (size / mean_size if inverted else mean_size / size) if weighted and instance != CAR else 1.0
        hit += weight * (predictions[mask] == CAR).sum()
        miss += weight * (predictions[mask] != CAR).sum()
    counted = (labels != CAR) & (np.isin(labels, SCORED) | ignored)
    wrong = (predictions[counted] == CAR).sum() if false_positives else 0
    return float(hit / (hit + miss + wrong))


@exercise("7.3", correct="Windows cover the side, none leaves it, and the last one ends where the side ends.")
def starts_of(answer: Callable[[int, int, int], Sequence[int]]) -> None:
    """Sides that the stride divides, that it does not, that one window fills, and that are shorter than it."""
    for length, window, stride in ((10, 4, 3), (12, 4, 3), (2048, 769, 512), (769, 769, 512), (500, 769, 512)):
        found = [int(start) for start in call(answer, length, window, stride)]
        where = f"for length {length}, window {window}, stride {stride}"
        expect(bool(found) and found[0] == 0, f"The windows {found} do not begin at 0 {where}.")
        if length <= window:
            expect(found == [0], f"One window is enough {where}, found {found}.", "such a side is padded up to it.")
            continue
        seen = np.zeros(length, bool)
        for start in found:
            seen[start : start + window] = True
        expect(bool(seen.all()), f"Pixel {seen.argmin()} is in no window {where}.", "the rest needs a last window.")
        expect(
            max(found) + window <= length,
            f"A window ends at {max(found) + window} {where}.",
            "move the last one back, so that it ends with the side; the network then sees no padding.",
        )
        expect(len(set(found)) == len(found), f"{found} {where} has a window twice.", "look at the last two.")
        expect(
            all(found[i] == i * stride for i in range(len(found) - 1)),
            f"{found} {where} is not one stride apart.",
            "only the last one is moved.",
        )
        needed = -(-(length - window) // stride) + 1
        expect(len(found) == needed, f"{len(found)} windows {where}; {needed} cover it.", "the moved one replaces one.")


@exercise("7.4", correct="Height and width have a factor each, and where these differ a thing changes its shape.")
def squashed_box(answer: Callable[[tuple, tuple, tuple], tuple[float, float]]) -> None:
    """Boxes under factors that differ, that are equal, and that enlarge."""
    cases = (
        ((120, 48), (1024, 2048), (512, 512)),
        ((9, 7), (256, 512), (128, 128)),
        ((30, 12), (360, 480), (180, 240)),
        ((10, 10), (100, 200), (200, 100)),
    )
    for box, frame, target in cases:
        found = call(answer, box, frame, target)
        where = f"for a box of {box} in {frame} resized to {target}"
        expect(
            isinstance(found, tuple | list) and len(found) == 2, f"A pair (height, width) is expected, found {found!r}."
        )
        true = box[0] * target[0] / frame[0], box[1] * target[1] / frame[1]
        if np.allclose(found, true):
            continue
        usual = {
            "these are (width, height), as Pillow's sizes are; arrays have their rows first.": true[::-1],
            "both sides have the factor of the heights.": (true[0], box[1] * target[0] / frame[0]),
            "both sides have the factor of the widths.": (box[0] * target[1] / frame[1], true[1]),
            "a box is measured in fractions here: do not round.": tuple(int(side) for side in true),
            "that would enlarge what a resize shrinks.": (box[0] * frame[0] / target[0], box[1] * frame[1] / target[1]),
        }
        for hint, variant in usual.items():
            expect(not np.allclose(found, variant), f"It is {tuple(found)} {where}.", hint)
        raise Mistake(f"It is {tuple(found)} {where}; expected {true}.", "target / frame, side by side.")
