"""What a comparison over seeds shows: the interval against SciPy's own test, and the verdict."""

import math

import numpy as np
import pytest
from scipy import stats

from seglib.studies.report import mean_and_sd, paired_effect, verdict


def test_interval_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 12):
        ours, base = rng.normal(0.5, 0.02, n), rng.normal(0.48, 0.02, n)
        effect = paired_effect(dict(enumerate(ours)), dict(enumerate(base)))
        interval = stats.ttest_rel(ours, base).confidence_interval(0.95)
        assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
        assert effect.mean == pytest.approx(np.mean(ours - base))
        assert effect.sd == pytest.approx(np.std(ours - base, ddof=1))


def test_only_seeds_that_both_rows_have_are_compared() -> None:
    effect = paired_effect({1: 0.5, 3: 0.7, 4: 0.9}, {0: 0.1, 4: 0.5, 3: 0.6})
    assert effect.n == 2 and effect.mean == pytest.approx(0.25)
    one = paired_effect({1: 0.5}, {1: 0.4})
    assert one.n == 1 and one.mean == pytest.approx(0.1) and math.isnan(one.low) and math.isnan(one.sd)
    none = paired_effect({1: 0.5}, {2: 0.4})
    assert none.n == 0 and math.isnan(none.mean)


@pytest.mark.parametrize(
    ("differences", "published", "expected"),
    [
        ([0.01, 0.02, 0.015], 0.03, "confirmed"),
        ([-0.01, -0.02, -0.015], -0.03, "confirmed"),
        ([0.01, 0.02, 0.015], -0.03, "contradicted"),
        ([0.01, -0.02, 0.015], 0.03, "within noise"),
        ([0.01, 0.02, 0.015], math.nan, "higher"),
        ([-0.01, -0.02, -0.015], math.nan, "lower"),
        ([-0.01, -0.02, -0.015], 0.0, "lower"),
        ([0.01], 0.03, "too few seeds"),
        ([], 0.03, "not run"),
    ],
)
def test_verdict_follows_the_interval(differences: list[float], published: float, expected: str) -> None:
    effect = paired_effect(dict(enumerate(differences)), dict.fromkeys(range(9), 0.0))
    assert verdict(effect, published, runs=len(differences)) == expected


def test_a_row_without_a_base_is_not_called_not_run() -> None:
    assert verdict(paired_effect({1: 0.5, 2: 0.6}, {}), 0.03, runs=2) == "no base"


def test_mean_and_sd_of_few() -> None:
    assert mean_and_sd([0.2, 0.4]) == pytest.approx((0.3, np.std([0.2, 0.4], ddof=1)))
    assert mean_and_sd([0.2])[0] == 0.2 and math.isnan(mean_and_sd([0.2])[1])
    assert all(map(math.isnan, mean_and_sd([])))
