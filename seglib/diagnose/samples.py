"""Any data set as arrays: this package's, another's, a DataLoader; and the files behind it."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from seglib.data.images import read_channels
from seglib.data.make_table import describe_sizes
from seglib.files import some

IMAGES = ("image", "images", "img", "pixel_values", "input")  # keys of samples that are dictionaries
LABELS = ("label", "labels", "mask", "masks", "target", "seg", "semantic")
THUMB = 16  # side of the grey thumbnails by which copies are found
ORIENTATION = 0x0112  # EXIF's tag
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # Pillow raises the last two
MIRRORS = {"mirrored left to right": np.s_[:, ::-1], "upside down": np.s_[::-1], "turned by 180": np.s_[::-1, ::-1]}

Arrays = tuple[np.ndarray, np.ndarray]  # image (H, W, C) of any range, label (H, W)


class Picture(NamedTuple):
    """What an image file betrays."""

    shape: tuple[int, int] = (0, 0)  # as viewers show it
    thumb: np.ndarray | None = None  # (THUMB, THUMB) float32 grey
    digest: bytes = b""
    turned: bool = False  # by EXIF
    deep: bool = False  # more than 8 bits a channel, of which a loader may know nothing
    dropped: bool = False  # a fourth channel that is not read
    # of one that its folder's table refuses: channels; lowest and highest value, () of 8 bits, None if these are right
    refused: tuple[int, tuple | None] | None = None


class Row(NamedTuple):
    """What reading the files of a sample gave."""

    counts: np.ndarray | None  # (256,) pixels of each label value; None if it could not be read
    outside: list[int]  # label values below 0 or above 255
    palette: bytes  # RGB of the mask's palette; empty without
    picture: Picture
    messages: list[str]  # errors


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
        """File names of the pictures that are `what`, "turned", "deep" or "dropped"."""
        return [Path(name).name for name, row in zip(self.names, self.rows, strict=True) if getattr(row.picture, what)]


def to_arrays(sample: Any) -> Arrays:
    """Makes arrays of a sample: a pair or a dictionary of arrays, PIL images or tensors (C, H, W)."""
    if isinstance(sample, Mapping):
        found = [next((sample[key] for key in keys if key in sample), None) for keys in (IMAGES, LABELS)]
        if any(value is None for value in found):
            raise ValueError(f"dataset: a sample with the keys {[*sample]}; expected one of {IMAGES} and of {LABELS}")
        sample = found
    if len(sample) < 2:
        raise ValueError("dataset: a sample without a label; expected (image, label)")
    image, label = to_array(sample[0]), to_array(sample[1])
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[0] in (1, 3, 4) and (hasattr(sample[0], "detach") or image.shape[-1] not in (1, 3, 4)):
        image = np.moveaxis(image, 0, -1)
    if label.ndim == 3 and 1 in (label.shape[0], label.shape[2]):
        label = label.reshape([side for side in label.shape if side != 1])
    return image, label


def to_array(value: Any) -> np.ndarray:
    """Makes an array of anything; of a palette image, its indices."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)


class Source:
    """A data set with `__getitem__` and `__len__`, or a DataLoader, of anyone's.

    Attributes:
        loader: the DataLoader, if it is one.
        dataset: the data set.
        own: it is a `SegmentationDataset`, which reads a label by itself and as stored.
        files: (image, label) paths, if the data set keeps them.
        classes: their names, if the data set has them.
    """

    def __init__(self, data: Any) -> None:
        self.loader = data if hasattr(data, "dataset") and hasattr(data, "batch_sampler") else None
        self.dataset = data if self.loader is None else data.dataset
        self.own = hasattr(self.dataset, "read_label") and hasattr(self.dataset, "files")
        if not hasattr(self.dataset, "__len__") or not hasattr(self.dataset, "__getitem__"):
            raise ValueError(f"dataset: {type(data).__name__} has no length or no items; expected samples by number")
        self.files = self.dataset.files if self.own else find_files(self.dataset)
        self.classes = tuple(map(str, getattr(self.dataset, "classes", None) or ()))

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
            image, label = self.files[index]
            return self.dataset.read_image(image), self.dataset.read_label(label)

    def take(self, count: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields (index, image, label) of samples as given, spread over the set, without those that cannot be read."""
        for index in self.spread(count):
            try:
                yield index, *self.given(index)
            except (OSError, ValueError):
                continue

    def scan(self) -> Scan:
        """Reads labels and pictures' thumbnails: all of a set of ours, else at most 1,000."""
        chosen = range(len(self)) if self.own else self.spread(1000)
        names = [str(self.files[index][0]) if self.files else str(index) for index in chosen]
        return Scan(names, [self._read(index) for index in chosen])

    def _read(self, index: int) -> Row:
        image_path, label_path = self.files[index] if self.files else (None, None)
        image, label, messages, picture = None, None, [], Picture()
        size, palette = _stored(label_path) if label_path else ((), b"")
        try:
            if self.own:
                label = self.dataset.read_label(label_path)
            else:
                image, label = self.given(index)
        except (OSError, ValueError) as error:
            messages.append(str(error))
        counts, outside = (None, []) if label is None else _count(label)
        try:
            if image_path:
                picture = _look_at(image_path, self.dataset if self.own else None)
            elif image is not None:
                picture = Picture(thumb=_shrink(Image.fromarray(to_bytes(image))))
            shape = picture.shape if not self.own else size if label is None else label.shape
            if len(shape) == 2 and shape != picture.shape:
                messages.append(f"{label_path}: {describe_sizes(picture.shape, shape, picture.turned)}")
        except UNREADABLE as error:
            told = str(error) if str(error).startswith(str(image_path)) else f"{image_path}: cannot be read ({error})"
            messages.append(told)
        return Row(counts, outside, palette, picture, messages)


def _count(label: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Counts the values 0 to 255 of a label of integers (H, W), and lists the others."""
    if label.ndim != 2 or label.dtype.kind == "f":
        return np.zeros(256, np.int64), []
    if label.dtype == np.uint8:
        return np.bincount(label.ravel(), minlength=256), []
    within = (label >= 0) & (label <= 255)
    return np.bincount(label[within].astype(np.uint8), minlength=256), np.unique(label[~within]).tolist()


def describe_pictures(scans: Mapping[str, Scan], table: Any) -> list[str]:
    """Says of all splits of a folder at once which pictures its table refuses, and which lines in it take them."""
    pictures = {name: row.picture for scan in scans.values() for name, row in zip(scan.names, scan.rows, strict=True)}
    refused = [("/".join(Path(name).parts[-2:]), *each.refused) for name, each in pictures.items() if each.refused]
    texts = []
    for number in sorted({channels for _, channels, _ in refused} - {table.in_channels}):
        names = [name for name, channels, _ in refused if channels == number]
        cure = f"set in_channels = {number} in classes.toml" if len(names) == len(pictures) else "expected one number"
        found = f"{some(names, 3)}: {number} channels, as {len(names)} of {len(pictures)} pictures have"
        texts.append(f"{found}; in_channels = {table.in_channels} in classes.toml; {cure}")
    for deep, bits in ((True, "more than 8 bits a channel"), (False, "8 bits a channel")):
        ranges = {name: values for name, _, values in refused if values is not None and bool(values) == deep}
        low, high = (pick(chain(*ranges.values(), table.pixel_range or ()), default=0) for pick in (min, max))
        cure = f"values {low} to {high}; set pixel_range = [{low}, {high}] in classes.toml, or save them with 8 bits"
        cure = cure if deep else "pixel_range in classes.toml is for more"
        if ranges:
            alike = len(ranges) == len(pictures) or (deep and table.pixel_range)
            mixed = "" if alike else "; expected one depth for all pictures"
            found = f"{some([*ranges], 3)}: {bits}, as {len(ranges)} of {len(pictures)} pictures have"
            texts.append(f"{found}; {cure}{mixed}")
    return texts


def _read_mended(path: Path, table: Any) -> tuple[np.ndarray, tuple[int, tuple | None] | None]:
    """Reads a picture of a folder, after each refusal as its table should have been; with what the picture has."""
    channels, scale, values = table.in_channels, table.pixel_range, None
    while True:
        try:
            pixels = read_channels(path, channels, scale)
        except ValueError as error:
            text = str(error).removeprefix(f"{path}: ")
            if known := re.match(r"an array \(\d+, \d+, (\d+)\)", text):
                channels = int(known[1])
            elif known := re.match(r".*?values ([-+.\deinfa]+) to ([-+.\deinfa]+); expected( more bits)?", text):
                low, high = float(known[1]), float(known[2])
                if broken := [each for each in (low, high) if not np.isfinite(each)]:
                    raise ValueError(f"{path}: holds {broken[0]}; expected finite numbers") from error
                values = () if known[3] else tuple(int(v) if v == int(v) else v for v in (low, high))
                scale = (low, max(high, low + 1)) if values else None
            else:
                raise
        else:
            refused = values is not None or channels != table.in_channels
            return pixels, (channels, values) if refused else None


def _look_at(path: Path, dataset: Any) -> Picture:
    """Looks at an image file; what `dataset` reads of it, where a thumbnail made by Pillow would not do."""
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    turned = deep = dropped = False
    if path.suffix.lower() != ".npy" and getattr(dataset, "in_channels", 3) == 3:
        with Image.open(path) as image:
            turn = image.getexif().get(ORIENTATION, 1)
            turned, shape = turn in range(2, 9), image.size if turn in range(5, 9) else image.size[::-1]
            deep = image.mode[0] in "IF" or any(";16" in str(tile[3]) for tile in image.tile)
            dropped = image.mode in ("RGBA", "RGBX") and image.getextrema()[3][0] < 255
            if not deep and getattr(dataset, "pixel_range", None) is None:
                image.draft("L", (2 * THUMB, 2 * THUMB))  # a JPEG is decoded at an eighth of its side
                return Picture(shape, _shrink(image), digest, turned, dropped=dropped)
    if dataset is None:
        return Picture(digest=digest, turned=turned, deep=deep)
    table = getattr(dataset, "table", None)
    pixels, refused = (dataset.read_image(path), None) if table is None else _read_mended(path, table)
    return Picture(pixels.shape[:2], _shrink(Image.fromarray(pixels[..., 0])), digest, turned, refused=refused)


def find_files(dataset: Any) -> list[tuple[Path, Path]] | None:
    """Finds the files of a data set: its `files`, or two lists of paths among its attributes; None without."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):  # a torch Subset
        files = find_files(dataset.dataset)
        return files and [files[index] for index in dataset.indices]
    pairs = getattr(dataset, "files", None)
    if pairs and isinstance(pairs[0], Sequence) and len(pairs[0]) == 2 and all(map(_is_file, pairs[0])):
        return [(Path(image), Path(label)) for image, label in pairs]
    lists = [value for value in getattr(dataset, "__dict__", {}).values() if isinstance(value, list)]
    lists = [value for value in lists if len(value) == len(dataset) and value and _is_file(value[0])]
    if len(lists) < 2:
        return None
    lists.sort(key=lambda paths: open_stored(paths[0]).mode not in ("RGB", "YCbCr", "CMYK"))  # the image first
    return [(Path(image), Path(label)) for image, label in zip(*lists[:2], strict=True)]


def _stored(path: Path) -> tuple[tuple[int, ...], bytes]:
    """Returns (height, width) and palette of a mask's file, whatever it holds; nothing if it cannot be opened."""
    try:
        with Image.open(path) as image:
            return image.size[::-1], bytes(image.getpalette() or b"") if image.mode == "P" else b""
    except UNREADABLE:
        return (), b""


def _is_file(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and Path(value).is_file()


def open_stored(path: Path) -> Image.Image:
    """Reads an image file as it is stored, and closes it."""
    with Image.open(path) as image:
        return image.copy()


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
    picture = to_bytes(image).copy()
    picture[find_edges(label)] = (255, 0, 0)
    return picture


def find_edges(label: np.ndarray) -> np.ndarray:
    """Marks pixels whose label differs from that of the right or the lower neighbour. -> (H, W) bool."""
    edge = np.zeros(label.shape, bool)
    edge[:, :-1] |= label[:, 1:] != label[:, :-1]
    edge[:-1] |= label[1:] != label[:-1]
    return edge
