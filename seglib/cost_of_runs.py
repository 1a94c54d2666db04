"""What a run will cost, before it is started: its multiply-adds, and the time that stored runs of its like took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from seglib.building import build_model
from seglib.models.cost import mult_adds
from seglib.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """What is left of a row.

    Attributes:
        row: its name. missing, seeds: runs that are left, of how many. trained: of these, those whose network another
            row has trained, so that it is only to be scored.
        mult_adds: multiply-adds of the forward passes of one training.
        seconds: of one training, nan where no stored run tells. device: where that was measured.
        scaled: seconds are those of another row, in proportion to the multiply-adds.
    """

    row: str
    missing: int
    trained: int
    seeds: int
    mult_adds: int
    seconds: float
    device: str
    scaled: bool

    def __str__(self) -> str:
        if not self.missing:
            return f"{self.row}: all {self.seeds} runs are stored, nothing is trained"
        what = f"{self.row}: {self.missing} of {self.seeds} runs are left"
        if self.trained == self.missing:
            return f"{what}, trained with another row and only to be scored"
        what += f", {_big(self.mult_adds)} Mult-Adds of training each"
        if self.trained:
            what += f", but {self.trained} only to be scored"
        if self.seconds != self.seconds:
            return f"{what}; no stored run tells how long one takes"
        about = "estimated from another row's" if self.scaled else "as measured"
        return f"{what}, about {_time(self.seconds)} each ({about} on {self.device})"


def training_mult_adds(recipe: Recipe) -> int:
    """Multiply-adds of the forward passes of a whole training; a backward pass takes about twice as many."""
    model = build_model(recipe.replace(weights="", start_from=""), num_classes=21)
    return mult_adds(model, *(recipe.squash or (recipe.crop_size,) * 2), space_to_batch=False) * (
        recipe.batch_size * recipe.iterations
    )


def estimate(
    recipe: Recipe,
    row: str,
    *,
    missing: int,
    trained: int,
    seeds: int,
    results: Sequence[Mapping[str, Any]],
    others: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Cost:
    """The cost of a row: from its own stored results, else in proportion from those of the first row that has some."""
    work = training_mult_adds(recipe)
    near = results or next((found for found in others.values() if found), ())
    if not near:
        return Cost(row, missing, trained, seeds, work, float("nan"), "", False)
    seconds = median(result["train_seconds"] for result in near)
    if not results:
        seconds *= work / training_mult_adds(Recipe.from_dict(dict(near[0]["recipe"])))
    return Cost(row, missing, trained, seeds, work, seconds, near[0]["device"], not results)


def _big(number: int) -> str:
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:,.3g} {word}" if number < 1000 * size else f"{number / size:,.0f} {word}"
    return f"{number:,}"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
