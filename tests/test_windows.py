"""Sliding windows against the whole image, and against the same sums done by hand."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seglib.data import SegmentationDataset, voc_palette
from seglib.data.transforms import IMAGENET
from seglib.predict import (
    BATCH_PIXELS,
    equal_sizes,
    evaluate,
    predict,
    predict_image,
    window_probabilities,
    window_starts,
)


class Pointwise(nn.Module):
    """Sees one pixel at a time, so that it matters nowhere which window a pixel is in."""

    output_stride = 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 1)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        return self.conv(images)


class Placed(Pointwise):
    """Depends on the place within the window and on all of its pixels, so that every window says something else."""

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(*map(torch.arange, images.shape[-2:]), indexing="ij")
        return super().forward(images) + (rows * 0.1 + columns**2 * 0.01)[None, None] * torch.arange(5).view(
            1, 5, 1, 1
        ) * images.abs().mean((1, 2, 3), keepdim=True)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 37, 53), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@given(st.integers(1, 200), st.integers(1, 80), st.floats(0, 0.99))
def test_windows_cover_every_place_and_overlap(length: int, window: int, overlap: float) -> None:
    starts = window_starts(length, window, overlap)
    assert starts[0] == 0 and starts == sorted(set(starts))
    if length <= window:
        assert starts == [0]
        return
    assert starts[-1] == length - window, "the last one ends where the image does"
    for first, second in itertools.pairwise(starts):
        shared = first + window - second
        assert shared >= 0 and (shared >= window * overlap - 1e-9 or second == first + 1)


def test_published_windows_of_cityscapes() -> None:
    assert window_starts(2048, 769, 1 / 3) == [0, 512, 1024, 1279]
    assert window_starts(1024, 769, 1 / 3) == [0, 255]
    assert window_starts(2048, 1024, 0) == [0, 1024], "no window twice"


@pytest.mark.parametrize("window", [(16, 16), (37, 53), (10, 53), (5, 7), (36, 52), (64, 20), (100, 100)])
@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.7])
def test_equals_the_whole_image_where_context_does_not_matter(
    images: Tensor, window: tuple[int, int], overlap: float
) -> None:
    model = Pointwise().eval()
    expected = predict(model, images)
    found = predict(model, images, window=window, overlap=overlap)
    assert found.shape == (2, 5, 37, 53)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert set(model.sizes[1:]) == {window}, "every window has the size asked for"


def test_mirrored_and_scaled_images_are_windowed_too(images: Tensor) -> None:
    model, window = Placed().eval(), (16, 24)
    pixels, expected = IMAGENET(images), []
    for size in ((19, 27), (37, 53), (55, 79)):
        scaled = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        for turn in (lambda x: x, lambda x: torch.flip(x, dims=(3,))):
            found = window_probabilities(model, turn(scaled), window, 0.5)
            found = F.interpolate(found, size=(37, 53), mode="bilinear", align_corners=False)
            expected.append(turn(found))
    result = predict(model, images, scales=(0.5, 1.0, 1.5), flip=True, window=window, overlap=0.5)
    torch.testing.assert_close(result, torch.stack(expected).mean(0))
    torch.testing.assert_close(result.sum(1), torch.ones(2, 37, 53))


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_probabilities_are_the_mean_over_the_windows_that_see_a_pixel(images: Tensor, overlap: float) -> None:
    model, pixels = Placed().eval(), IMAGENET(images)
    total, seen = torch.zeros(2, 5, 37, 53), torch.zeros(37, 53)
    for top in window_starts(37, 16, overlap):
        for left in window_starts(53, 24, overlap):
            part = pixels[..., top : top + 16, left : left + 24]
            total[..., top : top + 16, left : left + 24] += model(part).softmax(1).detach()
            seen[top : top + 16, left : left + 24] += 1
    assert seen.min() >= 1 and seen.max() >= 4
    result = predict(model, images, window=(16, 24), overlap=overlap)
    torch.testing.assert_close(result, total / seen)
    assert not torch.allclose(result, predict(model, images), atol=0.05)


def test_a_small_image_is_padded_with_the_mean_colour_at_the_bottom_and_right(images: Tensor) -> None:
    model = Placed().eval()
    square = F.pad(IMAGENET(images), (0, 7, 0, 3))
    expected = model(square).softmax(1)[..., :37, :53].detach()
    torch.testing.assert_close(predict(model, images, window=(40, 60)), expected)


def test_one_window_is_held_at_a_time(images: Tensor) -> None:
    """What a window's forward pass is given does not grow with their number, nor does the batch."""
    model = Pointwise().eval()
    shapes = []
    model.register_forward_hook(lambda _, inputs, output: shapes.append(output.shape))
    predict(model, images, window=(8, 8), overlap=0.5)
    assert len(shapes) == len(window_starts(37, 8, 0.5)) * len(window_starts(53, 8, 0.5)) == 117
    assert set(shapes) == {(2, 5, 8, 8)}


@pytest.mark.parametrize(
    ("window", "overlap", "message"),
    [
        ((0, 8), 0.5, r"window = \(0, 8\); expected \(height, width\), each at least 1"),
        ((8, 8), 1.0, "overlap = 1.0; expected 0 <= overlap < 1"),
        ((8, 8), -0.1, "overlap = -0.1; expected 0 <= overlap < 1"),
    ],
)
def test_impossible_windows(images: Tensor, window: tuple[int, int], overlap: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict(Pointwise().eval(), images, window=window, overlap=overlap)


class Noise(SegmentationDataset):
    """Three images of noise."""

    def __init__(self) -> None:
        super().__init__([("a", "b")] * 3, [str(k) for k in range(5)], voc_palette())

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (37, 53, 3), dtype=np.uint8), rng.integers(0, 5, (37, 53), dtype=np.uint8)


def test_evaluation_and_single_images_take_windows() -> None:
    data, model = Noise(), Placed().eval()
    matrix = np.zeros((5, 5), np.int64)
    for index in range(3):
        image, label = data.read(index)
        np.add.at(matrix, (label, predict_image(model, image, window=(16, 24), overlap=0.25)), 1)
    assert np.array_equal(evaluate(model, data, window=(16, 24), overlap=0.25).matrix, matrix)
    assert not np.array_equal(evaluate(model, data).matrix, matrix)
    assert not np.array_equal(evaluate(model, data, window=(16, 24), overlap=0.5).matrix, matrix)


@pytest.mark.parametrize(
    ("size", "batches"),
    [((1024, 2048), [1, 1, 1]), ((512, 1024), [3]), ((1024, 1024), [2, 1]), ((2000, 3000), [1, 1, 1])],
)
def test_large_images_make_small_batches(size: tuple[int, int], batches: list[int]) -> None:
    sample = torch.empty(*size, 3, device="meta"), torch.empty(*size, device="meta")
    assert [len(images) for images, _ in equal_sizes([sample] * 3, batch_size=8)] == batches
    assert BATCH_PIXELS >= 8 * 500 * 500, "VOC's images stay in batches of eight"
