"""A fully connected CRF over a network's probabilities, as DeepLab v1 and v2 end with, by mean field.

Pixels that are close and of like colour should have one class (Krähenbühl and Koltun 2011). The sums over all pairs of
pixels are taken on a permutohedral lattice (Adams, Baek and Davis 2010), in linear time.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

Filter = Callable[[np.ndarray], np.ndarray]  # (N, C) -> (N, C): for every pixel i the sum over j of k(i, j) values[j]


def dense_crf(
    image: np.ndarray,
    probabilities: np.ndarray,
    *,
    weight: float = 4.0,
    xy: float = 67.0,
    rgb: float = 3.0,
    smooth_weight: float = 3.0,
    smooth_xy: float = 1.0,
    iterations: int = 10,
    least: float = 0.01,
) -> np.ndarray:
    """Refines class probabilities by the image's colours. Returns them, (K, H, W) float32, which sum to 1 over K.

    The defaults are a public reproduction's of v2, in the ranges that the papers searched; their `smooth_xy` is 3.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (K, H, W), as `predict` computes them for one image.
        weight, xy, rgb: of the appearance kernel (w1, sigma alpha in pixels, sigma beta in grey levels).
        smooth_weight, smooth_xy: of the smoothness kernel (w2, sigma gamma in pixels).
        iterations: of mean field.
        least: classes that nowhere have this probability are left out, which saves most of the time.

    Raises:
        ValueError: if the sizes differ, the image is no uint8 RGB, or the probabilities do not sum to 1.
    """
    image, probabilities = np.asarray(image), np.asarray(probabilities, np.float32)
    if image.dtype != np.uint8 or image.shape != (*probabilities.shape[1:], 3):
        found = f"{image.shape} {image.dtype} and {probabilities.shape}"
        raise ValueError(f"expected an image (H, W, 3) uint8 RGB and its probabilities (K, H, W), found {found}")
    if probabilities.min() < 0 or not np.allclose(probabilities.sum(axis=0), 1, atol=1e-2):
        raise ValueError("probabilities: expected values that sum to 1 over the classes; of logits, take the softmax")
    if min(xy, rgb, smooth_xy) <= 0:
        raise ValueError(f"xy = {xy}, rgb = {rgb}, smooth_xy = {smooth_xy}; expected each more than 0")
    size, peaks = image.shape[:2], probabilities.max(axis=(1, 2))
    kept = np.flatnonzero(peaks >= min(least, peaks.max()))
    y, x = np.indices(size)
    features = np.dstack([x / xy, y / xy, image / rgb]).reshape(-1, 5)

    def smooth(values: np.ndarray) -> np.ndarray:
        maps = values.reshape(*size, -1)
        return gaussian_filter(maps, (smooth_xy, smooth_xy, 0), mode="constant").reshape(values.shape)

    logs = np.log(np.maximum(probabilities[kept].reshape(len(kept), -1).T, 1e-5))  # (N, C), finite
    refined = np.zeros_like(probabilities)
    kernels = [(weight, lattice_filter(features)), (smooth_weight, smooth)]
    refined[kept] = mean_field(logs, kernels, iterations).T.reshape(-1, *size)
    return refined


def mean_field(logs: np.ndarray, kernels: Sequence[tuple[float, Filter]], iterations: int = 10) -> np.ndarray:
    """Approximates the CRF's marginals by independent pixels, all updated at once. Returns them, (N, C).

    Two pixels of different classes cost w k(i, j). As in the authors' code, each kernel is divided by the square root
    of both pixels' sums, and a pixel is its own neighbour too.

    Args:
        logs: (N, C) logarithms of the network's probabilities.
        kernels: weight w and filter of each.
    """
    scaled = [(weight, kernel, kernel(np.ones((len(logs), 1), logs.dtype)) ** -0.5) for weight, kernel in kernels]
    marginals = softmax(logs, axis=1)
    for _ in range(iterations):
        message = sum(weight * scale * kernel(marginals * scale) for weight, kernel, scale in scaled)
        marginals = softmax(logs + message, axis=1)
    return marginals


def lattice_filter(features: np.ndarray) -> Filter:
    """Makes a filter with k(i, j) = exp(-|f_i - f_j|^2 / 2), nearly and up to a factor, of features (N, d).

    A pixel's values go to the d + 1 corners of the lattice's simplex around it ("splat"), are blurred along each of the
    d + 1 directions, and come back with the same weights ("slice"). Raises ValueError for features of too wide a range.
    """
    n, d = features.shape
    axis = np.arange(1, d + 1)
    scaled = features * (np.sqrt(2 / 3) * (d + 1) / np.sqrt(axis * (axis + 1)))
    lifted = np.pad(scaled[:, ::-1].cumsum(axis=1)[:, ::-1], ((0, 0), (0, 1)))  # (N, d + 1) coordinates, whose sum is 0
    lifted[:, 1:] -= axis * scaled
    origin = np.rint(lifted / (d + 1)).astype(np.int64)  # times d + 1: the corner of remainder 0, once its sum is 0
    rank = np.argsort(np.argsort(origin * (d + 1) - lifted, axis=1, kind="stable"), axis=1)
    rank += origin.sum(axis=1, keepdims=True)
    moved = (rank < 0).astype(np.int64) - (rank > d)
    rank, origin = rank + moved * (d + 1), origin + moved
    order = np.argsort(rank, axis=1)
    ordered = np.take_along_axis(lifted / (d + 1) - origin, order, axis=1)
    weights = np.hstack([1 + ordered[:, -1:] - ordered[:, :1], -np.diff(ordered, axis=1)[:, ::-1]])  # barycentric
    # A corner is one integer, with its first d coordinates as digits; a step to a neighbour adds a constant.
    origin = (origin[:, :d] - origin[:, :d].min(axis=0) + 2) * (d + 1)
    bases = [int(largest) + 2 * (d + 1) for largest in origin.max(axis=0)]
    if prod(bases) >= 2**62:
        raise ValueError("features: their range is too large for the lattice; expected a wider kernel")
    digit = np.array([*(prod(bases[:i]) for i in range(d)), 0])
    # The corner of remainder r has r more in each coordinate, and d + 1 less in the r of them with the highest ranks.
    less = np.pad(digit[order][:, :0:-1].cumsum(axis=1), ((0, 0), (1, 0)))
    corners = (origin @ digit[:d])[:, None] + np.arange(d + 1) * digit.sum() - (d + 1) * less  # (N, d + 1)
    points, place = np.unique(corners, return_inverse=True)
    m, ends = len(points), np.arange(0, n * (d + 1) + 1, d + 1)
    read = sparse.csr_matrix((weights.ravel().astype(np.float32), place.ravel(), ends), shape=(n, m))
    splat, blurs = read.T.tocsr(), []
    for step in digit.sum() - (d + 1) * digit:
        beside = np.searchsorted(points, points + step).clip(max=m - 1)
        there = np.flatnonzero(points[beside] == points + step)
        half = sparse.csr_matrix((np.full(len(there), 0.5, np.float32), (there, beside[there])), shape=(m, m))
        blurs.append((sparse.identity(m, np.float32, "csr") + half + half.T).tocsr())

    def apply(values: np.ndarray) -> np.ndarray:
        for step in (splat, *blurs, read):
            values = step @ values
        return values

    return apply
