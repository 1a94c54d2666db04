"""Checks of notebook 04: rates at another output stride, image-level pooling, the size of the head."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect, expect_tensor


@exercise("4.1", "A tap stays as far away in the image, whatever the output stride.")
def rates_at(answer: Callable[[int, tuple[int, ...]], Sequence[int]]) -> None:
    """rates_at(output_stride, at_16) -> the atrous rates at that output stride; 32 comes last."""

    def right(stride: int, at_16: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(rate * 16 // stride for rate in at_16)

    hints = {
        (16, 8): "in the image, a tap is rate x output stride pixels away from the centre.",
        (32,): "and at 32? There the map is coarser than at 16, and the rates are halved.",
    }
    for strides, hint in hints.items():
        compare(
            answer,
            product(strides, ((6, 12, 18), (6, 12, 18, 24), (2, 4, 6))),
            right,
            usual=lambda stride, at_16: {
                "the taps are at another distance in the image: a map of another stride needs other rates.": at_16,
                "the other way round: a finer map has more pixels between two places.": right(256 // stride, at_16),
                "a head of four branches needs four rates.": right(stride, at_16)[:3],
            },
            hint=hint,
            read=tuple,
        )


@exercise("4.2", "Mean, 1x1, norm, ReLU, spread: the same vector everywhere, and none of it negative.")
@torch.no_grad()
def image_pooling(answer: Callable[[Tensor, nn.Module, nn.Module], Tensor]) -> None:
    """image_pooling(x, conv, norm) -> the output of ASPP's image-level branch, (B, channels, H, W)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        conv = nn.Conv2d(6, 4, 1, bias=False)
        norm = nn.BatchNorm2d(4).eval()
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.bias)
        x = torch.randn(3, 6, 5, 7)
    found = call(answer, x.clone(), conv, norm)
    one_pixel = {"the branch joins the others, so its one pixel must be spread over the map.": (3, 4, 1, 1)}
    expect_tensor(found, (3, 4, 5, 7), hint="(B, channels, H, W), with H and W those of x.", usual=one_pixel)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)

    def project(vector: Tensor) -> Tensor:
        return torch.einsum("bc,oc->bo", vector, conv.weight[:, :, 0, 0])

    def normalise(vector: Tensor) -> Tensor:
        return (vector - norm.running_mean) * scale + norm.bias

    mean, vectors = torch.einsum("bchw->bc", x) / (5 * 7), found[:, :, 0, 0]
    wrong = "The result is not that of the branch."
    everywhere = torch.allclose(found, found[:, :, :1, :1], atol=1e-6)
    hint = "pool over height and width first; then every pixel of an image gets the same vector."
    expect(everywhere, f"{wrong} It differs from pixel to pixel.", hint)
    hint = "the mean is each image's own: over dimensions 2 and 3, not over the batch."
    expect(not torch.allclose(vectors, vectors[:1], atol=1e-6), f"{wrong} All images have the same vector.", hint)
    diagnose(
        vectors,
        normalise(project(mean)).relu(),
        {
            "some values are negative, but every branch ends with a ReLU.": normalise(project(mean)),
            "the batch norm between convolution and ReLU is missing.": project(mean).relu(),
            "image-level pooling is the mean over the map, not its maximum.": (
                normalise(project(x.amax(dim=(2, 3)))).relu()
            ),
        },
        wrong,
        "mean over the map, conv, norm, ReLU, then spread.",
    )


@exercise("4.3", "Three 3x3 branches hold most of it; batch norm brings two numbers per channel.")
def head_parameters(answer: Callable[[int, int, int, bool, int], int]) -> None:
    """head_parameters(in_channels, channels, branches, image_pooling, num_classes) -> parameters of the head."""

    def usual(*case: int) -> dict[str, int]:
        count = partial(_parameters, *case)
        return {
            "every batch norm has a scale and a shift per channel.": count(per_norm=0),
            "a norm has two parameters per channel; its running statistics are not parameters.": count(per_norm=1),
            "a convolution that batch norm follows has no bias: the norm's shift does its work.": count(per_norm=3),
            "no norm follows the classifier, so it has a bias.": count() - case[-1],
            "the projection reads the concatenation of all branches, not one of them.": count(joined=False),
            "image pooling is a branch with a 1x1 convolution as well.": _parameters(*case[:3], False, case[-1]),
        }

    compare(
        answer,
        [
            (2048, 256, 3, True, 21),
            (2048, 256, 3, False, 21),
            (320, 64, 4, True, 19),
            (512, 48, 0, True, 9),
            (512, 48, 0, False, 9),
        ],
        right=_parameters,
        usual=usual,
        hint="count branches, projection and classifier in turn.",
    )


def _parameters(
    in_channels: int, channels: int, branches: int, pooling: bool, classes: int, per_norm: int = 2, joined: bool = True
) -> int:
    sides = [1] + [3] * branches + [1] * pooling
    weights = sum(side * side * in_channels * channels for side in sides)
    projection = (len(sides) if joined else 1) * channels * channels
    return weights + projection + per_norm * channels * (len(sides) + 1) + (channels + 1) * classes
