"""Checks of notebook 02: the dilated kernel, strides removed, the receptive field of a chain, and what it sees."""

import copy
from collections.abc import Callable, Sequence
from itertools import accumulate, product
from math import prod
from operator import mul

import numpy as np
import torch
from torch import Size, Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect, kind


@exercise("2.1", "Dilation is a sparse kernel: with the zeros written out, an ordinary convolution computes the same.")
def insert_zeros(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Takes random kernels, which must stay as they are."""
    for size, rate in ((3, 2), (3, 3), (5, 2), (3, 1)):
        kernel = torch.randn(4, 2, size, size, dtype=torch.float64)
        given, side = kernel.clone(), (size - 1) * rate + 1
        found = call(answer, given, rate)
        expect(torch.equal(given, kernel), "The kernel that was passed in has changed.", "build a new tensor.")
        right = kernel.new_zeros(4, 2, side, side)
        right[..., ::rate, ::rate] = kernel
        repeated = kernel.repeat_interleave(rate, -1).repeat_interleave(rate, -2)
        usual = {
            "there are no zeros after the last weight.": Size([4, 2, size * rate, size * rate]),
            "every weight appears once, all others are zero.": repeated[..., :side, :side],
        }
        hint = "weight (i, j) belongs to row i * rate, column j * rate."
        diagnose(f"The {size}x{size} kernel at rate {rate}", found, right, usual, hint)


@exercise("2.2", "The same weights at every pixel: the old network's map is a subset of the new one's.")
@torch.no_grad()
def remove_strides(answer: Callable[[nn.Sequential], nn.Sequential]) -> None:
    """Takes chains of 3x3 convolutions, some of which stride, and runs both networks on one image."""
    for strides in ((2, 1), (1, 2, 1, 2, 1), (2, 2, 2, 1)):
        given = nn.Sequential(*(nn.Conv2d(2, 2, 3, stride, padding=1) for stride in strides))
        x, found = torch.randn(1, 2, 33, 33, dtype=torch.float64), call(answer, copy.deepcopy(given))
        expect(isinstance(found, nn.Module), f"A network is expected, found {kind(found)}.", "return the new network.")
        given, found = given.double(), found.double()
        right, found, step, products = given(x), found(x), prod(strides), [*accumulate((1, *strides), mul)]
        name, half = f"Without the strides {strides}, the map", {"a stride is left.": tuple(right.shape)}
        hint = "a convolution keeps the size if its padding equals its rate."
        diagnose(f"{name}'s shape", tuple(found.shape), tuple(x.shape), half, hint)
        usual = {}
        for hint, rates in (
            ("the layers after a removed stride now step less far than they were trained to.", [1] * len(strides)),
            ("a layer that loses its own stride still reads the map that it read before.", products[1:]),
            ("two removed strides of 2 make a rate of 4.", np.minimum(products[:-1], 2).tolist()),
        ):
            y = x
            for conv, rate in zip(given, rates, strict=True):
                y = F.conv2d(y, conv.weight, conv.bias, padding=rate, dilation=rate)
            usual[hint] = y[..., ::step, ::step]
        hint = "the rate of a layer is the product of the strides that were removed before it."
        diagnose(f"{name}, one row and column in {step} of it,", found[..., ::step, ::step], right, usual, hint)


@exercise("2.3", "Each layer adds its own window, measured in the input pixels that its steps are worth.")
def receptive_field(answer: Callable[[Sequence[tuple[int, int, int]]], int]) -> None:
    """Takes chains of layers (kernel size, stride, rate)."""

    def measure(layers: Sequence[tuple[int, int, int]], own: bool = False) -> int:
        field, step = 1, 1
        for kernel_size, stride, rate in layers:
            field += rate * (kernel_size - 1) * step * (stride if own else 1)
            step *= stride
        return field

    def values(layers: Sequence[tuple[int, int, int]]) -> tuple[int, dict[str, int]]:
        return measure(layers), {
            "a chain without a layer sees one pixel, so the count starts at 1.": measure(layers) - 1,
            "after a stride, a step is several pixels.": measure([(k, 1, rate) for k, _, rate in layers]),
            "a dilated kernel's weights are `rate` apart.": measure([(k, stride, 1) for k, stride, _ in layers]),
            "a layer's own stride spreads its outputs; it does not widen its own window.": measure(layers, own=True),
        }

    chains = ([(3, 1, 1)], [(3, 1, 1)] * 3, [(3, 1, 2), (3, 1, 4)], [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 2, 1)])
    hint = "walk through the chain with two numbers: the field so far, and the pixels per step."
    compare(answer, [(layers,) for layers in chains], values, hint)


@exercise("2.4", "The taps add up: every sum of one tap per convolution is seen, and nothing else.")
def reached_offsets(answer: Callable[[Sequence[int]], set[int]]) -> None:
    """Takes chains with and without holes."""

    def offsets(rates: Sequence[int], taps: Sequence[int] = (-1, 0, 1)) -> set[int]:
        return {sum(places) for places in product(*([rate * tap for tap in taps] for rate in rates))}

    def values(rates: Sequence[int]) -> tuple[set[int], dict[str, set[int]]]:
        return offsets(rates), {
            "that is the whole window; no sum of taps hits some of its pixels.": {*range(-sum(rates), sum(rates) + 1)},
            "those are the single convolutions' taps; in a chain they add up.": {*rates, 0, *(-rate for rate in rates)},
            "a kernel reaches to both sides; its taps are -rate, 0 and rate.": offsets(rates, (0, 1)),
            "the middle tap has offset 0.": offsets(rates, (-1, 1)),
        }

    chains = [(1,), (2,), (1, 2), (2, 2, 2), (2, 4, 8), (1, 5), (3, 3, 9)]
    hint = "add to every offset reached so far each of the next convolution's taps."
    compare(answer, [(rates,) for rates in chains], values, hint, read=set)
