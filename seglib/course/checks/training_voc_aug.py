"""Checks of notebook 06: the joint crop, the learning rates of a resumed run, and mIoU over a set of images."""

from collections.abc import Callable, Sequence

import numpy as np

from seglib.course.checks.verdict import call, diagnose, exercise, expect

VOID = 255
Pair = tuple[np.ndarray, np.ndarray]


@exercise("6.1", "Image and label show the same window, and what is not in the image has no class.")
def joint_crop(answer: Callable[[np.ndarray, np.ndarray, int, int, int], Pair]) -> None:
    """Compares pixel by pixel, with windows inside the image and beyond each of its edges."""
    rng = np.random.default_rng(0)
    image = rng.integers(1, 200, (6, 9, 3), dtype=np.uint8)
    label = rng.integers(1, 9, (6, 9), dtype=np.uint8)
    for top, left, size in ((1, 3, 4), (3, 5, 5), (-2, 1, 4), (0, -3, 6), (-1, -1, 11)):
        found = call(answer, image.copy(), label.copy(), top, left, size)
        where = f"for top {top}, left {left}, size {size}"
        expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (image, label).")
        shapes, wanted = tuple(map(np.shape, found)), ((size, size, 3), (size, size))
        hint = "a slice is cut off at the edge, and a negative index counts from the other end; fill a full-size array."
        expect(shapes == wanted, f"The shapes are {shapes} {where}; expected {wanted}.", hint)
        rows, columns = np.mgrid[top : top + size, left : left + size]
        inside = (rows >= 0) & (rows < 6) & (columns >= 0) & (columns < 9)
        image_right, label_right = (
            np.array_equal(part[inside], whole[rows[inside], columns[inside]])
            for part, whole in zip(found, (image, label), strict=True)
        )
        wrong = f"The {'label' if image_right else 'image'} shows another window than asked {where}."
        expect(image_right == label_right, wrong, "both are cut by the same four numbers.")
        expect(image_right, f"Both show another window than asked {where}.", "the window's first row may be negative.")
        outside = found[1][~inside]
        hint = "0 is background, a class: the network would learn that padding is background. No class is 255."
        expect(not (outside == 0).any(), f"Beyond the image the label is 0 {where}.", hint)
        expect((outside == VOID).all(), f"Beyond the image the label is not 255 {where}.", "void is 255.")


@exercise("6.2", "The schedule is a function of the step: an interruption leaves no trace in it.")
def resumed_rates(answer: Callable[[float, int, int], Sequence[float]]) -> None:
    """Compares the rates of the steps still to come with eta_0 (1 - t/T)^0.9 step by step."""
    for base, iterations, done in ((0.007, 10, 0), (0.01, 12, 5), (0.1, 30, 29)):
        found = np.asarray(call(answer, base, iterations, done), dtype=float)
        left, steps = iterations - done, np.arange(done, iterations)
        wrong = f"With {done} of {iterations} steps done there are {left} rates to come; found {found.shape}."
        hint = "steps are counted from 0, so the next one is step number `done`, the last one iterations - 1."
        expect(found.shape == (left,), wrong, hint)

        def rates(part: np.ndarray, power: float = 0.9, base: float = base) -> np.ndarray:
            return base * (1 - part) ** power

        usual = {
            "the schedule starts anew; carry on at step `done`.": rates((steps - done) / iterations),
            "the schedule starts anew and is squeezed into the steps that are left.": rates((steps - done) / left),
            "it is one step ahead: the first step of a run has the full rate.": rates((steps + 1) / iterations),
            "that is power 1; the paper has 0.9.": rates(steps / iterations, power=1),
        }
        wrong = f"With {done} of {iterations} steps done the first rate is {found[0]:.6g}."
        diagnose(found, rates(steps / iterations), usual, wrong, "the base rate times (1 - t/T) to the power 0.9.")


@exercise("6.3", "One count over the whole set, void left out, absent classes left out: Pascal VOC's mIoU.")
def set_miou(answer: Callable[[Sequence[Pair], int], float]) -> None:
    """Takes three small images of unlike content, counted with Python sets of pixels."""
    pairs = _three_images()
    found = float(call(answer, [(label.copy(), prediction.copy()) for label, prediction in pairs], 5))
    hint = "a class without a pixel has the IoU 0/0; leave it out of the mean."
    expect(not np.isnan(found), "The mIoU is nan.", hint)
    right = np.nanmean(_ious(pairs))
    hits = [(label == prediction)[label != VOID] for label, prediction in pairs]
    background = [(np.where(label == VOID, 0, label), prediction) for label, prediction in pairs]
    of_images = [np.nanmean(_ious([pair])) for pair in pairs]
    with_void = np.nanmean(_ious(pairs, drop_void=False))
    usual = {
        "class 4 is nowhere: its IoU is 0/0. Leave it out of the mean.": np.nan_to_num(_ious(pairs)).mean(),
        "a mean over the images' mIoUs is another quantity; add the counts of all images first.": np.mean(of_images),
        "void pixels count as background here; they should not count at all.": np.nanmean(_ious(background)),
        "what is predicted on void pixels counts as a false positive here; leave these pixels out.": with_void,
        "that is pixel accuracy.": np.concatenate(hits).mean(),
    }
    hint = "IoU of a class: pixels where both say it, over pixels where either does, in all images."
    diagnose(found, right, usual, f"The mIoU is {found:.4f}, expected {right:.4f}.", hint)


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
    pixels = [
        (label[place], prediction[place], (number, *place))
        for number, (label, prediction) in enumerate(pairs)
        for place in np.ndindex(label.shape)
        if label[place] != VOID or not drop_void
    ]
    ious = []
    for k in range(5):
        labelled = {place for label, _, place in pixels if label == k}
        predicted = {place for _, prediction, place in pixels if prediction == k}
        either = len(labelled | predicted)
        ious.append(len(labelled & predicted) / either if either else np.nan)
    return np.array(ious)
