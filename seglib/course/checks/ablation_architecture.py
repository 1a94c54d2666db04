"""Checks of notebook 10: weights that training never saw, what is worth its price, seeds, a row of one's own."""

import tempfile
from collections.abc import Callable, Iterable
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from seglib.course.checks.ablation_batch_size import added_row
from seglib.course.checks.verdict import Mistake, call, compare, exercise, expect
from seglib.models.build import build_model
from seglib.studies.study import Study

Size = tuple[int, int]
Row = tuple[float, float]  # points, price


@exercise("10.1", "A weight meets the map where its distance from the centre is shorter than the side.")
def untrained_weights(answer: Callable[[int, Size, Size], int]) -> None:
    """Takes scoring on larger and on smaller maps than training's, square and not."""

    def met(rate: int, size: Size) -> set[tuple[int, int]]:
        taps = product((-1, 0, 1), repeat=2)
        return {(dy, dx) for dy, dx in taps if rate * abs(dy) < size[0] and rate * abs(dx) < size[1]}

    def values(rate: int, trained: Size, scored: Size) -> tuple[int, dict[str, int]]:
        before, after = met(rate, trained), met(rate, scored)
        at_side = met(rate - 1, scored) - met(rate - 1, trained)
        square = met(rate, (min(scored),) * 2) - met(rate, (min(trained),) * 2)
        return len(after - before), {
            "these are all weights in use when scoring; some of them were trained.": len(after),
            "a weight that meets no map when scoring either does no harm.": 9 - len(before),
            "these were trained and are not used; the question is the other way round.": len(before - after),
            "weights in use then or now; asked for are those of now without those of then.": len(before | after),
            "at a rate equal to the side the outer weights fall just beside the map.": len(at_side),
            "height and width differ: along the longer side a weight may still meet.": len(square),
        }

    cases = [(8, (7, 7), (9, 9)), (7, (7, 7), (8, 8)), (8, (4, 9), (9, 9)), (8, (8, 10), (7, 7)), (4, (4, 4), (8, 10))]
    cases = [*((rate, (7, 7), (8, 10)) for rate in (8, 6, 16)), *cases]
    compare(answer, cases, values, "a weight is (dy, dx) in -1..1, and sits rate * dy rows and rate * dx columns away.")


@exercise("10.2", "A row is out where another gives as much for as little, and more or cheaper.")
def worth_their_price(answer: Callable[[dict[str, Row]], Iterable[str]]) -> None:
    """Takes rows that beat each other in points, in price or in both, and rows that are alike."""

    def read(found: Iterable[str]) -> set[str]:
        expect(not isinstance(found, str), f"A set of names is expected, found the text {found!r}.")
        names = list(found)
        expect(all(isinstance(name, str) for name in names), f"{names} are not names of rows, such as 'base'.")
        return set(names)

    def values(rows: dict[str, Row]) -> tuple[set[str], dict[str, set[str]]]:
        def unbeaten(beats: Callable[[Row, Row], bool]) -> set[str]:
            pairs = {name: [(rows[other], row) for other in rows if other != name] for name, row in rows.items()}
            return {name for name in rows if not any(beats(*pair) for pair in pairs[name])}

        right = unbeaten(lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b)
        return right, {
            "as many points for less are enough to beat a row.": unbeaten(lambda a, b: a[0] > b[0] and a[1] < b[1]),
            "cheap is better.": unbeaten(lambda a, b: a[0] >= b[0] and a[1] >= b[1] and a != b),
            "the best row is one of them; cheaper ones may stay too.": unbeaten(lambda a, b: a[0] > b[0]),
            "points divided by price favours the cheapest.": unbeaten(lambda a, b: a[0] / a[1] > b[0] / b[1]),
            "these are the rows to leave out.": rows.keys() - right,
            "two rows that are alike do not beat each other.": unbeaten(lambda a, b: a[0] >= b[0] and a[1] <= b[1]),
        }

    cases = [
        {"base": (0.0, 1.0), "deep": (5.0, 2.0), "deeper": (4.0, 3.0), "scales": (6.0, 30.0)},
        {"base": (0.0, 1.0), "free": (2.0, 1.0), "dear": (2.0, 4.0), "twin": (2.0, 1.0)},
        {"base": (0.0, 1.0), "worse": (-1.0, 1.0), "cheap": (-2.0, 0.5), "dearer": (-0.5, 1.5)},
        {"one": (1.0, 1.0)},
        {"base": (0.0, 1.0), "half": (1.0, 2.0), "best": (3.0, 2.0), "most": (3.5, 2.5)},
    ]
    compare(answer, [(rows,) for rows in cases], values, "take each row, and look for another one that beats it.", read)


@exercise("10.3", "Student's t with n - 1 degrees of freedom: few seeds pay twice, by the root and by the t.")
def seeds_needed(answer: Callable[[float, float], int]) -> None:
    """Takes small and large effects; at least two seeds are needed."""
    from scipy.special import stdtrit

    def t(n: int, quantile: float = 0.975) -> float:
        return float(stdtrit(n - 1, quantile))

    def values(sd: float, effect: float) -> tuple[int, dict[str, int]]:
        def first(factor: Callable[[int], float]) -> int:
            return next(n for n in range(2, 10_000) if factor(n) * sd < effect)

        return first(lambda n: t(n) / sqrt(n)), {
            "1.96 is right for many seeds; with few, t is larger.": first(lambda n: 1.959964 / sqrt(n)),
            "divide by the root of n, not by n.": first(lambda n: t(n) / n),
            "n differences have n - 1 degrees of freedom.": first(lambda n: t(n + 1) / sqrt(n)),
            "two tails: 95 % inside leaves 2.5 % on each side.": first(lambda n: t(n, 0.95) / sqrt(n)),
            "half the interval, from its middle to an end, counts.": first(lambda n: 2 * t(n) / sqrt(n)),
            "the interval reaches t standard errors to each side, not one.": first(lambda n: 1 / sqrt(n)),
        }

    cases = [(2.0, 2.0), (1.0, 3.0), (1.2, 0.63), (0.6, 0.64), (2.0, 0.5), (1.5, 8.8)]
    compare(answer, cases, values, "count n up from 2 until t * sd / sqrt(n) is below the effect.")


@exercise("10.4", "The study has a row of yours that none of the paper's is, and its table a line for it.")
def own_row(answer: Callable[[Study], Study]) -> None:
    """Expects a row "mine" with the study's data and scale; its table is looked at, and its network is built."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study.load("multi_grid", "smoke", folder=Path(folder) / "results", runs=Path(folder) / "runs")
        found: Any = call(answer, study)
        added_row(found, study)
        mine, base = found.rows["mine"], study.rows[study.base]
        same = [name for name, recipe in study.rows.items() if recipe.replace(seed=mine.seed) == mine]
        expect(not same, f"'mine' is the same as {same}.", "give with_row a field that differs, other than the seed.")
        same_data = all(getattr(mine, f) == getattr(base, f) for f in ("data", "train_split", "val_split"))
        expect(same_data, "'mine' is trained or scored on other images.", "rows share the data.")
        wrong = f"{mine.iterations} steps at width {mine.width}; the base row takes {base.iterations} at {base.width}."
        expect(mine.iterations <= base.iterations and mine.width <= base.width, wrong, "stay at the smoke scale.")
        try:
            with torch.device("meta"):
                build_model(mine, num_classes=9)
        except (ValueError, TypeError) as error:
            raise Mistake(f"No network can be built: {error}.", "not every pair of fields goes together.") from error
        expect("mine" in found.table().index, "The study's table has no line for 'mine'.")
