"""Checks of notebook 03: rates of block 4, what a chain of rates reaches, strides turned into rates, pre-activation."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, exercise, expect, expect_tensor

MULTI_GRIDS = ((1, 2, 4), (1, 2, 3), (1, 2, 1), (1, 1, 1), (2, 2, 2))


@exercise("3.1", correct="Base rate times multi-grid, and the base rate is what block 4 lost in stride.")
def block4_rates(answer: Callable[[int, tuple[int, ...]], Sequence[int]]) -> None:
    """block4_rates(output_stride, multi_grid) -> the rate of each unit of block 4."""
    for output_stride in (32, 16, 8):
        for multi_grid in MULTI_GRIDS:
            found = tuple(call(answer, output_stride, multi_grid))
            # Counted without a formula: blocks 1 to 3 halve the map until the output stride is reached, the others add
            # to the rate.
            stride, base = 4, 1
            for _ in range(3):
                stride, base = (stride * 2, base) if stride < output_stride else (stride, base * 2)
            expected = tuple(base * factor for factor in multi_grid)
            if found == expected:
                continue
            wrong = f"block4_rates({output_stride}, {multi_grid}) is {found}."
            expect(
                found != multi_grid, wrong, "the factors are multiplied with the block's base rate, not used as rates."
            )
            expect(
                found != tuple(base + factor for factor in multi_grid),
                wrong,
                "the base rate is multiplied with the factors, not added to them.",
            )
            expect(
                found != tuple(output_stride * factor for factor in multi_grid),
                wrong,
                "the output stride is not the base rate: a smaller output stride means more removed strides.",
            )
            expect(
                found != tuple(2 * factor for factor in multi_grid),
                wrong,
                "the base rate is 2 at output stride 16 only. How many strides of 2 are removed at 8, and at 32?",
            )
            expect(False, wrong, f"at output stride {output_stride} the strides that were removed multiply to {base}.")


@exercise("3.2", correct="The taps add up: every sum of one tap per convolution is seen, and nothing else.")
def reached_offsets(answer: Callable[[Sequence[int]], set[int]]) -> None:
    """reached_offsets(rates) -> offsets along one axis that a chain of 3x3 convolutions of these rates sees."""
    for rates in ((1,), (2,), (1, 2), (2, 2, 2), (2, 4, 8), (1, 5), (3, 3, 9)):
        kernel = np.ones(1, np.int64)
        for rate in rates:
            taps = np.zeros(2 * rate + 1, np.int64)
            taps[::rate] = 1
            kernel = np.convolve(kernel, taps)
        half = len(kernel) // 2
        expected = {int(i) - half for i in np.flatnonzero(kernel)}
        found = set(call(answer, rates))
        if found == expected:
            continue
        wrong = f"reached_offsets({rates}) has {len(found)} offsets, expected {len(expected)}."
        expect(
            found != set(range(-half, half + 1)),
            wrong,
            "that is the whole window. Between its ends there may be pixels that no sum of taps hits.",
        )
        expect(
            found != {sign * rate for rate in rates for sign in (-1, 0, 1)},
            wrong,
            "those are the taps of the single convolutions. Behind each other their offsets add up.",
        )
        expect(
            found != {offset for offset in expected if offset >= 0},
            wrong,
            "a kernel reaches to both sides; its taps are -rate, 0 and rate.",
        )
        expect(0 in found, wrong, "the middle tap has offset 0, so that the centre is always seen.")
        missing, added = sorted(expected - found), sorted(found - expected)
        expect(False, wrong, f"missing {missing[:4]}, not seen but listed {added[:4]}.")


@exercise("3.3", correct="Your dilated chain gives, on the strided chain's pixels, the strided chain's numbers.")
def strides_to_rates(answer: Callable[[Sequence[int], int], Sequence[tuple[int, int]]]) -> None:
    """strides_to_rates(unit_strides, output_stride) -> (stride, rate) per unit; proved on chains of random kernels."""
    stem_stride = 4
    for unit_strides in ((1, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 1, 2), (1, 2, 1, 2, 1, 2, 1, 1)):
        nominal = stem_stride * int(np.prod(unit_strides))
        for output_stride in (stride for stride in (32, 16, 8) if stride <= nominal):
            plan = [(int(stride), int(rate)) for stride, rate in call(answer, unit_strides, output_stride)]
            wrong = f"strides_to_rates({unit_strides}, {output_stride}) is {plan}."
            expect(len(plan) == len(unit_strides), wrong, "one pair (stride, rate) per unit is expected.")
            reached = stem_stride * int(np.prod([stride for stride, _ in plan]))
            expect(
                reached == output_stride,
                f"{wrong} With these strides the output stride is {reached}.",
                "a unit keeps its stride as long as the output stride is not exceeded, and runs with 1 otherwise.",
            )
            gap = _gap(unit_strides, plan, step=nominal // output_stride)
            if gap < 1e-9:
                continue
            expect(
                any(rate > 1 for _, rate in plan),
                f"{wrong} No rate is above 1.",
                "a unit behind a removed stride must look that many times farther.",
            )
            removed = [own > stride for own, (stride, _) in zip(unit_strides, plan, strict=True)]
            first = removed.index(True)
            expect(
                plan[first][1] == 1,
                f"{wrong} Unit {first} has lost its own stride, and its rate is {plan[first][1]}.",
                "its input is the same map as before; only what comes behind it has a finer map than it was made for.",
            )
            expect(
                sum(removed) < 2 or max(rate for _, rate in plan) > 2,
                f"{wrong} {sum(removed)} strides are removed, and no rate is above 2.",
                "every removed stride multiplies the rate reached so far.",
            )
            expect(False, f"{wrong} On the common pixels the two chains differ by {gap:.0%}.", "walk along the units.")


def _gap(unit_strides: Sequence[int], plan: Sequence[tuple[int, int]], step: int) -> float:
    """Relative difference between a strided chain of 1-d convolutions and the plan's, on the strided chain's pixels."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(1, 1, 128, generator=generator, dtype=torch.float64)
    kernels = [torch.randn(1, 1, 3, generator=generator, dtype=torch.float64) for _ in unit_strides]
    strided = dilated = signal
    for kernel, own, (stride, rate) in zip(kernels, unit_strides, plan, strict=True):
        strided = torch.tanh(F.conv1d(strided, kernel, stride=own, padding=1))
        dilated = torch.tanh(F.conv1d(dilated, kernel, stride=stride, padding=rate, dilation=rate))
    return float((dilated[..., ::step] - strided).norm() / strided.norm())


@exercise("3.4", correct="Norm, ReLU, convolution, three times, and the input added untouched.")
def pre_activation(answer: Callable[[Tensor, Sequence[nn.Module], Sequence[nn.Module]], Tensor]) -> None:
    """pre_activation(x, norms, convs) -> output of a full pre-activation bottleneck unit with identity shortcut."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        widths = (8, 4, 4)
        norms = [nn.BatchNorm2d(width).double().eval() for width in widths]
        sizes = ((8, 4, 1), (4, 4, 3), (4, 8, 1))
        convs = [nn.Conv2d(i, o, k, padding=k // 2, bias=False).double() for i, o, k in sizes]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.5)
        x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        found = call(answer, x.clone(), norms, convs)
        expect_tensor(found, x.shape, hint="the residual has the input's shape, and the two are added.")
        branch, relu_last = x, x
        for norm, conv, (_, _, size) in zip(norms, convs, sizes, strict=True):
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            shift = norm.bias - norm.running_mean * scale
            relu_last = branch * scale[:, None, None] + shift[:, None, None]
            branch = F.conv2d(relu_last.clamp(min=0), conv.weight, padding=size // 2)
        first = F.relu(norms[0](x))

    def same(other: Tensor) -> bool:
        return torch.allclose(found, other, atol=1e-9)

    if same(x + branch):
        return
    wrong = "The result is not that of the unit."
    expect(not same(branch), wrong, "it is F(x) alone. The shortcut adds x.")
    expect(not same(F.relu(x + branch)), wrong, "there is no ReLU behind the sum: the shortcut stays untouched.")
    expect(not same(first + branch), wrong, "the shortcut starts at x itself, before the first norm and ReLU.")
    with torch.no_grad():
        linear = x
        for norm, conv in zip(norms, convs, strict=True):
            linear = conv(norm(linear))
    expect(not same(x + linear), wrong, "a ReLU belongs between each norm and its convolution.")
    expect(False, wrong, "in each of the three steps the order is norm, ReLU, convolution.")
