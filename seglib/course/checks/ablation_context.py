"""Checks of notebook 10: rates without a gap, taps without a gradient, the interval for one run more."""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.models.build import build_model
from seglib.recipe import Recipe


@exercise("10.1", "Each unit repeats what the ones before it see, one full width to each side: it triples the view.")
def rates_without_a_gap(answer: Callable[[int], Sequence[int]]) -> None:
    """Takes one to four units."""

    def read(found: Sequence[int]) -> tuple[int, ...]:
        listed = isinstance(found, tuple | list) and all(isinstance(rate, int) and rate > 0 for rate in found)
        expect(listed, f"A tuple of rates is expected, found {found!r}.", "whole numbers of at least 1.")
        return tuple(sorted(found))

    def values(units: int) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
        powers = {base: tuple(base**unit for unit in range(units)) for base in (1, 2, 3, 4)}
        return powers[3], {
            "there is no gap, but doubled rates see some places twice; a rate can be larger.": powers[2],
            "equal rates see the same places again and again.": powers[1],
            "there is a gap: -1, 0 and 1, then 3, 4 and 5.": powers[4],
            "with no rate of 1 the neighbour at 1 is never seen.": tuple(3 * rate for rate in powers[3]),
            "with 1 and 3 all of -4 to 4 is seen: the next rate can be 9.": tuple(range(1, 2 * units, 2)),
        }

    hint = "after each unit, list what is seen; the next rate may be as large as that is wide."
    compare(answer, [(units,) for units in (3, 4, 2, 1)], values, hint, read)


@exercise("10.2", "What no map of training reaches gets a gradient of exactly zero, and keeps its first value.")
def dead_taps(answer: Callable[[nn.Module, Mapping[str, nn.Conv2d], Tensor], Mapping[str, int]]) -> None:
    """Takes a network with ASPP on crops of three sizes, with gradients left over from a larger one."""
    torch.manual_seed(0)
    network = build_model(Recipe.load("toy_mini").replace(weights="", width=4, channels=8), num_classes=3)
    kernels = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
    kernels = {name: m for name, m in kernels.items() if name.startswith(("backbone.layer4", "aspp"))}
    for height, width in ((41, 41), (25, 81), (33, 65)):
        network.zero_grad()
        network(torch.randn(2, 3, 97, 97)).square().mean().backward()  # of another step
        found = call(answer, network, kernels, torch.randn(2, 3, height, width))
        expect(isinstance(found, Mapping), f"A dict is expected, found {found!r}.", "name -> number of taps.")
        sides = [-(-side // 4) for side in (height, width)]  # of the maps
        for name, kernel in kernels.items():
            met = [1 + 2 * (kernel.dilation[0] < side) for side in sides]
            dead, count = 9 - met[0] * met[1], found.get(name)
            usual = {
                "gradients of an earlier step are still there: zero_grad() first." if dead else "": 0,
                "these are single weights; a tap is dead if all its weights are.": max(count or 0, 10),
                "these are the taps that learn.": 9 - dead,
            }
            where = f"Dead taps of {name} (rate {kernel.dilation[0]}) on crops of {height} x {width}"
            diagnose(where, count, dead, usual, "run, backward, and look for zeros in weight.grad.")


@exercise("10.3", "One run more scatters by itself, and the mean that it is held against is uncertain too: 1 + 1 / n.")
def one_run_more(answer: Callable[[Sequence[float]], tuple[float, float]]) -> None:
    """Takes three to eight stored scores."""
    from scipy.special import stdtrit

    def values(scores: Sequence[float]) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
        n, mean, sd = len(scores), float(np.mean(scores)), float(np.std(scores, ddof=1))
        t = float(stdtrit(n - 1, 0.975))

        def around(half: float) -> tuple[float, float]:
            return mean - half, mean + half

        return around(t * sd * sqrt(1 + 1 / n)), {
            "that is the interval of the *mean*; one run scatters around it.": around(t * sd / sqrt(n)),
            "the stored mean is uncertain too: 1 + 1 / n under the root.": around(t * sd),
            "1.96 is for many runs; Student's t is larger.": around(1.959964 * sd * sqrt(1 + 1 / n)),
            "n - 1 under the sd: np.std(..., ddof=1).": around(t * sd * sqrt((n - 1) / n) * sqrt(1 + 1 / n)),
            "n runs have n - 1 degrees of freedom.": around(float(stdtrit(n, 0.975)) * sd * sqrt(1 + 1 / n)),
            "95 % inside leaves 2.5 % on each side.": around(float(stdtrit(n - 1, 0.95)) * sd * sqrt(1 + 1 / n)),
        }

    cases = [
        ([44.0, 46.5, 45.1],),
        ([39.0, 41.0, 38.5, 40.2, 37.9],),
        ([50.0, 50.4, 51.0, 49.9, 50.2, 50.8, 50.1, 50.6],),
    ]
    compare(answer, cases, values, "mean -/+ t * sd * sqrt(1 + 1 / n).", lambda found: tuple(map(float, found)))
