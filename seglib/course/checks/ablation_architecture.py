"""Checks of notebook 10: weights that training never saw, what is worth its price, seeds, a row of one's own."""

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from scipy.special import ndtri, stdtrit

from seglib.course.checks.verdict import Mistake, call, exercise, expect
from seglib.models.build import build_model
from seglib.studies.study import Study

Size = tuple[int, int]
Rows = dict[str, tuple[float, float]]


def _met(rate: int, size: Size) -> set[tuple[int, int]]:
    """The weights, as (-1..1, -1..1), that meet a map of this size at one of its positions or more."""
    height, width = size
    places = list(product(range(height), range(width)))
    return {
        (dy, dx)
        for dy, dx in product((-1, 0, 1), repeat=2)
        if any(0 <= y + rate * dy < height and 0 <= x + rate * dx < width for y, x in places)
    }


@exercise("10.1", correct="A weight meets the map where its distance from the centre is shorter than the side.")
def untrained_weights(answer: Callable[[int, Size, Size], int]) -> None:
    """untrained_weights(rate, trained, scored) -> 0..8; compared with every weight at every position."""
    cases = [
        (8, (7, 7), (8, 10)),
        (8, (7, 7), (9, 9)),
        (7, (7, 7), (8, 8)),
        (6, (7, 7), (8, 10)),
        (8, (4, 9), (9, 9)),
        (16, (7, 7), (8, 10)),
        (8, (8, 10), (7, 7)),
        (4, (4, 4), (8, 10)),
    ]
    met = [(_met(rate, trained), _met(rate, scored)) for rate, trained, scored in cases]
    at_side = [(_met(rate - 1, trained), _met(rate - 1, scored)) for rate, trained, scored in cases]
    square = [(_met(rate, (min(t),) * 2), _met(rate, (min(s),) * 2)) for rate, t, s in cases]
    _diagnose(
        "untrained_weights",
        [((rate, trained, scored), call(answer, rate, trained, scored)) for rate, trained, scored in cases],
        [len(after - before) for before, after in met],
        {
            "these are all weights in use when scoring; some of them were trained.": [len(a) for _, a in met],
            "a weight that meets no map when scoring either does no harm.": [9 - len(b) for b, _ in met],
            "these were trained and are not used; the question is the other way round.": [len(b - a) for b, a in met],
            "weights in use then or now; asked for are those of now without those of then.": [
                len(a | b) for b, a in met
            ],
            "at a rate equal to the side the outer weights fall just beside the map.": [len(a - b) for b, a in at_side],
            "height and width differ: along the longer side a weight may still meet.": [len(a - b) for b, a in square],
        },
        "a weight is (dy, dx) in -1..1, and sits rate * dy rows and rate * dx columns away.",
    )


def _diagnose(
    name: str, found: Sequence[tuple[Any, Any]], expected: Sequence, usual: dict[str, Sequence], hint: str
) -> None:
    """Raises Mistake unless what was found, (arguments, answer) per case, is as expected.

    usual: hint -> what a usual mistake answers in every case. hint: for any other one.
    """
    answers = [value for _, value in found]
    if answers == list(expected):
        return
    arguments, value, right = next(
        (args, value, right) for (args, value), right in zip(found, expected, strict=True) if value != right
    )
    wrong = f"{name}({', '.join(map(str, arguments))}) is {value}, expected {right}."
    for its_hint, values in usual.items():
        expect(answers != list(values), wrong, its_hint)
    raise Mistake(wrong, hint)


Row = tuple[float, float]


def _kept(rows: Rows, beats: Callable[[Row, Row], bool], itself: bool = True) -> list[str]:
    """The rows that none beats, `itself` among those it is compared with."""
    return [
        name
        for name, row in sorted(rows.items())
        if not any(beats(other, row) for key, other in rows.items() if itself or key != name)
    ]


@exercise("10.2", correct="A row is out where another gives as much for as little, and more or cheaper.")
def worth_their_price(answer: Callable[[Rows], Iterable[str]]) -> None:
    """worth_their_price(rows) -> names of the rows that no other beats; compared with all pairs."""
    cases: tuple[Rows, ...] = (
        {"base": (0.0, 1.0), "deep": (5.0, 2.0), "deeper": (4.0, 3.0), "scales": (6.0, 30.0)},
        {"base": (0.0, 1.0), "free": (2.0, 1.0), "dear": (2.0, 4.0), "twin": (2.0, 1.0)},
        {"base": (0.0, 1.0), "worse": (-1.0, 1.0), "cheap": (-2.0, 0.5), "dearer": (-0.5, 1.5)},
        {"one": (1.0, 1.0)},
        {"base": (0.0, 1.0), "half": (1.0, 2.0), "best": (3.0, 2.0), "most": (3.5, 2.5)},
    )
    found = []
    for rows in cases:
        names = call(answer, dict(rows))
        expect(not isinstance(names, str), f"A set of names is expected, found the text {names!r}.")
        names = list(names)
        expect(all(name in rows for name in names), f"{names} are no names of rows; expected some of {list(rows)}.")
        found.append(((rows,), sorted(set(names))))
    kept = [_kept(rows, lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b) for rows in cases]
    _diagnose(
        "worth_their_price",
        found,
        kept,
        {
            "these are the rows to leave out.": [
                sorted(set(rows) - set(k)) for rows, k in zip(cases, kept, strict=True)
            ],
            "as many points for less, or more for the same price, is enough to beat a row.": [
                _kept(rows, lambda a, b: a[0] > b[0] and a[1] < b[1]) for rows in cases
            ],
            "two rows with the same points and the same price do not beat each other: both stay.": [
                _kept(rows, lambda a, b: a[0] >= b[0] and a[1] <= b[1], itself=False) for rows in cases
            ],
            "cheap is better: compare the second numbers the other way round.": [
                _kept(rows, lambda a, b: a[0] >= b[0] and a[1] >= b[1] and a != b) for rows in cases
            ],
            "the best row is one of them; cheaper ones may stay too.": [_best(rows, lambda p, c: p) for rows in cases],
            "points divided by price favours whatever is cheapest; compare the rows in pairs.": [
                _best(rows, lambda p, c: p / c) for rows in cases
            ],
        },
        "take each row, and look for another one that beats it.",
    )


def _best(rows: Rows, worth: Callable[[float, float], float]) -> list[str]:
    return sorted(name for name, row in rows.items() if worth(*row) == max(worth(*other) for other in rows.values()))


@exercise("10.3", correct="Student's t with n - 1 degrees of freedom: few seeds pay twice, by the root and by the t.")
def seeds_needed(answer: Callable[[float, float], int]) -> None:
    """seeds_needed(sd, effect) -> smallest n of at least 2; compared with one after the other."""
    cases = [(2.0, 2.0), (1.0, 3.0), (1.2, 0.63), (0.6, 0.64), (2.0, 0.5), (1.5, 8.8)]
    usual = {
        "1.96 is right for many seeds; with few, t is larger.": lambda sd, n: float(ndtri(0.975)) * sd / math.sqrt(n),
        "divide by the root of n, not by n.": lambda sd, n: _t(n) * sd / n,
        "n differences have n - 1 degrees of freedom.": lambda sd, n: _t(n + 1) * sd / math.sqrt(n),
        "two tails: 95 % inside leaves 2.5 % on each side, so the quantile is 0.975.": lambda sd, n: (
            float(stdtrit(n - 1, 0.95)) * sd / math.sqrt(n)
        ),
        "half the interval, from its middle to an end, must be below the effect.": lambda sd, n: 2 * _half(sd, n),
        "the interval reaches t standard errors to each side, not one.": lambda sd, n: sd / math.sqrt(n),
    }
    _diagnose(
        "seeds_needed",
        [(case, call(answer, *case)) for case in cases],
        [_first(_half, *case) for case in cases],
        {hint: [_first(half, *case) for case in cases] for hint, half in usual.items()},
        "count n up from 2 until t * sd / sqrt(n) is below the effect.",
    )


def _t(n: int) -> float:
    return float(stdtrit(n - 1, 0.975))


def _half(sd: float, n: int) -> float:
    return _t(n) * sd / math.sqrt(n)


def _first(half: Callable[[float, int], float], sd: float, effect: float) -> int:
    return next(n for n in range(2, 10_000) if half(sd, n) < effect)


@exercise("10.4", correct="The study has a row of yours that none of the paper's is, and its table a line for it.")
def own_row(answer: Callable[[Study], Study]) -> None:
    """own_row(study) -> the study with a row "mine"; its table is looked at, and its network is built."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"folder": Path(folder) / "results", "runs": Path(folder) / "runs"}
        study = Study.load("multi_grid", "smoke", **places)
        found: Any = call(answer, study)
        expect(isinstance(found, Study), f"A Study is expected, found a {type(found).__name__}.", "return with_row's.")
        expect(
            "mine" in found.rows,
            f"The rows are {list(found.rows)[-2:]} at the end, none is called 'mine'.",
            "with_row leaves the study as it is and returns another one; return that.",
        )
        expect(
            all(found.rows.get(name) == recipe for name, recipe in study.rows.items()),
            "Rows of the paper are missing or changed.",
            "start from the study that is handed in and add to it.",
        )
        mine = found.rows["mine"]
        same = [name for name, recipe in study.rows.items() if recipe.replace(seed=mine.seed) == mine]
        expect(not same, f"'mine' is the same as {same}.", "give with_row a field that differs; a seed is no row.")
        base = study.rows[study.base]
        expect(
            (mine.data, mine.train_split, mine.val_split) == (base.data, base.train_split, base.val_split),
            "'mine' is trained or scored on other images.",
            "rows share the data, or their difference is not the architecture's.",
        )
        expect(
            mine.iterations <= base.iterations and mine.width <= base.width,
            f"{mine.iterations} steps at width {mine.width}; the base row takes {base.iterations} at {base.width}.",
            "stay at the smoke scale: it shows that a row runs; a larger one costs minutes.",
        )
        try:
            with torch.device("meta"):
                build_model(mine, num_classes=9)
        except (ValueError, TypeError) as error:
            raise Mistake(
                f"No network can be built of it: {error}.", "not every pair of fields goes together."
            ) from error
        expect("mine" in found.table().index, "The study's table has no line for 'mine'.")
