"""The fully connected CRF: against loops over all pairs of pixels, the exact kernels, and Kraehenbuehl's own code."""

from functools import partial

import numpy as np
import pytest
from refusal import refused
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from seglib import crf
from seglib.crf import Filter, dense_crf, lattice_filter, mean_field
from seglib.data import ToyVOC

KERNELS = {"weight": 3.0, "xy": 9.0, "rgb": 20.0, "smooth_weight": 2.0, "smooth_xy": 1.5, "iterations": 4}


def scene(height: int, width: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of one colour for each class, and probabilities that know the classes only roughly."""
    rng = np.random.default_rng(0)
    label = (np.indices((height, width)).sum(axis=0) * classes) // (height + width - 1)
    image = np.clip(60 + 70 * label[..., None] + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
    logits = 1.5 * (label == np.arange(classes)[:, None, None]) + rng.normal(0, 1, (classes, height, width))
    return image, softmax(logits, axis=0)


def exact_filter(features: np.ndarray) -> Filter:
    kernel = np.exp(-np.square(features[:, None] - features[None]).sum(axis=2) / 2)
    return lambda values: kernel @ values


def by_loops(image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean field with KERNELS as the paper writes it, pixel by pixel: the cost of every other class is summed."""
    k, (classes, height, width) = KERNELS, probabilities.shape
    places, pixels = list(np.ndindex(height, width)), image.reshape(-1, 3).astype(float)
    kernels = np.zeros((2, len(places), len(places)))
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            far, colour = (y - v) ** 2 + (x - u) ** 2, ((pixels[i] - pixels[j]) ** 2).sum()
            kernels[0, i, j] = np.exp(-far / (2 * k["xy"] ** 2) - colour / (2 * k["rgb"] ** 2))
            kernels[1, i, j] = np.exp(-far / (2 * k["smooth_xy"] ** 2))
    unary = -np.log(probabilities.reshape(classes, -1)).T
    q = np.exp(-unary)
    for _ in range(k["iterations"]):
        energy = unary.copy()
        for weight, kernel in zip((k["weight"], k["smooth_weight"]), kernels, strict=True):
            sums = kernel.sum(axis=1)
            for i, label in np.ndindex(energy.shape):
                others = q.sum(axis=1) - q[:, label]
                energy[i, label] += weight * (kernel[i] / np.sqrt(sums[i] * sums) * others).sum()
        q = np.exp(-energy) / np.exp(-energy).sum(axis=1, keepdims=True)
    return q.T.reshape(probabilities.shape)


def test_mean_field_equals_loops_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    image, probabilities = scene(7, 6)
    expected = by_loops(image, probabilities)
    assert (expected.argmax(axis=0) != probabilities.argmax(axis=0)).mean() > 0.1, "the CRF changes something"
    places = np.indices((7, 6)).reshape(2, -1).T
    both = np.hstack([places / KERNELS["xy"], image.reshape(-1, 3) / KERNELS["rgb"]])
    kernels = [(3.0, exact_filter(both)), (2.0, exact_filter(places / KERNELS["smooth_xy"]))]
    found = mean_field(np.log(probabilities.reshape(3, -1)).T, kernels, KERNELS["iterations"])
    np.testing.assert_allclose(found.T.reshape(3, 7, 6), expected, atol=1e-6)
    monkeypatch.setattr(crf, "lattice_filter", exact_filter)
    monkeypatch.setattr(crf, "gaussian_filter", partial(gaussian_filter, truncate=8))
    np.testing.assert_allclose(dense_crf(image, probabilities, **KERNELS), expected, atol=1e-5)


@pytest.mark.parametrize(("xy", "rgb"), [(67.0, 3.0), (20.0, 13.0), (3.0, None)])
def test_the_lattice_is_within_five_percent_of_the_exact_filter(xy: float, rgb: float | None) -> None:
    image = ToyVOC("val").read(0)[0][20:70, 40:90]
    features = np.indices(image.shape[:2]).reshape(2, -1).T / xy
    features = features if rgb is None else np.hstack([features, image.reshape(-1, 3) / rgb])
    soft = gaussian_filter(np.random.default_rng(0).random(image.shape[:2]), 3)  # as a network's maps are
    values = np.stack([np.ones(len(features)), soft.ravel(), image[..., 0].ravel() > 100], axis=1)
    kernels = lattice_filter(features), exact_filter(features)
    scales = [kernel(np.ones((len(features), 1))) ** -0.5 for kernel in kernels]
    ours, exact = (scale * kernel(scale * values) for kernel, scale in zip(kernels, scales, strict=True))
    assert (np.linalg.norm(ours - exact, axis=0) < 0.05 * np.linalg.norm(exact, axis=0)).all()


def test_pydensecrf_agrees() -> None:
    densecrf = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 has no wheel and is built from C++")
    same = []
    for index in range(6):
        image, label = ToyVOC("val").read(index)
        rough = gaussian_filter((label == np.arange(9)[:, None, None]) * 6.0, (0, 4, 4))
        probabilities = softmax(rough + np.random.default_rng(index).normal(0, 0.3, rough.shape), axis=0)
        theirs = densecrf.DenseCRF2D(label.shape[1], label.shape[0], 9)
        theirs.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities).reshape(9, -1), np.float32))
        theirs.addPairwiseGaussian(sxy=1, compat=3)
        theirs.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.ascontiguousarray(image), compat=4)
        expected = np.array(theirs.inference(10)).argmax(axis=0).reshape(label.shape)
        assert (expected != probabilities.argmax(axis=0)).mean() > 0.005, "the CRF changes something"
        same.append((dense_crf(image, probabilities).argmax(axis=0) == expected).mean())
    assert np.mean(same) > 0.999


def test_a_displaced_edge_moves_to_the_colours() -> None:
    """And a class that is nowhere probable is left out."""
    image = np.where(np.arange(60) < 30, 90, 160).astype(np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2)
    side = np.where(np.arange(60) < 38, 0.8, 0.15) * np.ones((40, 1))
    probabilities = np.stack([side, np.full_like(side, 0.005), 0.995 - side])
    found = dense_crf(image, probabilities)
    np.testing.assert_array_equal(found.argmax(axis=0), np.where(image[..., 0] == 90, 0, 2))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert (found[1] == 0).all() and (dense_crf(image, probabilities, least=0)[1] > 0).all()


IMAGE, EVEN = np.indices((4, 5, 3)).sum(axis=0).astype(np.uint8), np.full((2, 4, 5), 0.5)


def test_refusals() -> None:
    for message, image, probabilities, options in (
        ("found .* float64", IMAGE / 255, EVEN, {}),
        (r"found \(4, 5, 3\) uint8 and \(2, 5, 4\)", IMAGE, EVEN.transpose(0, 2, 1), {}),
        ("of logits, take the softmax", IMAGE, EVEN * 7, {}),
        ("rgb = 0, smooth_xy = 1.0; expected each more than 0", IMAGE, EVEN, {"rgb": 0}),
        ("range is too large for the lattice", IMAGE, EVEN, {"rgb": 1e-9}),
    ):
        refused(message, dense_crf, image, probabilities, **options)
