"""A data set decoded once into .npy files that are mapped into memory: a random crop then reads only its own rows.

A packed file is named after its source's path, size and modification time, and is whole or not there. What is in the
folder therefore says what has been done; the index, written last, makes it readable.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.format import open_memmap
from tqdm.auto import tqdm

from seglib.data.base import SegmentationDataset, Transform
from seglib.files import some

INDEX = "packed.json"
ARRAY = re.compile(r"(.+)-[0-9a-f]{16}\.npy")
Source = tuple[str, int, int]  # path, bytes, modification time in ns


def pack(dataset: SegmentationDataset, folder: str | Path, progress: bool = True) -> Path:
    """Decodes every sample of `dataset`, without its transform, into `folder`, which is returned: 4 bytes per pixel.

    The next call resumes. It decodes only what is not there or whose source file has changed, and removes what the data
    set no longer holds. Several processes may pack one data set at once; they share the work.

    Args:
        dataset: any data set that reads files.
        folder: new, empty, or as an earlier call for this data set left it.
        progress: False shows no bar.

    Raises:
        FileExistsError: if the folder holds something else, another data set, or these files read differently.
        FileNotFoundError: if a source file is missing.
        OSError: if a file cannot be written; what is packed so far is kept.
        ValueError: if a source file cannot be decoded.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources = [[_describe(path) for path in pair] for pair in dataset.files]
    arrays = [[folder / _array_name(source) for source in pair] for pair in sources]
    _check_folder(dataset, folder, arrays)
    order = np.random.default_rng().permutation(len(dataset))  # of its own in each process, which shares the work
    for index in tqdm(order, "pack", unit="image", disable=not progress):
        if not all(path.exists() for path in arrays[index]):
            for path, array in zip(arrays[index], dataset.read(index), strict=True):
                _write(path, lambda file, array=array: np.save(file, np.ascontiguousarray(array)))
    samples = [[name, *pair] for name, pair in zip(dataset.names, sources, strict=True)]
    content = {"classes": dataset.classes, "palette": dataset.palette.tobytes().hex(), "samples": samples}
    content |= {"reading": _reading_of(dataset)}
    text = json.dumps(content).encode()
    if not (folder / INDEX).exists() or (folder / INDEX).read_bytes() != text:
        _write(folder / INDEX, lambda file: file.write(text))
    wanted = {path for pair in arrays for path in pair}
    for path in folder.iterdir():
        if path.suffix == ".tmp" or (ARRAY.fullmatch(path.name) and path not in wanted):
            path.unlink(missing_ok=True)
    return folder


class PackedDataset(SegmentationDataset):
    """The data set that `pack` wrote into a folder: same names, classes and palette, the same samples bit for bit.

    The source files, which `files` lists, need not exist; but where their folder does, they must be the ones packed.

    Args:
        folder: as given to `pack`.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: if `pack` has not finished the folder.
        ValueError: if the index is damaged or a source file has changed.
    """

    def __init__(self, folder: str | Path, transform: Transform | None = None, seed: int = 0) -> None:
        index = Path(folder) / INDEX
        if not index.exists():
            raise FileNotFoundError(f"{index}: nothing to read yet; pack(dataset, folder) starts or resumes")
        try:
            content = json.loads(index.read_bytes())
            names, images, labels = zip(*content["samples"], strict=True)
            sources = [(path, size, time) for path, size, time in (*images, *labels)]
            palette = np.frombuffer(bytes.fromhex(content["palette"]), np.uint8).reshape(256, 3).copy()
            files = [(Path(image[0]), Path(label[0])) for image, label in zip(images, labels, strict=True)]
            super().__init__(files, content["classes"], palette, transform, seed, names)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{index}: not an index that can be read ({error}); delete it and pack again") from error
        if changed := [source[0] for source in sources if _is_changed(source)]:
            raise ValueError(f"{folder}: {some(changed)} changed or removed since it was packed; pack again")
        self._arrays = {Path(source[0]): Path(folder) / _array_name(source) for source in sources}

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns read-only views of image (H, W, 3) and label (H, W); raises as `read_image`."""
        image, label = self.files[index]
        return self.read_image(image), self.read_label(label)  # no checks: they would read every row of the label

    def read_image(self, path: Path) -> np.ndarray:
        """Returns a view of what was decoded from `path`. Raises ValueError if that file is missing or cut off."""
        return _map(self._arrays[path])

    read_label = read_image

    def stamp(self, path: Path) -> str:
        """Returns the packed file's name, which holds a hash of its source's path, bytes and modification time."""
        return self._arrays[path].name

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """As in `SegmentationDataset`; copies what no transform has copied yet, so that it can be written to."""
        image, label = super().__getitem__(key)
        return np.require(image, requirements="W"), np.require(label, requirements="W")

    def verify(self, dataset: SegmentationDataset | None = None) -> None:
        """Raises ValueError, naming the packed file, if one differs from its source, decoded again.

        Without `dataset`, the one that was packed, only shapes and label values are checked.
        """
        if dataset is not None and dataset.names != self.names:
            raise ValueError(f"verify: expected the {len(self)} samples that were packed, found {len(dataset)} others")
        for index in tqdm(range(len(self)), "verify", unit="image", disable=None):
            packed = super().read(index)  # with its checks
            expected = packed if dataset is None else dataset.read(index)
            for path, ours, theirs in zip(self.files[index], packed, expected, strict=True):
                if not np.array_equal(ours, theirs):
                    raise ValueError(f"{self._arrays[path]}: differs from {path}; delete it and pack again")


def _describe(path: Path) -> Source:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, though the data set lists it") from None
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


def _array_name(source: Source) -> str:
    return f"{Path(source[0]).stem}-{hashlib.sha256(repr(source).encode()).hexdigest()[:16]}.npy"


def _is_changed(source: Source) -> bool:
    try:
        return _describe(Path(source[0])) != source
    except OSError:
        return os.path.isdir(os.path.dirname(source[0]))  # without their folder, the sources are on another machine


def _check_folder(dataset: SegmentationDataset, folder: Path, arrays: list[list[Path]]) -> None:
    found = sorted(path.name for path in folder.iterdir() if path.name != INDEX and path.name[0] != ".")
    packed = {name: match[1] for name in found if (match := ARRAY.fullmatch(name))}
    if foreign := [name for name in found if name not in packed]:
        raise FileExistsError(f"{folder}: expected a new or empty folder, or one that pack wrote; found {foreign[0]}")
    if packed and {*packed.values()}.isdisjoint(path.stem for pair in dataset.files for path in pair):
        raise FileExistsError(f"{folder}: holds another data set ({packed[found[0]]} ...); expected a folder for each")
    if (folder / INDEX).exists():
        _check_index(dataset, folder)
    # Two data sets can read the same files differently, as with and without noise in the masks: one sample tells.
    for index in [index for index, pair in enumerate(arrays) if all(path.exists() for path in pair)][:1]:
        for path, array in zip(arrays[index], dataset.read(index), strict=True):
            if not np.array_equal(_map(path), array):
                what = "what another data set reads from the same file, or is damaged (then delete it and pack again)"
                raise FileExistsError(f"{path}: holds {what}; expected a folder for each data set")


def _reading_of(dataset: SegmentationDataset) -> str | None:
    table = getattr(dataset, "table", None)  # a folder's classes.toml
    return table and table.digest


def _check_index(dataset: SegmentationDataset, folder: Path) -> None:
    try:
        content = json.loads((folder / INDEX).read_bytes())
        classes, reading = content["classes"], content.get("reading", _reading_of(dataset))
        packed = {source[0] for _, *pair in content["samples"] for source in pair}
    except (ValueError, TypeError, KeyError, IndexError):
        return  # damaged: written anew
    if (classes, reading) != ([*dataset.classes], _reading_of(dataset)):
        raise FileExistsError(f"{folder}: packed through other classes or classes.toml; expected a folder for each")
    mine = {os.path.abspath(path) for pair in dataset.files for path in pair}
    if packed.isdisjoint(mine) and (still := sorted(filter(os.path.exists, packed))):
        raise FileExistsError(f"{folder}: holds another data set ({still[0]} ...); expected a folder for each")


def _map(path: Path) -> np.ndarray:
    try:
        return np.asarray(open_memmap(path, mode="r"))  # as np.load does after a look at the file's kind
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{path}: missing or cut off ({error}); delete it and pack again") from error


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    # Not write_atomic: it looks for leftovers among thousands of files here, and may remove another process's.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.exists():
            return  # another process has finished the data set, and removed what lay about
        raise OSError(f"{path}: could not be written ({error}); the next call keeps what is packed so far") from error
    finally:
        temporary.unlink(missing_ok=True)
