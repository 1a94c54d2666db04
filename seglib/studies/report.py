"""A study in words: effects and verdicts, its table for reading, its protocol, and the cost of its runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from seglib.models.build import build_model
from seglib.recipe import Recipe
from seglib.studies.cost import mult_adds

NAN = float("nan")


@dataclass(frozen=True)
class Effect:
    """The difference of a row to the base row, seed by seed.

    Attributes:
        n: number of seeds that both have.
        mean: of the differences, nan if there are none.
        sd: their standard deviation, nan for fewer than two.
        low: lower end of the confidence interval of the mean by Student's t, nan for fewer than two.
        high: its upper end.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean and the sample's standard deviation (n - 1); nan where there are too few values."""
    mean = float(np.mean(values)) if len(values) else NAN
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else NAN


def paired_effect(values: Mapping[int, float], base: Mapping[int, float]) -> Effect:
    """Compares two rows, each seed -> score, over the seeds that both have; the interval is that of 95 %."""
    seeds = [seed for seed in sorted(values) if seed in base]
    ours, theirs = ([scores[seed] for seed in seeds] for scores in (values, base))
    mean, sd = mean_and_sd(np.subtract(ours, theirs))
    if len(seeds) < 2:
        return Effect(len(seeds), mean, sd, NAN, NAN)
    from scipy.stats import ttest_rel  # here, because it takes a second to import

    interval = ttest_rel(ours, theirs).confidence_interval(0.95)
    return Effect(len(seeds), mean, sd, float(interval.low), float(interval.high))


def verdict(effect: Effect, published: float = NAN, runs: int = 0) -> str:
    """Says by the interval, and not by eye, what an effect shows.

    Args:
        effect: of the row, over the base row.
        published: the paper's difference between the same rows, nan where there is none.
        runs: number of results of the row itself, with seeds that the base row has or does not have.

    Returns:
        "not run"; "no base" (no seed of the row is one of the base row's); "too few seeds" (no interval); "within
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


def format_table(table: pd.DataFrame, source: str = "") -> pd.DataFrame:
    """Writes `Study.table` in points of mIoU: "mean ± sd (n)", intervals in brackets.

    Args:
        table: of numbers.
        source: heads the column of published values; without it there is none.
    """
    lines = []
    for line in table.to_dict("records"):
        n, ours, difference = line["n"], _points(line["mean"]), _points(line["difference"], "+")
        if not math.isnan(line["low"]):
            difference += f" [{_points(line['low'], '+')}, {_points(line['high'], '+')}]"
        lines.append({
            source: _points(line["paper"]),
            "ours": f"{ours} ± {_points(line['sd'])} ({n})" if n > 1 else f"{ours} (1)" if n else "not run",
            "paper's difference": _points(line["paper difference"], "+"),
            "our difference [95 %]": difference,
            **{name: line[name] for name in ("effect", "scale", "remarks", "sources")},
        })  # fmt: skip
    written = pd.DataFrame(lines, index=table.index)
    return written if source else written.drop(columns=[source, "paper's difference"])


def _points(value: float, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{100 * value:{sign}.1f}"


def describe_code(changed: Sequence[str] | None) -> str:
    """Says of what code a row is, by the definitions that changed since; "" is the present one."""
    if changed is None:
        return "earlier"
    return f"earlier ({len(changed)} definition{'s' * (len(changed) > 1)} changed)" if changed else ""


def describe_protocol(recipe: Recipe, scale: str, seeds: Sequence[int]) -> str:
    """Says in one line how a recipe is trained and scored."""
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


def describe_cost(
    row: str, recipe: Recipe, *, runs: int, left: int, trained: int, results: Sequence[Mapping[str, Any]]
) -> str:
    """Says in one sentence what is left to run of a row and how long it takes.

    Args:
        row: its name.
        recipe: its recipe, with any seed.
        runs: number of the study's seeds.
        left: number of runs without a result.
        trained: number of these whose network another row has trained, so that it is only to be scored.
        results: stored ones that tell the time: the row's own, or another row's, whose time is taken in proportion.
    """
    if not left:
        return f"{row}: all {runs} runs are stored, nothing is trained"
    sentence = f"{row}: {left} of {runs} runs are left"
    if trained == left:
        return f"{sentence}, trained with another row and only to be scored"
    work = _training_mult_adds(recipe)
    sentence += f", {_big(work)} Mult-Adds of training each"
    if trained:
        sentence += f", but {trained} only to be scored"
    if not results:
        return f"{sentence}; no stored run tells how long one takes"
    seconds, about = median(result["train_seconds"] for result in results), "as measured"
    measured = Recipe.from_dict(results[0]["recipe"])
    if measured.replace(seed=0) != recipe.replace(seed=0):
        seconds, about = seconds * work / _training_mult_adds(measured), "estimated from another row's"
    return f"{sentence}, about {_duration(seconds)} each ({about} on {results[0]['device']})"


def _training_mult_adds(recipe: Recipe) -> int:
    """Counts the forward passes of a whole training; a backward pass takes about twice as many."""
    model = build_model(recipe.replace(weights="", start_from=""), num_classes=21)
    one = mult_adds(model, *(recipe.squash or (recipe.crop_size,) * 2), space_to_batch=False)
    return one * recipe.batch_size * recipe.iterations


def _big(number: float) -> str:
    words = {1e12: "trillion", 1e9: "billion", 1e6: "million"}
    size = next((size for size in words if number >= size), 1e6)
    digits = ".3g" if number < 999.5 * size else ",.0f"
    return f"{number / size:{digits}} {words[size]}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
