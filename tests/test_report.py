"""A study in words: the interval by hand and by SciPy, the seeds that it takes, and the verdict."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from seglib.studies.report import Effect, paired_effect, seeds_needed, verdict, welch_effect


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (5, 5), (3, 5)])
def test_intervals_are_students_and_welchs(n: int, m: int) -> None:
    rng = np.random.default_rng(n + m)
    ours, base = rng.normal(0.5, 0.01, n), rng.normal(0.48, 0.03, m)
    welch = welch_effect(dict(enumerate(ours)), dict(enumerate(base, start=7)))
    interval = ttest_ind(ours, base, equal_var=False).confidence_interval(0.95)
    assert (welch.low, welch.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (welch.n, welch.mean) == (n, pytest.approx(ours.mean() - base.mean()))
    assert welch.sd == pytest.approx(math.sqrt(ours.var(ddof=1) + base.var(ddof=1)))
    paired = paired_effect(dict(enumerate(ours)), dict(enumerate(base)))
    interval = ttest_rel(ours, base[:n]).confidence_interval(0.95)
    assert (paired.low, paired.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert (paired.n, paired.sd) == (n, pytest.approx(np.std(ours - base[:n], ddof=1)))
    same = welch_effect({0: 0.5, 1: 0.5}, {0: 0.4, 1: 0.4})
    assert (same.low, same.high) == pytest.approx((0.1, 0.1)), "without spread"


@pytest.mark.parametrize(("sds", "mean"), [((1.0,), 1.5), ((1.0, 1.0), 2.0), ((0.5, 2.0), 2.0)])
def test_so_many_seeds_find_four_of_five_effects(sds: tuple[float, ...], mean: float) -> None:
    n, studies = int(seeds_needed(Effect(3, 0.0, sds, 0.0, 0.0), mean)), 20_000
    rng = np.random.default_rng(0)

    def found(seeds: int) -> float:
        ours, base = (rng.normal(0, sd, (studies, seeds)) for sd in (*sds, 0.0)[:2])
        p = ttest_ind(ours + mean, base, axis=1, equal_var=False).pvalue if len(sds) > 1 else None
        p = ttest_rel(ours + mean, base, axis=1).pvalue if p is None else p
        return float(np.mean(p < 0.05))

    assert n > 2 and found(n) > 0.79 and found(n - 1) < 0.81
    assert seeds_needed(Effect(3, 0.0, sds, 0.0, 0.0), 1e-9) == math.inf
    assert math.isnan(seeds_needed(Effect(1, 0.0, (math.nan,), 0.0, 0.0), mean))


def test_only_seeds_that_both_rows_have_are_compared() -> None:
    effect = paired_effect({1: 0.5, 3: 0.7, 4: 0.9}, {0: 0.1, 4: 0.5, 3: 0.6})
    assert effect.n == 2 and effect.mean == pytest.approx(0.25)
    one, none = paired_effect({1: 0.5}, {1: 0.4}), paired_effect({1: 0.5}, {2: 0.4})
    assert one.n == 1 and one.mean == pytest.approx(0.1) and math.isnan(one.low) and math.isnan(one.sd)
    assert none.n == 0 and math.isnan(none.mean) and verdict(none, 0.03, runs=1) == "no base"


def test_verdict_follows_the_interval() -> None:
    for differences, published, expected in (
        ([0.01, 0.02, 0.015], 0.03, "confirmed"),
        ([-0.01, -0.02, -0.015], -0.03, "confirmed"),
        ([0.01, 0.02, 0.015], -0.03, "contradicted"),
        ([0.01, -0.02, 0.015], 0.03, "within noise"),
        ([0.01, 0.02, 0.015], math.nan, "higher"),
        ([-0.01, -0.02, -0.015], math.nan, "lower"),
        ([-0.01, -0.02, -0.015], 0.0, "lower (no difference in the paper)"),
        ([0.01, 0.02, 0.015], -0.0079, "higher (no difference in the paper)"),
        ([0.01, 0.02, 0.015], 0.7721 - 0.7641, "confirmed"),
        ([0.01, -0.02, 0.015], 0.001, "within noise"),
        ([0.01], 0.03, "too few seeds"),
        ([], 0.03, "not run"),
    ):
        effect = paired_effect(dict(enumerate(differences)), dict.fromkeys(range(9), 0.0))
        assert verdict(effect, published, runs=len(differences)) == expected
