"""Checks of notebook 01: a layer as a convolution, four scores, transposed convolution, the fusion of scores."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Size, Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, compare, diagnose, exercise, expect, kind
from seglib.geometry import Grid
from seglib.metrics import ConfusionMatrix


def linear_as_convolution(linear: nn.Linear, channels: int, side: int) -> nn.Conv2d:
    """The convolution that gives at every place what the linear layer gives on the (channels, side, side) map there."""
    conv = nn.Conv2d(channels, linear.out_features, side)
    conv.weight.data = linear.weight.data.view(linear.out_features, channels, side, side)
    conv.bias.data = linear.bias.data
    return conv


@exercise("1.1", "One place gives what the linear layer gave; a larger map gives a map of answers.")
@torch.no_grad()
def as_convolution(answer: Callable[[nn.Linear, int, int], nn.Conv2d]) -> None:
    """Compares on maps that are larger than the linear layer's."""
    channels, side, classes = 3, 4, 5
    linear, x = nn.Linear(channels * side * side, classes), torch.randn(2, channels, side + 2, side + 3)
    conv = call(answer, linear, channels, side)
    expect(isinstance(conv, nn.Conv2d), f"An nn.Conv2d is expected, found {kind(conv)}.")
    diagnose("The kernel's size", conv.kernel_size, (side, side), {}, "the layer looks at the whole map at once.")
    expect(conv.padding in ((0, 0), "valid"), f"It pads by {conv.padding}.", "the linear layer never saw a border.")
    right = linear_as_convolution(linear, channels, side)
    channels_last = F.conv2d(x, linear.weight.view(classes, side, side, channels).permute(0, 3, 1, 2), linear.bias)
    usual = {
        "a linear layer has a bias too.": F.conv2d(x, right.weight),
        "flatten(1) runs through the columns fastest and the channels slowest.": channels_last,
    }
    diagnose("Its output", conv(x), right(x), usual, "the kernel is random: copy the weights.")


@exercise("1.2", "Four answers to 'how good is it', from one matrix of counts.")
def scores(answer: Callable[[np.ndarray], Mapping[str, float]]) -> None:
    """Takes counts n, rows labels and columns predictions."""
    hints = {
        "pixel_accuracy": "the correct pixels, the diagonal, over all pixels.",
        "mean_accuracy": "n_ii / t_i for each class, then the mean over the classes.",
        "miou": "n_ii / (t_i + p_i - n_ii) for each class, then the mean over the classes.",
        "fwiou": "each class's IoU with the weight t_i / sum of all t.",
    }
    for counts in (np.array([[90, 20], [7, 40]]), np.array([[70, 9, 2], [3, 40, 8], [6, 4, 20]])):
        found = call(answer, counts.copy())
        wrong = f"A dict with the keys {', '.join(hints)} is expected."
        expect(isinstance(found, Mapping) and set(found) == set(hints), wrong)
        right, swapped = (ConfusionMatrix.from_matrix(n).compute() for n in (counts, counts.T))
        for name, hint in hints.items():
            usual = {
                "rows are labels and columns predictions: t_i is the sum of a row.": getattr(swapped, name),
                "that is 2n / (t + p), the Dice score; a union counts the correct pixels once.": right.mean_dice,
            }
            diagnose(name, float(found[name]), getattr(right, name), usual, hint)


@exercise("1.3", "Every input value paints its kernel, a stride apart, and where they overlap they add up.")
def transposed_convolution(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Compares with PyTorch's on maps and kernels of several sizes."""

    def paint(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
        return F.conv_transpose2d(x[None, None], kernel[None, None], stride=stride)[0, 0]

    def values(x: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, dict[str, Tensor | Size]]:
        overwritten, k = paint(x, kernel, stride), len(kernel)
        for i, j in np.ndindex(*x.shape):
            overwritten[i * stride : i * stride + k, j * stride : j * stride + k] = x[i, j] * kernel
        return paint(x, kernel, stride), {
            "the last pixel's kernel reaches beyond its cell.": Size(side * stride for side in x.shape),
            "where kernels overlap, add (+=), do not assign (=).": overwritten,
            "the kernel is upside down: it is painted as it is.": paint(x, kernel.flip(0, 1), stride),
        }

    cases = {}
    for size, k, stride in (((1, 1), 3, 2), ((3, 4), 3, 2), ((2, 3), 2, 3), ((3, 3), 4, 1)):
        x, kernel = torch.randn(*size), torch.randn(k, k)
        cases[f"The result of a map {size}, kernel {k}, stride {stride},"] = x, kernel, stride
    hint = "out[i * stride : i * stride + k, j * stride : j * stride + k] += x[i, j] * kernel."
    compare(answer, cases, values, hint)


@exercise("1.4", "Scores add up: the coarse map says what, and the finer ones correct where.")
@torch.no_grad()
def fuse(answer: Callable[[Tensor, Tensor, Tensor, Callable[[Tensor, Size], Tensor]], Tensor]) -> None:
    """Compares on random maps whose sides are not twice one another's."""

    def values(s32: Tensor, s16: Tensor, s8: Tensor, double: Callable) -> tuple[Tensor, dict[str, Tensor | Size]]:
        middle = double(s32, s16.shape[2:])
        right = double(middle + s16, s8.shape[2:]) + s8
        return right, {
            "the scores at stride 16 are left out.": double(middle, s8.shape[2:]) + s8,
            "the scores at stride 8 are left out.": double(middle + s16, s8.shape[2:]),
            "the scores at stride 32 are left out.": double(s16, s8.shape[2:]) + s8,
            "FCN adds the scores; U-Net concatenates.": Size([s8.shape[0], 2 * s8.shape[1], *s8.shape[2:]]),
            "that is the mean; FCN adds.": (double((middle + s16) / 2, s8.shape[2:]) + s8) / 2,
        }

    maps = [torch.randn(2, 3, *size) for size in ((3, 4), (5, 8), (9, 15))]
    hint = "double s32 to the size of s16 and add s16; double the sum to the size of s8 and add s8."
    wrong_order = {
        "size of tensor": ("Maps of two sizes are added.", "double first and add then: only maps of one size add up."),
        "fits no image": (
            "A map is taken to a size that is not twice its own.",
            "double s32 to s16's size, and the sum to s8's.",
        ),
    }
    try:
        compare(answer, {"The fused map": (*maps, Grid(stride=2).resize)}, values, hint)
    except (RuntimeError, ValueError) as error:
        mistakes = [mistake for said, mistake in wrong_order.items() if said in str(error)]
        if not mistakes:
            raise
        raise Mistake(*mistakes[0]) from None
