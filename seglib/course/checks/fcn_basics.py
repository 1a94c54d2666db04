"""Checks of notebook 01: a layer as a convolution, transposed convolution, the bilinear kernel, four scores."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, diagnose, exercise, expect, expect_tensor
from seglib.metrics import ConfusionMatrix


@exercise("1.1", "One place gives what the linear layer gave; a larger map gives a map of answers.")
def as_convolution(answer: Callable[[nn.Linear, int, int], nn.Conv2d]) -> None:
    """as_convolution(linear, channels, side) -> a convolution that does the same to (channels, side, side) maps."""
    channels, side, classes = 3, 4, 5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        linear = nn.Linear(channels * side * side, classes)
        x = torch.randn(2, channels, side, side)
    conv = call(answer, linear, channels, side)
    expect(isinstance(conv, nn.Conv2d), f"An nn.Conv2d is expected, found a value of type {type(conv).__name__}.")
    hint = "the layer looks at the whole map at once, so the kernel is as large as the map."
    expect_tensor(conv.weight, (classes, channels, side, side), "The weight", hint)
    wrong = f"The convolution pads by {conv.padding}: on one {side}x{side} map it would answer more than once."
    expect(conv.padding in ((0, 0), 0, "valid"), wrong, "the linear layer never saw a border.")
    with torch.no_grad():
        shift = conv(x)[:, :, 0, 0] - linear(x.flatten(1))
        answers = conv(torch.ones(1, channels, side + 2, side + 3))
    if torch.allclose(shift, torch.zeros(()), atol=1e-5):
        expect_tensor(answers, (1, classes, 3, 4), "Its output on a larger map")
        return
    constant = torch.allclose(shift, shift[:1], atol=1e-5)
    expect(not constant, "All answers are off by a constant.", "a linear layer has a bias too.")
    moved = torch.equal(conv.weight.flatten().sort().values, linear.weight.flatten().sort().values)
    hint = "flatten(1) of (B, C, H, W) runs through the columns fastest and through the channels slowest."
    expect(not moved, "The weights are the right ones in another order.", hint)
    raise Mistake("It does not compute what the linear layer does.", "the kernel starts at random: copy the weights.")


@exercise("1.2", "Every input value paints its kernel, a stride apart, and where they overlap they add up.")
def transposed_convolution(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """transposed_convolution(x, kernel, stride) -> (H - 1) * stride + k rows and as many columns likewise."""
    generator = torch.Generator().manual_seed(2)
    for (h, w), k, stride in (((1, 1), 3, 2), ((3, 4), 3, 2), ((2, 3), 2, 3), ((3, 3), 4, 1)):
        x, kernel = torch.randn(h, w, generator=generator), torch.randn(k, k, generator=generator)
        found = call(answer, x.clone(), kernel.clone(), stride)
        name = f"The result of a {h}x{w} map, kernel {k}, stride {stride},"
        shape = ((h - 1) * stride + k, (w - 1) * stride + k)
        cells = {"the last pixel's kernel reaches beyond its cell: (H - 1) * stride + k.": (h * stride, w * stride)}
        expect_tensor(found, shape, name, "the first kernel starts at 0, the last at (H - 1) * stride.", cells)
        # No transposed convolution: zeros between the values, then a correlation with the turned kernel.
        spread = torch.zeros((h - 1) * stride + 1, (w - 1) * stride + 1)
        spread[::stride, ::stride] = x
        spread = F.pad(spread, [k - 1] * 4)[None, None]
        wrong = f"{name} has the right size and other values."
        lonely = k > stride and h > 1 and torch.allclose(found[-k:, -k:], x[-1, -1] * kernel, atol=1e-5)
        hint = "the last kernel has overwritten its neighbours: add (+=), do not assign (=)."
        expect(not lonely, wrong, hint)
        right, turned = (F.conv2d(spread, k[None, None])[0, 0] for k in (kernel.flip(0, 1), kernel))
        usual = {"the kernel is painted upside down: only a convolution, which reads, turns it round.": turned}
        hint = "out[i * stride : i * stride + k, j * stride : j * stride + k] += x[i, j] * kernel."
        diagnose(found, right, usual, wrong, hint)


@exercise("1.3", "A tent of 2f values whose overlaps, f apart, always sum to one.")
def bilinear_weights(answer: Callable[[int], Tensor]) -> None:
    """bilinear_weights(factor) -> the (2 * factor, 2 * factor) kernel that interpolates bilinearly."""
    for factor in (2, 4, 8):
        kernel, name, side = call(answer, factor), f"bilinear_weights({factor})", 2 * factor
        one_axis = {"that is the tent along one axis; the kernel is its outer product with itself.": (side,)}
        expect_tensor(kernel, (side, side), name, "each value reaches one cell to each side: 2 * factor.", one_axis)
        impulse = torch.zeros(1, 1, 5, 5)
        impulse[0, 0, 2, 2] = 1
        start = 2 * factor - factor // 2
        spread = F.interpolate(impulse, scale_factor=factor, mode="bilinear", align_corners=False)
        right = spread[0, 0, start : start + side, start : start + side]
        if torch.allclose(kernel.float(), right, atol=1e-5):
            continue
        wrong = f"{name} has the right form and the wrong height: its values sum to {float(kernel.sum()):g}."
        hint = f"a constant map must stay as it is, so the sum is factor * factor = {factor * factor}."
        expect(not torch.allclose(kernel.float() / kernel.sum(), right / right.sum(), atol=1e-5), wrong, hint)
        symmetric = all(torch.allclose(kernel, kernel.flip(axis), atol=1e-6) for axis in (0, 1))
        wrong = f"{name} is not symmetric: it would move the map by a part of a pixel."
        expect(symmetric, wrong, "the middle of 0, 1, ..., 2f - 1 is f - 1/2, between two values.")
        wrong = f"{name} is constant: that repeats the nearest value, and doubles it where two meet."
        expect(float(kernel.std()) > 1e-6, wrong, "the weight falls with the distance from the middle.")
        raise Mistake(f"{name} is another kernel.", "w_i = 1 - |i - c| / f with c = f - 1/2, for i = 0, ..., 2f - 1.")


@exercise("1.4", "Four answers to 'how good is it', from one matrix of counts.")
def scores(answer: Callable[[np.ndarray], Mapping[str, float]]) -> None:
    """scores(n) -> pixel_accuracy, mean_accuracy, miou and fwiou of counts n, rows labels and columns predictions."""
    hints = {
        "pixel_accuracy": "the correct pixels, the diagonal, over all pixels.",
        "mean_accuracy": "n_ii / t_i for each class, then the mean over the classes.",
        "miou": "n_ii / (t_i + p_i - n_ii) for each class, then the mean over the classes.",
        "fwiou": "each class's IoU with the weight t_i / sum of all t.",
    }
    generator = np.random.default_rng(3)
    for classes in (2, 4):  # all of them labelled
        shares = np.arange(classes, 0, -1) / np.arange(1, classes + 1).sum()
        labels = generator.choice(classes, 400, p=shares)
        predictions = np.where(generator.random(400) < 0.6, labels, generator.integers(0, classes, 400))
        is_label, is_predicted = (np.arange(classes)[:, None] == values for values in (labels, predictions))
        counts = (is_label[:, None] & is_predicted[None]).sum(axis=2)
        found = call(answer, counts.copy())
        wrong = f"A dict with the keys {', '.join(hints)} is expected."
        expect(isinstance(found, Mapping) and set(found) == set(hints), wrong)
        # From the pixels themselves, without a matrix.
        hits = (is_label & is_predicted).sum(axis=1)
        ious = hits / (is_label | is_predicted).sum(axis=1)
        right = {
            "pixel_accuracy": (labels == predictions).mean(),
            "mean_accuracy": (hits / is_label.sum(axis=1)).mean(),
            "miou": ious.mean(),
            "fwiou": is_label.mean(axis=1) @ ious,
        }
        swapped = ConfusionMatrix.from_matrix(counts.T).compute()
        dice = (2 * hits / (is_label.sum(axis=1) + is_predicted.sum(axis=1))).mean()
        for name, hint in hints.items():
            usual = {
                "rows are labels and columns predictions: t_i is the sum of a row.": getattr(swapped, name),
                "that is 2n / (t + p), the Dice score. A union counts the correct pixels once: t + p - n.": dice,
            }
            wrong = f"{name} is {float(found[name]):.4f}, expected {right[name]:.4f}."
            diagnose(float(found[name]), right[name], usual, wrong, hint)
