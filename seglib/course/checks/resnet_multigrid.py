"""Checks of notebook 03: rates of block 4, the reach of a chain of rates, strides turned into rates, pre-activation."""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise
from seglib.models.layers import atrous_plan

Plan = Sequence[tuple[int, int]]  # stride and rate of each unit


@exercise("3.1", "Base rate times multi-grid, and the base rate is what block 4 lost in stride.")
def block4_rates(answer: Callable[[int, tuple[int, ...]], Sequence[int]]) -> None:
    """Takes every output stride with every multi-grid."""

    def values(stride: int, factors: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, Any]]:
        base = 32 // stride
        return tuple(base * factor for factor in factors), {
            "the factors are multiplied by the block's base rate, not used as rates.": factors,
            "the base rate is multiplied by the factors, not added.": np.add(base, factors),
            "the output stride is not the base rate: where it is small, more is removed.": np.multiply(stride, factors),
            "the base rate is 2 only at 16: how many strides of 2 are removed at 8 and 32?": np.multiply(2, factors),
        }

    multi_grids = ((1, 2, 4), (1, 2, 3), (1, 2, 1), (1, 1, 1), (2, 2, 2))
    hint = "the base rate is the product of the strides that were removed; how many are there at 32, 16 and 8?"
    compare(answer, product((32, 16, 8), multi_grids), values, hint, read=tuple)


@exercise("3.2", "The taps add up: every sum of one tap per convolution is seen, and nothing else.")
def reached_offsets(answer: Callable[[Sequence[int]], set[int]]) -> None:
    """Takes chains with and without holes."""

    def offsets(rates: Sequence[int], taps: Sequence[int] = (-1, 0, 1)) -> set[int]:
        return {sum(places) for places in product(*([rate * tap for tap in taps] for rate in rates))}

    def values(rates: Sequence[int]) -> tuple[set[int], dict[str, set[int]]]:
        return offsets(rates), {
            "that is the whole window; no sum of taps hits some of its pixels.": {*range(-sum(rates), sum(rates) + 1)},
            "those are the single convolutions' taps; in a chain they add up.": {
                s * r for r in rates for s in (-1, 0, 1)
            },
            "a kernel reaches to both sides; its taps are -rate, 0 and rate.": offsets(rates, (0, 1)),
            "the middle tap has offset 0.": offsets(rates, (-1, 1)),
        }

    chains = [(1,), (2,), (1, 2), (2, 2, 2), (2, 4, 8), (1, 5), (3, 3, 9)]
    hint = "add to every offset reached so far each of the next convolution's taps."
    compare(answer, [(rates,) for rates in chains], values, hint, read=set)


@exercise("3.3", "Your dilated chain gives, on the strided chain's pixels, the strided chain's numbers.")
def strides_to_rates(answer: Callable[[Sequence[int], int], Plan]) -> None:
    """Compares chains of random kernels; only if these differ, the plan with that of seglib's networks."""
    for units in ((1, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 1, 2), (1, 2, 1, 2, 1, 2, 1, 1)):
        for output_stride in (stride for stride in (32, 16, 8) if stride <= 4 * prod(units)):
            found = [(int(stride), int(rate)) for stride, rate in call(answer, units, output_stride)]
            if _same_numbers(units, found, output_stride):
                continue
            plans = [atrous_plan(units, output_stride, 4, dilate_first_unit=first) for first in (False, True)]
            right, early = ([(step.stride, step.rate) for step in plan] for plan in plans)
            usual = {
                "a unit keeps its stride only until the output stride is reached.": [(stride, 1) for stride in units],
                "a unit after a removed stride must look farther.": [(stride, 1) for stride, _ in right],
                "the unit that loses its stride reads the same map as before; only those after it are dilated.": early,
                "every removed stride multiplies the rate.": [(stride, min(rate, 2)) for stride, rate in right],
            }
            diagnose(f"strides_to_rates({units}, {output_stride})", found, right, usual, "walk along the units.")


def _same_numbers(units: Sequence[int], plan: Plan, output_stride: int) -> bool:
    """Runs a strided chain of 1-d convolutions and the plan's; compares them on the strided chain's pixels."""
    if len(plan) != len(units) or 4 * prod(stride for stride, _ in plan) != output_stride:
        return False
    generator = torch.Generator().manual_seed(0)
    strided = dilated = torch.randn(1, 1, 128, generator=generator, dtype=torch.float64)
    for own, (stride, rate) in zip(units, plan, strict=True):
        kernel = torch.randn(1, 1, 3, generator=generator, dtype=torch.float64)
        strided = torch.tanh(F.conv1d(strided, kernel, stride=own, padding=1))
        dilated = torch.tanh(F.conv1d(dilated, kernel, stride=stride, padding=rate, dilation=rate))
    return torch.allclose(dilated[..., :: 4 * prod(units) // output_stride], strided)


@exercise("3.4", "Norm, ReLU, convolution, three times, and the input added untouched.")
@torch.no_grad()
def pre_activation(answer: Callable[[Tensor, Sequence[nn.Module], Sequence[nn.Module]], Tensor]) -> None:
    """Takes a bottleneck unit with an identity shortcut, whose norms have random parameters."""
    sizes = ((8, 4, 1), (4, 4, 3), (4, 8, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        norms = [nn.BatchNorm2d(channels).double().eval() for channels, _, _ in sizes]
        convs = [nn.Conv2d(*size, padding="same", bias=False).double() for size in sizes]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.5)
        x = torch.randn(2, 8, 6, 5, dtype=torch.float64)

    def residual(y: Tensor, relu: Callable[[Tensor], Tensor] = F.relu) -> Tensor:
        for norm, conv in zip(norms, convs, strict=True):
            y = conv(relu(norm(y)))
        return y

    usual = {
        "it is F(x) only. The shortcut adds x.": residual(x),
        "there is no ReLU after the sum: the shortcut stays untouched.": F.relu(x + residual(x)),
        "the shortcut starts at x itself, before the first norm and ReLU.": F.relu(norms[0](x)) + residual(x),
        "a ReLU belongs between each norm and its convolution.": x + residual(x, relu=nn.Identity()),
    }
    found = call(answer, x.clone(), norms, convs)
    diagnose("The result", found, x + residual(x), usual, "in each of the three steps: norm, ReLU, convolution.")
