"""The label table of Cityscapes: names, ids, trainIds, colours, and which classes have instances or are evaluated."""

import csv
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np


class CityscapesLabel(NamedTuple):
    """One row of the table; `train_id` 255 = not trained on, `ignored` = left out of the evaluation."""

    name: str
    id: int
    train_id: int
    category: str
    category_id: int
    has_instances: bool
    ignored: bool
    colour: tuple[int, int, int]


def _read_labels() -> tuple[CityscapesLabel, ...]:
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return tuple(msgspec.convert([*row[:7], row[7:]], CityscapesLabel, strict=False) for row in rows)


CITYSCAPES_LABELS = _read_labels()


def train_ids_to_ids(labels: np.ndarray) -> np.ndarray:
    """The ids that submissions are written in: (...) integers, trainIds 0 to 18 or 255 (void) -> (...) uint8.

    Void becomes id 0, "unlabeled". Raises ValueError: another value; found ids are not trainIds.
    """
    table = np.full(256, 255, np.uint8)  # 255 is nobody's id
    for row in CITYSCAPES_LABELS:
        if 0 <= row.train_id < 255:
            table[row.train_id] = row.id
    table[255] = 0
    if wrong := [int(value) for value in np.unique(labels) if not 0 <= value <= 255 or table[value] == 255]:
        raise ValueError(f"labels: expected trainIds, 0 to 18 or 255 for void; found {wrong}")
    return table[labels]
