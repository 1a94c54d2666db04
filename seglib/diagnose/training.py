"""What a recipe's settings, and a run's history, say of the training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seglib.diagnose.report import Finding, find
from seglib.recipe import Recipe
from seglib.train.optim import learning_rate

FLAT = 0.02  # share by which the loss may still fall over the last tenth of a run that is long enough


def check_recipe(recipe: Recipe, images: int) -> Iterator[Finding]:
    """Checks settings by themselves, and against the number of training images (0: unknown)."""
    steps = sorted({*np.linspace(0, recipe.iterations - 1, 200).astype(int).tolist()})
    yield from check_schedule([learning_rate(recipe, step) for step in steps], recipe.schedule != "constant")
    low, high = (1e-3, 0.3) if recipe.optimizer == "sgd" else (2e-5, 2e-2)
    if not low <= recipe.lr <= high:
        yield find("learning_rate", lr=recipe.lr, optimizer=recipe.optimizer, low=low, high=high)
    if images and (epochs := recipe.iterations * recipe.batch_size / images) < 5:
        text = f"{recipe.iterations} steps of {recipe.batch_size} see {images} images {epochs:.1f} times"
        yield find("too_few_steps", text)
    if recipe.norm == "batch" and not recipe.freeze_bn:
        part = recipe.bn_batch or recipe.batch_size // recipe.accumulate
        if part < 4:
            yield find("batch_norm_few_images", number=part)
        if (
            not (recipe.weights or recipe.start_from or recipe.reestimate_bn)
            and (1 - recipe.bn_momentum) ** recipe.iterations > 0.1
        ):
            text = f"at bn_momentum = {recipe.bn_momentum:g} they do not arrive in {recipe.iterations} steps"
            yield find("batch_norm_statistics", text)


def check_schedule(rates: Sequence[float], falls: bool) -> Iterator[Finding]:
    """Checks learning rates, evenly spread over a run."""
    shares = np.array(rates) / max(max(rates), 1e-12)
    idle = float((shares <= 1e-3).mean())
    if max(rates) > 0 and shares[-1] <= 1e-3 and idle > 0.05:
        yield find("schedule_ends_early", idle=idle)
    elif falls and shares[-1] > 0.3:
        yield find("schedule_cut_off", share=shares[-1])


def check_history(log: Sequence[Mapping[str, Any]], num_classes: int, continued: bool = False) -> Iterator[Finding]:
    """Checks the rows of a run's history: iteration, loss, lr; or iteration and miou.

    `continued`: it began with a whole network's trained weights, so that its loss has little to fall.
    """
    chance, scores = 1 / max(2, num_classes), [row["miou"] for row in log if _is_number(row.get("miou"))]
    if len(scores) >= 3 and max(scores) < 1.5 * chance and max(scores) - min(scores) < 0.01:
        yield find("score_does_not_move", low=min(scores), high=max(scores), number=len(scores), chance=chance)
    for row in log:
        if row.get("loss") is not None and not _is_number(row["loss"]) and not _is_number(row.get("miou")):
            yield find("loss_not_finite", f"the loss is {row['loss']} at iteration {row.get('iteration', '?')}")
    rows = [row for row in log if _is_number(row.get("loss"))]
    if len(rows) < 10:
        return
    losses, tenth = np.array([row["loss"] for row in rows]), len(rows) // 10
    first, before, last = losses[:tenth].mean(), losses[-2 * tenth : -tenth].mean(), losses[-tenth:].mean()
    if rates := [row["lr"] for row in rows if _is_number(row.get("lr"))]:
        yield from check_schedule(rates, falls=rates[-1] < max(rates))
    if last > (1.1 * first if continued else 0.9 * min(first, -math.log(chance))):
        yield find("loss_not_falling", first=first, last=last, expected=-math.log(chance))
    elif (before - last) > FLAT * first:
        text = f"the loss still falls at the end: {before:.3f}, then {last:.3f} over the last tenth"
        yield find("too_few_steps", text)


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)
