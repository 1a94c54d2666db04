"""The samples of each batch: a function of seed and iteration, so that a run can stop anywhere and resume."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from seglib.data.base import SegmentationDataset
from seglib.data.transforms import to_batch


@dataclass(frozen=True)
class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs, each epoch a permutation of the data set.

    Only full batches: what is left at the end of an epoch is dropped, because batch norm cannot take a batch of one.
    Started at iteration k it yields what an uninterrupted sequence yields from k on. Of several processes, each yields
    its own part of every batch; put together by rank they are the batches of one process.
    """

    length: int  # samples in the data set
    batch_size: int  # 1 to `length`
    iterations: int  # where the sequence ends, counted from 0
    seed: int
    start_iteration: int = 0  # 0 to `iterations`
    rank: int = 0  # the number of this process
    world_size: int = 1  # the number of processes that share each batch
    parts: int = 1  # that a batch is computed in, each shared by all processes; parts * world_size divides `batch_size`

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.length:
            raise ValueError(f"batch_size: expected 1 to the data set's {self.length} samples, found {self.batch_size}")
        if not 0 <= self.start_iteration <= self.iterations:
            expected = f"0 to iterations = {self.iterations}"
            raise ValueError(f"start_iteration: expected {expected}, found {self.start_iteration}")
        if self.batch_size % (self.parts * self.world_size):
            shared = f"{self.batch_size}, shared by {self.world_size} processes"
            shared += f" in {self.parts} parts" if self.parts > 1 else ""
            raise ValueError(f"batch_size: {shared}; expected a multiple of {self.parts * self.world_size}")

    def __len__(self) -> int:
        return self.iterations - self.start_iteration

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = self.length // self.batch_size
        for iteration in range(self.start_iteration, self.iterations):
            epoch, batch = divmod(iteration, per_epoch)
            if batch == 0 or iteration == self.start_iteration:
                order = self.permutation(epoch)
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            mine = whole.reshape(self.parts, self.world_size, -1)[:, self.rank].ravel()
            yield [(epoch, int(index)) for index in mine]

    def permutation(self, epoch: int) -> np.ndarray:
        """Returns the order of the samples in an epoch, (length,) int64."""
        # (seed, epoch) by itself would give sample 0's generator: NumPy pads keys with zeros. No index is `length`.
        return np.random.default_rng((self.seed, epoch, self.length)).permutation(self.length)


def make_loader(dataset: SegmentationDataset, batches: Sampler, num_workers: int = 0) -> DataLoader:
    """Makes a loader of `(images (B, 3, H, W) uint8, labels (B, H, W) uint8)`.

    The batches are the same for every number of workers, and torch's global generator is left as it is.

    Args:
        batches: yields lists of keys of `dataset`, such as `EpochBatches`.
        num_workers: processes that read and transform; 0 does it in this one.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=to_batch,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # the workers' base seed would otherwise be drawn from the global one
        worker_init_fn=partial(_end_with, os.getpid()),
    )


def _end_with(parent: int, _: int) -> None:
    # PyTorch's worker watches the parent that it sees once it is ready. If the parent died before, it would watch the
    # process that adopted it, and never end.
    if os.getppid() != parent:
        os._exit(1)
