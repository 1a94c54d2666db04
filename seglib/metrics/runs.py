"""Fast counts of the values that meet in label maps.

Label maps consist of runs, neighbouring pixels of one value. To find where the value changes takes a tenth of the time
of a histogram over all pixels, so runs are counted instead. Torch is not imported here, only methods of tensors are
called: Cityscapes' command uses this module, and to import torch would take longer than its work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Plane = TypeVar("Plane", np.ndarray, "Tensor")

PIECE = 2**19  # pixels whose arrays stay in a processor's cache
SHORTEST_RUN = 4  # pixels: if runs are shorter on average, a histogram is faster
LARGEST_TABLE = 2**20  # cells of a histogram


def pieces_of(planes: Sequence[Plane]) -> Iterator[list[Plane]]:
    """Cuts arrays or tensors of one shape into flat pieces of PIECE pixels."""
    flat = [plane.reshape(-1) for plane in planes]
    for start in range(0, len(flat[0]), PIECE):
        yield [plane[start : start + PIECE] for plane in flat]


def runs_of(planes: Sequence[np.ndarray], shortest: int = 1) -> list[np.ndarray] | None:
    """Cuts flat arrays of one length wherever any of them changes.

    Returns the values of each array in the runs, then the runs' lengths, all int64; None if the runs have fewer than
    `shortest` pixels on average.
    """
    changes = planes[0][1:] != planes[0][:-1]
    for plane in planes[1:]:
        changes |= plane[1:] != plane[:-1]
    if (np.count_nonzero(changes) + 1) * shortest > len(planes[0]):
        return None
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return [*(plane[starts].astype(np.int64) for plane in planes), np.diff(starts, append=len(planes[0]))]


def count_pairs(labels: Tensor, predictions: Tensor) -> tuple[np.ndarray, ...]:
    """Lists the pairs of a label and a prediction that occur, and the number of pixels that have them.

    Args:
        labels, predictions: integers of one shape, at least one, on one device.

    Returns labels, predictions, numbers of pixels: int64 arrays of one length. A pair may be listed several times.
    """
    on_cpu = labels.device.type == "cpu"  # on a GPU, pieces would only be waits
    pieces = pieces_of([labels, predictions]) if on_cpu else [[labels.flatten(), predictions.flatten()]]
    found = [_count_piece(*piece) for piece in pieces]
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def _count_piece(labels: Tensor, predictions: Tensor) -> Sequence[np.ndarray]:
    lows, highs = zip(*([int(bound) for bound in plane.aminmax()] for plane in (labels, predictions)), strict=True)
    rows, columns = (high + 1 for high in highs)
    cells = rows * columns
    if min(lows) < 0 or cells > LARGEST_TABLE:
        return runs_of([labels.cpu().numpy(), predictions.cpu().numpy()])
    if max(highs) < 256:
        labels, predictions = labels.byte(), predictions.byte()  # less to read
    on_cpu = labels.device.type == "cpu"
    runs = runs_of([labels.numpy(), predictions.numpy()], SHORTEST_RUN) if on_cpu else None
    if runs is not None:
        table = np.bincount(runs[0] * columns + runs[1], weights=runs[2], minlength=cells)  # exact up to 2^53
    else:
        # A histogram is bound by memory traffic: 64-bit codes would take four times as long to write.
        codes = (labels.short() if cells < 2**15 else labels.int()) * columns
        table = codes.add_(predictions).bincount(minlength=cells).cpu().numpy()
    present = np.flatnonzero(table)
    return present // columns, present % columns, table[present].astype(np.int64)
