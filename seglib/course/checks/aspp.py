"""Checks of notebook 04: rates for a crop, pyramid pooling, the size of the head."""

from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise
from seglib.course.fields import share_on_map


@exercise("4.1", "The taps that meet the map decide: the crop is part of the architecture.")
def choose_rates(answer: Callable[[int, int, float], Sequence[int]]) -> None:
    """Takes crops with and without a remainder, at three output strides; counts taps on the map."""

    def choose(side: int, share: float, power: float = 1.0, largest: int = 3) -> tuple[int, int, int]:
        rates = [r for r in range(1, side) if share_on_map(side, largest * r) ** power >= share]
        return tuple(factor * max(rates, default=1) for factor in (1, 2, 3))

    def values(crop: int, stride: int, share: float) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
        right = choose(side := ceil(crop / stride), share)
        return right, {
            "a strided, padded convolution rounds up: 513 at 16 leaves 33.": choose(crop // stride, share),
            "a side of 16 k pixels leaves k values, one of 16 k + 1 leaves k + 1.": choose(crop // stride + 1, share),
            "that is the share along one axis; a tap must be on the map along both.": choose(side, share, 0.5),
            "the largest rate is 3 r, and it is the one that must meet the map.": choose(side, share, largest=1),
            "rates count values of the map, not pixels of the image.": tuple(rate * stride for rate in right),
        }

    cases = [
        (513, 16, 0.4),
        (321, 16, 0.4),
        (500, 16, 0.35),
        (97, 8, 0.4),
        (769, 8, 0.5),
        (513, 32, 0.5),
        (320, 16, 0.375),
    ]
    hint = "along an axis the centre tap meets the map at all positions, each other one at side - rate of them."
    compare(answer, cases, values, hint, read=tuple)


@exercise("4.2", "Every level sees all of the map; what it knows of places is as fine as its bins.")
@torch.no_grad()
def pyramid_pooling(answer: Callable[[Tensor, tuple[int, ...], list[nn.Module]], Tensor]) -> None:
    """Takes a map whose sides its bins do not divide."""
    bins = (1, 2, 3, 6)
    layers = [nn.Sequential(nn.Conv2d(6, 3, 1), nn.ReLU()) for _ in bins]
    x = torch.randn(2, 6, 13, 17)
    average, largest = F.adaptive_avg_pool2d, F.adaptive_max_pool2d

    def levels(level: Callable[[nn.Module, int], Tensor], aligned: bool = False) -> list[Tensor]:
        maps = [level(layer, cells) for layer, cells in zip(layers, bins, strict=True)]
        return [F.interpolate(found, size=x.shape[2:], mode="bilinear", align_corners=aligned) for found in maps]

    right = levels(lambda layer, cells: layer(average(x, cells)))
    usual = {
        "the map itself is the first part of the concatenation.": right,
        "the map comes first, then the levels.": [*right, x],
        "the levels stand in the order of the bins.": [x, *right[::-1]],
        "the cells are averages, not maxima.": [x, *levels(lambda layer, cells: layer(largest(x, cells)))],
        "resize with align_corners=False, as asked.": [x, *levels(lambda layer, cells: layer(average(x, cells)), True)],
        "average first: a ReLU and a mean cannot change places.": [x, *levels(lambda layer, n: average(layer(x), n))],
    }
    usual = {hint: torch.cat(parts, dim=1) for hint, parts in usual.items()}
    found = call(answer, x.clone(), bins, layers)
    diagnose("The result", found, torch.cat([x, *right], dim=1), usual, "average, layer, resize; then concatenate.")


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
