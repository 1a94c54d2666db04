"""Batches as a function of seed and iteration, and a loader that leaves no trace."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import refused

from seglib.data import EpochBatches, SegmentationDataset, ToyVOC, make_loader, sample_rng
from seglib.data.augmentation import ColorJitter
from seglib.data.transforms import Compose, RandomFlip, RandomScaleCrop


@pytest.fixture
def scenes() -> SegmentationDataset:
    """Eleven scenes of several sizes, augmented."""
    steps = Compose((RandomScaleCrop(24), RandomFlip(), ColorJitter(0.3, 0.3, 0.3)))
    return ToyVOC("val", transform=steps, seed=3).subset(range(11))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 60), st.integers(0, 2**40), st.data())
@settings(max_examples=100)
def test_any_start_has_the_rest(length: int, batch_size: int, iterations: int, seed: int, data: st.DataObject) -> None:
    batch_size, start = min(batch_size, length), data.draw(st.integers(0, iterations))
    whole = list(EpochBatches(length, batch_size, iterations, seed))
    rest = EpochBatches(length, batch_size, iterations, seed, start)
    assert len(whole) == iterations and len(rest) == iterations - start
    assert list(rest) == whole[start:] == list(rest), "a second pass is the same"


@pytest.mark.parametrize(("length", "batch_size"), [(10, 3), (9, 3), (3, 3), (5, 1)])
def test_each_epoch_shows_every_sample_at_most_once_in_full_batches(length: int, batch_size: int) -> None:
    per_epoch = length // batch_size
    batches = list(EpochBatches(length, batch_size, 4 * per_epoch, seed=1))
    assert {len(batch) for batch in batches} == {batch_size}
    orders = []
    for epoch in range(4):
        keys = [key for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for key in batch]
        assert {e for e, _ in keys} == {epoch}
        orders.append([index for _, index in keys])
        assert len(set(orders[-1])) == per_epoch * batch_size and set(orders[-1]) <= set(range(length))
    if length > 3:
        assert orders[0] != orders[1], "epochs are shuffled anew"
        assert batches != list(EpochBatches(length, batch_size, 4 * per_epoch, seed=2))


def test_the_order_shares_no_randomness_with_a_sample() -> None:
    """NumPy pads a key with zeros: (seed, epoch) is the generator of sample (seed, epoch, 0)."""
    assert np.array_equal(sample_rng(4, 2, 0).permutation(30), np.random.default_rng((4, 2)).permutation(30))
    order = EpochBatches(30, 5, 1, seed=4).permutation(2)
    assert not any(np.array_equal(order, sample_rng(4, 2, index).permutation(30)) for index in range(30))


def test_bad_arguments_are_named() -> None:
    refused("batch_size: expected 1 to the data set's 10 samples, found 0", EpochBatches, 10, 0, 5, 0)
    refused("batch_size: expected 1 to the data set's 3 samples, found 4", EpochBatches, 3, 4, 5, 0)
    refused("start_iteration: expected 0 to iterations = 5, found 6", EpochBatches, 10, 2, 5, 0, 6)
    refused("batch_size: 3, shared by 2 processes; expected a multiple of 2", EpochBatches, 10, 3, 5, 0, 0, 0, 2)
    several = "batch_size: 6, shared by 2 processes in 2 parts; expected a multiple of 4"
    refused(several, EpochBatches, 10, 6, 5, 0, 0, 0, 2, parts=2)


@pytest.mark.parametrize("parts", [1, 2])
def test_processes_share_each_part_of_a_batch_in_order_of_rank(parts: int) -> None:
    """A process computes the chunks of what it has one after the other, each together with the others' ones."""
    shares = [list(EpochBatches(20, 6 * parts, 7, 3, 2, rank, 3, parts)) for rank in range(3)]
    batches = zip(*shares, strict=True)
    together = [[key for k in range(parts) for mine in b for key in mine[2 * k : 2 * k + 2]] for b in batches]
    assert together == list(EpochBatches(20, 6 * parts, 7, 3, 2))


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_hold_the_samples_named_and_leave_no_trace(scenes: SegmentationDataset, num_workers: int) -> None:
    """The same for every number of workers and every state of the global generators, which stay as they are."""
    torch.manual_seed(num_workers)
    torch_before, python_before = torch.get_rng_state(), random.getstate()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002  the global state is what is looked at
    batches = EpochBatches(11, 4, 6, seed=2, start_iteration=1)
    found = list(make_loader(scenes, batches, num_workers))
    assert torch.equal(torch.get_rng_state(), torch_before) and random.getstate() == python_before
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    for (images, labels), keys in zip(found, batches, strict=True):
        assert images.is_contiguous(memory_format=torch.channels_last) and images.dtype == labels.dtype == torch.uint8
        for image, label, key in zip(images, labels, keys, strict=True):
            expected_image, expected_label = scenes[key]
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected_image)
            assert np.array_equal(label.numpy(), expected_label)
    assert not np.array_equal(scenes[(0, 5)][0], scenes[(1, 5)][0]), "epochs augment differently"
