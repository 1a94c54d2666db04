"""Checks of notebook 06: the joint crop, rates of a resumed run, a step in parts, and mIoU over a set of images."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.data import VOID
from seglib.metrics.confusion import ConfusionMatrix, Scores

Pair = tuple[np.ndarray, np.ndarray]


@exercise("6.1", "Image and label show the same window, and what is not in the image has no class.")
def joint_crop(answer: Callable[[np.ndarray, np.ndarray, int, int, int], Pair]) -> None:
    """Takes windows inside the image and beyond each of its edges."""
    rng = np.random.default_rng(0)
    image = rng.integers(1, 200, (6, 9, 3), dtype=np.uint8)
    label = rng.integers(1, 9, (6, 9), dtype=np.uint8)
    for top, left, size in ((1, 3, 4), (3, 5, 5), (-2, 1, 4), (0, -3, 6), (-1, -1, 11)):
        found = call(answer, image.copy(), label.copy(), top, left, size)
        where = f"for top {top}, left {left}, size {size}"
        expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (image, label).")
        hint = "a slice is cut off at the edge, and a negative index counts from the other end; fill a full-size array."
        diagnose(f"The pair of shapes {where}", tuple(map(np.shape, found)), ((size, size, 3), (size, size)), {}, hint)
        rows, columns = np.mgrid[top : top + size, left : left + size]
        inside = (rows >= 0) & (rows < 6) & (columns >= 0) & (columns < 9)
        window, wholes = (rows[inside], columns[inside]), (image, label)
        image_right, label_right = (np.array_equal(found[i][inside], wholes[i][window]) for i in (0, 1))
        wrong = f"The {'label' if image_right else 'image'} shows another window than asked {where}."
        expect(image_right == label_right, wrong, "both are cut by the same four numbers.")
        expect(image_right, f"Both show another window than asked {where}.", "the window's first row may be negative.")
        outside = found[1][~inside]
        hint = "0 is background, a class: the network would learn that padding is background."
        expect(not (outside == 0).any(), f"Beyond the image the label is 0 {where}.", hint)
        expect((outside == VOID).all(), f"Beyond the image the label is not 255 {where}.", "void is 255.")


@exercise("6.2", "The schedule is a function of the step: an interruption leaves no trace in it.")
def resumed_rates(answer: Callable[[float, int, int], Sequence[float]]) -> None:
    """Takes a run from its start, from its middle and before its last step."""

    def values(base: float, iterations: int, done: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        steps, left = np.arange(done, iterations), iterations - done
        return base * (1 - steps / iterations) ** 0.9, {
            "the schedule starts anew; carry on at step `done`.": base * (1 - np.arange(left) / iterations) ** 0.9,
            "it is squeezed into the steps that are left.": base * (1 - np.arange(left) / left) ** 0.9,
            "it is one step ahead: the first step has the full rate.": base * (1 - (steps + 1) / iterations) ** 0.9,
            "that is power 1; the paper has 0.9.": base * (1 - steps / iterations),
            "the steps before `done` are over.": base * (1 - np.arange(iterations) / iterations) ** 0.9,
        }

    cases, hint = [(0.007, 10, 0), (0.01, 12, 5), (0.1, 30, 29)], "base (1 - t/T)^0.9 for t from `done` to T - 1."
    compare(answer, cases, values, hint, read=lambda found: np.asarray(found, dtype=float))


@exercise("6.3", "The parts' gradients add up to that of the whole batch, and one step uses them.")
def accumulated_step(answer: Callable[[nn.Module, torch.optim.Optimizer, list[tuple[Tensor, Tensor]]], float]) -> None:
    """Takes three parts of unlike size and void, on a network of one layer that holds a gradient from before."""
    parts = []
    for images, void in ((2, 1), (1, 4), (3, 0)):
        labels = torch.randint(0, 3, (images, 5, 6))
        labels[:, :, :void] = VOID
        parts.append((torch.randn(images, 2, 5, 6), labels))
    first, old = (torch.randn(3, 2, 1, 1) for _ in range(2))
    valid = [int((labels != VOID).sum()) for _, labels in parts]
    total = sum(valid)

    def gradient(index: int, weight: Tensor = first) -> Tensor:
        """Of the summed loss of one part."""
        return torch.func.grad(lambda w: _summed_loss(F.conv2d(parts[index][0], w), parts[index][1]))(weight)

    each = [gradient(index) for index in range(3)]
    after_each = first
    for index in range(3):
        after_each = after_each - gradient(index, after_each) / total
    right = first - sum(each) / total
    means = sum(part / n for part, n in zip(each, valid, strict=True))
    usual = {
        "each part's mean has the same weight here; a part with much void should count less.": first - means / 3,
        "the parts' means are added up: the step is about three times as long as it should be.": first - means,
        "void pixels are in the divisor.": first - sum(each) / sum(labels.numel() for _, labels in parts),
        "only the last part's gradient is left: zero_grad once, before the first.": first - each[2] / total,
        "the gradient from before is still in it: zero_grad, once, at the beginning.": right - old,
        "a step after each part is three steps; take one, after the last.": after_each,
        "without optimizer.step() nothing is learned.": first,
    }
    model = nn.Conv2d(2, 3, 1, bias=False)
    model.weight.data, model.weight.grad = first.clone(), old.clone()
    passes = []

    def watch(_model: nn.Module, _pixels: tuple[Tensor], logits: Tensor) -> None:
        if logits.requires_grad:  # not a look at the loss only
            passes.append("forward")
            logits.register_hook(lambda _: passes.append("backward"))

    model.register_forward_hook(watch)
    found = call(answer, model, torch.optim.SGD(model.parameters(), lr=1.0), [(p.clone(), q.clone()) for p, q in parts])
    diagnose("The new weight", model.weight.detach(), right, usual, "a backward pass for each part, then one step.")
    loss = sum(float(_summed_loss(F.conv2d(pixels, first), labels)) for pixels, labels in parts) / total
    hint = "the sum over all parts, over all valid pixels."
    diagnose("The weights are right. The loss", float(found), loss, {}, hint)
    hint = "one forward and one backward pass for each part, so that the network holds one part at a time."
    expect(passes.count("forward") > 1, "All parts went through the network at once.", hint)
    expect(passes == ["forward", "backward"] * len(parts), "More than one part was in the network at a time.", hint)


def _summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum")


@exercise("6.4", "One count over the whole set, void left out, absent classes left out: Pascal VOC's mIoU.")
def set_miou(answer: Callable[[Sequence[Pair], int], float]) -> None:
    """Takes three images of unlike content: class 4 is predicted and never labelled, class 5 is nowhere."""
    rng = np.random.default_rng(1)
    pairs = []
    for classes, share in (((0, 1), 0.9), ((0, 1, 2), 0.5), ((0, 3), 0.7)):
        label, guess = (rng.choice(values, (12, 10)).astype(np.uint8) for values in (classes, range(5)))
        prediction = np.where(rng.random((12, 10)) < share, label, guess)
        label[:, 7:9] = VOID
        pairs.append((label, prediction))
    right, of_images = _score(pairs), [_score([pair]).miou for pair in pairs]
    usual = {
        "class 5 is nowhere: its IoU is 0/0. Leave it out of the mean.": np.nan_to_num(right.iou[:6]).mean(),
        "class 4 is labelled nowhere, but predicted: its IoU is 0, and counts.": np.mean(right.iou[:4]),
        "a mean over the images' mIoUs is another quantity; add the counts of all images first.": np.mean(of_images),
        "void pixels count as background here; they should not count at all.": _score(pairs, void=0).miou,
        "predictions on void pixels count as false positives here.": np.nanmean(_score(pairs, void=6).iou[:6]),
        "that is pixel accuracy.": right.pixel_accuracy,
    }
    found = float(call(answer, [(label.copy(), prediction.copy()) for label, prediction in pairs], 6))
    expect(not np.isnan(found), "The mIoU is nan.", "a class without a pixel has the IoU 0/0; leave it out.")
    hint = "IoU of a class: pixels where both say it, over pixels where either does, in all images."
    diagnose("The mIoU", found, right.miou, usual, hint)


def _score(pairs: Sequence[Pair], void: int = VOID) -> Scores:
    """Scores the images; `void` is the class that void pixels are taken for, or 255."""
    matrix = ConfusionMatrix(7)
    for label, prediction in pairs:
        matrix.update(np.where(label == VOID, void, label), prediction)
    return matrix.compute()
