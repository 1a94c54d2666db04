"""The identity of the data that a run was trained and scored on, and the way to say that others differ."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seglib.data.base import VOID, SegmentationDataset
from seglib.files import some

Counts = dict[str, list[Any]]  # a label's path -> stamp, checksum, height, width, pixels of each class, of void


def count_labels(dataset: SegmentationDataset, known: Counts) -> Counts:
    """Counts the pixels of each class in every label, as the labels are before a transform and label noise.

    Reading thousands of labels takes seconds to minutes. What is `known` of a label is taken from there, unless its
    file's stamp has changed.

    Raises:
        FileNotFoundError, ValueError: if a label cannot be read, or holds a value that is no class; names it.
    """
    dataset = getattr(dataset, "source", dataset)
    counts: Counts = {}
    for _, path in dataset.files:
        stamp = dataset.stamp(path)
        found = known.get(str(path))
        if found is None or found[0] != stamp or len(found) != 5 + dataset.num_classes:
            found = [stamp, *_count(dataset, path)]
        counts[str(path)] = found
    return counts


def check_classes(dataset: SegmentationDataset, counts: Counts) -> list[str]:
    """Names classes without a pixel. Raises ValueError if nothing can be learned: one class or none beside void."""
    if dataset.num_classes == 1:
        raise ValueError(f"{dataset.classes[0]} is the only class; expected two or more: else all is predicted right")
    pixels = _sum_pixels(dataset, counts)
    if pixels[-1] > 0.001 * sum(pixels) and (text := describe_binary(dataset.classes, pixels)):
        raise ValueError(f"{dataset.files[0][1].parent}: {text}")
    return [name for name, count in zip(dataset.classes, pixels, strict=False) if not count]


def describe_binary(names: Sequence[str], pixels: Sequence[int]) -> str:
    """Says that an object may have been stored as void: one class at most has pixels beside void's. "" if not so.

    `pixels`: of each class and, last, void. Masks of 0 and 255 for two classes would be scored as perfect.
    """
    absent = [name for name, count in zip(names, pixels, strict=False) if not count]
    if len(names) < 2 or len(names) - len(absent) > 1 or not pixels[-1]:
        return ""
    return (
        f"no pixel of {some(absent)} in any label, while {pixels[-1] / sum(pixels):.1%} are void: binary masks often "
        "store 255 for the object; then give it value = 255 in classes.toml, and set void_values = []"
    )


def fingerprint(dataset: SegmentationDataset, counts: Counts) -> dict[str, Any]:
    """Identifies a data set by its labels; the same from files and from a packed copy of them.

    Args:
        counts: as `count_labels` returns them.

    Returns:
        {"images": number, "names": hash of the ids, "pixels": one number per class and, last, void, "labels": hash over
        ids, sizes and pixels of all labels}; and "pixel_range", if the data set has one.
    """
    rows = [[name, *counts[str(path)][1:]] for name, (_, path) in zip(dataset.names, dataset.files, strict=True)]
    return {
        "images": len(rows),
        "names": _digest([row[0] for row in rows]),
        "pixels": _sum_pixels(dataset, counts) if rows else [],
        "labels": _digest(rows),
    } | ({"pixel_range": [*dataset.pixel_range]} if dataset.pixel_range else {})


def describe_difference(stored: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Says how two fingerprints differ; "" if they do not."""
    if stored["images"] != found["images"]:
        return f"{stored['images']} images there, {found['images']} here"
    if stored["names"] != found["names"]:
        return f"{stored['images']} images of other names or in another order"
    if (before := stored.get("pixel_range")) != (now := found.get("pixel_range")):
        return f"pixel_range = {before} there, {now} here"
    if stored["pixels"] != found["pixels"]:
        if len(stored["pixels"]) != len(found["pixels"]):
            return f"{len(stored['pixels']) - 1} classes there, {len(found['pixels']) - 1} here"
        labels = [*map(str, range(len(found["pixels"]) - 1)), "void"]
        pairs = zip(labels, stored["pixels"], found["pixels"], strict=True)
        return "pixels of the labels: " + some([f"{k}: {a} there, {b} here" for k, a, b in pairs if a != b], limit=3)
    return "" if stored["labels"] == found["labels"] else "the labels' pixels lie elsewhere"


def _sum_pixels(dataset: SegmentationDataset, counts: Counts) -> list[int]:
    return np.sum([counts[str(path)][4:] for _, path in dataset.files], axis=0, dtype=np.int64).tolist()


def _count(dataset: SegmentationDataset, path: Path) -> list[int]:
    label = dataset.read_label(path)
    pixels = np.bincount(label.ravel(), minlength=256)
    dataset.check_values(path, pixels.nonzero()[0])
    counts = [*pixels[: dataset.num_classes].tolist(), int(pixels[VOID])]
    return [zlib.crc32(np.ascontiguousarray(label)), *label.shape, *counts]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
