"""Checks of notebook 11: median weights, the weighted mean over pixels, Dice under void, paired differences of runs."""

import math
import statistics
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from seglib.course.checks.verdict import call, diagnose, exercise, expect, expect_tensor

VOID = 255


@exercise("11.1", "The middle class has weight 1, and a class is compared only with the images it occurs in.")
def median_weights(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Takes counts for which each usual mistake gives other numbers, class by class."""
    for pixels, images_with in (
        ([800, 60, 30, 10, 100], [1000, 200, 150, 100, 250]),
        ([500, 0, 20, 120], [680, 0, 60, 600]),
        ([90, 10], [100, 20]),
    ):
        found = np.asarray(call(answer, np.array(pixels), np.array(images_with)), dtype=float)
        expect(found.shape == (len(pixels),), f"Expected {len(pixels)} weights, found the shape {found.shape}.")
        what, right = f"For pixels {pixels} and images_with {images_with}", _median_rule(pixels, images_with)
        absent = found[np.array(pixels) == 0]
        hint = "0/0 is nan and 1/0 infinite: give such a class 0, and keep it out of the median."
        expect(not absent.any(), f"{what} the class without a pixel has the weight {absent}.", hint)
        rule = partial(_median_rule, pixels)
        usual = {
            "divide by `images_with`, the pixels of images with the class, not by all.": rule(
                [sum(pixels)] * len(pixels)
            ),
            "that is upside down: a frequent class should get a small weight.": [1 / w if w else 0.0 for w in right],
            "that is the frequencies' mean over the frequency, not their median.": rule(images_with, statistics.mean),
            "the median of an even number is the mean of the middle two.": rule(images_with, statistics.median_low),
            "classes without a pixel do not count in the median.": rule(images_with, absent=True),
        }
        wrong = f"{what} the weights are {found.round(3)}."
        diagnose(found.tolist(), right, usual, wrong, "median of the frequencies over the frequency.")


def _median_rule(
    pixels: list[int], images_with: list[int], middle: Callable = statistics.median, absent: bool = False
) -> list[float]:
    """Class by class in plain Python; `absent`: classes without a pixel take part in the median."""
    frequency = [p / s if p else 0.0 for p, s in zip(pixels, images_with, strict=True)]
    centre = middle([f for f in frequency if f or absent])
    return [centre / f if f else 0.0 for f in frequency]


@exercise("11.2", "Void is in neither sum, and a common factor of all weights changes nothing.")
def weighted_mean(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Compares with the mean that divides by the sum of the pixels' weights."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([0.5, 2.0, 6.0])
    labels = torch.randint(0, 3, (2, 5, 6), generator=generator)
    labels[0, :2], labels[1, 3] = VOID, VOID
    losses = torch.rand(2, 5, 6, generator=generator) + 0.2
    found = call(answer, losses.clone(), labels.clone(), weights.clone())
    expect_tensor(found, ())
    clipped, valid = weights[labels.clamp(max=2)], labels != VOID
    above, below = (clipped * losses)[valid].sum(), clipped[valid].sum()
    usual = {
        "divided by the number of valid pixels: a common factor would act as a learning rate.": above / valid.sum(),
        "divided by the number of all pixels, void too.": above / labels.numel(),
        "divided by the sum of the K weights; count each pixel's weight once.": above / weights.sum(),
        "void pixels count with the weight of the last class: 255 was clipped.": (clipped * losses).sum()
        / clipped.sum(),
        "the weights are missing in the sum above the line.": losses[valid].sum() / below,
        "that is the mean without weights.": losses[valid].mean(),
    }
    wrong = f"The weighted mean is {found:.4f}, expected {above / below:.4f}."
    diagnose(found, above / below, usual, wrong, "sum of weight times loss over sum of weight.")
    nothing = float(call(answer, losses.clone(), torch.full_like(labels, VOID), weights.clone()))
    expect(nothing == 0, f"A batch of void gives {nothing}, expected 0.", "0/0; see that below is not 0.")


@exercise("11.3", "One sum over all pixels that have a label; a region counts by what overlaps.")
def soft_dice(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Takes two images, of which one holds void and a class is absent, with one smoothed ratio per class."""
    generator = torch.Generator().manual_seed(1)
    probabilities = torch.softmax(2 * torch.randn(2, 3, 4, 5, generator=generator), dim=1)
    labels = torch.randint(0, 2, (2, 4, 5), generator=generator)  # class 2 has no pixel
    labels[1, :3] = VOID
    found = call(answer, probabilities.clone(), labels.clone())
    expect_tensor(found, ())
    dice = partial(_dice, probabilities, labels)
    one_by_one = [_dice(probabilities[i : i + 1], labels[i : i + 1]) for i in (0, 1)]
    usual = {
        "that is the Dice coefficient; the loss is 1 minus it.": 1 - dice(),
        "void pixels count in the predicted area; take them out of both sums.": dice(void=True),
        "that is a mean over the images; sum over the whole batch first.": sum(one_by_one) / 2,
        "the constant 1 above and below the line is missing.": dice(smooth=0.0),
        "the 2 above the line is missing.": dice(twice=1),
        "class 2 is left out; it has no pixel, but where it is predicted its term should fall.": dice(classes=2),
    }
    wrong = f"The loss is {found:.4f}, expected {dice():.4f}."
    diagnose(found, dice(), usual, wrong, "(2 I + 1) / (P + L + 1) for each class, then the mean.")


def _dice(
    probabilities: Tensor, labels: Tensor, smooth: float = 1.0, twice: int = 2, void: bool = False, classes: int = 3
) -> Tensor:
    terms = []
    for k in range(classes):
        predicted, labelled = probabilities[:, k] * ((labels != VOID) | void), labels == k
        overlap = predicted[labelled].sum()
        terms.append(1 - (twice * overlap + smooth) / (predicted.sum() + labelled.sum() + smooth))
    return torch.stack(terms).mean()


@exercise("11.4", "Seed by seed: what the seeds have in common drops out of the difference.")
def paired(answer: Callable[[Mapping[int, float], Mapping[int, float]], tuple[float, float]]) -> None:
    """Mean and standard deviation of the differences over the seeds that both have."""
    base = {0: 0.50, 1: 0.58, 2: 0.61, 3: 0.55, 7: 0.20}
    row = {3: 0.58, 2: 0.63, 1: 0.61, 0: 0.515}
    found = call(answer, dict(base), dict(row))
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (mean, sd).")
    mean, sd = map(float, found)
    differences, (bases, rows) = [row[seed] - base[seed] for seed in row], ([*base.values()], [*row.values()])
    right = statistics.mean(differences)
    usual = {
        "that is the base minus the row.": -right,
        "seed 7 was run only with the base; compare only seeds that both have.": np.mean(rows) - np.mean(bases),
    }
    wrong = f"The mean difference is {mean:+.4f}, expected {right:+.4f}."
    diagnose(mean, right, usual, wrong, "the mean of row[seed] - base[seed] over the seeds that both have.")
    right, of_row, of_base = (statistics.stdev(values) for values in (differences, rows, [base[seed] for seed in row]))
    usual = {
        "divide by n - 1: the mean was taken from the same few values.": statistics.pstdev(differences),
        "that is the spread of the row itself; the differences have their own, smaller one.": of_row,
        "that is the standard error; the standard deviation is asked for.": right / math.sqrt(len(row)),
        "those are the spreads of two samples added; pair by seed, then take the spread.": math.hypot(of_row, of_base),
        "values were paired by their place; the two name their seeds in different orders.": (
            statistics.stdev(b - a for a, b in zip(bases, rows, strict=False))
        ),
    }
    wrong = f"The standard deviation is {sd:.4f}, expected {right:.4f}."
    diagnose(sd, right, usual, wrong, "the sample's standard deviation of the differences.")
