"""Checks of notebook 09: rank correlation, cost by stride, a confounded comparison undone, and a row of one's own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

import numpy as np

from seglib.course.checks.ablation_batch_size import examine_row, only_scoring
from seglib.course.checks.verdict import call, exercise, expect
from seglib.studies.study import Study


@exercise("9.1", correct="Only the order counts, and equal values share their rank.")
def rank_correlation(answer: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """Values with outliers, out of order and with ties, against ranks counted one by one."""
    cases = (
        ([3.0, 1.0, 40.0, 2.0, 15.0, 9.0], [0.2, 0.1, 0.9, 0.5, 0.3, 0.4]),
        ([30.0, 10.0, 20.0, 50.0, 40.0], [5.0, 1.0, 4.0, 2.0, 3.0]),
        ([1.0, 2.0, 2.0, 2.0, 5.0, 3.0], [4.0, 1.0, 3.0, 3.0, 6.0, 2.0]),
    )
    for x, y in cases:
        found = float(call(answer, np.array(x), np.array(y)))
        true = _pearson(_ranks(x), _ranks(y))
        if math.isclose(found, true, abs_tol=1e-6):
            continue
        wrong = f"For {x} and {y} the coefficient is {found:.3f}, expected {true:.3f}."
        once = [np.argsort(values).tolist() for values in (x, y)]
        twice = [np.argsort(np.argsort(values, kind="stable"), kind="stable").tolist() for values in (x, y)]
        squares = sum((a - b) ** 2 for a, b in zip(_ranks(x), _ranks(y), strict=True))
        usual = {
            "that is the correlation of the values; take that of their ranks.": _pearson(x, y),
            "`argsort` gives the places of the sorted values; the ranks are `argsort` of that.": _pearson(*once),
            "equal values have to share the mean of their ranks.": _pearson(*twice),
            "the formula with the squared differences of ranks holds only where no two values are equal.": (
                1 - 6 * squares / (len(x) * (len(x) ** 2 - 1))
            ),
            "the sign is turned: do both ranks count upwards?": -true,
        }
        for hint, value in usual.items():
            expect(not math.isclose(found, value, abs_tol=1e-6), wrong, hint)
        expect(False, wrong, "the rank is the number of smaller values plus half that of equal ones.")


def _ranks(values: list[float]) -> list[float]:
    return [sum(v < value for v in values) + sum(v == value for v in values) / 2 for value in values]


def _pearson(x: list[float], y: list[float]) -> float:
    return statistics.correlation([float(v) for v in x], [float(v) for v in y])


@exercise("9.2", correct="A removed stride quadruples every layer behind it, and none before.")
def cost_at(answer: Callable[[Mapping[int, float], int], float]) -> None:
    """Several bills, against the layers' pixels counted on a map of 256 x 256 cells."""
    bills = ({4: 10.0, 8: 8.0, 16: 12.0, 32: 5.0}, {4: 3.0, 8: 2.0, 32: 6.0, 64: 1.0, 256: 0.5})
    for costs in bills:
        for output_stride in (8, 16, 32, 4):
            found = float(call(answer, dict(costs), output_stride))
            # Mult-Adds are so many per pixel of the output: pixels are counted at both strides
            true = sum(cost / _pixels(s) * _pixels(min(s, output_stride)) for s, cost in costs.items())
            if math.isclose(found, true, rel_tol=1e-6):
                continue
            wrong = f"cost_at({costs}, {output_stride}) is {found:.4g}, expected {true:.4g}."
            ratio = {s: s / min(s, output_stride) for s in costs}
            usual = {
                "half the stride is twice the width *and* twice the height: the square.": (
                    sum(cost * ratio[s] for s, cost in costs.items())
                ),
                "layers whose stride is below the output stride keep their map.": (
                    sum(cost * (s / output_stride) ** 2 for s, cost in costs.items())
                ),
                "every layer was scaled, the early ones too.": (
                    sum(costs.values()) * (max(costs) / output_stride) ** 2
                ),
                "only the last layers were scaled; all whose stride is above the output stride pay.": (
                    sum(costs.values()) + costs[max(costs)] * (ratio[max(costs)] ** 2 - 1)
                ),
                "a finer map costs more, not less.": sum(cost / ratio[s] ** 2 for s, cost in costs.items()),
                "that is the sum at the largest output stride.": sum(costs.values()),
            }
            for hint, value in usual.items():
                expect(not math.isclose(found, value, rel_tol=1e-6), wrong, hint)
            expect(False, wrong, "cost times (stride over the smaller of stride and output stride), squared.")


def _pixels(stride: int, side: int = 1024) -> int:
    return (side // stride) ** 2


@exercise("9.3", correct="Two steps, each with one change; together they are the difference that was published.")
def undone(answer: Callable[..., tuple[float, float]]) -> None:
    """Rows with seeds of their own and in different orders."""
    base = {0: 0.50, 1: 0.58, 2: 0.61, 3: 0.55, 9: 0.10}
    both = {3: 0.50, 2: 0.57, 0: 0.47, 1: 0.53, 8: 0.90}
    alone = {1: 0.60, 0: 0.53, 2: 0.62, 8: 0.95, 9: 0.15}
    found = call(answer, dict(base), dict(both), dict(alone))
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (stride, batch).")
    stride, batch = (float(value) for value in found)
    seeds = [seed for seed in base if seed in both and seed in alone]
    parts = statistics.mean(alone[s] - base[s] for s in seeds), statistics.mean(both[s] - alone[s] for s in seeds)
    total = statistics.mean(both[s] - base[s] for s in seeds)
    true_stride, true_batch = parts
    wrong = f"The parts are {stride:+.4f} and {batch:+.4f}, expected {true_stride:+.4f} and {true_batch:+.4f}."
    means = [statistics.mean(row.values()) for row in (base, both, alone)]
    of_pairs = (
        statistics.mean(alone[s] - base[s] for s in alone if s in base),
        statistics.mean(both[s] - alone[s] for s in both if s in alone),
    )
    usual = {
        "the two are exchanged: the pair is (stride, batch).": (true_batch, true_stride),
        "the signs are turned: an effect is the later row minus the earlier.": (-true_stride, -true_batch),
        "the second is the whole difference; the batch size's part is counted from `stride_only`.": (
            true_stride,
            total,
        ),
        "the batch size's part is turned round: `both` minus `stride_only`.": (true_stride, -true_batch),
        "means of whole rows were compared; only seeds that all three have.": (
            means[2] - means[0],
            means[1] - means[2],
        ),
        "each part has seeds of its own, so they do not add up; take those that all three have.": of_pairs,
    }
    for hint, pair in usual.items():
        same = all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip((stride, batch), pair, strict=True))
        expect(not same, wrong, hint)
    right = math.isclose(stride, true_stride, abs_tol=1e-6) and math.isclose(batch, true_batch, abs_tol=1e-6)
    expect(right, wrong, "first stride_only - base, then both - stride_only, seed by seed.")


@exercise("9.4", correct="One training, two scorings: what the seed did to both alike drops out.")
def my_study(answer: Callable[[Study], Study], study: Study) -> None:
    """One row more that differs from the base in its scoring alone; see `examine_row`."""
    found = call(answer, study)
    if isinstance(found, Study) and "mine" in found.rows:
        expect(
            only_scoring(found.rows[found.base], found.rows["mine"]),
            "The row would need a training of its own.",
            "change nothing but eval_output_stride, eval_scales, eval_flip, eval_window or reestimate_bn.",
        )
    examine_row(found, study)
