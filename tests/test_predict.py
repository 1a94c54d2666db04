"""Prediction, evaluation and mask files against the same sums done by hand."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from refusal import refused
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from seglib.data import SegmentationDataset, voc_palette
from seglib.data.open import build_dataset
from seglib.data.transforms import IMAGENET, UNIT, RandomFlip
from seglib.metrics import ConfusionMatrix, update_trimap
from seglib.predict import (
    BATCH_PIXELS,
    Scoring,
    evaluate,
    group_equal_sizes,
    predict,
    predict_image,
    predict_labels,
    window_starts,
)
from seglib.recipe import Recipe


class Pointwise(nn.Module):
    """Sees one pixel at a time, so that it does not matter which window a pixel is in."""

    output_stride = 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 1)
        self.norm = nn.BatchNorm2d(5)
        self.seen: list[tuple[torch.Size, int, bool]] = []

    def set_output_stride(self, output_stride: int) -> None:
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride = {output_stride}")
        self.output_stride = output_stride

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((images.shape, self.output_stride, self.training))
        return self.conv(images) * (16 / self.output_stride)


class Placed(Pointwise):
    """Depends on the place within the window and on all of its pixels, so that every window says something else."""

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(*map(torch.arange, images.shape[-2:]), indexing="ij")
        factors = torch.arange(5).view(1, 5, 1, 1) * images.abs().mean((1, 2, 3), keepdim=True)
        return super().forward(images) + torch.sin(rows * 0.1 + columns**2 * 0.01) * factors


class Largest(TorchDispatchMode):
    """Notes the size of the largest float tensor that is made."""

    floats = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.is_floating_point():
            self.floats = max(self.floats, made.numel())
        return made


class Noise(SegmentationDataset):
    """Six images of three sizes, with a patch of void; the last one is void except for one pixel."""

    def __init__(self) -> None:
        super().__init__([(Path("a"), Path("b"))] * 6, "01234", voc_palette())

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng, size = np.random.default_rng(index), ((37, 53), (53, 37), (40, 40))[index % 3]
        label = rng.integers(0, 5, size, dtype=np.uint8)
        label[5:9, 7:12] = 255
        if index == 5:
            label[:] = 255
            label[0, 0] = 3
        return rng.integers(0, 256, (*size, 3), dtype=np.uint8), label


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 37, 53), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


# --- one batch


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def average_by_hand(model: nn.Module, images: Tensor, scoring: Scoring) -> Tensor:
    height, width = images.shape[-2:]
    side = scoring.pad_to
    full = (side, side) if side else (height, width)
    pixels = F.pad(IMAGENET(images), (0, full[1] - width, 0, full[0] - height))
    views = []
    for scale in scoring.scales:
        size = (int((full[0] - 1) * scale) + 1, int((full[1] - 1) * scale) + 1)
        scaled = F.interpolate(pixels, size, mode="bilinear", antialias=True)  # as training shrinks
        for turn in (lambda x: x, lambda x: x.flip(-1))[: 1 + scoring.flip]:
            view, (h, w) = turn(scaled), scaled.shape[-2:]
            if scoring.window is None:
                found = resize(model(view), full).softmax(1)
            else:
                high, wide = scoring.window
                padded = F.pad(view, (0, max(wide - w, 0), 0, max(high - h, 0)))
                total, seen = torch.zeros(2, 5, *padded.shape[-2:]), torch.zeros(padded.shape[-2:])
                for top in window_starts(h, high, scoring.overlap):
                    for left in window_starts(w, wide, scoring.overlap):
                        part = slice(top, top + high), slice(left, left + wide)
                        total[..., *part] += model(padded[..., *part]).softmax(1)
                        seen[part] += 1
                found = resize((total / seen)[..., :h, :w], full)
            views.append(turn(found))
    return torch.stack(views).mean(0)[..., :height, :width].detach()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scales": (0.5, 1.0, 1.5), "flip": True},
        {"window": (16, 24), "overlap": 0.0},
        {"window": (16, 24), "overlap": 0.5},
        {"window": (16, 24), "overlap": 0.5, "scales": (0.5, 1.0, 1.5), "flip": True},
        {"window": (40, 60)},
        {"window": (40, 20), "scales": (0.5, 1.0)},
        {"window": (11, 53), "overlap": 0.7},
        {"pad_to": 60},
        {"pad_to": 61, "scales": (0.5, 1.0), "flip": True},
        {"output_stride": 8},
    ],
    ids=str,
)
def test_every_way_of_scoring_averages_what_it_says(images: Tensor, changes: dict[str, Any]) -> None:
    model, scoring = Placed().eval(), Scoring(**changes)
    model.set_output_stride(scoring.output_stride or 16)
    expected = average_by_hand(model, images, scoring)
    model.set_output_stride(16)
    found = predict(model, images, IMAGENET, scoring)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 37, 53))
    plain = predict(model, images)
    assert torch.equal(found, plain) if not changes else not torch.allclose(found, plain, atol=0.02)
    assert not torch.allclose(found, predict(model, images, UNIT, scoring), atol=0.02)


def test_published_windows_of_cityscapes() -> None:
    assert [window_starts(side, 769, 1 / 3) for side in (1024, 2048)] == [[0, 255], [0, 512, 1024, 1279]]
    assert window_starts(2048, 1024, 0) == [0, 1024], "no window twice"


@given(st.integers(1, 100), st.integers(1, 40), st.floats(0, 0.99))
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


@pytest.mark.parametrize("stride", [8, 12])
def test_modes_and_stride_are_put_back_even_after_an_error(images: Tensor, stride: int) -> None:
    model = Pointwise().train()
    model.norm.eval()  # frozen
    if stride == 12:
        refused("output_stride = 12", predict, model, images, scoring=Scoring(output_stride=12))
    else:
        evaluate(model, Noise(), scoring=Scoring(output_stride=8))
        predict(model, images, scoring=Scoring(output_stride=8))
        assert {(place, training) for _, place, training in model.seen} == {(8, False)}
    assert model.training and model.conv.training and not model.norm.training and model.output_stride == 16


def test_impossible_scorings_are_refused(images: Tensor) -> None:
    for changes, message in (
        ({"scales": ()}, r"scales = \(\); expected at least one, each more than 0"),
        ({"scales": (1.0, 0.0)}, r"scales = \(1\.0, 0\.0\); expected"),
        ({"window": (0, 8)}, r"window = \(0, 8\); expected \(height, width\), each at least 1"),
        ({"overlap": 1.0}, "overlap = 1.0; expected 0 <= overlap < 1"),
        ({"overlap": -0.1}, "overlap = -0.1; expected 0 <= overlap < 1"),
    ):
        refused(message, Scoring, **changes)
    small = Scoring(pad_to=52)
    refused("pad_to = 52; expected .* larger side, found 37", predict, Placed(), images, scoring=small)


@pytest.mark.parametrize("flip", [False, True])
def test_windows_make_labels_without_all_probabilities(flip: bool) -> None:
    images = torch.randint(0, 256, (1, 3, 300, 53), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    model, scoring = Placed().eval(), Scoring(window=(16, 24), overlap=0.6, flip=flip)
    expected = predict(model, images, scoring=scoring).max(dim=1).indices
    with Largest() as seen:
        found = predict_labels(model, images, scoring=scoring)
    assert torch.equal(found.long(), expected) and len(found.unique()) > 2
    assert seen.floats == 5 * 16 * 53, "one row of windows of all classes; the picture as floats would be 3 * 300 * 53"


def test_networks_of_others_and_pictures_of_any_kind() -> None:
    image, model = Noise().read(0)[0], Placed()
    expected = predict_image(model, image)
    model.forward = lambda images: {"out": Placed.forward(model, images), "aux": None}
    assert np.array_equal(predict_image(model, Image.fromarray(image)), expected), "torchvision's; Pillow's"
    refused("image: expected .H, W, 3. uint8 RGB, found .37, 53. uint8", predict_image, model, image[..., 0])
    model.num_classes = 4
    refused("the network has 4 classes, the data set 5", evaluate, model, Noise())
    augmented = Noise()
    augmented.transform = RandomFlip()
    refused("has a transform", evaluate, model, augmented)


# --- a data set


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("scoring", [Scoring(), Scoring(window=(16, 24), overlap=0.25), Scoring(pad_to=60)], ids=str)
def test_evaluation_is_one_matrix_over_all_images(batch_size: int, scoring: Scoring) -> None:
    data, model, matrix = Noise(), Placed(), np.zeros((5, 5), np.int64)
    for index in range(6):
        image, label = data.read(index)
        valid = label != 255
        np.add.at(matrix, (label[valid], predict_image(model, image, scoring=scoring)[valid]), 1)
    assert (matrix.sum(0) > 0).sum() > 2, "too few classes to tell anything apart"
    found = evaluate(model, data, scoring=scoring, batch_size=batch_size)
    assert np.array_equal(found.matrix, matrix)
    assert scoring == Scoring() or not np.array_equal(evaluate(model, data).matrix, matrix)
    with np.errstate(invalid="ignore"):
        iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    assert found.compute().miou == pytest.approx(np.nanmean(iou))


def test_trimap_counts_the_pixels_near_void() -> None:
    data, model = Noise(), Placed()
    bands = {1: ConfusionMatrix(5), 3: ConfusionMatrix(5)}
    whole = evaluate(model, data, trimap=bands)
    assert torch.equal(whole.matrix, evaluate(model, data).matrix)
    expected = {1: ConfusionMatrix(5), 3: ConfusionMatrix(5)}
    for index in range(6):
        image, label = data.read(index)
        update_trimap(expected, label[None], predict_image(model, image)[None])
    assert all(torch.equal(bands[width].matrix, expected[width].matrix) for width in bands)


def test_squashed_pictures_are_scored_on_squashed_labels() -> None:
    recipe = Recipe(data="toy_cityscapes", eval_squash=(33, 49))
    data = build_dataset(recipe, "val").subset([0, 1])
    (image, label), whole = data[0], build_dataset(recipe.replace(eval_squash=None), "val")[0]
    assert image.shape == (33, 49, 3) and whole[1].shape == (256, 512)
    assert (label == whole[1][np.ix_(np.arange(33) * 256 // 33 + 3, np.arange(49) * 512 // 49 + 5)]).mean() > 0.9
    model = Pointwise()
    model.conv = nn.Conv2d(3, 19, 1)
    matrix = evaluate(model, data)
    assert matrix.matrix.sum() == sum((label != 255).sum() for _, label in (data[0], data[1]))
    assert {shape[-2:] for shape, *_ in model.seen} == {(33, 49)}


@pytest.mark.parametrize(
    ("size", "batches"),
    [((1024, 2048), [1, 1, 1]), ((512, 1024), [3]), ((1024, 1024), [2, 1]), ((2000, 3000), [1, 1, 1])],
)
def test_large_images_make_small_batches(size: tuple[int, int], batches: list[int]) -> None:
    sample = torch.empty(*size, 3, device="meta"), torch.empty(*size, device="meta")
    assert [len(images) for images, _ in group_equal_sizes([sample] * 3, batch_size=8)] == batches
    assert BATCH_PIXELS >= 8 * 500 * 500, "VOC's images stay in batches of eight"
