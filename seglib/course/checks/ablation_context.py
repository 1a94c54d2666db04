"""Checks of notebook 10: taps without a gradient, units for a map."""

import numbers
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.models.build import build_model
from seglib.recipe import Recipe


@exercise("10.1", "What no map of training reaches gets a gradient of exactly zero, and keeps its first value.")
def dead_taps(answer: Callable[[nn.Module, Mapping[str, nn.Conv2d], Tensor], Mapping[str, int]]) -> None:
    """Takes a network with ASPP on crops of three sizes, with gradients left over from a larger one."""
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
            weights = count if isinstance(count, int) and count > 9 else 10  # more than there are taps
            usual = {
                "gradients of an earlier step are still there: zero_grad() first." if dead else "": 0,
                "these are single weights; a tap is dead if all its weights are.": weights,
                "these are the taps that learn.": 9 - dead,
            }
            where = f"Dead taps of {name} (rate {kernel.dilation[0]}) on crops of {height} x {width}"
            diagnose(where, count, dead, usual, "run, backward, and look for zeros in weight.grad.")


@exercise(
    "10.2", "The map bounds the rates, and the rates bound how far so many units see: a small map asks for depth."
)
def plan_units(answer: Callable[[int, float, int], Sequence[int]]) -> None:
    """Takes large and small maps, and reaches that the rates meet exactly or exceed."""

    def read(found: Sequence[int]) -> tuple[int, ...]:
        listed = isinstance(found, tuple | list) and all(isinstance(r, numbers.Integral) and r > 0 for r in found)
        expect(listed, f"Rates of units are expected, found {found!r}.", "a tuple of whole numbers of at least 1.")
        return tuple(sorted(map(int, found)))

    def plan(reach: int, largest: float, base: int = 3, beyond: int = 0) -> tuple[int, ...]:
        rates: list[int] = []
        while sum(rates) < reach + beyond:
            rates.append(int(min(base ** len(rates), largest)))
        return tuple(rates)

    def values(side: int, share: float, reach: int) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
        def largest(fits: Callable[[int], bool]) -> int:
            return max(rate for rate in range(1, side) if fits(rate))

        most = largest(lambda rate: (side - rate) / side >= share)
        right = plan(reach, most)
        return right, {
            "the share may be exactly `share`: at least, and not more than.": plan(
                reach, largest(lambda rate: (side - rate) / side > share)
            ),
            "the last rates are too large for the map: a side tap meets it at side - rate positions.": plan(reach, 99),
            "these rates are smaller than the map asks for: a side tap leaves it in one direction only.": plan(
                reach, largest(lambda rate: ((3 * side - 2 * rate) / (3 * side)) ** 2 >= share)
            ),
            "that is where two opposite side taps meet the map at once; each counts by itself.": plan(
                reach, largest(lambda rate: (side - 2 * rate) / side >= share)
            ),
            "rate / side is the share of positions at which a side tap *misses* the map.": plan(
                reach, largest(lambda rate: rate / side <= share)
            ),
            "equal rates leave gaps: with no rate of 1 the neighbour at 1 is never seen.": (most,) * -(-reach // most),
            "there is no gap, but fewer units do it: what is seen is side by side, so the next rate can be larger.": (
                (1,) * reach
            ),
            "there is no gap, but doubled rates see some places twice; a rate can be larger.": plan(
                reach, most, base=2
            ),
            "one unit too many: stop as soon as the rates add up to the reach.": plan(reach, most, beyond=1),
            "too few units: the reach is to *one* side, not the width of what is seen.": plan(reach // 2, most),
            "so many units can see farther: do not cut the last rate to fit.": tuple(
                sorted((*right[:-1], reach - sum(right[:-1])))
            ),
        }

    cases = [
        (33, 0.75, 14),
        (21, 0.75, 15),
        (9, 0.75, 15),
        (33, 0.64, 24),
        (21, 0.4, 13),
        (17, 0.5, 20),
        (20, 0.75, 14),
    ]
    hint = "the map sets the largest rate, what is seen so far the next one; stop when they add up to the reach."
    compare(answer, cases, values, hint, read)
