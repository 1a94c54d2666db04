"""What a comparison over seeds shows: mean, spread, the paired difference with its interval, and the verdict on it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NAN = float("nan")


@dataclass(frozen=True)
class Effect:
    """The difference of a row to the base row, seed by seed.

    Attributes:
        n: seeds that both have. mean, sd: of the differences, nan for fewer than one or two of them.
        low, high: the confidence interval of the mean by Student's t, nan for fewer than two.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the sample's standard deviation (n - 1); nan where there are too few values."""
    mean = float(np.mean(values)) if len(values) else NAN
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else NAN


def paired_effect(values: Mapping[int, float], base: Mapping[int, float], confidence: float = 0.95) -> Effect:
    """The difference of two rows over the seeds that both have. `values`, `base`: seed -> score."""
    differences = [values[seed] - base[seed] for seed in sorted(values) if seed in base]
    mean, sd = mean_and_sd(differences)
    n = len(differences)
    if n < 2:
        return Effect(n, mean, sd, NAN, NAN)
    from scipy.special import stdtrit  # Student's t, its quantile

    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return Effect(n, mean, sd, mean - half, mean + half)


def verdict(effect: Effect, published: float = NAN, runs: int = 0) -> str:
    """What the interval says: by its place beside zero, and not by eye.

    Args:
        published: the paper's difference between the same rows, nan where there is none.
        runs: of the row itself, whether or not the base row has their seeds.

    Returns:
        "not run"; "no base" (it was, but with no seed that the base row has); "too few seeds" (no interval); "within
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
