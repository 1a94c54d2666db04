"""Checks of notebook 04: rates at another output stride, image-level pooling, the size of the head."""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Size, Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise


@exercise("4.1", "A tap stays as far away in the image, whatever the output stride.")
def rates_at(answer: Callable[[int, tuple[int, ...]], Sequence[int]]) -> None:
    """Takes heads of three and of four branches, at every output stride."""

    def scale(rates: tuple[int, ...], from_stride: int, to_stride: int) -> tuple[int, ...]:
        return tuple(rate * from_stride // to_stride for rate in rates)

    def values(stride: int, at_16: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
        return scale(at_16, 16, stride), {
            "the taps are at another distance in the image: a map of another stride needs other rates.": at_16,
            "the other way round: a finer map has more pixels between two places.": scale(at_16, stride, 16),
            "a head of four branches needs four rates.": scale(at_16[:3], 16, stride),
        }

    cases = product((16, 8, 32), ((6, 12, 18), (6, 12, 18, 24), (2, 4, 6)))
    hint = "in the image, a tap is rate x output stride pixels away from the centre, at 32 as at 8."
    compare(answer, cases, values, hint, read=tuple)


@exercise("4.2", "Mean, 1x1, norm, ReLU, spread: the same vector everywhere, and none of it negative.")
@torch.no_grad()
def image_pooling(answer: Callable[[Tensor, nn.Module, nn.Module], Tensor]) -> None:
    """Takes three images, of which each has its own mean."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        conv, norm = nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4).eval()
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.bias)
        x = torch.randn(3, 6, 5, 7)
    pooled = x.mean(dim=(2, 3), keepdim=True)
    usual = {
        "the mean is each image's own, not over the batch.": norm(conv(pooled.mean(dim=0, keepdim=True))).relu(),
        "some values are negative, but every branch ends with a ReLU.": norm(conv(pooled)),
        "the batch norm between convolution and ReLU is missing.": conv(pooled).relu(),
        "image-level pooling is the mean over the map, not its maximum.": norm(conv(x.amax((2, 3), True))).relu(),
        "pool over height and width first; then every pixel gets the same vector.": norm(conv(x)).relu(),
    }
    usual = {hint: value.expand(3, 4, 5, 7) for hint, value in usual.items()}
    usual["the branch joins the others, so its one pixel must be spread over the map."] = Size([3, 4, 1, 1])
    right = norm(conv(pooled)).relu().expand(3, 4, 5, 7)
    diagnose("The result", call(answer, x.clone(), conv, norm), right, usual, "mean, conv, norm, ReLU, then spread.")


@exercise("4.3", "Three 3x3 branches hold most of it; batch norm brings two numbers per channel.")
def head_parameters(answer: Callable[[int, int, int, bool, int], int]) -> None:
    """Takes heads of several widths, with and without image-level pooling and 3x3 branches."""

    def count(
        inputs: int, channels: int, branches: int, pooling: bool, classes: int, per_norm: int = 2, joined: bool = True
    ) -> int:
        sides = [1] + [3] * branches + [1] * pooling
        weights = sum(side * side * inputs * channels for side in sides)
        projection = (len(sides) if joined else 1) * channels * channels
        return weights + projection + per_norm * channels * (len(sides) + 1) + (channels + 1) * classes

    def values(*case: int) -> tuple[int, dict[str, int]]:
        return count(*case), {
            "every batch norm has a scale and a shift per channel.": count(*case, per_norm=0),
            "a norm has two parameters per channel; running statistics are none.": count(*case, per_norm=1),
            "a convolution that batch norm follows has no bias.": count(*case, per_norm=3),
            "no norm follows the classifier, so it has a bias.": count(*case) - case[-1],
            "the projection reads the concatenation of all branches, not one of them.": count(*case, joined=False),
            "image pooling is a branch with a 1x1 convolution as well.": count(*case[:3], False, case[-1]),
        }

    sizes = ((2048, 256, 3), (320, 64, 4), (512, 48, 0))
    cases = [(*size, pooling, 21) for size in sizes for pooling in (True, False)]
    compare(answer, cases, values, "count branches, projection and classifier in turn.")
