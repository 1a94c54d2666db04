"""Checks of notebook 02: the dilated kernel, the receptive field of a chain, and a stride removed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect, expect_tensor


@exercise("2.1", "A rate widens the window and adds no weight: 3x3 at rate 2 spans 5x5, at rate 18 already 37x37.")
def effective_kernel(answer: Callable[[int, int], int]) -> None:
    """Compares with the output of a transposed convolution of one pixel with a kernel of ones."""
    compare(
        answer,
        [(3, 1), (3, 2), (5, 3), (3, 18), (1, 7)],
        right=lambda k, rate: F.conv_transpose1d(torch.ones(1, 1, 1), torch.ones(1, 1, k), dilation=rate).shape[-1],
        usual=lambda k, rate: {
            "zeros are placed between weights; there are none after the last one.": k * rate,
            "neighbouring weights are `rate` pixels apart, with rate - 1 zeros between them.": k + (k - 1) * rate,
            "that is the number of weights in a row, whatever the rate.": k,
        },
        hint="count gaps: k weights have k - 1 gaps, and each is `rate` pixels wide.",
    )


@exercise("2.2", "Dilation is a sparse kernel: with the zeros written out, an ordinary convolution computes the same.")
def insert_zeros(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Compares a kernel with zeros with PyTorch's dilated convolution, on random numbers."""
    generator = torch.Generator().manual_seed(0)
    for size, rate in ((3, 2), (3, 3), (5, 2), (3, 1)):
        kernel = torch.randn(4, 2, size, size, generator=generator, dtype=torch.float64)
        images = torch.randn(1, 2, 23, 23, generator=generator, dtype=torch.float64)
        before = kernel.clone()
        found = call(answer, kernel, rate)
        expect(torch.equal(kernel, before), "The kernel that was passed in has changed.", "build a new tensor.")
        dilated = F.conv2d(images, kernel, dilation=rate)
        side = images.shape[-1] - dilated.shape[-1] + 1
        name = f"The {size}x{size} kernel at rate {rate}"
        hint = "every weight but the last is followed by rate - 1 zeros, in rows and in columns."
        expect_tensor(found, (4, 2, side, side), name, hint)
        weights = int((found != 0).sum())
        wrong = f"{name} has {weights} non-zero weights, expected {kernel.numel()}."
        expect(weights == kernel.numel(), wrong, "every weight appears once, all others are zero.")
        wrong = f"{name} has the right weights in the wrong places: the convolution gives other numbers."
        diagnose(F.conv2d(images, found), dilated, {}, wrong, "weight (i, j) belongs to row i * rate, column j * rate.")


@exercise("2.4", "Each layer adds its own window, measured in the input pixels that its steps are worth.")
def receptive_field(answer: Callable[[Sequence[tuple[int, int, int]]], int]) -> None:
    """Compares with the number of pixels that have a gradient in a chain of kernels of ones."""
    chains = ([(3, 1, 1)], [(3, 1, 1)] * 3, [(3, 1, 2), (3, 1, 4)], [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 2, 1)])
    compare(
        answer,
        [(layers,) for layers in chains],
        right=_span,
        usual=lambda layers: {
            "a chain without a layer sees one pixel, so the count starts at 1.": _span(layers) - 1,
            "after a stride, a step is several pixels.": 1 + sum(rate * (k - 1) for k, _, rate in layers),
            "a dilated kernel's weights are `rate` apart.": _steps(layers, dilated=False),
            "a layer's own stride spreads its outputs; it does not widen its own window.": _steps(layers, own=True),
        },
        hint="walk through the chain with two numbers: the field so far, and the pixels per step.",
    )


def _span(layers: Sequence[tuple[int, int, int]]) -> int:
    """Counts the input pixels from the first to the last that have a gradient from one output pixel."""
    signal = torch.ones(1, 1, 400, requires_grad=True)
    x = signal
    for kernel_size, stride, rate in layers:
        x = F.conv1d(x, torch.ones(1, 1, kernel_size), stride=stride, dilation=rate)
    x[0, 0, 0].backward()
    seen = signal.grad[0, 0].nonzero().flatten()
    return int(seen[-1] - seen[0]) + 1


def _steps(layers: Sequence[tuple[int, int, int]], dilated: bool = True, own: bool = False) -> int:
    """The rule with a usual mistake in it: no dilation, or each layer's own stride counted too early."""
    size, step = 1, 1
    for kernel_size, stride, rate in layers:
        size += (rate if dilated else 1) * (kernel_size - 1) * step * (stride if own else 1)
        step *= stride
    return size


@exercise("2.3", "The same weights, computed at every pixel: each second row and column is the strided network's.")
def without_stride(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Compares two convolutions whose stride was removed with the strided pair, on even and odd sizes."""

    def convolve(x: Tensor, weight: Tensor, rate: int = 1, stride: int = 1) -> Tensor:
        return F.conv2d(x, weight, stride=stride, padding=rate, dilation=rate)

    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64)
    second = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    for side in (17, 16):
        x = torch.randn(1, 2, side, side, generator=generator, dtype=torch.float64)
        strided = convolve(convolve(x, first, stride=2), second)
        found = call(answer, x, first, second)
        hint = "a 3x3 convolution keeps the size if its padding equals its rate."
        half = {"the map is still half the size: remove the stride first.": strided.shape}
        expect_tensor(found, (1, 4, side, side), "The map", hint, half)
        dense = convolve(convolve(x, first), second)
        early = convolve(convolve(x, first, rate=2), second, rate=2)
        usual = {
            "the second kernel now steps half as far as it was trained to; give it a rate.": dense,
            "the first convolution still reads the input at its own spacing: it needs no rate.": early,
        }
        usual = {its_hint: value[..., ::2, ::2] for its_hint, value in usual.items()}
        wrong = "Every second row and column differs from the strided network's output."
        hint = "which rate makes the second kernel meet the very values it met before?"
        diagnose(found[..., ::2, ::2], strided, usual, wrong, hint)
