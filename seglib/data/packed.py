"""A data set decoded once into memory-mapped files: a random crop then decodes nothing and reads its own rows alone.

The folder holds one .npy file for each image and each label map. `packed.json`, the index, is written last, when all of
them are in place; until then `packed.journal` lists what is.
"""

import errno
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image
from tqdm.auto import tqdm

from seglib.data.base import SegmentationDataset, Transform
from seglib.data.packed_files import (
    FOLDERS,
    FORMAT,
    INDEX,
    JOURNAL,
    LOCK,
    MENDED,
    NPY_HEADER,
    Entry,
    Header,
    flush,
    is_changed,
    line_of,
    mapped,
    noted,
    read_index,
    source_of,
    write_array,
)
from seglib.files import write_atomic


def pack(dataset: SegmentationDataset, folder: str | Path, progress: bool = True) -> Path:
    """Decode every sample of `dataset`, as it is before the transform, into `folder`: 4 bytes for each pixel.

    What an interrupted or killed call has done is kept, and the next one continues. A finished folder is brought up to
    date: a sample is decoded again where a source file's size or modification time changed or a packed file is not
    whole; what the data set no longer holds is removed. A second call meanwhile waits for the first.

    Args:
        dataset: no two of whose image files, and of whose label files, have the same name.
        folder: new, empty, or as an earlier call for this data set left it.
        progress: False shows nothing.

    Returns:
        `folder`, for `PackedDataset`.

    Raises:
        FileExistsError: `folder` holds something else, or another data set.
        OSError: the disk has too little room (with the bytes needed and free), or cannot be written.
        ValueError: two source files have the same name; as `dataset.read`.
        FileNotFoundError: as `dataset.read`.
    """
    folder = Path(folder)
    ours = any((folder / name).exists() for name in (INDEX, JOURNAL, LOCK))
    if not ours and folder.exists() and (found := sorted(path.name for path in folder.iterdir())):
        raise FileExistsError(f"{folder}: expected a new or empty folder, or one that pack wrote; found {found[0]}")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        _bring_up_to_date(dataset, folder, progress)
    return folder


class PackedDataset(SegmentationDataset):
    """The data set that `pack` wrote into a folder: the same classes, palette and names, the same samples bit for bit.

    `read` gives read-only views of memory-mapped files, of which a crop touches the rows it needs. Label values are not
    checked again. The source files are not needed; where their folder is in place, they must be the ones packed.

    Args:
        folder: as given to `pack`.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: `folder` holds no finished cache.
        ValueError: a packed file is missing or cut off, a source file changed, or the index cannot be read.
    """

    def __init__(self, folder: str | Path, transform: Transform | None = None, seed: int = 0) -> None:
        folder = Path(folder)
        header, entries = read_index(folder)
        if broken := [entry.name for entry in entries if not entry.is_whole(folder)]:
            raise ValueError(f"{folder}: files of {_some(broken)} are missing or cut off; {MENDED}")
        if changed := [source[0] for entry in entries for source in entry.sources if is_changed(source)]:
            raise ValueError(f"{folder}: {_some(changed)} changed, or was removed, after it was packed; {MENDED}")
        files = [entry.paths(folder) for entry in entries]
        self._entries = dict(zip(files, entries, strict=True))
        self._shapes = {
            path: shape for pair in files for path, shape in zip(pair, self._entries[pair].shapes(), strict=True)
        }
        palette = np.frombuffer(bytes.fromhex(header["palette"]), np.uint8).reshape(256, 3).copy()
        super().__init__(files, header["classes"], palette, transform, seed, [entry.name for entry in entries])

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read-only views of image (H, W, 3) and label (H, W); raises as `read_image`."""
        image, label = self.files[index]
        return self.read_image(image), self.read_label(label)

    def read_image(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8 view of a packed image. Raises FileNotFoundError or ValueError: it is missing or cut off."""
        return mapped(path, self._shapes[path])

    def read_label(self, path: Path) -> np.ndarray:
        """(H, W) uint8 view of a packed label map; raises as `read_image`."""
        return mapped(path, self._shapes[path])

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """As `SegmentationDataset`: what no transform has copied yet is copied now, to be the caller's own."""
        image, label = super().__getitem__(key)
        return np.require(image, requirements="W"), np.require(label, requirements="W")

    def verify(self, progress: bool = False) -> None:
        """Reads all of it. Raises ValueError naming the samples whose checksums are not those noted when packing."""
        pairs = tqdm(self.files, desc="verify", unit="image", disable=not progress)
        damaged = []
        for index, pair in enumerate(pairs):
            if tuple(zlib.crc32(array) for array in self.read(index)) != self._entries[pair].crc32:
                damaged.append(" or ".join(map(str, pair)))
        if damaged:
            raise ValueError(f"{_some(damaged)}: not what was packed, by its checksum; delete both, then {MENDED}")


def _bring_up_to_date(dataset: SegmentationDataset, folder: Path, progress: bool) -> None:
    header = {"format": FORMAT, "classes": list(dataset.classes), "palette": dataset.palette.tobytes().hex()}
    files = _file_names(dataset)
    sources = [(source_of(image), source_of(label)) for image, label in dataset.files]
    found, entries = noted(folder)
    known = {entry.files: entry for entry in entries}
    if known and known.keys().isdisjoint(files):
        raise FileExistsError(f"{folder}: holds another data set ({entries[0].name} ...); expected a folder for each")
    kept = {}
    for index, wanted in enumerate(zip(dataset.names, files, sources, strict=True)):
        entry = known.get(files[index]) if found == header else None
        if entry and (entry.name, entry.files, entry.sources) == wanted and entry.is_whole(folder):
            kept[index] = entry
    if kept and not _decodes_to(dataset, *next(iter(kept.items()))):
        kept = {}
    if entries == [kept.get(index) for index in range(len(dataset))] and (folder / INDEX).exists():
        return (folder / JOURNAL).unlink(missing_ok=True)
    todo = [index for index in range(len(dataset)) if index not in kept]
    _check_space(dataset, todo, folder)
    # From here on files change that an index may name: nothing but the journal may name them until all are in place.
    write_atomic(folder / JOURNAL, lambda file: file.writelines(map(line_of, [header, *map(asdict, kept.values())])))
    (folder / INDEX).unlink(missing_ok=True)
    with (folder / JOURNAL).open("ab") as journal:
        bar = tqdm(todo, "pack", len(dataset), initial=len(kept), unit="image", disable=not progress)
        for index in bar:
            paths = (folder / FOLDERS[0] / files[index][0], folder / FOLDERS[1] / files[index][1])
            image, label = dataset.read(index)
            crc32 = write_array(paths[0], image), write_array(paths[1], label)
            kept[index] = Entry(dataset.names[index], files[index], label.shape, crc32, sources[index])
            journal.write(line_of(asdict(kept[index])))
            journal.flush()
    _finish(folder, header, [kept[index] for index in range(len(dataset))])


def _finish(folder: Path, header: Header, entries: Sequence[Entry]) -> None:
    """Removes what no entry names, writes the index, and then removes the journal."""
    for number, name in enumerate(FOLDERS):
        named = {entry.files[number] for entry in entries}
        for path in (folder / name).iterdir():
            if path.name not in named:
                path.unlink()
        flush(folder / name)
    index = {**header, "samples": [asdict(entry) for entry in entries]}
    write_atomic(folder / INDEX, lambda file: file.write(line_of(index)))
    (folder / JOURNAL).unlink()


def _file_names(dataset: SegmentationDataset) -> list[tuple[str, str]]:
    """The names of the packed files: the sources' with another suffix."""
    for paths in zip(*dataset.files, strict=True):
        seen: dict[str, Path] = {}
        for path in paths:
            other = seen.setdefault(path.stem.casefold(), path)  # some disks do not tell A from a
            if other != path:
                raise ValueError(f"pack: {other} and {path} have the same name; expected a different one for each")
    return [(f"{image.stem}.npy", f"{label.stem}.npy") for image, label in dataset.files]


def _decodes_to(dataset: SegmentationDataset, index: int, entry: Entry) -> bool:
    """Whether the data set still reads this sample as it did: the files can be the same and the classes not."""
    return tuple(zlib.crc32(np.ascontiguousarray(array)) for array in dataset.read(index)) == entry.crc32


def _check_space(dataset: SegmentationDataset, indices: Sequence[int], folder: Path) -> None:
    needed = 0
    for index in indices:
        path = dataset.files[index][0]
        try:
            with Image.open(path) as image:
                width, height = image.size  # from the header
        except OSError:  # of a kind that the data set knows how to read, or it says what is wrong
            height, width = dataset.read_image(path).shape[:2]
        needed += 4 * height * width + 2 * NPY_HEADER
    if (free := shutil.disk_usage(folder).free) < needed:
        text = f"expected {needed} bytes free for {len(indices)} images, found {free}"
        raise OSError(errno.ENOSPC, text, str(folder))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
