"""What a recipe's settings, and a run's history, say of the training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seglib.diagnose.report import Finding, find
from seglib.recipe import Recipe

FLAT = 0.02  # share by which the loss may still fall over the last tenth of a run that is long enough


def check_recipe(recipe: Recipe, images: int) -> Iterator[Finding]:
    """Checks settings by themselves, and against the number of training images (0: unknown)."""
    from seglib.train.optim import learning_rate

    steps = sorted({*np.linspace(0, recipe.iterations - 1, 200).astype(int).tolist()})
    yield from check_schedule([learning_rate(recipe, step) for step in steps], recipe.schedule != "constant")
    low, high = (1e-3, 0.3) if recipe.optimizer == "sgd" else (2e-5, 2e-2)
    if not low <= recipe.lr <= high:
        yield find("learning_rate", f"lr = {recipe.lr:g}; with {recipe.optimizer} {low:g} to {high:g} is usual")
    if images and (epochs := recipe.iterations * recipe.batch_size / images) < 5:
        yield find(
            "too_few_steps", f"{recipe.iterations} steps of {recipe.batch_size} see {images} images {epochs:.1f} times"
        )
    if recipe.norm == "batch" and not recipe.freeze_bn:
        part = recipe.bn_batch or recipe.batch_size // recipe.accumulate
        if part < 4:
            yield find("batch_norm_few_images", f"its statistics are taken over {part} images at a time")


def check_schedule(rates: Sequence[float], falls: bool) -> Iterator[Finding]:
    """Checks learning rates, evenly spread over a run."""
    rates = np.array(rates)
    idle = float((rates <= 1e-3 * rates.max()).mean())
    if rates.max() > 0 and rates[-1] <= 1e-3 * rates.max() and idle > 0.05:
        yield find("schedule_ends_early", f"over the last {idle:.0%} of the run the learning rate is 0")
    elif falls and rates[-1] > 0.3 * rates.max():
        yield find("schedule_cut_off", f"the run ends at {rates[-1] / rates.max():.0%} of its largest learning rate")


def check_history(log: Sequence[Mapping[str, Any]], num_classes: int) -> Iterator[Finding]:
    """Checks the rows of a run's history: iteration, loss, lr; those without a loss are scores."""
    rows = [row for row in log if row.get("loss") is not None and math.isfinite(row["loss"])]
    if len(rows) < 10:
        return
    losses = np.array([row["loss"] for row in rows])
    tenth = max(1, len(rows) // 10)
    first, before, last = losses[:tenth].mean(), losses[-2 * tenth : -tenth].mean(), losses[-tenth:].mean()
    if rates := [row["lr"] for row in rows if row.get("lr") is not None]:
        yield from check_schedule(rates, falls=rates[-1] < rates[0])
    if last > 0.9 * min(first, math.log(max(2, num_classes))):
        yield find(
            "loss_not_falling", f"{first:.2f} at first, {last:.2f} at the end; ln K is {math.log(num_classes):.2f}"
        )
    elif (before - last) > FLAT * first:
        yield find(
            "too_few_steps", f"the loss still falls at the end: {before:.3f}, then {last:.3f} over the last tenth"
        )
