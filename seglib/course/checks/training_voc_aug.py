"""Checks of notebook 06: the joint crop, the learning rates of a resumed run, and mIoU over a set of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seglib.course.checks.verdict import Mistake, call, exercise, expect

VOID = 255
Pair = tuple[np.ndarray, np.ndarray]


@exercise("6.1", correct="Image and label show the same window, and what is not in the image has no class.")
def joint_crop(answer: Callable[[np.ndarray, np.ndarray, int, int, int], Pair]) -> None:
    """The crop, pixel by pixel, with windows inside the image and beyond each of its edges."""
    rng = np.random.default_rng(0)
    image = rng.integers(1, 200, (6, 9, 3), dtype=np.uint8)
    label = rng.integers(1, 9, (6, 9), dtype=np.uint8)
    for top, left, size in ((1, 3, 4), (3, 5, 5), (-2, 1, 4), (0, -3, 6), (-1, -1, 11)):
        found = call(answer, image.copy(), label.copy(), top, left, size)
        where = f"for top {top}, left {left}, size {size}"
        expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (image, label).")
        shapes = tuple(np.shape(part) for part in found)
        expect(
            shapes == ((size, size, 3), (size, size)),
            f"The shapes are {shapes} {where}; expected {((size, size, 3), (size, size))}.",
            "a slice is cut off at the edge, and a negative index counts from the other end; fill a full-size array.",
        )
        rows, columns = np.mgrid[top : top + size, left : left + size]
        inside = (rows >= 0) & (rows < 6) & (columns >= 0) & (columns < 9)
        _check_crop(found, (rows, columns, inside), image, label, where)


def _check_crop(found: Pair, window: tuple[np.ndarray, ...], image: np.ndarray, label: np.ndarray, where: str) -> None:
    rows, columns, inside = window
    there = rows[inside], columns[inside]
    image_right = np.array_equal(found[0][inside], image[there])
    label_right = np.array_equal(found[1][inside], label[there])
    if image_right != label_right:
        moved = "label" if image_right else "image"
        raise Mistake(f"The {moved} shows another window than asked {where}.", "both are cut by the same four numbers.")
    expect(image_right, f"Both show another window than asked {where}.", "the window's first row may be negative.")
    outside = found[1][~inside]
    expect(
        not (outside == 0).any(),
        f"Beyond the image the label is 0 {where}.",
        "0 is background, a class: the network would learn that padding is background. No class is 255.",
    )
    expect((outside == VOID).all(), f"Beyond the image the label is not 255 {where}.", "void is 255.")


@exercise("6.2", correct="The schedule is a function of the step: an interruption leaves no trace in it.")
def resumed_rates(answer: Callable[[float, int, int], Sequence[float]]) -> None:
    """The rates of the steps still to come, against eta_0 (1 - t/T)^0.9 step by step."""
    for base, iterations, done in ((0.007, 10, 0), (0.01, 12, 5), (0.1, 30, 29)):
        found = np.asarray(call(answer, base, iterations, done), dtype=float)
        left = iterations - done
        what = f"With {done} of {iterations} steps done"
        expect(
            found.shape == (left,),
            f"{what} there are {left} rates to come; found {found.shape}.",
            "steps are counted from 0, so the next one is step number `done`, the last one iterations - 1.",
        )
        if np.allclose(found, base * (1 - np.arange(done, iterations) / iterations) ** 0.9):
            continue
        usual = {
            "the schedule starts anew; carry on at step `done`.": np.arange(left) / iterations,
            "the schedule starts anew and is squeezed into the steps that are left.": np.arange(left) / left,
            "it is one step ahead: the first step of a run has the full rate.": np.arange(done + 1, iterations + 1)
            / iterations,
        }
        for hint, part in usual.items():
            expect(not np.allclose(found, base * (1 - part) ** 0.9), f"{what} the rates are wrong.", hint)
        straight = base * (1 - np.arange(done, iterations) / iterations)
        expect(not np.allclose(found, straight), f"{what} the rates are wrong.", "that is power 1; the paper has 0.9.")
        raise Mistake(f"{what} the first rate is {found[0]:.6g}.", "the base rate times (1 - t/T) to the power 0.9.")


@exercise("6.3", correct="One count over the whole set, void left out, absent classes left out: Pascal VOC's mIoU.")
def set_miou(answer: Callable[[Sequence[Pair], int], float]) -> None:
    """mIoU of three small images of unlike content, counted with Python sets of pixels."""
    pairs = _three_images()
    given = [(label.copy(), prediction.copy()) for label, prediction in pairs]
    found = float(call(answer, given, 5))
    true = _nanmean(_ious(pairs))
    if np.isclose(found, true):
        return
    wrong = f"The mIoU is {found:.4f}, expected {true:.4f}."
    zeroed = np.nan_to_num(_ious(pairs))
    as_background = [(np.where(label == VOID, 0, label), prediction) for label, prediction in pairs]
    usual = {
        "class 4 is in no label and no prediction: its IoU is 0/0. Leave it out of the mean.": float(zeroed.mean()),
        "a mean over the images' mIoUs is another quantity; add the counts of all images first.": float(
            np.mean([_nanmean(_ious([pair])) for pair in pairs])
        ),
        "void pixels count as background here; they should not count at all.": _nanmean(_ious(as_background)),
        "what is predicted on void pixels counts as a false positive here; leave these pixels out.": _nanmean(
            _ious(pairs, drop_void=False)
        ),
        "that is pixel accuracy.": _accuracy(pairs),
    }
    for hint, value in usual.items():
        expect(not np.isclose(found, value), wrong, hint)
    expect(
        not np.isnan(found), "The mIoU is nan.", "a class without a pixel has the IoU 0/0; leave it out of the mean."
    )
    raise Mistake(wrong, "IoU of a class: pixels where both say it, over pixels where either does, in all images.")


def _three_images() -> list[Pair]:
    rng = np.random.default_rng(1)
    pairs = []
    for classes, right in (((0, 1), 0.9), ((0, 1, 2), 0.5), ((0, 3), 0.7)):
        label = rng.choice(classes, (12, 10)).astype(np.uint8)
        guess = rng.choice((0, 1, 2, 3), (12, 10)).astype(np.uint8)
        prediction = np.where(rng.random((12, 10)) < right, label, guess)
        label[:, 7:9] = VOID
        pairs.append((label, prediction))
    return pairs


def _ious(pairs: Sequence[Pair], drop_void: bool = True) -> np.ndarray:
    """IoU of classes 0 to 4 from sets of pixels; nan for a class that is nowhere."""
    ious = []
    for k in range(5):
        labelled, predicted = set(), set()
        for number, (label, prediction) in enumerate(pairs):
            for pixel in np.ndindex(label.shape):
                if drop_void and label[pixel] == VOID:
                    continue
                if label[pixel] == k:
                    labelled.add((number, *pixel))
                if prediction[pixel] == k:
                    predicted.add((number, *pixel))
        either = len(labelled | predicted)
        ious.append(len(labelled & predicted) / either if either else np.nan)
    return np.array(ious)


def _nanmean(values: np.ndarray) -> float:
    return float(values[~np.isnan(values)].mean())


def _accuracy(pairs: Sequence[Pair]) -> float:
    hits = [(label == prediction)[label != VOID] for label, prediction in pairs]
    return float(np.concatenate(hits).mean())
