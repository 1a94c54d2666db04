"""Checks of notebook 09: rank correlation, cost by stride, a confounded comparison undone, and a row of one's own."""

import statistics
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

from seglib.course.checks.ablation_batch_size import examine_row, only_scoring
from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.studies.study import Study


@exercise("9.1", "Only the order counts, and equal values share their rank.")
def rank_correlation(answer: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """Takes values with outliers, out of order and with ties; compares with ranks counted one by one."""

    def of_ranks(x: np.ndarray, y: np.ndarray, rank: Callable[[np.ndarray], np.ndarray]) -> float:
        return float(np.corrcoef(rank(x), rank(y))[0, 1])

    def ranks(values: np.ndarray) -> np.ndarray:
        return (values < values[:, None]).sum(axis=1) + (values == values[:, None]).sum(axis=1) / 2

    def twice(values: np.ndarray) -> np.ndarray:
        return values.argsort(kind="stable").argsort()

    compare(
        answer,
        [
            (np.array([3.0, 1.0, 40.0, 2.0, 15.0, 9.0]), np.array([0.2, 0.1, 0.9, 0.5, 0.3, 0.4])),
            (np.array([30.0, 10.0, 20.0, 50.0, 40.0]), np.array([5.0, 1.0, 4.0, 2.0, 3.0])),
            (np.array([1.0, 2.0, 2.0, 2.0, 5.0, 3.0]), np.array([4.0, 1.0, 3.0, 3.0, 6.0, 2.0])),
        ],
        right=lambda x, y: of_ranks(x, y, ranks),
        usual=lambda x, y: {
            "that is the correlation of the values; take that of their ranks.": of_ranks(x, y, np.asarray),
            "`argsort` gives the sorted values' places; the ranks are `argsort` of that.": of_ranks(x, y, np.argsort),
            "equal values have to share the mean of their ranks.": of_ranks(x, y, twice),
            "the formula with the squared differences of ranks holds only where no two values are equal.": (
                1 - 6 * ((ranks(x) - ranks(y)) ** 2).sum() / (len(x) * (len(x) ** 2 - 1))
            ),
            "the sign is turned: do both ranks count upwards?": -of_ranks(x, y, ranks),
        },
        hint="the rank is the number of smaller values plus half that of equal ones.",
        read=float,
    )


@exercise("9.2", "A removed stride quadruples every layer after it, and none before.")
def cost_at(answer: Callable[[Mapping[int, float], int], float]) -> None:
    """Takes several bills; compares with the layers' pixels, counted on an image of 1024 x 1024."""

    def pixels(stride: int) -> int:
        return (1024 // stride) ** 2

    def usual(costs: Mapping[int, float], output_stride: int) -> dict[str, float]:
        ratio = {stride: stride / min(stride, output_stride) for stride in costs}
        total, last = sum(costs.values()), max(costs)

        def scaled(factors: Mapping[int, float]) -> float:
            return sum(cost * factors[stride] for stride, cost in costs.items())

        return {
            "half the stride is twice the width *and* twice the height: the square.": scaled(ratio),
            "layers whose stride is below the output stride keep their map.": (
                scaled({stride: (stride / output_stride) ** 2 for stride in costs})
            ),
            "every layer was scaled, the early ones too.": total * (last / output_stride) ** 2,
            "only the last layers were scaled; all above the output stride pay.": total
            + costs[last] * (ratio[last] ** 2 - 1),
            "a finer map costs more, not less.": scaled({stride: ratio[stride] ** -2 for stride in costs}),
            "that is the sum at the largest output stride.": total,
        }

    bills = ({4: 10.0, 8: 8.0, 16: 12.0, 32: 5.0}, {4: 3.0, 8: 2.0, 32: 6.0, 64: 1.0, 256: 0.5})
    compare(
        answer,
        product(bills, (8, 16, 32, 4)),
        # Mult-Adds are so many per pixel of the output: pixels are counted at both strides.
        right=lambda costs, stride: sum(cost / pixels(s) * pixels(min(s, stride)) for s, cost in costs.items()),
        usual=usual,
        hint="cost times (stride over the smaller of stride and output stride), squared.",
        read=float,
    )


@exercise("9.3", "Two steps, each with one change; together they are the difference that was published.")
def undone(answer: Callable[..., tuple[float, float]]) -> None:
    """Takes rows with seeds of their own and in different orders."""
    base = {0: 0.50, 1: 0.58, 2: 0.61, 3: 0.55, 9: 0.10}
    both = {3: 0.50, 2: 0.57, 0: 0.47, 1: 0.53, 8: 0.90}
    stride_only = {1: 0.60, 0: 0.53, 2: 0.62, 8: 0.95, 9: 0.15}
    found = call(answer, dict(base), dict(both), dict(stride_only))
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (stride, batch).")

    def difference(later: dict[int, float], earlier: dict[int, float], seeds: set[int]) -> float:
        return statistics.mean(later[seed] for seed in seeds) - statistics.mean(earlier[seed] for seed in seeds)

    seeds = base.keys() & both.keys() & stride_only.keys()
    stride, batch = difference(stride_only, base, seeds), difference(both, stride_only, seeds)
    means = [statistics.mean(row.values()) for row in (base, stride_only, both)]
    of_pairs = (
        difference(stride_only, base, stride_only.keys() & base.keys()),
        difference(both, stride_only, both.keys() & stride_only.keys()),
    )
    diagnose(
        tuple(map(float, found)),
        (stride, batch),
        {
            "the two are exchanged: the pair is (stride, batch).": (batch, stride),
            "the signs are turned: an effect is the later row minus the earlier.": (-stride, -batch),
            "the second is the whole difference; the batch's part counts from `stride_only`.": (stride, stride + batch),
            "the batch size's part is turned round: `both` minus `stride_only`.": (stride, -batch),
            "means of whole rows were compared; only seeds that all three have.": tuple(np.diff(means)),
            "each part has seeds of its own, so they do not add up; take those that all three have.": of_pairs,
        },
        f"The parts are {found[0]:+.4f} and {found[1]:+.4f}, expected {stride:+.4f} and {batch:+.4f}.",
        "first stride_only - base, then both - stride_only, seed by seed.",
    )


@exercise("9.4", "One training, two scorings: what the seed did to both alike drops out.")
def my_study(answer: Callable[[Study], Study], study: Study) -> None:
    """Expects one row more that differs from the base only in its scoring; see `examine_row`."""
    found = call(answer, study)
    if isinstance(found, Study) and "mine" in found.rows:
        hint = "change nothing but eval_output_stride, eval_scales, eval_flip, eval_window or reestimate_bn."
        share = only_scoring(found.rows[found.base], found.rows["mine"])
        expect(share, "The row would need a training of its own.", hint)
    examine_row(found, study)
