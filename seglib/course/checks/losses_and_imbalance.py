"""Checks of notebook 11: median weights, the weighted mean over pixels, Dice under void, paired differences of runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from seglib.course.checks.verdict import Mistake, call, exercise, expect, expect_tensor

VOID = 255


@exercise("11.1", correct="The middle class has weight 1, and a class is compared only with the images it occurs in.")
def median_weights(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Median-frequency weights of counts in which each usual mistake gives other numbers, class by class."""
    for pixels, images_with in (
        ([800, 60, 30, 10, 100], [1000, 200, 150, 100, 250]),
        ([500, 0, 20, 120], [680, 0, 60, 600]),
        ([90, 10], [100, 20]),
    ):
        counts, seen_in = np.array(pixels), np.array(images_with)
        found = np.asarray(call(answer, counts.copy(), seen_in.copy()), dtype=float)
        expect(found.shape == counts.shape, f"Expected {len(pixels)} weights, found the shape {found.shape}.")
        true = _median_rule(pixels, images_with)
        what = f"For pixels {pixels} and images_with {images_with}"
        if np.allclose(found, true):
            continue
        there = counts > 0
        expect(
            bool(np.isfinite(found).all()) and not found[~there].any(),
            f"{what} the class without a pixel has the weight {found[~there]}.",
            "0/0 is nan and 1/0 infinite: give such a class 0, and keep it out of the median.",
        )
        usual = {
            "each class's pixels are divided by those of the images in which it occurs, `images_with`, not by all.": (
                _median_rule(pixels, [sum(pixels)] * len(pixels))
            ),
            "that is upside down: a frequent class should get a small weight.": [1 / w if w else 0 for w in true],
            "that is the mean of the frequencies over the frequency; the rule has the median.": _median_rule(
                pixels, images_with, statistics.mean
            ),
            "with an even number of frequencies the median is the mean of the middle two.": _median_rule(
                pixels, images_with, statistics.median_low
            ),
            "classes without a pixel do not count in the median.": _median_rule(pixels, images_with, absent=True),
        }
        for hint, values in usual.items():
            expect(not np.allclose(found, values), f"{what} the weights are {found.round(3)}.", hint)
        raise Mistake(f"{what} the weights are {found.round(3)}.", "median of the frequencies over the frequency.")


def _median_rule(
    pixels: list[int], images_with: list[int], middle: Callable = statistics.median, absent: bool = False
) -> list[float]:
    """Class by class in plain Python; `absent`: classes without a pixel take part in the median."""
    frequency = [p / s if p else 0.0 for p, s in zip(pixels, images_with, strict=True)]
    centre = middle([f for f in frequency if f or absent])
    return [centre / f if f else 0.0 for f in frequency]


@exercise("11.2", correct="Void is in neither sum, and a common factor of all weights changes nothing.")
def weighted_mean(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """The mean that divides by the sum of the weights, against a loop over the pixels."""
    torch.manual_seed(0)
    weights = torch.tensor([0.5, 2.0, 6.0])
    labels = torch.randint(0, 3, (2, 5, 6))
    labels[0, :2], labels[1, 3] = VOID, VOID
    losses = torch.rand(2, 5, 6) + 0.2
    found = call(answer, losses.clone(), labels.clone(), weights.clone())
    expect_tensor(found, ())
    pairs = [(one, int(k)) for one, k in zip(losses.flatten().tolist(), labels.flatten(), strict=True)]
    above = sum(float(weights[k]) * one for one, k in pairs if k != VOID)
    valid = [k for _, k in pairs if k != VOID]
    below = sum(float(weights[k]) for k in valid)
    last = float(weights[-1]) * sum(one for one, k in pairs if k == VOID)
    usual = {
        "divided by the number of valid pixels: a factor common to all weights would act as a learning rate.": (
            above / len(valid)
        ),
        "divided by the number of all pixels, void too.": above / len(pairs),
        "divided by the sum of the K weights; count each pixel's weight once.": above / float(weights.sum()),
        "void pixels count with the weight of the last class: an index of 255 was clipped.": (above + last)
        / (below + float(weights[-1]) * (len(pairs) - len(valid))),
        "the weights are missing in the sum above the line.": sum(one for one, k in pairs if k != VOID) / below,
        "that is the mean without weights.": sum(one for one, k in pairs if k != VOID) / len(valid),
    }
    wrong = f"The weighted mean is {float(found):.4f}, expected {above / below:.4f}."
    for hint, value in usual.items():
        expect(not math.isclose(float(found), value, rel_tol=1e-4), wrong, hint)
    expect(
        math.isclose(float(found), above / below, rel_tol=1e-4), wrong, "sum of weight times loss over sum of weight."
    )
    nothing = call(answer, losses.clone(), torch.full_like(labels, VOID), weights.clone())
    expect(float(nothing) == 0, f"A batch of void gives {float(nothing)}, expected 0.", "0/0; see that below is not 0.")


@exercise("11.3", correct="One sum over all pixels that have a label; a region counts by what overlaps.")
def soft_dice(answer: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Dice loss of two images of which one holds void and a class is absent, counted pixel by pixel."""
    torch.manual_seed(1)
    probabilities = torch.softmax(2 * torch.randn(2, 3, 4, 5), dim=1)
    labels = torch.randint(0, 2, (2, 4, 5))  # class 2 has no pixel
    labels[1, :3] = VOID
    found = call(answer, probabilities.clone(), labels.clone())
    expect_tensor(found, ())
    true = _dice(probabilities, labels)
    wrong = f"The loss is {float(found):.4f}, expected {true:.4f}."
    usual = {
        "that is the Dice coefficient; the loss is 1 minus it.": 1 - true,
        "void pixels count in the predicted area; take them out of both sums.": _dice(probabilities, labels, void=True),
        "that is a mean over the images; sum over the whole batch first.": statistics.mean(
            _dice(probabilities[i : i + 1], labels[i : i + 1]) for i in range(2)
        ),
        "the constant 1 above and below the line is missing.": _dice(probabilities, labels, smooth=0.0),
        "the 2 above the line is missing.": _dice(probabilities, labels, twice=1),
        "class 2 is left out; it has no pixel, but it can be predicted, and then its term should fall.": _dice(
            probabilities, labels, classes=(0, 1)
        ),
    }
    for hint, value in usual.items():
        expect(not math.isclose(float(found), value, rel_tol=1e-4), wrong, hint)
    expect(
        math.isclose(float(found), true, rel_tol=1e-4), wrong, "(2 I + 1) / (P + L + 1) for each class, then the mean."
    )


def _dice(
    probabilities: Tensor,
    labels: Tensor,
    smooth: float = 1.0,
    twice: int = 2,
    void: bool = False,
    classes: tuple[int, ...] = (0, 1, 2),
) -> float:
    terms = []
    for k in classes:
        overlap = predicted = labelled = 0.0
        for image, y, x in np.ndindex(*labels.shape):
            label, p = int(labels[image, y, x]), float(probabilities[image, k, y, x])
            if label != VOID or void:
                predicted += p
                labelled += label == k
                overlap += p * (label == k)
        terms.append(1 - (twice * overlap + smooth) / (predicted + labelled + smooth))
    return statistics.mean(terms)


@exercise("11.4", correct="Seed by seed: what the seeds have in common drops out of the difference.")
def paired(answer: Callable[[Mapping[int, float], Mapping[int, float]], tuple[float, float]]) -> None:
    """Mean and standard deviation of the differences over the seeds that both have."""
    base = {0: 0.50, 1: 0.58, 2: 0.61, 3: 0.55, 7: 0.20}
    row = {3: 0.58, 2: 0.63, 1: 0.61, 0: 0.515}
    found = call(answer, dict(base), dict(row))
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (mean, sd).")
    mean, sd = (float(value) for value in found)
    differences = [row[seed] - base[seed] for seed in row]
    true_mean, true_sd = statistics.mean(differences), statistics.stdev(differences)
    wrong = f"The mean difference is {mean:+.4f}, expected {true_mean:+.4f}."
    expect(not math.isclose(mean, -true_mean, abs_tol=1e-6), wrong, "that is the base minus the row.")
    everything = statistics.mean(row.values()) - statistics.mean(base.values())
    expect(
        not math.isclose(mean, everything, abs_tol=1e-6),
        wrong,
        "seed 7 was run with the base alone; only seeds that both have can be compared.",
    )
    same_mean = math.isclose(mean, true_mean, abs_tol=1e-6)
    expect(same_mean, wrong, "the mean of row[seed] - base[seed] over the seeds that both have.")
    of_row = statistics.stdev(row.values())
    shared = [base[seed] for seed in row]
    usual = {
        "divide by n - 1: the mean was taken from the same few values.": statistics.pstdev(differences),
        "that is the spread of the row itself; the differences have their own, smaller one.": of_row,
        "that is the standard error; the standard deviation is asked for.": true_sd / math.sqrt(len(row)),
        "those are the spreads of two independent samples added; pair by seed, then take the spread.": math.hypot(
            of_row, statistics.stdev(shared)
        ),
        "values were paired by their place; the two name their seeds in different orders.": statistics.stdev(
            b - a for a, b in zip(base.values(), row.values(), strict=False)
        ),
    }
    wrong = f"The standard deviation is {sd:.4f}, expected {true_sd:.4f}."
    for hint, value in usual.items():
        expect(not math.isclose(sd, value, abs_tol=1e-6), wrong, hint)
    expect(math.isclose(sd, true_sd, abs_tol=1e-6), wrong, "the sample's standard deviation of the differences.")
