"""Checks of notebook 02: the dilated kernel, the receptive field of a chain, and a stride removed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Size, Tensor
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect


@exercise("2.1", "A rate widens the window and adds no weight: 3x3 at rate 2 spans 5x5, at rate 18 already 37x37.")
def effective_kernel(answer: Callable[[int, int], int]) -> None:
    """Takes small and large kernels and rates."""

    def values(k: int, rate: int) -> tuple[int, dict[str, int]]:
        return k + (k - 1) * (rate - 1), {
            "zeros are placed between weights; there are none after the last one.": k * rate,
            "neighbouring weights are `rate` pixels apart, with rate - 1 zeros between them.": k + (k - 1) * rate,
            "that is the number of weights in a row, whatever the rate.": k,
        }

    cases = [(3, 1), (3, 2), (5, 3), (3, 18), (1, 7)]
    compare(answer, cases, values, "count gaps: k weights have k - 1 gaps, and each is `rate` pixels wide.")


@exercise("2.2", "Dilation is a sparse kernel: with the zeros written out, an ordinary convolution computes the same.")
def insert_zeros(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Takes random kernels, which must stay as they are."""
    generator = torch.Generator().manual_seed(0)
    for size, rate in ((3, 2), (3, 3), (5, 2), (3, 1)):
        kernel = torch.randn(4, 2, size, size, generator=generator, dtype=torch.float64)
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


@exercise("2.4", "Each layer adds its own window, measured in the input pixels that its steps are worth.")
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


@exercise("2.3", "The same weights, computed at every pixel: each second row and column is the strided network's.")
def without_stride(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Compares with the strided pair, on an odd and an even size."""

    def pair(x: Tensor, stride: int = 1, rate: int = 1) -> Tensor:
        x = F.conv2d(x, first, stride=stride, padding=rate, dilation=rate)
        return F.conv2d(x, second, padding=rate, dilation=rate)

    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(*size, 3, 3, generator=generator).double() for size in ((3, 2), (4, 3)))
    for side in (17, 16):
        x = torch.randn(1, 2, side, side, generator=generator).double()
        strided, found = pair(x, stride=2), call(answer, x, first, second)
        half = {"the map is still half the size: remove the stride first.": tuple(strided.shape)}
        hint = "a 3x3 convolution keeps the size if its padding equals its rate."
        diagnose("The map's shape", tuple(np.shape(found)), (1, 4, side, side), half, hint)
        usual = {
            "the second kernel now steps half as far as it was trained to.": pair(x)[..., ::2, ::2],
            "the first convolution still reads the input at its own spacing.": pair(x, rate=2)[..., ::2, ::2],
        }
        hint = "which rate makes the second kernel meet the very values it met before?"
        diagnose("Every second row and column", found[..., ::2, ::2], strided, usual, hint)
