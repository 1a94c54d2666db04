"""Losses against plain loops in float64, PyTorch and segmentation_models.pytorch."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from refusal import refused
from torch import Tensor

from seglib.geometry import RULES, Grid
from seglib.losses import (
    class_weights,
    combined,
    cross_entropy,
    dice,
    focal,
    hard_pixel_cross_entropy,
    region_mutual_information,
    upsampled_cross_entropy,
)

CLASSES = 4
WEIGHTS = torch.tensor([0.3, 2.0, 1.0, 5.0])
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "weighted": lambda x, y: cross_entropy(x, y, class_weights=WEIGHTS),
    "weighted, over pixels": lambda x, y: cross_entropy(x, y, class_weights=WEIGHTS, denominator="pixels"),
    "smoothed": lambda x, y: cross_entropy(x, y, smoothing=0.1),
    "smoothed as in the report": lambda x, y: cross_entropy(x, y, smoothing=0.1, smoothed="report"),
    "focal": focal,
    "weighted focal": lambda x, y: focal(x, y, gamma=1.0, class_weights=WEIGHTS),
    "top tenth": lambda x, y: hard_pixel_cross_entropy(x, y, keep=0.1),
    "Dice": dice,
    "combined": combined,
    "RMI": region_mutual_information,
    "upsampled": lambda x, y: upsampled_cross_entropy(x, y, Grid(1)),
}


def draw(seed: int, void: float = 0.3, size: tuple[int, int] = (13, 17)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, *size, generator=generator) * 2
    labels = torch.randint(0, CLASSES, (2, *size), generator=generator).to(torch.uint8)
    labels[torch.rand(2, *size, generator=generator) < void] = 255
    return logits, labels


def by_hand(logits: Tensor, labels: Tensor, pixel_loss: Callable[[np.ndarray, int], float]) -> list[float]:
    """pixel_loss(log-probabilities, label) of every valid pixel."""
    log_p = logits.double().log_softmax(dim=1).numpy()
    found = []
    for b, y, x in np.ndindex(*labels.shape):
        if labels[b, y, x] != 255:
            found.append(pixel_loss(log_p[b, :, y, x], int(labels[b, y, x])))
    return found


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_have_no_say(name: str) -> None:
    """A batch of nothing else loses 0, with zero gradients."""
    logits, labels = draw(0)
    void = (labels == 255)[:, None].expand_as(logits)
    other = torch.where(void, torch.randn(logits.shape) * 9, logits)
    assert float(LOSSES[name](other, labels)) == pytest.approx(float(LOSSES[name](logits, labels)), rel=1e-5)
    logits.requires_grad_()
    LOSSES[name](logits, labels).backward()
    assert not logits.grad[void].any() and logits.grad[~void].any()
    logits.grad = None
    loss = LOSSES[name](logits, torch.full_like(labels, 255))
    loss.backward()
    assert float(loss.detach()) == 0.0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_as_good(name: str) -> None:
    logits, labels = draw(1, size=(40, 40))
    half = logits.half()
    expected = float(LOSSES[name](half.float(), labels))
    assert float(LOSSES[name](half, labels)) == pytest.approx(expected, rel=1e-6)
    half.requires_grad_()
    LOSSES[name](half, labels).backward()
    assert torch.isfinite(half.grad).all()
    if name == "cross-entropy":  # its sum, 110,904, is beyond float16
        zeros, labels = torch.zeros(1, 2, 400, 400, dtype=torch.float16), torch.zeros(1, 400, 400, dtype=torch.uint8)
        assert float(cross_entropy(zeros, labels)) == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_the_value(name: str) -> None:
    logits, labels = draw(0)
    logits.requires_grad_()
    LOSSES[name](logits, labels).backward()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    step = 1e-2
    with torch.no_grad():
        ahead, back = (float(LOSSES[name](logits + sign * step * direction, labels)) for sign in (1, -1))
    assert float((logits.grad * direction).sum()) == pytest.approx((ahead - back) / (2 * step), rel=0.02, abs=2e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_labels_must_be_classes_of_the_logits_size(name: str) -> None:
    for size in ((2, 14, 14), (1, 28, 28), (1, 28, 14)):
        message = rf"\(1, 4, 14, 14\).*\({', '.join(map(str, size))}\)"
        if name == "upsampled" and size[0] == 1:
            message = rf"a map of \(14, 14\) .* fits no image of \({size[1]}, {size[2]}\)"
        refused(message, LOSSES[name], torch.zeros(1, 4, 14, 14), torch.zeros(size).long())

    labels = torch.full((1, 14, 14), 7)
    for wrong, message in (
        (labels, r"labels: \[7\]; expected 0 to 3, or 255 where void"),
        (labels.clamp(max=-1), r"labels: \[-1\]; expected 0 to 3"),
        (labels.float(), "labels: expected integers, class indices; found torch.float32"),
    ):
        refused(message, LOSSES[name], torch.zeros(1, 4, 14, 14), wrong)


def test_bad_arguments_are_named() -> None:
    refused("denominator = 'images'", cross_entropy, *draw(0), denominator="images")
    refused("smoothed = 'mine'", cross_entropy, *draw(0), smoothing=0.1, smoothed="mine")
    refused("keep = 0; expected 0 < keep <= 1", hard_pixel_cross_entropy, *draw(0), keep=0)
    refused(r"alpha = 1\.5; expected 0 <= alpha <= 1", combined, *draw(0), alpha=1.5)
    refused("at least one is positive", class_weights, [0, 0])
    refused("rule = 'square'", class_weights, [1], rule="square")


def test_mean_over_the_number_of_pixels() -> None:
    for name, pixel_loss in (
        ("weighted, over pixels", lambda log_p, label: -WEIGHTS[label] * log_p[label]),
        ("smoothed as in the report", lambda log_p, label: -0.9 * log_p[label] - 0.025 * np.delete(log_p, label).sum()),
        ("focal", lambda log_p, label: -((1 - np.exp(log_p[label])) ** 2) * log_p[label]),
        ("weighted focal", lambda log_p, label: -WEIGHTS[label] * (1 - np.exp(log_p[label])) * log_p[label]),
    ):
        logits, labels = draw(3)
        expected = np.mean(by_hand(logits, labels, pixel_loss))
        assert float(LOSSES[name](logits, labels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_defaults_are_pytorchs(weights: Tensor | None, smoothing: float) -> None:
    logits, labels = draw(4)
    ours = cross_entropy(logits, labels, class_weights=weights, smoothing=smoothing)
    theirs = F.cross_entropy(logits, labels.long(), weights, ignore_index=255, label_smoothing=smoothing)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_the_network_is_sure(gamma: float) -> None:
    """There 1 - p is 0 in float32, and the derivative of 0 ** 0.5 is infinite."""
    logits = torch.tensor([[60.0, 1.0], [0.0, 1.0]]).reshape(1, 2, 1, 2).requires_grad_()  # a sure pixel, an unsure one
    focal(logits, torch.zeros(1, 1, 2, dtype=torch.long), gamma=gamma).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("keep", [0.01, 0.25, 1.0])
def test_hardest_pixels(keep: float) -> None:
    logits, labels = draw(7)
    losses = sorted(by_hand(logits, labels, lambda log_p, label: -log_p[label]), reverse=True)
    expected = np.mean(losses[: max(1, int(keep * len(losses)))])
    assert float(hard_pixel_cross_entropy(logits, labels, keep)) == pytest.approx(expected, rel=1e-5)


def test_dice() -> None:
    logits, labels = draw(9)
    labels[labels == 2] = 0  # a class without a pixel counts too
    p = logits.double().softmax(dim=1).movedim(1, -1)[labels != 255].numpy()  # (valid, K)
    truth = labels[labels != 255].numpy()
    terms = []
    for k in range(CLASSES):
        intersection = p[truth == k, k].sum()
        terms.append(1 - (2 * intersection + 1) / (p[:, k].sum() + (truth == k).sum() + 1))
    assert float(dice(logits, labels)) == pytest.approx(np.mean(terms), rel=1e-5)
    logits, labels = draw(10, void=0.0)  # without void and smoothing, two definitions meet
    theirs = smp.losses.DiceLoss("multiclass", smooth=0.0)(logits, labels.long())
    assert float(dice(logits, labels, smooth=0.0)) == pytest.approx(float(theirs), rel=1e-5)


def test_combined_is_the_reports_sum() -> None:
    logits, labels = draw(11)
    parts = float(cross_entropy(logits, labels, smoothing=0.1, smoothed="report")), float(dice(logits, labels))
    assert float(combined(logits, labels)) == pytest.approx(0.6 * parts[0] + 0.4 * parts[1], rel=1e-6)


def rmi_by_hand(logits: Tensor, labels: Tensor, radius: int, stride: int) -> float:
    """Window by window, with an explicit inverse and determinant."""
    p, total = logits.double().sigmoid().numpy(), 0.0
    batch, classes, height, width = p.shape
    for b, k in np.ndindex(batch, classes):
        valid, vectors = labels[b].numpy() != 255, []
        for full in ((labels[b].numpy() == k) * 1.0, p[b, k] * valid):
            rows, columns = height // stride, width // stride
            small = full[: rows * stride, : columns * stride].reshape(rows, stride, columns, stride).mean(axis=(1, 3))
            found = [
                small[y : y + radius, x : x + radius].ravel()
                for y in range(rows - radius + 1)
                for x in range(columns - radius + 1)
            ]
            vectors.append(np.array(found) - np.mean(found, axis=0))
        y, q = vectors
        ridge = 5e-4 * np.eye(radius**2)
        left = y.T @ y - (y.T @ q) @ np.linalg.inv(q.T @ q + ridge) @ (q.T @ y)
        total += 0.5 * np.log(np.linalg.det(left + ridge)) / radius**2 / batch
    return total


def test_region_mutual_information() -> None:
    logits, labels = draw(12, size=(20, 27))
    region = region_mutual_information(logits, labels, weight=0.0, radius=3, stride=2)
    assert float(region) == pytest.approx(rmi_by_hand(logits, labels, 3, 2), rel=1e-5)
    valid = labels != 255
    targets = F.one_hot(labels.long().where(valid, 0), CLASSES).double().movedim(-1, 1)
    binary = F.binary_cross_entropy_with_logits(logits.double(), targets, reduction="none").sum(dim=1)[valid].mean()
    assert float(region_mutual_information(logits, labels, weight=1.0)) == pytest.approx(float(binary), rel=1e-5)


@pytest.mark.parametrize("chunk_pixels", [1, 150, 10**9])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("high", "stride"), [((33, 65), 8), ((32, 48), 4), ((33, 50), 4), ((1, 30), 16), ((7, 9), 1)])
def test_upsampled_equals_the_plain_loss(high: tuple[int, int], stride: int, rule: str, chunk_pixels: int) -> None:
    grid = Grid(stride, rule)
    logits = draw(13, size=tuple(-(-side // stride) for side in high))[0].requires_grad_()
    labels = draw(13, size=high)[1]
    for options in ({}, {"class_weights": WEIGHTS, "smoothing": 0.1, "smoothed": "report"}):
        plain = cross_entropy(grid.resize(logits, high), labels, **options)
        (expected,) = torch.autograd.grad(3 * plain, logits)
        ours = upsampled_cross_entropy(logits, labels, grid, **options, chunk_pixels=chunk_pixels)
        (found,) = torch.autograd.grad(3 * ours, logits)
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(
                upsampled_cross_entropy(logits, labels, grid, **options), plain, atol=1e-5, rtol=0
            )


def test_class_weights_by_hand() -> None:
    for rule, images_with, expected in (
        ("inverse", None, [x / ((1.25 + 10 + 10) / 3) for x in (1.25, 10, 0, 10)]),
        ("enet", None, [1 / math.log(1.82), 1 / math.log(1.12), 0, 1 / math.log(1.12)]),
        # frequencies in the images that hold the class: 0.8, 0.2, 0.5; their median is 0.5
        ("median", [1000, 500, 0, 200], [0.5 / 0.8, 0.5 / 0.2, 0, 1.0]),
        ("median", None, [0.125, 1, 0, 1]),
    ):
        assert class_weights([800, 100, 0, 100], images_with, rule).tolist() == pytest.approx(expected)
