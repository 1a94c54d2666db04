"""Batches as a function of seed and iteration, and a loader that leaves no trace."""

import gc
import multiprocessing
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seglib.data import EpochBatches, SegmentationDataset, make_loader, sample_rng, voc_palette
from seglib.data.transforms import ColorJitter, Compose, RandomFlip, RandomScaleCrop


@pytest.fixture
def photographs(tmp_path: Path) -> SegmentationDataset:
    """Eleven noisy images of several sizes, augmented."""
    files = []
    for index in range(11):
        rng = np.random.default_rng(index)
        height, width = (20 + 3 * index, 40 - 2 * index)
        image, label = tmp_path / f"{index:02d}.jpg", tmp_path / f"{index:02d}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image)
        Image.fromarray(rng.integers(0, 5, (height, width), dtype=np.uint8)).save(label)
        files.append((image, label))
    steps = Compose((RandomScaleCrop(24), RandomFlip(), ColorJitter(0.3, 0.3, 0.3)))
    return SegmentationDataset(files, "abcde", voc_palette(), transform=steps, seed=3)


class Threads(SegmentationDataset):
    """Tells how many threads torch uses where it is read."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((2, 2, 3), np.uint8), np.full((2, 2), torch.get_num_threads(), np.uint8)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 60), st.integers(0, 2**40), st.data())
@settings(max_examples=100)
def test_any_start_gives_the_rest_of_the_sequence(
    length: int, batch_size: int, iterations: int, seed: int, data: st.DataObject
) -> None:
    batch_size = min(batch_size, length)
    start = data.draw(st.integers(0, iterations))
    whole = list(EpochBatches(length, batch_size, iterations, seed))
    rest = EpochBatches(length, batch_size, iterations, seed, start)
    assert len(whole) == iterations and len(rest) == iterations - start
    assert list(rest) == whole[start:]
    assert list(rest) == list(rest), "a second pass is the same"


@pytest.mark.parametrize(("length", "batch_size"), [(10, 3), (9, 3), (3, 3), (5, 1)])
def test_each_epoch_shows_every_sample_at_most_once_in_full_batches(length: int, batch_size: int) -> None:
    per_epoch = length // batch_size
    batches = list(EpochBatches(length, batch_size, 4 * per_epoch, seed=1))
    assert {len(batch) for batch in batches} == {batch_size}
    orders = []
    for epoch in range(4):
        keys = [key for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for key in batch]
        assert {e for e, _ in keys} == {epoch}
        indices = [index for _, index in keys]
        assert len(set(indices)) == per_epoch * batch_size and set(indices) <= set(range(length))
        orders.append(indices)
    if length > 3:
        assert orders[0] != orders[1], "epochs are shuffled anew"


def test_what_an_epoch_drops_is_seen_in_others() -> None:
    counts = np.zeros(10, dtype=int)
    for batch in EpochBatches(10, 4, 2000, seed=0):
        counts[[index for _, index in batch]] += 1
    assert counts.sum() == 8000 and counts.min() > 720 and counts.max() < 880


def test_seeds_give_different_orders() -> None:
    assert list(EpochBatches(50, 10, 5, seed=0)) != list(EpochBatches(50, 10, 5, seed=1))


def test_the_order_shares_no_randomness_with_a_sample() -> None:
    """NumPy pads a key with zeros: (seed, epoch) is the generator of sample (seed, epoch, 0)."""
    assert np.array_equal(sample_rng(4, 2, 0).permutation(30), np.random.default_rng((4, 2)).permutation(30))
    order = EpochBatches(30, 5, 1, seed=4).permutation(2)
    for index in range(30):
        assert not np.array_equal(order, sample_rng(4, 2, index).permutation(30))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 0, 5, 0), "batch_size: expected at least 1, found 0"),
        ((3, 4, 5, 0), "batch_size: 4, but the data set holds 3"),
        ((0, 1, 5, 0), "holds 0 samples"),
        ((10, 2, 5, 0, 6), "start_iteration: expected 0 to iterations = 5, found 6"),
        ((10, 2, 5, 0, -1), "start_iteration.*found -1"),
        ((10, 2, 5, -1), "seed: expected 0 or more, found -1"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochBatches(*arguments)


def test_batches_are_the_same_for_every_number_of_workers(photographs: SegmentationDataset) -> None:
    found = []
    for num_workers in (0, 1, 2):
        torch.manual_seed(num_workers)
        loader = make_loader(photographs, EpochBatches(11, 4, 5, seed=2), num_workers)
        found.append(list(loader))
    assert len(found[0]) == 5
    for batches in found[1:]:
        for (images, labels), (expected_images, expected_labels) in zip(batches, found[0], strict=True):
            assert torch.equal(images, expected_images) and torch.equal(labels, expected_labels)
            assert images.is_contiguous(memory_format=torch.channels_last)
    assert found[0][0][0].shape == (4, 3, 24, 24) and found[0][0][1].shape == (4, 24, 24)


def test_the_loader_gives_the_samples_that_the_batches_name(photographs: SegmentationDataset) -> None:
    batches = EpochBatches(11, 4, 6, seed=2, start_iteration=1)
    for (images, labels), keys in zip(make_loader(photographs, batches), batches, strict=True):
        for image, label, key in zip(images, labels, keys, strict=True):
            expected_image, expected_label = photographs[key]
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected_image)
            assert np.array_equal(label.numpy(), expected_label)


def test_epochs_augment_differently(photographs: SegmentationDataset) -> None:
    assert not np.array_equal(photographs[(0, 5)][0], photographs[(1, 5)][0])
    assert np.array_equal(photographs[(1, 5)][0], photographs[(1, 5)][0])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_generators_are_left_alone(photographs: SegmentationDataset, num_workers: int) -> None:
    torch_before, python_before = torch.get_rng_state(), random.getstate()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002  the global state is what is looked at
    for _ in make_loader(photographs, EpochBatches(11, 4, 3, seed=2), num_workers):
        pass
    assert torch.equal(torch.get_rng_state(), torch_before) and random.getstate() == python_before
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_workers_use_one_thread_each() -> None:
    data = Threads([(Path("a.jpg"), Path("a.png"))] * 2, "ab", voc_palette())
    ((_, labels),) = make_loader(data, EpochBatches(2, 2, 1, seed=0), num_workers=1)
    assert labels.unique().tolist() == [1]


def test_workers_end_when_the_loop_is_left_early(photographs: SegmentationDataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # on a machine with one core
        for _ in make_loader(photographs, EpochBatches(11, 2, 50, seed=2), num_workers=2):
            break
        gc.collect()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_a_worker_names_the_file(photographs: SegmentationDataset, num_workers: int) -> None:
    path = photographs.files[7][0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 300])
    with pytest.raises(ValueError, match=r"07\.jpg: damaged or cut off"):
        list(make_loader(photographs, EpochBatches(11, 11, 1, seed=0), num_workers))
