"""Checks of notebook 02: the dilated kernel, the receptive field of a chain, and a stride removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, exercise, expect, expect_tensor


@exercise(
    "2.1", correct="A rate widens the window and adds no weight: 3x3 at rate 2 spans 5x5, at rate 18 already 37x37."
)
def effective_kernel(answer: Callable[[int, int], int]) -> None:
    """Side of the window that a kernel spans, against the output of a transposed convolution of one pixel."""
    for kernel_size, rate in ((3, 1), (3, 2), (5, 3), (3, 18), (1, 7)):
        found = call(answer, kernel_size, rate)
        kernel = torch.ones(1, 1, kernel_size)
        true = F.conv_transpose1d(torch.ones(1, 1, 1), kernel, dilation=rate).shape[-1]
        if found == true:
            continue
        wrong = f"effective_kernel({kernel_size}, {rate}) is {found!r}; a kernel of ones spans {true} pixels."
        if found == kernel_size * rate:
            raise Mistake(wrong, "zeros stand between weights; there are none behind the last one.")
        if found == kernel_size + (kernel_size - 1) * rate:
            raise Mistake(wrong, "neighbouring weights are `rate` pixels apart, with rate - 1 zeros between them.")
        if found == kernel_size:
            raise Mistake(wrong, "that is the number of weights in a row, whatever the rate.")
        raise Mistake(wrong, "count gaps: k weights have k - 1 gaps, and each is `rate` pixels wide.")


@exercise(
    "2.2", correct="Dilation is a sparse kernel: with the zeros written out, an ordinary convolution computes the same."
)
def insert_zeros(answer: Callable[[Tensor, int], Tensor]) -> None:
    """A kernel with zeros, against PyTorch's dilated convolution on random numbers."""
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
        hint = "every weight but the last has rate - 1 zeros behind it, in rows and in columns."
        expect_tensor(found, (4, 2, side, side), name, hint)
        expect(
            int((found != 0).sum()) == kernel.numel(),
            f"{name} has {int((found != 0).sum())} non-zero weights, expected {kernel.numel()}.",
            "every weight appears once, all others are zero.",
        )
        expect(
            torch.allclose(F.conv2d(images, found), dilated),
            f"{name} has the right weights at wrong places: the convolution gives other numbers.",
            "weight (i, j) belongs to row i * rate and column j * rate.",
        )


@exercise("2.4", correct="Each layer adds its own window, measured in the input pixels that its steps are worth.")
def receptive_field(answer: Callable[[Sequence[tuple[int, int, int]]], int]) -> None:
    """The field of a chain, against the pixels that have a gradient in a chain of kernels of ones."""
    for layers in ([(3, 1, 1)], [(3, 1, 1)] * 3, [(3, 1, 2), (3, 1, 4)], [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 2, 1)]):
        found = call(answer, layers)
        true = _span(layers)
        if found == true:
            continue
        wrong = f"receptive_field({layers}) is {found!r}; {true} pixels change the output."
        expect(found != true - 1, wrong, "a chain without a layer sees one pixel, so the count starts at 1.")
        expect(found != 1 + sum(r * (k - 1) for k, _, r in layers), wrong, "behind a stride, a step is several pixels.")
        expect(found != _sum_of_steps(layers, dilated=False), wrong, "a dilated kernel's weights are `rate` apart.")
        expect(
            found != _sum_of_steps(layers, own_stride=True),
            wrong,
            "a layer's own stride spreads its outputs; its window still steps on the map before it.",
        )
        raise Mistake(wrong, "walk through the chain with two numbers: the field so far, and the pixels per step.")


def _span(layers: Sequence[tuple[int, int, int]]) -> int:
    """Counted: which of many input pixels have a gradient from one output pixel."""
    signal = torch.ones(1, 1, 400, requires_grad=True)
    x = signal
    for kernel_size, stride, rate in layers:
        x = F.conv1d(x, torch.ones(1, 1, kernel_size), stride=stride, dilation=rate)
    x[0, 0, 0].backward()
    seen = signal.grad[0, 0].nonzero().flatten()
    return int(seen[-1] - seen[0]) + 1


def _sum_of_steps(layers: Sequence[tuple[int, int, int]], dilated: bool = True, own_stride: bool = False) -> int:
    """The rule with a usual mistake in it: without dilation, or with each layer's own stride counted too early."""
    size, step = 1, 1
    for kernel_size, stride, rate in layers:
        window = (rate if dilated else 1) * (kernel_size - 1)
        size += window * (step * stride if own_stride else step)
        step *= stride
    return size


@exercise(
    "2.3", correct="The same weights, computed at every pixel: each second row and column is the strided network's."
)
def without_stride(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Two convolutions whose stride was removed, against the strided pair on even and odd sizes."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64)
    second = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    for side in (17, 16):
        x = torch.randn(1, 2, side, side, generator=generator, dtype=torch.float64)
        strided = F.conv2d(F.conv2d(x, first, stride=2, padding=1), second, padding=1)
        found = call(answer, x, first, second)
        expect(isinstance(found, Tensor) and found.dim() == 4, "The result should be a tensor (B, C, H, W).")
        expect(found.shape[-1] != strided.shape[-1], "The map is still half the size.", "remove the stride first.")
        hint = "a 3x3 convolution keeps the size if its padding equals its rate."
        expect_tensor(found, (1, 4, side, side), "The map", hint)
        if torch.allclose(found[..., ::2, ::2], strided):
            continue
        dense = F.conv2d(x, first, padding=1)
        early = F.conv2d(F.conv2d(x, first, padding=2, dilation=2), second, padding=2, dilation=2)
        wrong = "Every second row and column differs from the strided network's output."
        if torch.allclose(found, F.conv2d(dense, second, padding=1)):
            raise Mistake(wrong, "the second kernel now steps half as far as it was trained to; give it a rate.")
        if torch.allclose(found, early):
            raise Mistake(wrong, "the first convolution still reads the input at its own spacing: it needs no rate.")
        raise Mistake(wrong, "which rate makes the second kernel meet the very values it met before?")
