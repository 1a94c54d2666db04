"""A study in words: the interval by hand and by SciPy, the verdict, and the sentence about costs."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit
from small_set import SMALL

from seglib.studies.report import describe_cost, paired_effect, verdict


def test_interval_is_students() -> None:
    rng = np.random.default_rng(0)
    # the quantile of Student's t at 97.5 %, from a printed table
    for n, quantile in ((2, 12.7062047362), (3, 4.3026527297), (5, 2.7764451052), (12, 2.2009851601)):
        ours, base = rng.normal(0.5, 0.02, n), rng.normal(0.48, 0.02, n)
        effect = paired_effect(dict(enumerate(ours)), dict(enumerate(base)))
        mean, sd = np.mean(ours - base), np.std(ours - base, ddof=1)
        exact = stdtrit(n - 1, 0.975)
        assert exact == pytest.approx(quantile, abs=1e-9)
        assert (effect.n, effect.mean, effect.sd) == (n, pytest.approx(mean), pytest.approx(sd))
        half = exact * sd / math.sqrt(n)
        assert (effect.low, effect.high) == pytest.approx((mean - half, mean + half), rel=0, abs=1e-12)


def test_only_seeds_that_both_rows_have_are_compared() -> None:
    effect = paired_effect({1: 0.5, 3: 0.7, 4: 0.9}, {0: 0.1, 4: 0.5, 3: 0.6})
    assert effect.n == 2 and effect.mean == pytest.approx(0.25)
    one, none = paired_effect({1: 0.5}, {1: 0.4}), paired_effect({1: 0.5}, {2: 0.4})
    assert one.n == 1 and one.mean == pytest.approx(0.1) and math.isnan(one.low) and math.isnan(one.sd)
    assert none.n == 0 and math.isnan(none.mean) and verdict(none, 0.03, runs=1) == "no base"


@pytest.mark.parametrize(
    ("differences", "published", "expected"),
    [
        ([0.01, 0.02, 0.015], 0.03, "confirmed"),
        ([-0.01, -0.02, -0.015], -0.03, "confirmed"),
        ([0.01, 0.02, 0.015], -0.03, "contradicted"),
        ([0.01, -0.02, 0.015], 0.03, "within noise"),
        ([0.01, 0.02, 0.015], math.nan, "higher"),
        ([-0.01, -0.02, -0.015], 0.0, "lower"),
        ([0.01], 0.03, "too few seeds"),
        ([], 0.03, "not run"),
    ],
)
def test_verdict_follows_the_interval(differences: list[float], published: float, expected: str) -> None:
    effect = paired_effect(dict(enumerate(differences)), dict.fromkeys(range(9), 0.0))
    assert verdict(effect, published, runs=len(differences)) == expected


@pytest.mark.parametrize(
    ("batch_size", "seconds", "said"),
    [
        (1, 40, "1 million Mult-Adds of training each, about 40 s each"),
        (52, 5999, "52 million Mult-Adds of training each, about 100 min each"),
        (30_000_000_000, 90_000, "30,000 trillion Mult-Adds of training each, about 25.0 h each"),
        (999_900, 100, "1,000 billion Mult-Adds of training each, about 2 min each"),
    ],
)
def test_costs_are_readable(batch_size: int, seconds: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seglib.studies.report.mult_adds", lambda *_, **__: 1_000_000)
    recipe = SMALL.replace(batch_size=batch_size, iterations=1)
    stored = {"recipe": recipe.replace(seed=3).changes(), "train_seconds": seconds, "device": "CPU"}
    counts = {"runs": 5, "left": 2}
    told = describe_cost("4", recipe, **counts, trained=0, results=[stored])
    assert told == f"4: 2 of 5 runs are left, {said} (as measured on CPU)"
    assert "each, but 1 only to be scored, about" in describe_cost("4", recipe, **counts, trained=1, results=[stored])
    assert "; no stored run tells" in describe_cost("4", recipe, **counts, trained=0, results=[])
    other = [stored | {"recipe": recipe.replace(iterations=2).changes(), "train_seconds": s} for s in (100, 80, 600)]
    scaled = describe_cost("4", recipe, **counts, trained=0, results=other)
    assert scaled.endswith("about 50 s each (estimated from another row's on CPU)"), "half of the median"
