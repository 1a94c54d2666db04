"""Checks of notebook 03: rates of block 4, the reach of a chain of rates, strides turned into rates, pre-activation."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect, expect_tensor

MULTI_GRIDS = ((1, 2, 4), (1, 2, 3), (1, 2, 1), (1, 1, 1), (2, 2, 2))


@exercise("3.1", "Base rate times multi-grid, and the base rate is what block 4 lost in stride.")
def block4_rates(answer: Callable[[int, tuple[int, ...]], Sequence[int]]) -> None:
    """block4_rates(output_stride, multi_grid) -> the rate of each unit of block 4."""
    compare(
        answer,
        list(product((32, 16, 8), MULTI_GRIDS)),
        right=_rates,
        usual=lambda stride, factors: {
            "the factors are multiplied by the block's base rate, not used as rates.": factors,
            "the base rate is multiplied by the factors, not added.": np.add(_rates(stride, (1,)), factors),
            "the output stride is not the base rate: where it is small, more is removed.": np.multiply(stride, factors),
            "the base rate is 2 only at 16: how many strides of 2 are removed at 8 and 32?": np.multiply(2, factors),
        },
        hint="the base rate is the product of the strides that were removed; how many are there at 32, 16 and 8?",
        read=tuple,
    )


def _rates(output_stride: int, multi_grid: tuple[int, ...]) -> tuple[int, ...]:
    """Counts: blocks 2 to 4 halve the map until the output stride is reached, the others double the rate."""
    stride, base = 4, 1
    for _ in range(3):
        stride, base = (stride * 2, base) if stride < output_stride else (stride, base * 2)
    return tuple(base * factor for factor in multi_grid)


@exercise("3.2", "The taps add up: every sum of one tap per convolution is seen, and nothing else.")
def reached_offsets(answer: Callable[[Sequence[int]], set[int]]) -> None:
    """reached_offsets(rates) -> offsets along one axis that a chain of 3x3 convolutions of these rates sees."""

    def read(found: Any) -> set[int]:
        hint = "the middle tap has offset 0, so that the centre is always seen."
        expect(0 in set(found), f"Offset 0 is missing in {sorted(found)}.", hint)
        return set(found)

    compare(
        answer,
        [((1,),), ((2,),), ((1, 2),), ((2, 2, 2),), ((2, 4, 8),), ((1, 5),), ((3, 3, 9),)],
        right=_offsets,
        usual=lambda rates: {
            "that is the whole window. Some of its pixels may be hit by no sum of taps.": {
                *range(-sum(rates), sum(rates) + 1)
            },
            "those are the single convolutions' taps; in a chain they add up.": {
                s * r for r in rates for s in (-1, 0, 1)
            },
            "a kernel reaches to both sides; its taps are -rate, 0 and rate.": _offsets(rates, one_sided=True),
        },
        hint="add to every offset reached so far each of the next convolution's taps.",
        read=read,
    )


def _offsets(rates: Sequence[int], one_sided: bool = False) -> set[int]:
    """Convolves the kernels with one another and lists the places that are not zero; `one_sided` is a mistake."""
    kernel = np.ones(1, np.int64)
    for rate in rates:
        taps = np.zeros(2 * rate + 1, np.int64)
        taps[rate if one_sided else 0 :: rate] = 1
        kernel = np.convolve(kernel, taps)
    return {int(i) - len(kernel) // 2 for i in np.flatnonzero(kernel)}


@exercise("3.3", "Your dilated chain gives, on the strided chain's pixels, the strided chain's numbers.")
def strides_to_rates(answer: Callable[[Sequence[int], int], Sequence[tuple[int, int]]]) -> None:
    """strides_to_rates(unit_strides, output_stride) -> (stride, rate) per unit; proved on chains of random kernels."""
    chains = ((1, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 1, 2), (1, 2, 1, 2, 1, 2, 1, 1))
    for unit_strides, output_stride in product(chains, (32, 16, 8)):
        nominal = 4 * int(np.prod(unit_strides))  # the stem has stride 4
        if output_stride > nominal:
            continue
        plan = [(int(stride), int(rate)) for stride, rate in call(answer, unit_strides, output_stride)]
        wrong = f"strides_to_rates({unit_strides}, {output_stride}) is {plan}."
        expect(len(plan) == len(unit_strides), wrong, "one pair (stride, rate) per unit is expected.")
        reached = 4 * int(np.prod([stride for stride, _ in plan]))
        hint = "a unit keeps its stride as long as the output stride is not exceeded, and runs with 1 otherwise."
        expect(reached == output_stride, f"{wrong} With these strides the output stride is {reached}.", hint)
        gap = _gap(unit_strides, plan, step=nominal // output_stride)
        if gap < 1e-9:
            continue
        removed = [own > stride for own, (stride, _) in zip(unit_strides, plan, strict=True)]
        first, highest = removed.index(True), max(rate for _, rate in plan)
        hint = "a unit after a removed stride must look that many times farther."
        expect(highest > 1, f"{wrong} No rate is above 1.", hint)
        hint = "its input is the same map as before; only the units after it have a finer map than they were made for."
        unit = f"{wrong} Unit {first} has lost its own stride, and its rate is {plan[first][1]}."
        expect(plan[first][1] == 1, unit, hint)
        hint = "every removed stride multiplies the rate reached so far."
        several = f"{wrong} {sum(removed)} strides are removed, and no rate is above 2."
        expect(sum(removed) < 2 or highest > 2, several, hint)
        expect(False, f"{wrong} On the common pixels the two chains differ by {gap:.0%}.", "walk along the units.")


def _gap(unit_strides: Sequence[int], plan: Sequence[tuple[int, int]], step: int) -> float:
    """Relative difference between a strided chain of 1-d convolutions and the plan's, on the strided chain's pixels."""
    generator = torch.Generator().manual_seed(0)
    strided = dilated = torch.randn(1, 1, 128, generator=generator, dtype=torch.float64)
    for own, (stride, rate) in zip(unit_strides, plan, strict=True):
        kernel = torch.randn(1, 1, 3, generator=generator, dtype=torch.float64)
        strided = torch.tanh(F.conv1d(strided, kernel, stride=own, padding=1))
        dilated = torch.tanh(F.conv1d(dilated, kernel, stride=stride, padding=rate, dilation=rate))
    return float((dilated[..., ::step] - strided).norm() / strided.norm())


@exercise("3.4", "Norm, ReLU, convolution, three times, and the input added untouched.")
@torch.no_grad()
def pre_activation(answer: Callable[[Tensor, Sequence[nn.Module], Sequence[nn.Module]], Tensor]) -> None:
    """pre_activation(x, norms, convs) -> output of a full pre-activation bottleneck unit with identity shortcut."""
    sizes = ((8, 4, 1), (4, 4, 3), (4, 8, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        norms = [nn.BatchNorm2d(i).double().eval() for i, _, _ in sizes]
        convs = [nn.Conv2d(i, o, k, padding=k // 2, bias=False).double() for i, o, k in sizes]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.5)
        x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    found = call(answer, x.clone(), norms, convs)
    expect_tensor(found, x.shape, hint="the residual has the input's shape, and the two are added.")
    branch = linear = x
    for norm, conv, (_, _, size) in zip(norms, convs, sizes, strict=True):
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        normalised = branch * scale[:, None, None] + shift[:, None, None]
        branch = F.conv2d(normalised.clamp(min=0), conv.weight, padding=size // 2)
        linear = conv(norm(linear))
    usual = {
        "it is F(x) only. The shortcut adds x.": branch,
        "there is no ReLU after the sum: the shortcut stays untouched.": F.relu(x + branch),
        "the shortcut starts at x itself, before the first norm and ReLU.": F.relu(norms[0](x)) + branch,
        "a ReLU belongs between each norm and its convolution.": x + linear,
    }
    hint = "in each of the three steps the order is norm, ReLU, convolution."
    diagnose(found, x + branch, usual, "The result is not that of the unit.", hint)
