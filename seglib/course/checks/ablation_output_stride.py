"""Checks of notebook 09: rank correlation, cost by stride, a confounded comparison undone, and a row of one's own."""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

from seglib.course.checks.ablation_batch_size import examine_row, only_scoring
from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.studies.study import Study


@exercise("9.1", "Only the order counts, and equal values share their rank.")
def rank_correlation(answer: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """Takes values with outliers, out of order and with ties."""
    from scipy.stats import rankdata

    def values(x: np.ndarray, y: np.ndarray) -> tuple[float, dict[str, float]]:
        def correlate(rank: Callable[[np.ndarray], np.ndarray]) -> float:
            return float(np.corrcoef(rank(x), rank(y))[0, 1])

        right, squares, n = correlate(rankdata), ((rankdata(x) - rankdata(y)) ** 2).sum(), len(x)
        return right, {
            "that is the correlation of the values; take that of their ranks.": correlate(np.asarray),
            "`argsort` gives the sorted values' places; the ranks are `argsort` of that.": correlate(np.argsort),
            "equal values share the mean of their ranks.": correlate(lambda v: v.argsort(kind="stable").argsort()),
            "the formula with squared differences holds only without equal values.": 1 - 6 * squares / (n**3 - n),
            "the sign is turned: do both ranks count upwards?": -right,
        }

    xs = [3, 1, 40, 2, 15, 9], [30, 10, 20, 50, 40], [1, 2, 2, 2, 5, 3]
    ys = [0.2, 0.1, 0.9, 0.5, 0.3, 0.4], [5, 1, 4, 2, 3], [4, 1, 3, 3, 6, 2]
    cases = [(np.array(x, float), np.array(y, float)) for x, y in zip(xs, ys, strict=True)]
    compare(answer, cases, values, "the rank is the number of smaller values plus half that of equal ones.", read=float)


@exercise("9.2", "A removed stride quadruples every layer after it, and none before.")
def cost_at(answer: Callable[[Mapping[int, float], int], float]) -> None:
    """Takes two bills at every output stride."""

    def values(costs: Mapping[int, float], output_stride: int) -> tuple[float, dict[str, float]]:
        ratio = {stride: stride / output_stride for stride in costs}
        last, total = max(costs), sum(costs.values())

        def bill(factor: Callable[[int], float]) -> float:
            return sum(cost * factor(stride) for stride, cost in costs.items())

        right = bill(lambda stride: max(ratio[stride], 1) ** 2)
        return right, {
            "half the stride is twice the width *and* twice the height.": bill(lambda stride: max(ratio[stride], 1)),
            "layers whose stride is below the output stride keep their map.": bill(lambda stride: ratio[stride] ** 2),
            "every layer was scaled, the early ones too.": total * ratio[last] ** 2,
            "all layers above the output stride pay.": total + costs[last] * (max(ratio[last], 1) ** 2 - 1),
            "a finer map costs more, not less.": bill(lambda stride: max(ratio[stride], 1) ** -2),
            "that is the sum at the largest output stride.": total,
        }

    bills = ({4: 10.0, 8: 8.0, 16: 12.0, 32: 5.0}, {4: 3.0, 8: 2.0, 32: 6.0, 64: 1.0, 256: 0.5})
    hint = "cost times (stride over the smaller of stride and output stride), squared."
    compare(answer, product(bills, (8, 16, 32, 4)), values, hint, read=float)


@exercise("9.3", "Two steps, each with one change; together they are the difference that was published.")
def undone(answer: Callable[..., tuple[float, float]]) -> None:
    """Takes rows with other seeds, and with more and fewer."""
    base = {0: 0.50, 1: 0.58, 2: 0.61, 3: 0.55, 9: 0.46}
    both = {3: 0.50, 2: 0.57, 0: 0.47, 1: 0.53, 8: 0.56, 7: 0.58}
    stride_only = {1: 0.60, 0: 0.53, 2: 0.62, 8: 0.70, 9: 0.48}
    found = call(answer, dict(base), dict(both), dict(stride_only))
    expect(isinstance(found, tuple) and len(found) == 2, "The function should return the pair (stride, batch).")

    def difference(later: Mapping[int, float], earlier: Mapping[int, float], *others: Mapping[int, float]) -> float:
        seeds = set(later).intersection(earlier, *others)
        return float(np.mean([later[seed] - earlier[seed] for seed in seeds]))

    stride, batch = map(float, np.diff([np.mean([*row.values()]) for row in (base, stride_only, both)]))
    usual = {
        "the two are exchanged: the pair is (stride, batch).": (batch, stride),
        "the signs are turned: an effect is the later row minus the earlier.": (-stride, -batch),
        "the second is the whole difference; the batch's part counts from `stride_only`.": (stride, stride + batch),
        "the batch size's part is turned round: `both` minus `stride_only`.": (stride, -batch),
        "runs were left out: of trainings of their own every run counts, also without a partner of the same seed.": (
            difference(stride_only, base, both), difference(both, stride_only, base)
        ),
        "trainings of their own are not paired by seed: take the mean of each row.": (
            difference(stride_only, base), difference(both, stride_only)
        ),
    }  # fmt: skip
    hint = "first stride_only - base, then both - stride_only, of the rows' means."
    diagnose("The pair (stride, batch)", tuple(map(float, found)), (stride, batch), usual, hint)


@exercise("9.4", "One training, two scorings: what the seed did to both alike drops out.")
def my_study(answer: Callable[[Study], Study], study: Study) -> None:
    """Expects one row more that differs from the base only in its scoring; see `examine_row`."""
    found = call(answer, study)
    if isinstance(found, Study) and "mine" in found.rows:
        hint = "change nothing but eval_output_stride, eval_scales, eval_flip, eval_window or reestimate_bn."
        share = only_scoring(found.rows[found.base], found.rows["mine"])
        expect(share, "The row would need a training of its own.", hint)
    examine_row(found, study)
