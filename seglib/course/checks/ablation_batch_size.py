"""Checks of notebook 08: merged statistics, the memory of a running mean, equal images, and a row of one's own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seglib.course.checks.verdict import Mistake, call, exercise, expect, expect_tensor
from seglib.recipe import SCORING, Recipe
from seglib.studies.study import Study

MINE = "mine"
MAX_CHANGES = 2


@exercise("8.1", correct="The variance of all is the mean of the parts' variances plus the variance of their means.")
def merged(answer: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Four parts of unequal size and mean, against mean and variance of all values put together."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, 3, generator=generator) + i for i, n in enumerate((2, 3, 6, 9))]
    means = torch.stack([part.mean(0) for part in parts])  # (4, 3)
    variances = torch.stack([part.var(0, correction=0) for part in parts])
    counts = torch.tensor([len(part) for part in parts])
    found = call(answer, means.clone(), variances.clone(), counts.clone())
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (mean, variance).")
    mean, variance = found
    expect_tensor(mean, (3,), "The mean")
    expect_tensor(variance, (3,), "The variance")
    everything = torch.cat(parts)
    true_mean, true = everything.mean(0), everything.var(0, correction=0)
    share = (counts / counts.sum())[:, None]
    wrong = f"The mean is {_list(mean)}, expected {_list(true_mean)}."
    expect(not _close(mean, means.mean(0)), wrong, "a part with more values counts for more: weigh by `counts`.")
    expect(_close(mean, true_mean), wrong, "the sum over the parts of count times mean, over all counts.")
    within, spread = (share * variances).sum(0), (share * (means - true_mean) ** 2).sum(0)
    wrong = f"The variance is {_list(variance)}, expected {_list(true)}."
    usual = {
        "that is the mean of the parts' variances; how far the parts lie apart is missing.": within,
        "the parts' variances and mean squares are averaged without their counts.": (
            (variances + means**2).mean(0) - true_mean**2
        ),
        "that is the mean square; the square of the mean has to be taken off.": within + spread + true_mean**2,
        "that is the variance of the means alone.": spread,
        "that is the standard deviation.": true.sqrt(),
        "that is the unbiased variance, divided by n - 1; batch norm divides by n.": everything.var(0),
    }
    for hint, value in usual.items():
        expect(not _close(variance, value), wrong, hint)
    expect(_close(variance, true), wrong, "mean square of all minus the square of the mean of all.")


@exercise("8.2", correct="A small batch with the same momentum remembers fewer images, in proportion.")
def images_remembered(answer: Callable[[float, int], float]) -> None:
    """Several momenta and batch sizes, against the sum of the squared weights, added up one by one."""
    for momentum, batch_size in ((0.1, 4), (0.1, 16), (0.5, 8), (0.02, 2)):
        squares = sum((momentum * (1 - momentum) ** k) ** 2 for k in range(5000))
        true = batch_size / squares
        found = float(call(answer, momentum, batch_size))
        wrong = f"images_remembered({momentum}, {batch_size}) is {found:.4g}, expected {true:.4g}."
        usual = {
            "that is the number of batches; each has `batch_size` images.": true / batch_size,
            "1 / momentum is the time in which a value fades; the weights' squares add up to another number.": (
                batch_size / momentum
            ),
            "that is TensorFlow's convention, in which the number is the decay, 1 - momentum.": (
                batch_size * (1 + momentum) / (1 - momentum)
            ),
            "that is the sum of the squared weights; its inverse is asked for.": squares,
            "the batch size stands on the wrong side of the fraction.": true / batch_size**2,
        }
        if momentum == 0.5:  # 1 - m is m
            usual = {hint: value for hint, value in usual.items() if not math.isclose(value, true, rel_tol=1e-3)}
        if math.isclose(found, true, rel_tol=1e-3):
            continue
        for hint, value in usual.items():
            expect(not math.isclose(found, value, rel_tol=1e-3), wrong, hint)
        raise Mistake(wrong, "batch_size over the sum of the squared weights.")


@exercise("8.3", correct="More steps, each smaller: what is equal for the network takes longer.")
def at_equal_images(answer: Callable[[Recipe, int], Recipe]) -> None:
    """Smaller and larger batches, with and without a length of the decay of its own."""
    toy = Recipe.load("toy_ablation")
    for recipe, batch_size in ((toy, 4), (toy, 32), (toy.replace(decay_steps=800), 8)):
        found = call(answer, recipe, batch_size)
        expect(isinstance(found, Recipe), f"A Recipe is expected, found a value of type {type(found).__name__}.")
        what = f"From batches of {recipe.batch_size} to {batch_size}:"
        expect(
            found.batch_size == batch_size,
            f"{what} the batch size is {found.batch_size}.",
            "replace(batch_size=...) returns a new recipe.",
        )
        images = found.batch_size * found.iterations
        expect(
            images == recipe.batch_size * recipe.iterations,
            f"{what} {images} images are seen, expected {recipe.batch_size * recipe.iterations}.",
            "iterations times batch size stays; the smaller the batch, the more iterations.",
        )
        factor = batch_size / recipe.batch_size
        usual = {
            "the rate has to change with the batch size, so that lr / batch size stays.": recipe.lr,
            "that is the rule of the square root (it keeps another thing); lr / batch size is to stay.": (
                recipe.lr * factor**0.5
            ),
            "the wrong way round: the smaller the batch, the smaller the rate.": recipe.lr / factor,
        }
        for hint, lr in usual.items():
            expect(not math.isclose(found.lr, lr, rel_tol=1e-6), f"{what} lr is {found.lr:g}.", hint)
        expect(
            math.isclose(found.lr, recipe.lr * factor, rel_tol=1e-6),
            f"{what} lr is {found.lr:g}, expected {recipe.lr * factor:g}.",
            "lr times the new batch size over the old one.",
        )
        steps = None if recipe.decay_steps is None else round(recipe.decay_steps / factor)
        expect(
            found.decay_steps == steps,
            f"{what} decay_steps is {found.decay_steps}, expected {steps}.",
            "where the decay has a length of its own, that is in steps too, and has to follow; None stays None.",
        )
        other = {"batch_size", "iterations", "lr", "decay_steps"}
        expect(
            not _changed(recipe, found) - other, f"{what} {sorted(_changed(recipe, found) - other)} changed as well."
        )


@exercise("8.4", correct="The row has its line, and a difference to the base row over the seed that both have.")
def my_study(answer: Callable[[Study], Study], study: Study) -> None:
    """One row more, two changes at most, run; see `examine_row`."""
    examine_row(call(answer, study), study)


def examine_row(found: Any, study: Study) -> Recipe:
    """Whether `found` is `study` with a row "mine" more that can be read, and was run as the base was.

    Returns the recipe of the row. Raises Mistake.
    """
    expect(
        isinstance(found, Study),
        f"A Study is expected, found a value of type {type(found).__name__}.",
        "return what `with_row` returned; its table comes after.",
    )
    expect(
        MINE in found.rows,
        f"The study has no row {MINE!r}.",
        "`with_row` leaves the study as it is and returns a new one: that is the one to return.",
    )
    others = {name: recipe for name, recipe in found.rows.items() if name != MINE}
    expect(others == study.rows and found.base == study.base, "Other rows or the base changed; only add a row.")
    mine, base = found.rows[MINE], found.rows[found.base]
    changed = _changed(base, mine)
    expect(
        0 < len(changed) <= MAX_CHANGES,
        f"The row differs from the base in {sorted(changed) or 'nothing'}.",
        f"one field, or {MAX_CHANGES}, so that a difference can be laid to something.",
    )
    twins = [name for name, recipe in others.items() if recipe == mine]
    expect(not twins, f"The study has this row already, as {twins[:1]}.", "choose another value.")
    expect(
        bool(found.values(MINE)),
        f"The row {MINE!r} has no result.",
        f"run it: `mine.run({MINE!r}, seeds=[0])` trains four steps and stores what came out.",
    )
    difference = found.table().loc[MINE, "difference"]
    expect(
        difference == difference,
        "The table has no difference for the row.",
        "the base row has to be run too, with the same seed.",
    )
    return mine


def only_scoring(base: Recipe, row: Recipe) -> bool:
    """Whether two recipes share one training."""
    return _changed(base, row) <= set(SCORING)


def _changed(one: Recipe, other: Recipe) -> set[str]:
    first, second = dataclasses.asdict(one), dataclasses.asdict(other)
    return {name for name in first if name != "seed" and first[name] != second[name]}


def _close(found: Tensor, value: Tensor) -> bool:
    return torch.allclose(found.float(), value.float(), atol=1e-4)


def _list(values: Tensor) -> list[float]:
    return [round(float(value), 3) for value in values]
