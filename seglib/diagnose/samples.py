"""Any data set as arrays: this package's, another's, a DataLoader; and the files behind it."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from seglib.data.make_table import describe_sizes

IMAGES = ("image", "images", "img", "pixel_values", "input")  # keys of samples that are dictionaries
LABELS = ("label", "labels", "mask", "masks", "target", "seg", "semantic")
THUMB = 16  # side of the grey thumbnails by which copies are found
ORIENTATION = 0x0112  # EXIF's tag

MIRRORS = {"mirrored left to right": np.s_[:, ::-1], "upside down": np.s_[::-1], "turned by 180": np.s_[::-1, ::-1]}

Arrays = tuple[np.ndarray, np.ndarray]  # image (H, W, C) of any range, label (H, W)


class Row(NamedTuple):
    """What reading the files of a sample gave."""

    counts: np.ndarray | None  # (256,) pixels of each label value; None if it could not be read
    messages: list[str]  # errors
    outside: list[int]  # label values below 0 or above 255
    thumb: np.ndarray | None  # (THUMB, THUMB) float32 grey
    digest: bytes  # of the image file; empty without
    turned: bool  # EXIF turns the picture
    deep: bool  # it has more than 8 bits a channel
    palette: bytes  # RGB of the mask's palette; empty without


class Scan(NamedTuple):
    """What reading all samples' files gave."""

    names: list[str]  # of the pictures
    rows: list[Row]

    @property
    def pixels(self) -> np.ndarray:
        """(256,) int64: the pixels of each label value."""
        return sum((row.counts for row in self.rows if row.counts is not None), np.zeros(256, np.int64))

    @property
    def messages(self) -> list[str]:
        """All errors."""
        return [text for row in self.rows for text in row.messages]

    def named(self, what: str) -> list[str]:
        """Names of the pictures whose row has something true there."""
        return [name for name, row in zip(self.names, self.rows, strict=True) if getattr(row, what)]


def to_arrays(sample: Any) -> Arrays:
    """Makes arrays of a sample: a pair or a dictionary of arrays, PIL images or tensors (C, H, W)."""
    if isinstance(sample, Mapping):
        found = [next((sample[key] for key in keys if key in sample), None) for keys in (IMAGES, LABELS)]
        if any(value is None for value in found):
            raise ValueError(f"dataset: a sample with the keys {[*sample]}; expected one of {IMAGES} and of {LABELS}")
        sample = found
    if len(sample) < 2:
        raise ValueError("dataset: a sample without a label; expected (image, label)")
    image, label = (_to_array(value) for value in (sample[0], sample[1]))
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[0] in (1, 3, 4) and (hasattr(sample[0], "detach") or image.shape[-1] not in (1, 3, 4)):
        image = np.moveaxis(image, 0, -1)
    if label.ndim == 3 and 1 in (label.shape[0], label.shape[2]):
        label = label.reshape(*(side for side in label.shape if side != 1))
    return image, label


def _to_array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)  # of PIL's "P": the indices


class Source:
    """A data set with `__getitem__` and `__len__`, or a DataLoader, of anyone's.

    Attributes:
        loader: the DataLoader, if it is one.
        dataset: the data set.
        own: it is a `SegmentationDataset`, which reads a label by itself and as stored.
        files: (image, label) paths, if the data set keeps them.
    """

    def __init__(self, data: Any) -> None:
        self.loader = data if hasattr(data, "dataset") and hasattr(data, "batch_sampler") else None
        self.dataset = data if self.loader is None else data.dataset
        self.own = hasattr(self.dataset, "read_label") and hasattr(self.dataset, "files")
        if not hasattr(self.dataset, "__len__") or not hasattr(self.dataset, "__getitem__"):
            raise ValueError(f"dataset: {type(data).__name__} has no length or no items; expected samples by number")
        self.files = find_files(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def spread(self, count: int) -> list[int]:
        """Chooses at most so many samples, evenly over the whole."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)).tolist()

    def given(self, index: int) -> Arrays:
        """Returns a sample as the network gets it; of labels that our own refuse, as it is read."""
        try:
            return to_arrays(self.dataset[index])
        except ValueError:
            if not self.own:
                raise
            image, label = self.dataset.files[index]
            return self.dataset.read_image(image), self.dataset.read_label(label)

    def stored(self, index: int) -> tuple[np.ndarray, Image.Image]:
        """Returns a sample as its files hold it: (H, W, 3) RGB, and the mask's image."""
        image, label = self.files[index]
        return np.asarray(_open(image, "RGB")), _open(label, None)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, if the data set has them."""
        return tuple(map(str, getattr(self.dataset, "classes", None) or ()))

    def scan(self, workers: int = 1, limit: int = 1000) -> Scan:
        """Reads labels and pictures' thumbnails: all of a set of ours, else at most `limit`."""
        chosen = range(len(self)) if self.own else self.spread(limit)
        names = [str(self.files[index][0]) if self.files else str(index) for index in chosen]
        if self.own and workers > 1:
            with ThreadPoolExecutor(workers) as pool:
                return Scan(names, list(pool.map(self._read, chosen)))
        return Scan(names, list(map(self._read, chosen)))

    def _read(self, index: int) -> Row:
        counts, messages, outside, image, label, file = None, [], [], None, None, _File()
        palette = _palette(self.files[index][1]) if self.files else b""
        try:
            if self.own:
                label = self.dataset.read_label(self.dataset.files[index][1])
            else:
                image, label = self.given(index)
            if label.ndim != 2 or label.dtype.kind == "f":
                label, values = None, np.zeros(0, np.uint8)  # `data` tells of it
            elif label.dtype == np.uint8:
                values = label
            else:
                within = (label >= 0) & (label <= 255)
                outside, values = np.unique(label[~within]).tolist(), label[within].astype(np.uint8)
            counts = np.bincount(values.ravel(), minlength=256)
        except (OSError, ValueError) as error:
            messages.append(str(error))
        try:
            if self.files:
                file = _read_file(self.files[index][0], self.dataset if self.own else None)
                if self.own and label is not None and label.shape != file.shape:
                    text = describe_sizes(file.shape, label.shape, file.turned)
                    messages.append(f"{self.files[index][1]}: {text}")
            elif image is not None:
                file = _File(thumb=_shrink(Image.fromarray(to_bytes(image))))
        except (OSError, ValueError, SyntaxError) as error:
            messages.append(str(error))
        return Row(counts, messages, outside, file.thumb, file.digest, file.turned, file.deep, palette)


class _File(NamedTuple):
    shape: tuple[int, int] = (0, 0)
    thumb: np.ndarray | None = None
    digest: bytes = b""
    turned: bool = False
    deep: bool = False


def _read_file(path: Path, dataset: Any) -> _File:
    """Looks at an image file; what `dataset` reads of it, where a thumbnail made by Pillow would not do."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    turned = deep = False
    if path.suffix.lower() != ".npy" and getattr(dataset, "in_channels", 3) == 3:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION, 1) != 1
            deep = image.mode[0] in "IF" or any(";16" in str(tile[3]) for tile in image.tile)
            shape = image.size if image.getexif().get(ORIENTATION, 1) > 4 else image.size[::-1]
            if not deep:
                image.draft("L", (2 * THUMB, 2 * THUMB))  # a JPEG is decoded at an eighth of its side
                return _File(shape, _shrink(image), digest, turned)
    if dataset is None:
        return _File(digest=digest, turned=turned, deep=deep)
    pixels = dataset.read_image(path)
    return _File(pixels.shape[:2], _shrink(Image.fromarray(pixels[..., 0])), digest, turned)


def to_classes(prediction: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns classes (H, W), and probabilities (K, H, W) if it holds such."""
    found = _to_array(prediction)
    return (found.argmax(axis=0), found) if found.ndim == 3 else (found, None)


def find_files(dataset: Any) -> list[tuple[Path, Path]] | None:
    """Finds the files of a data set: its `files`, or two lists of paths among its attributes; None without."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):  # a torch Subset
        files = find_files(dataset.dataset)
        return files and [files[index] for index in dataset.indices]
    pairs = getattr(dataset, "files", None)
    if pairs and isinstance(pairs[0], Sequence) and len(pairs[0]) == 2 and all(map(_is_file, pairs[0])):
        return [(Path(image), Path(label)) for image, label in pairs]
    lists = [
        value
        for value in getattr(dataset, "__dict__", {}).values()
        if isinstance(value, list) and len(value) == len(dataset) and value and _is_file(value[0])
    ]
    if len(lists) < 2:
        return None
    lists.sort(key=lambda paths: _open(paths[0], None).mode not in ("RGB", "YCbCr", "CMYK"))  # the image first
    return [(Path(image), Path(label)) for image, label in zip(*lists[:2], strict=True)]


def _palette(path: Path) -> bytes:
    try:
        with Image.open(path) as image:
            return bytes(image.getpalette() or b"") if image.mode == "P" else b""
    except (OSError, ValueError, SyntaxError):
        return b""


def _is_file(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and Path(value).is_file()


def _open(path: Path, mode: str | None) -> Image.Image:
    with Image.open(path) as image:
        return image.convert(mode) if mode else image.copy()


def _shrink(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((THUMB, THUMB), Image.Resampling.BOX), np.float32)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Scales an image (H, W, C) of any range to (H, W, 3) uint8, for a look at it."""
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return np.ascontiguousarray(image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2))


def draw_edges(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Draws a label's edges in red over its image."""
    picture, edge = to_bytes(image).copy(), find_edges(label)
    picture[edge] = (255, 0, 0)
    return picture


def find_edges(label: np.ndarray) -> np.ndarray:
    """Marks pixels whose label differs from that of the right or the lower neighbour. -> (H, W) bool."""
    edge = np.zeros(label.shape, bool)
    edge[:, :-1] |= label[:, 1:] != label[:, :-1]
    edge[:-1] |= label[1:] != label[:-1]
    return edge


def take(sources: Source, count: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (index, image, label) of samples as given, spread over the set; those that cannot be read are left out."""
    for index in sources.spread(count):
        try:
            yield index, *sources.given(index)
        except (OSError, ValueError):
            continue
