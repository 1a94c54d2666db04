"""The metrics against brute-force loops, torchmetrics and scipy."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import refused
from scipy.ndimage import binary_dilation

from seglib.metrics import ConfusionMatrix, Scores, boundary_band, runs, update_trimap

VOID = 255


@pytest.fixture(
    scope="module",
    params=[("SHORTEST_RUN", 0), ("SHORTEST_RUN", 10**9), ("LARGEST_TABLE", 0)],
    ids=lambda pair: pair[0],
)
def way_of_counting(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each of the three ways, which maps of long runs, of short runs and of large values take by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, *request.param)
        yield


every_way = pytest.mark.usefixtures("way_of_counting")


def brute_matrix(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    matrix = np.zeros((k, k), np.int64)
    for label, prediction in zip(labels.ravel().tolist(), predictions.ravel().tolist(), strict=True):
        if label != VOID:
            matrix[label, prediction] += 1
    return matrix


def brute_scores(matrix: list[list[int]]) -> dict[str, list[float] | float]:
    """FCN section 5 in plain Python, a class at a time, counting true and false positives and false negatives."""
    k, nan = len(matrix), math.nan
    iou, accuracy, dice, weighted = [], [], [], 0.0
    for c in range(k):
        tp = matrix[c][c]
        fn = sum(matrix[c][j] for j in range(k) if j != c)
        fp = sum(matrix[i][c] for i in range(k) if i != c)
        iou.append(tp / (tp + fp + fn) if tp + fp + fn else nan)
        accuracy.append(tp / (tp + fn) if tp + fn else nan)
        dice.append(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else nan)
        weighted += (tp + fn) * iou[-1] if tp + fn else 0.0

    def mean(values: list[float]) -> float:
        present = [v for v in values if v == v]
        return sum(present) / len(present) if present else nan

    total = sum(map(sum, matrix))
    return {
        "iou": iou,
        "accuracy": accuracy,
        "dice": dice,
        "miou": mean(iou),
        "mean_accuracy": mean(accuracy),
        "mean_dice": mean(dice),
        "pixel_accuracy": sum(matrix[c][c] for c in range(k)) / total if total else nan,
        "fwiou": weighted / total if total else nan,
    }


def assert_scores(scores: Scores, expected: dict) -> None:
    assert set(vars(scores)) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(scores, name), value, rtol=1e-12, err_msg=name)


@st.composite
def label_maps(draw: st.DrawFn, max_classes: int = 6) -> tuple[int, np.ndarray, np.ndarray]:
    """(K, labels with some void, predictions); classes are often absent, and predictions at void may be anything."""
    k = draw(st.integers(1, max_classes))
    shape = draw(st.sampled_from([(1,), (7,), (3, 4), (2, 5, 6), (0, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    used = rng.integers(0, k, draw(st.integers(1, k)))
    labels = rng.choice(used, shape).astype(np.uint8)
    predictions = rng.integers(0, k, shape).astype(np.uint8)
    void = rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    labels[void] = VOID
    predictions[void] = rng.choice([0, k - 1, 200, VOID], int(void.sum()))
    return k, labels, predictions


def counted(labels, predictions, k: int, **options) -> ConfusionMatrix:
    cm = ConfusionMatrix(k, **options)
    cm.update(labels, predictions)
    return cm


def random_pair(k: int = 5, shape: tuple[int, ...] = (3, 17, 23), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, k, shape).astype(np.uint8), rng.integers(0, k, shape).astype(np.uint8)
    labels[rng.random(shape) < 0.2] = VOID
    return labels, predictions


@every_way
@settings(max_examples=50)
@given(label_maps())
def test_matrix_and_scores_equal_plain_loops(maps):
    k, labels, predictions = maps
    cm = counted(labels, predictions, k)
    expected = brute_matrix(labels, predictions, k)
    assert cm.matrix.dtype == torch.int64
    assert cm.matrix.tolist() == expected.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_scores(cm.compute(), brute_scores(expected.tolist()))


@every_way
@settings(max_examples=10)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_equals_torchmetrics(k, seed):
    labels, predictions = (torch.from_numpy(x) for x in random_pair(k, (2, 30, 31), seed))
    cm, scores = counted(labels, predictions, k), counted(labels, predictions, k).compute()
    options = {"num_classes": k, "ignore_index": VOID}
    theirs = torchmetrics.classification.MulticlassConfusionMatrix(**options)(predictions, labels)
    assert torch.equal(cm.matrix, theirs)
    pairs = {
        "miou": torchmetrics.classification.MulticlassJaccardIndex(**options),
        "pixel_accuracy": torchmetrics.classification.MulticlassAccuracy(**options, average="micro"),
        "mean_accuracy": torchmetrics.classification.MulticlassAccuracy(**options, average="macro"),
        "mean_dice": torchmetrics.classification.MulticlassF1Score(**options),
        "fwiou": torchmetrics.classification.MulticlassJaccardIndex(**options, average="weighted"),
    }
    for name, metric in pairs.items():
        assert getattr(scores, name) == pytest.approx(metric(predictions, labels).item(), abs=1e-6), name


@every_way
@pytest.mark.parametrize("label_type", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("prediction_type", [np.uint8, np.int32, np.uint16, np.int64])
def test_every_integer_type_and_layout_counts_the_same(monkeypatch, label_type, prediction_type):
    """Also read-only arrays, views, and images larger than one piece; the inputs are left alone."""
    labels, predictions = random_pair()
    expected = brute_matrix(labels, predictions, 5).tolist()
    pair = labels.astype(label_type), predictions.astype(prediction_type)
    locked = pair[0].copy()
    locked.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counted(locked, pair[1], 5).matrix.tolist() == expected
        assert counted(*(plane[..., ::-1] for plane in pair), 5).matrix.tolist() == expected
    monkeypatch.setattr(runs, "PIECE", 100)
    assert counted(*pair, 5).matrix.tolist() == expected
    if np.uint16 not in (label_type, prediction_type):
        tensors = [torch.from_numpy(plane) for plane in pair]
        assert counted(*tensors, 5).matrix.tolist() == counted(*(x.mT for x in tensors), 5).matrix.tolist() == expected
        update_trimap({2: ConfusionMatrix(5)}, *pair)
    assert np.array_equal(pair[0], labels) and np.array_equal(pair[1], predictions)


@every_way
@pytest.mark.parametrize("k", [1, 2, 181, 182, 300])
def test_any_number_of_classes(k):
    """The codes of pairs leave 16 bits above 181 classes; the inputs are left alone."""
    rng = np.random.default_rng(k)
    labels, predictions = rng.integers(0, k, (2, 4000))
    labels[:2], predictions[:2] = k - 1, (0, k - 1)
    for dtype, most in itertools.product((np.int16, np.int32, np.int64), (50, k)):
        pair = labels.astype(dtype), (predictions % most).astype(dtype)
        expected = np.zeros((k, k), np.int64)
        np.add.at(expected, pair, 1)
        assert np.array_equal(counted(*pair, k, ignore_index=None).matrix.numpy(), expected)
        assert np.array_equal(pair[0], labels) and np.array_equal(pair[1], predictions % most)


@every_way
@pytest.mark.parametrize("ignore_index", [-1, -100, 256, 1000])
def test_any_ignore_index(ignore_index):
    """-1 in uint8 is 255 and 256 is 0: both are real labels here."""
    labels, predictions = np.array([0, 0, 1, 2]), np.array([0, 1, 0, 2])
    assert counted(labels, predictions, 3, ignore_index=0).matrix.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]
    labels = np.array([0, 1, 255], np.uint8)
    matrix = counted(labels, labels, 256, ignore_index=ignore_index).matrix
    assert matrix.sum() == 3 and matrix[255, 255] == 1 and matrix[0, 0] == 1
    wide = np.array([0, ignore_index, 1])
    assert counted(wide, np.array([0, 0, 1]), 2, ignore_index=ignore_index).matrix.tolist() == [[1, 0], [0, 1]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_counts_the_same():
    labels, predictions = random_pair(21, (2, 300, 300))
    expected = brute_matrix(labels, predictions, 21).tolist()
    on_gpu = torch.from_numpy(predictions).cuda()
    for device in ("cpu", "cuda"):
        cm = counted(labels, on_gpu, 21, device=device)
        assert cm.matrix.device.type == device and cm.matrix.tolist() == expected
        cm.merge(counted(labels, predictions, 21))
        assert cm.matrix.sum() == 2 * np.sum(expected)


@every_way
def test_values_outside_the_classes_are_named_and_nothing_is_counted(monkeypatch) -> None:
    for labels, predictions, message in (
        ([0, 5], [0, 0], r"labels: .*0\.\.3 \(num_classes = 4\).*found 5"),
        ([0, 4], [0, 0], r"labels: .*num_classes = 4.*found 4"),
        ([0, -1], [0, 0], r"labels: .*num_classes = 4.*found -1"),
        ([0, 1], [0, 4], r"predictions: .*num_classes = 4.*found 4"),
        ([0, 1], [0, 255], r"predictions: .*found 255"),
        ([0, 1], [0, -7], r"predictions: .*found -7"),
        ([0, 1], [0, 65536], r"predictions: .*found 65536"),
        ([0, 65536], [0, 1], r"labels: .*found 65536"),
    ):
        for piece in (2**19, 1):
            monkeypatch.setattr(runs, "PIECE", piece)
            cm = ConfusionMatrix(4)
            refused(message, cm.update, np.array(labels), np.array(predictions))
            assert cm.matrix.sum() == 0


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, int)


def test_what_cannot_be_counted_is_named():
    refused(r"labels: .*found 255", counted, zeros(2) + VOID, zeros(2), 21, ignore_index=None)
    shapes = r"labels \(2, 4, 4\) and predictions \(2, 21, 4, 4\).*argmax"
    refused(shapes, counted, torch.zeros(2, 4, 4).byte(), torch.zeros(2, 21, 4, 4).long(), 21)
    refused(r"labels \(6,\) and predictions \(2, 3\)", counted, zeros(6), zeros(2, 3), 2)
    for wrong in (np.zeros(3), torch.zeros(3)):
        refused("predictions: expected integers, found .*float", counted, zeros(3), wrong, 2, error=TypeError)
    refused("num_classes: expected at least 1, found 0", ConfusionMatrix, 0)
    refused(r"matrix: expected \(K, K\).*\(2, 3\)", ConfusionMatrix.from_matrix, zeros(2, 3))
    refused("negative", ConfusionMatrix.from_matrix, zeros(2, 2) - 1)
    refused("num_classes = 3, found 4", ConfusionMatrix(3).merge, ConfusionMatrix(4))
    refused("ignore_index = 255, found None", ConfusionMatrix(3).merge, ConfusionMatrix(3, ignore_index=None))
    for wrong in (4, -1):
        refused(rf"0\.\.3, found {wrong}", ConfusionMatrix(4).compute().mean_iou_over, [wrong], error=IndexError)
    refused("width: expected at least 1 pixel, found 0", boundary_band, torch.zeros(2, 2).byte(), 0)
    everything = {2: ConfusionMatrix(2, ignore_index=None)}
    refused(r"matrices\[2\]: expected an ignore_index", update_trimap, everything, zeros(2, 2), zeros(2, 2))
    uint8 = "ignore_index: expected a value that torch.uint8 labels can hold, found -1"
    refused(uint8, boundary_band, torch.full((2, 2), VOID, dtype=torch.uint8), 1, ignore_index=-1)


@settings(max_examples=30)
@given(label_maps(), st.integers(1, 4))
def test_streaming_and_merging_equal_one_pass(maps, parts):
    k, labels, predictions = maps
    once = counted(labels, predictions, k)
    streamed, merged = ConfusionMatrix(k), ConfusionMatrix(k)
    for part in zip(np.array_split(labels.ravel(), parts), np.array_split(predictions.ravel(), parts), strict=True):
        streamed.update(*part)
        merged.merge(counted(*part, k))
    assert torch.equal(once.matrix, streamed.matrix) and torch.equal(once.matrix, merged.matrix)


def test_from_matrix_shares_no_memory_and_counts_beyond_32_bits():
    counts = np.eye(3, dtype=np.int64)
    ConfusionMatrix.from_matrix(counts).update(np.array([0]), np.array([0]))
    assert counts[0, 0] == 1
    scores = ConfusionMatrix.from_matrix(np.array([[3 * 10**12, 10**12], [0, 4 * 10**12]])).compute()
    np.testing.assert_allclose(scores.iou, [0.75, 0.8])


def test_mean_over_a_subset_of_classes():
    scores = ConfusionMatrix.from_matrix(np.diag([1, 2, 0, 4]) + np.array([[0, 1, 0, 0]] + 3 * [[0] * 4])).compute()
    assert scores.mean_iou_over([0, 1]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.mean_iou_over([1, 2]) == pytest.approx(2 / 3)  # class 2 is absent
    assert scores.mean_iou_over(range(4)) == scores.miou
    assert math.isnan(scores.mean_iou_over([2]))


def test_to_dict_is_json():
    values = ConfusionMatrix.from_matrix(np.array([[3, 1], [0, 0]])).compute().to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["accuracy"] == [0.75, None] and values["miou"] == 0.375
    assert ConfusionMatrix(2).compute().to_dict()["fwiou"] is None


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_band_equals_scipy(width, height, columns, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (2, height, columns)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.05] = VOID
    band = boundary_band(torch.from_numpy(labels), width)
    square = np.ones((2 * width + 1, 2 * width + 1), bool)
    for image, ours in zip(labels, band.numpy(), strict=True):
        void = image == VOID
        np.testing.assert_array_equal(ours, binary_dilation(void, square) & ~void)
    assert band.dtype == torch.bool
    assert torch.equal(boundary_band(torch.from_numpy(labels[0]), width), band[0])
    assert torch.equal(boundary_band(torch.from_numpy(labels).long(), width), band)


def test_trimap_counts_only_the_band():
    labels, predictions = random_pair(4, (2, 20, 30), seed=1)
    labels[labels == VOID] = 0
    labels[:, 8:10, 4:9] = VOID
    matrices = {w: ConfusionMatrix(4) for w in (1, 3)}
    update_trimap(matrices, labels, predictions)
    update_trimap(matrices, torch.from_numpy(labels), torch.from_numpy(predictions))
    for width, cm in matrices.items():
        expected = np.zeros((4, 4), np.int64)
        for image, guess in zip(labels, predictions, strict=True):
            for y, x in np.ndindex(image.shape):
                near = image[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
                if image[y, x] != VOID and (near == VOID).any():
                    expected[image[y, x], guess[y, x]] += 2
        assert cm.matrix.tolist() == expected.tolist()
        assert expected.sum() == 2 * 2 * ((2 + 2 * width) * (5 + 2 * width) - 10)
