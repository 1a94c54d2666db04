"""Which samples make which batch: a function of seed and iteration, so that a run can stop anywhere and go on."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from seglib.data.base import SegmentationDataset
from seglib.data.transforms import to_batch


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs, each epoch a permutation of the data set.

    Only full batches: what is left at the end of an epoch is dropped, because batch norm cannot take a batch of one.
    Started at iteration k it yields what an uninterrupted sequence yields from k on. Of several processes, each yields
    its own part of every batch; put together by rank they are the batches of one process.

    Args:
        length: samples in the data set.
        batch_size: 1 to `length`.
        iterations: where the sequence ends, counted from 0; the number of batches is `iterations - start_iteration`.
        seed: >= 0. start_iteration: 0 to `iterations`.
        rank, world_size: the number of this process, from 0, and how many share each batch.

    Raises:
        ValueError: an argument is out of range, or the processes cannot have equal parts.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        iterations: int,
        seed: int,
        start_iteration: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, found {batch_size}")
        if length < batch_size:
            raise ValueError(
                f"batch_size: {batch_size}, but the data set holds {length} samples; expected at most that"
            )
        if not 0 <= start_iteration <= iterations:
            raise ValueError(f"start_iteration: expected 0 to iterations = {iterations}, found {start_iteration}")
        if seed < 0:
            raise ValueError(f"seed: expected 0 or more, found {seed}")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size: {batch_size}, shared by {world_size} processes; expected a multiple of {world_size}"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank: expected 0 to {world_size - 1}, found {rank}")
        self.length = length
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed
        self.start_iteration = start_iteration
        self.rank = rank
        self.part = batch_size // world_size

    def __len__(self) -> int:
        return self.iterations - self.start_iteration

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = self.length // self.batch_size
        iteration = self.start_iteration
        while iteration < self.iterations:
            epoch, first = divmod(iteration, per_epoch)
            order = self.permutation(epoch)
            for batch in range(first, min(per_epoch, first + self.iterations - iteration)):
                start = batch * self.batch_size + self.rank * self.part
                yield [(epoch, int(index)) for index in order[start : start + self.part]]
                iteration += 1

    def permutation(self, epoch: int) -> np.ndarray:
        """The order of the samples in an epoch, (length,) int64."""
        # (seed, epoch) alone would give sample 0's generator: NumPy pads keys with zeros. No sample has index `length`.
        return np.random.default_rng((self.seed, epoch, self.length)).permutation(self.length)


def make_loader(dataset: SegmentationDataset, batches: Sampler, num_workers: int = 0) -> DataLoader:
    """A loader of `(images (B, 3, H, W) uint8, labels (B, H, W) uint8)`.

    The batches are the same for every number of workers, and torch's global generator is left alone. A sample that
    cannot be read raises the data set's own OSError or ValueError, in this process, without a worker's traceback.

    Args:
        batches: yields lists of keys of `dataset`, such as `EpochBatches`.
        num_workers: processes that read and transform; 0 does it in this one.
    """
    return _Loader(
        _Caught(dataset),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_to_batch,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # the workers' base seed would otherwise be drawn from the global one
    )


class _Caught(Dataset):
    """A data set whose errors are samples: as values they come through the workers' queue as they are."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Any:
        try:
            return self.dataset[key]
        except (OSError, ValueError) as error:
            return error


def _to_batch(samples: Sequence[Any]) -> tuple[Tensor, Tensor] | Exception:
    return next((sample for sample in samples if isinstance(sample, Exception)), None) or to_batch(samples)


class _Loader(DataLoader):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in super().__iter__():
            if isinstance(batch, Exception):
                raise batch
            yield batch
