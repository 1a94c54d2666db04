"""Checks of notebook 01: a layer as a convolution, transposed convolution, the bilinear kernel, four scores."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, exercise, expect, expect_tensor
from seglib.metrics import ConfusionMatrix

SCORES = ("pixel_accuracy", "mean_accuracy", "miou", "fwiou")


@exercise("1.1", correct="One place gives what the linear layer gave; a larger map gives a map of answers.")
def as_convolution(answer: Callable[[nn.Linear, int, int], nn.Conv2d]) -> None:
    """as_convolution(linear, channels, side) -> a convolution that does the same to (channels, side, side) maps."""
    channels, side, classes = 3, 4, 5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        linear = nn.Linear(channels * side * side, classes)
        x = torch.randn(2, channels, side, side)
        large = torch.randn(1, channels, side + 2, side + 3)
    conv = call(answer, linear, channels, side)
    expect(isinstance(conv, nn.Conv2d), f"An nn.Conv2d is expected, found a value of type {type(conv).__name__}.")
    wanted = (classes, channels, side, side)
    expect(
        tuple(conv.weight.shape) == wanted,
        f"The weight has the shape {tuple(conv.weight.shape)}, expected {wanted}.",
        "the layer looks at the whole map at once, so the kernel is as large as the map.",
    )
    expect(
        conv.padding in ((0, 0), 0, "valid"),
        f"The convolution pads by {conv.padding}: on one {side}x{side} map it would answer more than once.",
        "the linear layer never saw a border.",
    )
    with torch.no_grad():
        found, expected = conv(x)[:, :, 0, 0], linear(x.flatten(1))
        if torch.allclose(found, expected, atol=1e-5):
            expect_tensor(conv(large), (1, classes, 3, 4), "Its output on a larger map")
            return
        shift = found - expected
        expect(
            not torch.allclose(shift, shift[:1].expand_as(shift), atol=1e-5),
            "All answers are off by a constant.",
            "a linear layer has a bias too.",
        )
        weights = conv.weight.flatten().sort().values
        expect(
            not torch.allclose(weights, linear.weight.flatten().sort().values),
            "The weights are the right ones in another order.",
            "flatten(1) of (B, C, H, W) runs through the columns fastest and through the channels slowest.",
        )
    raise Mistake("It computes something else than the linear layer.", "the kernel starts at random: copy the weights.")


@exercise("1.2", correct="Every input value paints its kernel, a stride apart, and where they overlap they add up.")
def transposed_convolution(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """transposed_convolution(x, kernel, stride) -> (H - 1) * stride + k rows and as many columns likewise."""
    generator = torch.Generator().manual_seed(2)
    for (h, w), k, stride in (((1, 1), 3, 2), ((3, 4), 3, 2), ((2, 3), 2, 3), ((3, 3), 4, 1)):
        x = torch.randn(h, w, generator=generator)
        kernel = torch.randn(k, k, generator=generator)
        found = call(answer, x.clone(), kernel.clone(), stride)
        case = f"of a {h}x{w} map, kernel {k}, stride {stride},"
        shape = ((h - 1) * stride + k, (w - 1) * stride + k)
        expect(isinstance(found, Tensor), f"A tensor is expected, found a value of type {type(found).__name__}.")
        expect(
            tuple(found.shape) != (h * stride, w * stride) or shape == (h * stride, w * stride),
            f"The result {case} is {tuple(found.shape)}, expected {shape}.",
            "the last pixel's kernel reaches beyond its cell: (H - 1) * stride + k.",
        )
        expect_tensor(found, shape, f"The result {case}", "the first kernel starts at 0, the last at (H - 1) * stride.")
        # No transposed convolution: zeros between the values, then a correlation with the turned kernel.
        spread = torch.zeros((h - 1) * stride + 1, (w - 1) * stride + 1)
        spread[::stride, ::stride] = x

        def correlated(weights: Tensor, spread: Tensor = spread, k: int = k) -> Tensor:
            padded = F.pad(spread, [k - 1] * 4)[None, None]
            return F.conv2d(padded, weights[None, None])[0, 0]

        if torch.allclose(found, correlated(kernel.flip(0, 1)), atol=1e-5):
            continue
        wrong = f"The result {case} has the right size and other values."
        expect(
            not torch.allclose(found, correlated(kernel), atol=1e-5),
            f"{wrong} The kernel is painted upside down.",
            "a pixel paints the kernel as it is; only a convolution that reads turns it round.",
        )
        lonely = k > stride and torch.allclose(found[-k:, -k:], x[-1, -1] * kernel, atol=1e-5)
        expect(not lonely, f"{wrong} The last kernel has overwritten its neighbours.", "add (+=), do not assign (=).")
        raise Mistake(wrong, "out[i * stride : i * stride + k, j * stride : j * stride + k] += x[i, j] * kernel.")


@exercise("1.3", correct="A tent of 2f values whose overlaps, f apart, always sum to one.")
def bilinear_weights(answer: Callable[[int], Tensor]) -> None:
    """bilinear_weights(factor) -> the (2 * factor, 2 * factor) kernel that interpolates bilinearly."""
    for factor in (2, 4, 8):
        kernel = call(answer, factor)
        case = f"bilinear_weights({factor})"
        expect(isinstance(kernel, Tensor), f"A tensor is expected, found a value of type {type(kernel).__name__}.")
        side = 2 * factor
        expect(
            kernel.ndim != 1,
            f"{case} is the tent along one axis.",
            "the kernel is its outer product with itself: w[:, None] * w.",
        )
        hint = "each value reaches one cell to each side: 2 * factor."
        expect_tensor(kernel, (side, side), case, hint)
        impulse = torch.zeros(1, 1, 5, 5)
        impulse[0, 0, 2, 2] = 1
        expected = F.interpolate(impulse, scale_factor=factor, mode="bilinear", align_corners=False)[0, 0]
        start = 2 * factor - factor // 2
        expected = expected[start : start + side, start : start + side]
        if torch.allclose(kernel.float(), expected, atol=1e-5):
            continue
        expect(
            not torch.allclose(kernel.float() / kernel.sum(), expected / expected.sum(), atol=1e-5),
            f"{case} has the right form and the wrong height: its values sum to {float(kernel.sum()):g}.",
            f"a constant map must stay as it is, so the sum is factor * factor = {factor * factor}.",
        )
        expect(
            torch.allclose(kernel, kernel.flip(0), atol=1e-6) and torch.allclose(kernel, kernel.flip(1), atol=1e-6),
            f"{case} is not symmetric: it would move the map by a part of a pixel.",
            "the middle of 0, 1, ..., 2f - 1 is f - 1/2, between two values.",
        )
        expect(
            float(kernel.std()) > 1e-6,
            f"{case} is constant: that repeats the nearest value, and doubles it where two meet.",
            "the weight falls with the distance from the middle.",
        )
        raise Mistake(f"{case} is another kernel.", "w_i = 1 - |i - c| / f with c = f - 1/2, for i = 0, ..., 2f - 1.")


@exercise("1.4", correct="Four answers to 'how good is it', from one matrix of counts.")
def scores(answer: Callable[[np.ndarray], Mapping[str, float]]) -> None:
    """scores(n) -> pixel_accuracy, mean_accuracy, miou and fwiou of counts n, rows labels and columns predictions."""
    # Counts that come from labels and predictions, not from each other; every class is labelled.
    generator = np.random.default_rng(3)
    for classes in (2, 4):
        labels = generator.choice(classes, 400, p=np.arange(1, classes + 1)[::-1] / np.arange(1, classes + 1).sum())
        predictions = np.where(generator.random(400) < 0.6, labels, generator.integers(0, classes, 400))
        counts = np.array(
            [[((labels == i) & (predictions == j)).sum() for j in range(classes)] for i in range(classes)]
        )
        found = call(answer, counts.copy())
        expect(
            isinstance(found, Mapping) and set(found) == set(SCORES),
            f"A dict with the keys {', '.join(SCORES)} is expected.",
        )
        wanted = _by_sets(labels, predictions, classes)
        swapped = ConfusionMatrix.from_matrix(counts.T).compute()
        for name in SCORES:
            value = float(found[name])
            if np.isclose(value, wanted[name], atol=1e-9):
                continue
            wrong = f"{name} is {value:.4f}, expected {wanted[name]:.4f}."
            expect(
                not np.isclose(value, getattr(swapped, name)),
                wrong,
                "rows are labels and columns predictions: t_i is the sum of a row.",
            )
            dice = np.mean([2 * counts[i, i] / (counts[i].sum() + counts[:, i].sum()) for i in range(classes)])
            expect(
                name != "miou" or not np.isclose(value, dice),
                wrong,
                "that is 2n / (t + p), the Dice score. A union counts the correct pixels once: t + p - n.",
            )
            hints = {
                "pixel_accuracy": "the correct pixels, the diagonal, over all pixels.",
                "mean_accuracy": "n_ii / t_i for each class, then the mean over the classes.",
                "miou": "n_ii / (t_i + p_i - n_ii) for each class, then the mean over the classes.",
                "fwiou": "each class's IoU with the weight t_i / sum of all t.",
            }
            raise Mistake(wrong, hints[name])


def _by_sets(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """The scores from the pixels themselves, without a matrix."""
    shares = np.array([(labels == i).mean() for i in range(classes)])
    recalls = np.array([(predictions[labels == i] == i).mean() for i in range(classes)])
    ious = [
        ((labels == i) & (predictions == i)).sum() / ((labels == i) | (predictions == i)).sum() for i in range(classes)
    ]
    values = ((labels == predictions).mean(), recalls.mean(), np.mean(ious), float(shares @ np.array(ious)))
    return dict(zip(SCORES, map(float, values), strict=True))
