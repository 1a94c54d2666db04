"""A study in words: effects and verdicts, its table for reading, its protocol, and what a run will cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from seglib.models.build import build_model
from seglib.models.cost import mult_adds
from seglib.recipe import Recipe

NAN = float("nan")


@dataclass(frozen=True)
class Effect:
    """The difference of a row to the base row, seed by seed.

    Attributes:
        n: seeds that both have. mean, sd: of the differences, nan for fewer than one or two of them.
        low, high: the confidence interval of the mean by Student's t, nan for fewer than two.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the sample's standard deviation (n - 1); nan where there are too few values."""
    mean = float(np.mean(values)) if len(values) else NAN
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else NAN


def paired_effect(values: Mapping[int, float], base: Mapping[int, float], confidence: float = 0.95) -> Effect:
    """The difference of two rows over the seeds that both have. `values`, `base`: seed -> score."""
    differences = [values[seed] - base[seed] for seed in sorted(values) if seed in base]
    mean, sd = mean_and_sd(differences)
    n = len(differences)
    if n < 2:
        return Effect(n, mean, sd, NAN, NAN)
    from scipy.special import stdtrit  # Student's t, its quantile

    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Effect(n, mean, sd, mean - half, mean + half)


def verdict(effect: Effect, published: float = NAN, runs: int = 0) -> str:
    """What the interval says: by its place beside zero, and not by eye.

    Args:
        published: the paper's difference between the same rows, nan where there is none.
        runs: of the row itself, whether or not the base row has their seeds.

    Returns:
        "not run"; "no base" (it was, but with no seed that the base row has); "too few seeds" (no interval); "within
        noise" (it holds zero); "confirmed" or "contradicted" (it lies on the published difference's side of zero, or on
        the other); "higher" or "lower" where nothing was published.
    """
    if math.isnan(effect.low):
        return "too few seeds" if effect.n else "no base" if runs else "not run"
    if effect.low <= 0 <= effect.high:
        return "within noise"
    if math.isnan(published) or published == 0:
        return "higher" if effect.mean > 0 else "lower"
    return "confirmed" if (effect.mean > 0) == (published > 0) else "contradicted"


def readable(table: pd.DataFrame, source: str = "") -> pd.DataFrame:
    """`Study.table` in points of mIoU: "mean ± sd (n)", intervals in brackets.

    source: heads the column of published values; without it there is none.
    """
    lines = pd.DataFrame(index=table.index)
    if source:
        lines[source] = [_points(value) for value in table.paper]
    lines["ours"] = [f"{_points(m)} ± {_points(s)} ({n})" for m, s, n in _lines(table, "mean", "sd", "n")]
    lines.loc[table.n == 1, "ours"] = [f"{_points(m)} (1)" for m in table["mean"][table.n == 1]]
    lines.loc[table.n == 0, "ours"] = "not run"
    if source:
        lines["paper's difference"] = [_points(value, "+") for value in table["paper difference"]]
    lines["our difference [95 %]"] = [
        f"{_points(d, '+')} [{_points(low, '+')}, {_points(high, '+')}]" if high == high else _points(d, "+")
        for d, low, high in _lines(table, "difference", "low", "high")
    ]
    return lines.assign(effect=table.effect, scale=table.scale, remarks=table.remarks, sources=table.sources)


def protocol_of(recipe: Recipe, scale: str, seeds: Sequence[int]) -> str:
    """How a recipe is trained and scored, in one line."""
    r = recipe
    backbone = f"pre-activated {r.backbone}" if r.pre_activation else r.backbone
    if r.stride_unit == "first" and "resnet" in r.backbone:
        backbone += ", strides in the first units"
    windows = f", in windows of {r.eval_window[0]} x {r.eval_window[1]}" if r.eval_window else ""
    scored = f"output stride {r.eval_output_stride or r.output_stride}, scales {', '.join(map(str, r.eval_scales))}"
    return (
        f"{scale} scale: {r.data} {r.train_split}, crop {r.crop_size}, {r.iterations} iterations of "
        f"{r.batch_size}, {r.model} on {backbone} ({r.weights or 'random weights'}), output stride "
        f"{r.output_stride}, {r.optimizer} lr {r.lr}; scored on {r.val_split}, {scored}"
        f"{', mirrored too' if r.eval_flip else ''}{windows}; seeds {', '.join(map(str, seeds))}"
    )


def _lines(table: pd.DataFrame, *columns: str) -> zip:
    return zip(*(table[name] for name in columns), strict=True)


def _points(value: float, sign: str = "") -> str:
    return "" if value != value else f"{100 * value:{sign}.1f}"


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
