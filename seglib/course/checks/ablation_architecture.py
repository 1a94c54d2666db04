"""Checks of notebook 10: weights that training never saw, what is worth its price, seeds, a row of one's own."""

import tempfile
from collections.abc import Callable, Iterable
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seglib.course.checks.ablation_batch_size import added_row
from seglib.course.checks.verdict import Mistake, call, compare, exercise, expect
from seglib.models.build import build_model
from seglib.studies.study import Study

Size = tuple[int, int]
Row = tuple[float, float]
Rows = dict[str, Row]  # name -> (points, price)


@exercise("10.1", "A weight meets the map where its distance from the centre is shorter than the side.")
def untrained_weights(answer: Callable[[int, Size, Size], int]) -> None:
    """untrained_weights(rate, trained, scored) -> 0..8; compared with every weight at every position."""

    def usual(rate: int, trained: Size, scored: Size) -> dict[str, int]:
        before, after = _met(rate, trained), _met(rate, scored)
        at_side = _met(rate - 1, scored) - _met(rate - 1, trained)
        square = _met(rate, (min(scored),) * 2) - _met(rate, (min(trained),) * 2)
        return {
            "these are all weights in use when scoring; some of them were trained.": len(after),
            "a weight that meets no map when scoring either does no harm.": 9 - len(before),
            "these were trained and are not used; the question is the other way round.": len(before - after),
            "weights in use then or now; asked for are those of now without those of then.": len(before | after),
            "at a rate equal to the side the outer weights fall just beside the map.": len(at_side),
            "height and width differ: along the longer side a weight may still meet.": len(square),
        }

    compare(
        answer,
        [(r, (7, 7), (8, 10)) for r in (8, 6, 16)]
        + [(8, (7, 7), (9, 9)), (7, (7, 7), (8, 8)), (8, (4, 9), (9, 9)), (8, (8, 10), (7, 7)), (4, (4, 4), (8, 10))],
        right=lambda rate, trained, scored: len(_met(rate, scored) - _met(rate, trained)),
        usual=usual,
        hint="a weight is (dy, dx) in -1..1, and sits rate * dy rows and rate * dx columns away.",
    )


def _met(rate: int, size: Size) -> set[tuple[int, int]]:
    """The weights, as (-1..1, -1..1), that meet a map of this size at one of its positions or more."""
    height, width = size
    return {
        (dy, dx)
        for dy, dx in product((-1, 0, 1), repeat=2)
        if any(0 <= y + rate * dy < height and 0 <= x + rate * dx < width for y, x in np.ndindex(size))
    }


@exercise("10.2", "A row is out where another gives as much for as little, and more or cheaper.")
def worth_their_price(answer: Callable[[Rows], Iterable[str]]) -> None:
    """worth_their_price(rows) -> names of the rows that no other beats; compared with all pairs."""

    def read(found: Iterable[str]) -> set[str]:
        expect(not isinstance(found, str), f"A set of names is expected, found the text {found!r}.")
        names = list(found)
        wrong = f"{names} are not names of rows; expected some such as 'base'."
        expect(all(isinstance(name, str) for name in names), wrong)
        return set(names)

    def unbeaten(rows: Rows, beats: Callable[[float, float, float, float], bool], itself: bool = True) -> set[str]:
        others = {name: [row for key, row in rows.items() if itself or key != name] for name in rows}
        return {name for name, row in rows.items() if not any(beats(*other, *row) for other in others[name])}

    def right(rows: Rows) -> set[str]:
        return unbeaten(rows, lambda p, c, points, cost: p >= points and c <= cost and (p, c) != (points, cost))

    usual = {
        "as many points for less, or more for the same price, is enough to beat a row.": lambda p, c, points, cost: (
            p > points and c < cost
        ),
        "cheap is better: compare the second numbers the other way round.": lambda p, c, points, cost: (
            p >= points and c >= cost and (p, c) != (points, cost)
        ),
        "the best row is one of them; cheaper ones may stay too.": lambda p, c, points, cost: p > points,
        "points divided by price favours the cheapest; compare the rows in pairs.": lambda p, c, points, cost: (
            p / c > points / cost
        ),
    }
    compare(
        answer,
        [
            ({"base": (0.0, 1.0), "deep": (5.0, 2.0), "deeper": (4.0, 3.0), "scales": (6.0, 30.0)},),
            ({"base": (0.0, 1.0), "free": (2.0, 1.0), "dear": (2.0, 4.0), "twin": (2.0, 1.0)},),
            ({"base": (0.0, 1.0), "worse": (-1.0, 1.0), "cheap": (-2.0, 0.5), "dearer": (-0.5, 1.5)},),
            ({"one": (1.0, 1.0)},),
            ({"base": (0.0, 1.0), "half": (1.0, 2.0), "best": (3.0, 2.0), "most": (3.5, 2.5)},),
        ],
        right,
        usual=lambda rows: {
            "these are the rows to leave out.": rows.keys() - right(rows),
            "two rows with the same points and the same price do not beat each other: both stay.": (
                unbeaten(rows, lambda p, c, points, cost: p >= points and c <= cost, itself=False)
            ),
            **{hint: unbeaten(rows, beats) for hint, beats in usual.items()},
        },
        hint="take each row, and look for another one that beats it.",
        read=read,
    )


@exercise("10.3", "Student's t with n - 1 degrees of freedom: few seeds pay twice, by the root and by the t.")
def seeds_needed(answer: Callable[[float, float], int]) -> None:
    """seeds_needed(sd, effect) -> smallest n of at least 2; compared with one after the other."""
    from scipy.special import stdtrit

    def t(n: int, quantile: float = 0.975) -> float:
        return float(stdtrit(n - 1, quantile))

    def first(sd: float, effect: float, factor: Callable[[int], float]) -> int:
        return next(n for n in range(2, 10_000) if factor(n) * sd < effect)

    factors = {
        "1.96 is right for many seeds; with few, t is larger.": lambda n: 1.959964 / sqrt(n),
        "divide by the root of n, not by n.": lambda n: t(n) / n,
        "n differences have n - 1 degrees of freedom.": lambda n: t(n + 1) / sqrt(n),
        "two tails: 95 % inside leaves 2.5 % on each side, so the quantile is 0.975.": lambda n: t(n, 0.95) / sqrt(n),
        "half the interval, from its middle to an end, must be below the effect.": lambda n: 2 * t(n) / sqrt(n),
        "the interval reaches t standard errors to each side, not one.": lambda n: 1 / sqrt(n),
    }
    compare(
        answer,
        [(2.0, 2.0), (1.0, 3.0), (1.2, 0.63), (0.6, 0.64), (2.0, 0.5), (1.5, 8.8)],
        right=lambda sd, effect: first(sd, effect, lambda n: t(n) / sqrt(n)),
        usual=lambda sd, effect: {hint: first(sd, effect, factor) for hint, factor in factors.items()},
        hint="count n up from 2 until t * sd / sqrt(n) is below the effect.",
    )


@exercise("10.4", "The study has a row of yours that none of the paper's is, and its table a line for it.")
def own_row(answer: Callable[[Study], Study]) -> None:
    """own_row(study) -> the study with a row "mine"; its table is looked at, and its network is built."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study.load("multi_grid", "smoke", folder=Path(folder) / "results", runs=Path(folder) / "runs")
        found: Any = call(answer, study)
        added_row(found, study)
        mine, base = found.rows["mine"], study.rows[study.base]
        same = [name for name, recipe in study.rows.items() if recipe.replace(seed=mine.seed) == mine]
        hint = "give with_row a field that differs; a seed does not make a row."
        expect(not same, f"'mine' is the same as {same}.", hint)
        same_data = all(getattr(mine, f) == getattr(base, f) for f in ("data", "train_split", "val_split"))
        hint = "rows share the data, or their difference is not the architecture's."
        expect(same_data, "'mine' is trained or scored on other images.", hint)
        wrong = f"{mine.iterations} steps at width {mine.width}; the base row takes {base.iterations} at {base.width}."
        hint = "stay at the smoke scale: it shows that a row runs; a larger one costs minutes."
        expect(mine.iterations <= base.iterations and mine.width <= base.width, wrong, hint)
        try:
            with torch.device("meta"):
                build_model(mine, num_classes=9)
        except (ValueError, TypeError) as error:
            hint = "not every pair of fields goes together."
            raise Mistake(f"No network can be built of it: {error}.", hint) from error
        expect("mine" in found.table().index, "The study's table has no line for 'mine'.")
