"""A study in words: effects and verdicts, and its table for reading.

The rules of judgement. Two rows are paired seed by seed only if they score the same weights: equal seeds do not make
two trainings alike. Otherwise the interval is Welch's. The 95 % interval of the difference is all that decides. Where
the paper's own difference is below `NOTABLE`, there is nothing to confirm.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

NAN = float("nan")
NOTABLE = 0.008  # mIoU: smaller published differences are none
LEVEL, POWER = 0.95, 0.8  # of an interval; of the study that `seeds_needed` plans
MOST_SEEDS = 10_000
VERDICTS = (
    "confirmed", "contradicted", "within noise", "higher", "lower", "higher (no difference in the paper)",
    "lower (no difference in the paper)", "too few seeds", "no base", "not comparable", "cannot show", "not run",
)  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """The difference of a row to the base row."""

    n: int  # pairs of seeds, or runs of the row that has fewer
    mean: float  # nan where there is no run to compare
    sds: tuple[float, ...]  # sd of the pairs' differences, or of the runs of each row; nan for fewer than two
    low: float  # lower end of the 95 % confidence interval by Student's t, nan for fewer than two
    high: float  # its upper end

    @property
    def sd(self) -> float:
        """Standard deviation of the difference of two runs."""
        return math.hypot(*self.sds)


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean and the sample's standard deviation (n - 1); nan where there are too few values."""
    mean = float(np.mean(values)) if len(values) else NAN
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else NAN


def paired_effect(values: Mapping[int, float], base: Mapping[int, float]) -> Effect:
    """Compares two rows of the same weights, each seed -> score, over the seeds that both have."""
    return _effect([values[seed] - base[seed] for seed in sorted(values) if seed in base])


def welch_effect(values: Mapping[int, float], base: Mapping[int, float]) -> Effect:
    """Compares two rows of trainings of their own, each seed -> score, by Welch's interval: sds may differ."""
    return _effect(list(values.values()), list(base.values()))


def _effect(first: Sequence[float], *second: Sequence[float]) -> Effect:
    """Compares the mean of a sample with that of a second one, or with zero."""
    samples = (first, *second)
    n, (means, sds) = min(map(len, samples)), zip(*map(mean_and_sd, samples), strict=True)
    mean = float(means[0] - sum(means[1:]))
    if n < 2:
        return Effect(n, mean, sds, NAN, NAN)
    from scipy.special import stdtrit  # here, because it takes time to import

    # With one sample Welch's and Satterthwaite's degrees of freedom are Student's n - 1.
    squares = [sd**2 / len(sample) for sd, sample in zip(sds, samples, strict=True)]
    rest = sum(square**2 / (len(sample) - 1) for square, sample in zip(squares, samples, strict=True))
    half = float(stdtrit(sum(squares) ** 2 / rest, (1 + LEVEL) / 2)) * math.sqrt(sum(squares)) if rest else 0.0
    return Effect(n, mean, sds, mean - half, mean + half)


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval for one run more of a row; nan for fewer than two runs.

    Another processor, and another number of threads, differ from the stored runs by as much as another seed does.
    """
    from scipy.special import stdtrit

    n, (mean, sd) = len(values), mean_and_sd(values)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * sd * math.sqrt(1 + 1 / n) if n > 1 else NAN
    return mean - half, mean + half


def seeds_needed(effect: Effect, difference: float) -> float:
    """Returns how many seeds of each row would tell a true difference from zero in four of five studies.

    Args:
        effect: its standard deviations and its design, of pairs or of two rows, are those of the study to come.
        difference: the true one, such as the paper's.

    Returns:
        The smallest number of at least 2; inf above 10,000, nan where a standard deviation or the difference is not
        known.
    """
    if math.isnan(effect.sd + difference):
        return NAN
    if not difference or not effect.sd:
        return 2.0 if difference else math.inf
    from scipy.special import stdtrit
    from scipy.stats import nct

    per_seed = effect.sd**4 / sum(sd**4 for sd in effect.sds)  # 1 for pairs, up to 2 for two rows

    def power(n: int) -> float:
        freedom, shift = per_seed * (n - 1), abs(difference) * math.sqrt(n) / effect.sd
        return float(nct.sf(stdtrit(freedom, (1 + LEVEL) / 2), freedom, shift))

    n = 2 + bisect_left(range(2, MOST_SEEDS + 1), POWER, key=power)
    return float(n) if n <= MOST_SEEDS else math.inf


def verdict(effect: Effect, published: float = NAN, runs: int = 0) -> str:
    """Says by the interval, and not by eye, what an effect shows.

    Args:
        effect: of the row, over the base row.
        published: the paper's difference between the same rows, nan where there is none.
        runs: number of results of the row itself, with seeds that the base row has or does not have.

    Returns:
        "not run"; "no base" (nothing of the base row to compare with); "too few seeds" (no interval); "within noise"
        (it holds zero); "confirmed" or "contradicted" (it lies on the published difference's side of zero, or on the
        other); "higher" or "lower" where nothing was published, with "(no difference in the paper)" where that is less
        than `NOTABLE`.
    """
    if math.isnan(effect.low):
        return "too few seeds" if effect.n else "no base" if runs else "not run"
    if effect.low <= 0 <= effect.high:
        return "within noise"
    if not round(abs(published), 6) >= NOTABLE:  # 77.21 - 76.41 is 0.8 but for rounding; nan is not, either
        word = "higher" if effect.mean > 0 else "lower"
        return word if math.isnan(published) else f"{word} (no difference in the paper)"
    return "confirmed" if (effect.mean > 0) == (published > 0) else "contradicted"


def format_table(table: pd.DataFrame, source: str = "") -> pd.DataFrame:
    """Writes `Study.table` in points of mIoU; `source` heads the column of published values, "" leaves it out."""
    lines = []
    for line in table.to_dict("records"):
        n, ours, difference = line["n"], _points(line["mean"]), _points(line["difference"], "+")
        if not math.isnan(line["low"]):
            difference += f" [{_points(line['low'], '+')}, {_points(line['high'], '+')}]"
        needed = f"{line['seeds needed']:.0f}".replace("inf", f"> {MOST_SEEDS}").replace("nan", "")
        lines.append({
            source: _points(line["paper"]),
            "ours": f"{ours} ± {_points(line['sd'])} ({n})" if n > 1 else f"{ours} (1)" if n else "not run",
            "paper's difference": _points(line["paper difference"], "+"),
            "our difference [95 %]": difference,
            "seeds needed": needed,
            **{name: line[name] for name in ("effect", "scale", "remarks")},
        })  # fmt: skip
    written = pd.DataFrame(lines, index=table.index)
    return written if source else written.drop(columns=[source, "paper's difference", "seeds needed"])


def _points(value: float, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{100 * value:{sign}.1f}"
