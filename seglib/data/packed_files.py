"""The files of a packed data set: arrays that are whole or not there, an index, and a journal until that is written."""

import json
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

INDEX, JOURNAL, LOCK = "packed.json", "packed.journal", "packed.lock"
FOLDERS = ("images", "labels")
FORMAT = 1
NPY_HEADER = 128  # bytes before the array in a .npy file of a few dimensions
MENDED = "pack(dataset, folder) mends that"

Source = tuple[str, int, int]  # path, bytes, modification time in ns
Header = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """What is noted of one sample. Each pair is of its image and its label.

    Attributes:
        name: the sample's. files: names in the folders `images` and `labels`. shape: (H, W).
        crc32: of the arrays in these files. sources: the files that they were decoded from.
    """

    name: str
    files: tuple[str, str]
    shape: tuple[int, int]
    crc32: tuple[int, int]
    sources: tuple[Source, Source]

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Entry":
        """From JSON, which has lists for tuples."""
        image, label = value["sources"]
        pairs = (tuple(value[key]) for key in ("files", "shape", "crc32"))
        return cls(value["name"], *pairs, (tuple(image), tuple(label)))

    def paths(self, folder: Path) -> tuple[Path, Path]:
        """Its files in `folder`."""
        return folder / FOLDERS[0] / self.files[0], folder / FOLDERS[1] / self.files[1]

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the arrays in these files."""
        return (*self.shape, 3), self.shape

    def is_whole(self, folder: Path) -> bool:
        """Whether both files are there, of full length."""
        sizes = (NPY_HEADER + math.prod(shape) for shape in self.shapes())
        return all(p.exists() and p.stat().st_size == size for p, size in zip(self.paths(folder), sizes, strict=True))


def read_index(folder: Path) -> tuple[Header, list[Entry]]:
    """Header and entries of a finished folder. Raises FileNotFoundError: it is not finished. ValueError: damaged."""
    path = folder / INDEX
    if not path.exists():
        begun = "continues what was interrupted" if (folder / JOURNAL).exists() else "makes one"
        raise FileNotFoundError(f"{path}: no finished cache; pack(dataset, folder) {begun}")
    try:
        header = json.loads(path.read_bytes())
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}; expected {FORMAT}")
        return header, [Entry.of(value) for value in header.pop("samples")]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: not an index that can be read ({error}); {MENDED}") from error


def noted(folder: Path) -> tuple[Header, list[Entry]]:
    """Header and entries of the index, or of the journal where there is none; the last line of that may be cut off."""
    if (folder / INDEX).exists():
        try:
            return read_index(folder)
        except ValueError:
            return {}, []
    values = []
    for line in (folder / JOURNAL).read_bytes().splitlines() if (folder / JOURNAL).exists() else []:
        try:
            values.append(json.loads(line))
        except ValueError:
            break
    return (values[0], [Entry.of(value) for value in values[1:]]) if values else ({}, [])


def write_array(path: Path, array: np.ndarray) -> int:
    """Writes a .npy file that is whole or not there; returns the checksum of the array. Raises OSError naming it."""
    array = np.ascontiguousarray(array)
    # not write_atomic: it looks through the folder at every call, and this folder holds thousands of files
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path}: could not be written ({error}); the next call continues here") from error
    return zlib.crc32(array)


def mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read-only uint8 view of the array in a .npy file. Raises FileNotFoundError or ValueError: missing or cut off."""
    try:
        return np.asarray(np.memmap(path, np.uint8, "r", NPY_HEADER, shape))  # np.load takes twenty times as long
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, though the index names it; {MENDED}") from None
    except ValueError as error:
        raise ValueError(f"{path}: cut off ({error}); {MENDED}") from error


def flush(folder: Path) -> None:
    """Makes the renames in a folder outlast a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def line_of(value: dict[str, Any]) -> bytes:
    """JSON in one line."""
    return json.dumps(value).encode() + b"\n"


def source_of(path: Path) -> Source:
    """What tells whether a file is still the same. Raises FileNotFoundError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, though the data set lists it") from None
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def is_changed(source: Source) -> bool:
    """Whether there is another file now, or none in its folder; where the folder is gone too, nobody knows."""
    path = Path(source[0])
    try:
        return source_of(path) != source
    except OSError:
        return path.parent.is_dir()
