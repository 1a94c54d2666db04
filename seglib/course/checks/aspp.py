"""Checks of notebook 04: rates at another output stride, image-level pooling, the size of the head."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seglib.course.checks.verdict import call, exercise, expect, expect_tensor


@exercise("4.1", correct="A tap stays as far away in the image, whatever the output stride.")
def rates_at(answer: Callable[[int, tuple[int, ...]], Sequence[int]]) -> None:
    """rates_at(output_stride, at_16) -> the atrous rates at that output stride."""
    for at_16 in ((6, 12, 18), (6, 12, 18, 24), (2, 4, 6)):
        for output_stride in (16, 8, 32):
            found = tuple(call(answer, output_stride, at_16))
            wrong = f"rates_at({output_stride}, {at_16}) is {found}."
            expect(len(found) == len(at_16), wrong, f"{len(at_16)} branches need {len(at_16)} rates.")
            # On the image, a tap is rate x output stride pixels away from the centre.
            distances = [rate * output_stride for rate in found]
            wanted = [rate * 16 for rate in at_16]
            if distances == wanted:
                expect(all(rate == int(rate) for rate in found), wrong, "rates are whole numbers.")
                continue
            expect(
                found != at_16,
                f"{wrong} The taps are {distances} image pixels away, for {wanted} at output stride 16.",
                "a map of another stride needs other rates.",
            )
            inverted = [rate * 16 for rate in found] == [rate * output_stride for rate in at_16]
            expect(
                not inverted,
                wrong,
                "the other way round: a finer map has more pixels between two places, so larger rates.",
            )
            expect(
                output_stride != 32,
                wrong,
                "and at 32? There the map is coarser than at 16, and the rates are halved.",
            )
            expect(False, wrong, f"the taps are {distances} image pixels away, for {wanted} at output stride 16.")


@exercise("4.2", correct="Mean, 1x1, norm, ReLU, spread: the same vector everywhere, and none of it negative.")
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
    with torch.no_grad():
        found = call(answer, x.clone(), conv, norm)
        shape = (3, 4, 5, 7)
        expect(isinstance(found, Tensor), f"A tensor is expected, found a value of type {type(found).__name__}.")
        expect(
            tuple(found.shape) != (3, 4, 1, 1),
            "The result is still one pixel, (3, 4, 1, 1).",
            "it is concatenated with the other branches, so it must be spread over the map.",
        )
        expect_tensor(found, shape, hint="(B, channels, H, W), with H and W those of x.")
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)

        def branch(vector: Tensor) -> Tensor:
            projected = torch.einsum("bc,oc->bo", vector, conv.weight[:, :, 0, 0])
            return (projected - norm.running_mean) * scale + norm.bias

        mean = torch.einsum("bchw->bc", x) / (5 * 7)
        before, bare = branch(mean), torch.einsum("bc,oc->bo", mean, conv.weight[:, :, 0, 0])

    def same(vector: Tensor) -> bool:
        return torch.allclose(found, vector[:, :, None, None].expand(shape), atol=1e-5)

    if same(before.clamp(min=0)):
        return
    wrong = "The result is not that of the branch."
    expect(not same(before), f"{wrong} It has negative values.", "every branch ends with a ReLU.")
    expect(not same(bare.clamp(min=0)), wrong, "the batch norm between convolution and ReLU is missing.")
    maximum = branch(x.amax(dim=(2, 3))).clamp(min=0)
    expect(not same(maximum), wrong, "image-level pooling is the mean over the map, not its maximum.")
    expect(
        torch.allclose(found, found[:, :, :1, :1].expand(shape), atol=1e-6),
        f"{wrong} It differs from pixel to pixel.",
        "pool over height and width first; then every pixel of an image gets the same vector.",
    )
    expect(
        not torch.allclose(found, found[:1].expand(shape), atol=1e-6),
        f"{wrong} All images of the batch have the same vector.",
        "the mean is each image's own: over dimensions 2 and 3, not over the batch.",
    )
    expect(False, wrong, "mean over the map, conv, norm, ReLU, then spread.")


@exercise("4.3", correct="Three 3x3 branches hold most of it; batch norm brings two numbers per channel.")
def head_parameters(answer: Callable[[int, int, int, bool, int], int]) -> None:
    """head_parameters(in_channels, channels, branches, image_pooling, num_classes) -> parameters of the head."""
    for in_channels, channels, branches, pooling, num_classes in (
        (2048, 256, 3, True, 21),
        (2048, 256, 3, False, 21),
        (320, 64, 4, True, 19),
        (512, 48, 0, True, 9),
        (512, 48, 0, False, 9),
    ):
        arguments = (in_channels, channels, branches, pooling, num_classes)
        found = call(answer, *arguments)
        sizes = [1] + [3] * branches + [1] * pooling
        weights = sum(k * k * in_channels * channels for k in sizes)
        project = len(sizes) * channels * channels
        norms = 2 * channels * (len(sizes) + 1)
        classifier = channels * num_classes + num_classes
        expected = weights + project + norms + classifier
        if found == expected:
            continue
        wrong = f"head_parameters{arguments} is {found:,}, expected {expected:,}."
        expect(found != expected - norms, wrong, "batch norm has a scale and a shift per channel, six times here.")
        expect(
            found != expected - norms // 2,
            wrong,
            "batch norm has two parameters per channel; its running statistics are no parameters.",
        )
        expect(
            found != expected + channels * (len(sizes) + 1),
            wrong,
            "convolutions with batch norm behind them have no bias: the norm's shift does its work.",
        )
        expect(found != expected - num_classes, wrong, "the classifier has no norm behind it, so it has a bias.")
        expect(
            found != expected - project + channels * channels,
            wrong,
            "the projection reads the concatenation of all branches, not one of them.",
        )
        branch = in_channels * channels + 2 * channels + channels * channels
        expect(
            not pooling or found != expected - branch,
            wrong,
            "image pooling is a branch with a 1x1 convolution as well.",
        )
        expect(False, f"{wrong} It is off by {found - expected:+,}.", "count branches, projection, classifier in turn.")
