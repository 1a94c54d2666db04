"""The packed cache: bit for bit the data set it was made from, whatever happens while it is made."""

import ctypes
import json
import mmap
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from PIL import Image
from small_set import write_label

from seglib.data import (
    EpochBatches,
    PackedDataset,
    SegmentationDataset,
    ToyCityscapes,
    VOCSegmentation,
    make_loader,
    pack,
    packed,
    packed_files,
    voc_palette,
)
from seglib.data.noise import NoisyMasks
from seglib.data.resampling import resample_image
from seglib.data.transforms import Compose, RandomFlip, RandomScaleCrop, augmentation

CLASSES = ("nothing", "a", "b", "c")
SIZES = ((20, 31), (33, 17), (20, 31), (8, 50), (41, 40))
CROPS = Compose((RandomScaleCrop(24), RandomFlip()))


def write_sample(root: Path, number: int, size: tuple[int, int], seed: int = 0) -> tuple[Path, Path]:
    rng = np.random.default_rng((number, seed))
    files = root / "images" / f"s{number}.png", root / "labels" / f"s{number}.png"
    for path in files:
        path.parent.mkdir(exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(files[0])
    label = rng.integers(0, len(CLASSES) + 1, size, dtype=np.uint8)
    write_label(files[1], np.where(label == len(CLASSES), 255, label).astype(np.uint8))
    return files


def noise_set(root: Path) -> SegmentationDataset:
    """Five images of four sizes, void in the labels."""
    root.mkdir(exist_ok=True)
    files = [write_sample(root, number, size) for number, size in enumerate(SIZES)]
    return SegmentationDataset(files, CLASSES, voc_palette())


@pytest.fixture
def source(tmp_path: Path) -> SegmentationDataset:
    return noise_set(tmp_path / "source")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def assert_same(found: SegmentationDataset, expected: SegmentationDataset) -> None:
    assert found.names == expected.names and len(found) == len(expected)
    assert found.classes == expected.classes and np.array_equal(found.palette, expected.palette)
    assert found.palette.dtype == np.uint8
    for index in range(len(expected)):
        for a, b in zip(found.read(index), expected.read(index), strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b)


def check_finished(folder: Path, dataset: SegmentationDataset) -> None:
    """The cache is the data set, and nothing but it is in the folder."""
    cache = PackedDataset(folder)
    cache.verify()
    assert_same(cache, dataset)
    listed = {path for pair in cache.files for path in pair}
    there = {path for path in folder.rglob("*") if path.is_file()} - {folder / packed_files.LOCK}
    assert there == listed | {folder / packed_files.INDEX}


def reads(monkeypatch: pytest.MonkeyPatch, dataset: SegmentationDataset) -> list[int]:
    """Notes which samples are decoded."""
    noted: list[int] = []
    read = dataset.read
    monkeypatch.setattr(dataset, "read", lambda index: (noted.append(index), read(index))[1])
    return noted


def rewrite(source: SegmentationDataset, index: int) -> None:
    """Another picture of the same size in place of sample `index`, as if saved a second later."""
    write_sample(source.files[index][0].parents[1], index, SIZES[index], seed=1)
    for path in source.files[index]:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


# --- the same samples ------------------------------------------------------------------------------------------------


def test_packed_is_the_data_set(source: SegmentationDataset, folder: Path) -> None:
    assert pack(source, folder, progress=False) == folder
    check_finished(folder, source)
    cache = PackedDataset(str(folder), CROPS, seed=7)
    assert (cache.transform, cache.seed, cache.ignore_index) == (CROPS, 7, 255)


def test_augmented_samples_are_the_same_bit_for_bit(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder, progress=False)
    for level in ("geometric", "occlusion"):
        cache = PackedDataset(folder, augmentation(level, 24), seed=3)
        plain = SegmentationDataset(source.files, CLASSES, voc_palette(), augmentation(level, 24), seed=3)
        for key in [(epoch, index) for epoch in range(4) for index in range(5)]:
            assert all(np.array_equal(a, b) for a, b in zip(cache[key], plain[key], strict=True))


def test_subset_noisy_masks_and_workers(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder, progress=False)
    cache, source.transform = PackedDataset(folder, CROPS), CROPS
    assert_same(cache.subset([3, 1]), source.subset([3, 1]))
    cache.subset([3, 1]).verify()
    assert_same(NoisyMasks(cache, 2), NoisyMasks(source, 2))
    assert_same(pickle.loads(pickle.dumps(cache)), source)
    batches = EpochBatches(5, 2, 4, seed=0)
    for workers in (0, 2):
        for ours, theirs in zip(make_loader(cache, batches, workers), make_loader(source, batches), strict=True):
            assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_views_are_read_only_and_samples_the_callers_own(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder, progress=False)
    for transform in (None, RandomFlip(p=0), CROPS):
        cache = PackedDataset(folder, transform)
        assert not any(array.flags.writeable for array in cache.read(0))
        assert type(cache.read(0)[0]) is np.ndarray
        for array in cache[0]:
            assert array.flags.writeable
            array[:] = 0
    check_finished(folder, source)


def test_toy_sets(folder: Path, tmp_path: Path) -> None:
    streets = ToyCityscapes("val")
    check_finished(pack(streets, folder, progress=False), streets)
    objects = VOCSegmentation(Path(__file__).parents[1] / "data" / "toy_voc" / "VOCdevkit", "val", partial=True)
    objects = objects.subset(range(12))
    check_finished(pack(objects, tmp_path / "voc", progress=False), objects)


def test_real_frames(seglib_data: Path, tmp_path: Path) -> None:
    from seglib.data import CityscapesSegmentation

    if not (seglib_data / "cityscapes" / "leftImg8bit" / "train").is_dir():
        pytest.skip("SEGLIB_DATA holds no cityscapes/leftImg8bit/train")
    frames = CityscapesSegmentation(seglib_data / "cityscapes", "train").subset([0, 1])
    cache = PackedDataset(pack(frames, tmp_path / "cache", progress=False), CROPS)
    assert_same(cache, frames)
    frames.transform = CROPS
    assert all(np.array_equal(a, b) for a, b in zip(cache[3, 1], frames[3, 1], strict=True))


# --- what a crop reads -----------------------------------------------------------------------------------------------


def whole_resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()


def test_window_equals_resizing_all_and_cropping() -> None:
    """By the same kernel, bit for bit: enlarged, shrunk, along one axis alone, not at all."""
    rng = np.random.default_rng(0)
    for number in range(300):
        height, width = (int(side) for side in rng.integers(1, 90, 2))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        factors = [rng.uniform(0.15, 3), rng.uniform(0.15, 3)]
        if number % 5 < 2:
            factors[number % 5] = 1.0
        size = max(1, int(height * factors[0])), max(1, int(width * factors[1]))
        extent = tuple(int(rng.integers(1, side + 1)) for side in size)
        top, left = (int(rng.integers(0, side - part + 1)) for side, part in zip(size, extent, strict=True))
        expected = whole_resized(image, size)[top : top + extent[0], left : left + extent[1]]
        assert np.array_equal(resample_image(image, size, (top, left), extent), expected), (image.shape, size)


# --- made once, and again where it has to be -------------------------------------------------------------------------


def test_second_call_decodes_one_sample_only(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(source, folder, progress=False)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    noted = reads(monkeypatch, source)
    pack(source, folder, progress=False)
    assert noted == [0], "to see that the data set still reads the same"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == before


@pytest.mark.parametrize("part", [0, 1], ids=["image", "label"])
def test_changed_source_is_noticed_and_packed_again(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    pack(source, folder, progress=False)
    status = source.files[2][part].stat()
    os.utime(source.files[2][part], ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    with pytest.raises(ValueError, match=r"s2\.png changed, or was removed, .*pack\(dataset, folder\) mends that"):
        PackedDataset(folder)
    rewrite(source, 2)
    noted = reads(monkeypatch, source)
    pack(source, folder, progress=False)
    assert noted == [0, 2]
    check_finished(folder, source)


def test_other_size_in_bytes_is_noticed(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder, progress=False)
    path = source.files[4][0]
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match=r"s4\.png changed"):
        PackedDataset(folder)


def test_source_that_was_removed_and_source_that_is_not_at_hand(
    source: SegmentationDataset, folder: Path, tmp_path: Path
) -> None:
    pack(source, folder, progress=False)
    source.files[1][0].rename(tmp_path / "kept")
    with pytest.raises(ValueError, match=r"s1\.png changed, or was removed"):
        PackedDataset(folder)
    (tmp_path / "kept").rename(source.files[1][0])
    shutil.move(tmp_path / "source", tmp_path / "elsewhere")
    PackedDataset(folder).verify()


def test_samples_that_come_and_go(source: SegmentationDataset, folder: Path) -> None:
    pack(source.subset([0, 1, 2]), folder, progress=False)
    pack(source, folder, progress=False)
    check_finished(folder, source)
    pack(source.subset([4, 0]), folder, progress=False)
    check_finished(folder, source.subset([4, 0]))
    pack(source.subset([0, 4]), folder, progress=False)
    check_finished(folder, source.subset([0, 4]))
    repeated = source.subset([0, 4, 0])
    check_finished(pack(repeated, folder, progress=False), repeated)


def test_data_set_that_reads_the_same_files_differently(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder, progress=False)
    renamed = SegmentationDataset(source.files, ("w", "x", "y", "z"), source.palette)
    check_finished(pack(renamed, folder, progress=False), renamed)
    coloured = SegmentationDataset(source.files, ("w", "x", "y", "z"), voc_palette()[::-1].copy())
    check_finished(pack(coloured, folder, progress=False), coloured)
    noisy = NoisyMasks(coloured, 3)
    check_finished(pack(noisy, folder, progress=False), noisy)
    named = SegmentationDataset(source.files, CLASSES, voc_palette(), names=list("abcde"))
    check_finished(pack(named, folder, progress=False), named)


def test_files_of_equal_names_are_refused(source: SegmentationDataset, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "S1.png"
    other.parent.mkdir()
    shutil.copy(source.files[1][0], other)
    twice = SegmentationDataset([*source.files, (other, source.files[0][1])], CLASSES, voc_palette())
    with pytest.raises(ValueError, match=r"s1\.png and .*S1\.png have the same name"):
        pack(twice, folder, progress=False)


def test_folder_of_something_else_is_left_alone(source: SegmentationDataset, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "source"
    before = sorted(root.rglob("*"))
    with pytest.raises(FileExistsError, match=r"source: expected a new or empty folder, .*; found images"):
        pack(source, root, progress=False)
    assert sorted(root.rglob("*")) == before
    folder.mkdir()
    pack(source, folder, progress=False)
    with pytest.raises(FileExistsError, match=r"holds another data set \(s0 \.\.\.\)"):
        pack(ToyCityscapes("val"), folder, progress=False)
    check_finished(folder, source)


def test_second_call_meanwhile_waits(source: SegmentationDataset, folder: Path) -> None:
    pack(source.subset([0]), folder, progress=False)
    thread = threading.Thread(target=pack, args=(source, folder, False))
    with FileLock(folder / packed_files.LOCK):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        check_finished(folder, source.subset([0]))
    thread.join()
    check_finished(folder, source)


def test_who_reads_meanwhile_keeps_the_old_files(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder, progress=False)
    views = PackedDataset(folder).read(2)
    before = [view.copy() for view in views]
    rewrite(source, 2)
    pack(source, folder, progress=False)
    assert not np.array_equal(PackedDataset(folder).read(2)[0], before[0])
    assert all(np.array_equal(view, array) for view, array in zip(views, before, strict=True))


def test_arrays_are_on_the_disk_before_the_index(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushed before they get their names, and the names before the index: a power cut may come at any moment."""
    events: list[str] = []
    fsync, replace, write_index = os.fsync, Path.replace, packed.write_atomic

    def noted(name: str, act: Callable) -> Callable:
        return lambda *arguments: (events.append(name), act(*arguments))[1]

    monkeypatch.setattr(packed_files.os, "fsync", noted("flush", fsync))
    monkeypatch.setattr(Path, "replace", noted("name", replace))
    monkeypatch.setattr(packed, "write_atomic", noted("write", write_index))
    pack(source, folder, progress=False)
    journal = index = ["write", "flush"]
    folders = ["flush"] * 2 if os.name == "posix" else []
    assert events == [*journal, *["flush", "name"] * 10, *folders, *index]


# --- damage and full disks -------------------------------------------------------------------------------------------


def test_no_cache(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"packed\.json: no finished cache; .* makes one"):
        PackedDataset(folder)


@pytest.mark.parametrize("part", [0, 1], ids=["image", "label"])
def test_damage_is_found_and_mended(source: SegmentationDataset, folder: Path, part: int) -> None:
    pack(source, folder, progress=False)
    cache = PackedDataset(folder)
    path = cache.files[3][part]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path.name}.*: not what was packed, by its checksum; delete both"):
        PackedDataset(folder).verify()
    for half in (content[: len(content) // 2], b""):
        path.write_bytes(half)
        with pytest.raises(ValueError, match=r"files of s3 are missing or cut off; pack\(dataset, folder\) mends"):
            PackedDataset(folder)
        with pytest.raises(ValueError, match=rf"{path.name}: cut off"):
            cache.read(3)
    path.unlink()
    with pytest.raises(ValueError, match="files of s3 are missing"):
        PackedDataset(folder)
    with pytest.raises(FileNotFoundError, match=rf"{path.name}: no such file"):
        cache.read(3)
    check_finished(pack(source, folder, progress=False), source)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 0, "samples": []}'])
def test_damaged_index(source: SegmentationDataset, folder: Path, content: bytes) -> None:
    pack(source, folder, progress=False)
    (folder / packed_files.INDEX).write_bytes(content)
    with pytest.raises(ValueError, match=r"packed\.json: not an index that can be read"):
        PackedDataset(folder)
    check_finished(pack(source, folder, progress=False), source)


def test_disk_space_is_checked_beforehand(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    pack(source.subset([0, 1]), folder, progress=False)
    sizes = {path: path.stat().st_size for path in folder.rglob("*.npy")}
    needed = sum(4 * height * width + 256 for height, width in SIZES[2:])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(needed - 1))
    with pytest.raises(OSError, match=rf"expected {needed} bytes free for 3 images, found {needed - 1}: '.*cache'"):
        pack(source, folder, progress=False)
    assert {path: path.stat().st_size for path in folder.rglob("*.npy")} == sizes
    check_finished(folder, source.subset([0, 1]))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(needed))
    pack(source, folder, progress=False)
    written = sum(path.stat().st_size for path in folder.rglob("*.npy")) - sum(sizes.values())
    assert written == needed, "what was asked for is what it took"


def test_full_disk_names_the_file_and_is_continued(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = np.save

    def full(file: object, array: np.ndarray) -> None:
        save(file, array[:1])
        if array.shape[:2] == SIZES[3]:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packed_files.np, "save", full)
        with pytest.raises(OSError, match=r"s3\.npy: could not be written .*No space left.*; the next call continues"):
            pack(source, folder, progress=False)
        assert not list(folder.rglob("*.tmp"))
    check_finished(pack(source, folder, progress=False), source)


def test_bad_sample_is_named_and_the_rest_is_kept(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = source.files[3][1].read_bytes()
    write_label(source.files[3][1], np.full(SIZES[3], 9, np.uint8))
    with pytest.raises(ValueError, match=r"labels.s3\.png: holds the label values \[9\]"):
        pack(source, folder, progress=False)
    with pytest.raises(FileNotFoundError, match="continues what was interrupted"):
        PackedDataset(folder)
    source.files[3][1].write_bytes(good)
    noted = reads(monkeypatch, source)
    check_finished(pack(source, folder, progress=False), source)
    assert noted[:3] == [0, 3, 4]
    source.files[0][0].unlink()
    with pytest.raises(FileNotFoundError, match=r"s0\.png: no such file, though the data set lists it"):
        pack(source, folder, progress=False)


def test_progress(source: SegmentationDataset, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(source.subset([0, 1]), folder, progress=False)
    PackedDataset(folder).verify()
    assert capsys.readouterr() == ("", "")
    pack(source, folder)
    PackedDataset(folder).verify(progress=True)
    shown = capsys.readouterr().err
    assert "pack:  40%" in shown and "5/5" in shown and "verify: 100%" in shown


# --- processes that die ----------------------------------------------------------------------------------------------

POINTS = ("half an array", "before its renaming", "before the journal", "half a line", "before the index", "after it")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, nth: int) -> None:
    """Let this process kill itself when it comes to `point` for the nth time."""
    left = [nth]

    def now() -> bool:
        left[0] -= 1
        return left[0] == 0

    def around(owner: object, name: str, act: Callable) -> None:
        original = getattr(owner, name)
        setattr(owner, name, lambda *arguments, **options: act(original, *arguments, **options))

    def half_array(save: Callable, file: object, array: np.ndarray) -> None:
        if now():
            save(file, array[: len(array) // 2])
            file.flush()
            die()
        save(file, array)

    def half_line(line_of: Callable, value: dict) -> bytes:
        line = line_of(value)
        if "crc32" in value and now():
            (FOLDER[0] / packed_files.JOURNAL).open("ab").write(line[: len(line) // 2])
            die()
        return line

    def killed_before(original: Callable, *arguments: object, **options: object) -> object:
        if now():
            die()
        return original(*arguments, **options)

    def index_written(write: Callable, path: Path, *arguments: object) -> None:
        if path.name == packed_files.INDEX and point == "before the index":
            die()
        write(path, *arguments)
        if path.name == packed_files.INDEX and point == "after it":
            die()

    if point == "half an array":
        around(packed_files.np, "save", half_array)
    elif point == "before its renaming":
        around(Path, "replace", killed_before)
    elif point == "before the journal":
        around(packed, "Entry", killed_before)
    elif point == "half a line":
        around(packed, "line_of", half_line)
    else:
        around(packed, "write_atomic", index_written)


FOLDER: list[Path] = []


def killed(source: SegmentationDataset, folder: Path, point: str | None, nth: int, seconds: float = 0.0) -> bool:
    """Packs in a process that is killed at a point, or after some time; whether the kill came before the end."""
    child = os.fork()
    if child == 0:
        FOLDER[:] = [folder]
        if point:
            arm(point, nth)
        pack(source, folder, progress=False)
        os._exit(0)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def readable(folder: Path, source: SegmentationDataset, was: SegmentationDataset | None = None) -> bool:
    """Whether there is a cache to read; if so it must be whole. A finished one of `was` may be there, and say so."""
    try:
        cache = PackedDataset(folder)
    except FileNotFoundError:
        return False
    except ValueError as error:
        if not was or "changed" not in str(error):
            raise
        return False
    cache.verify()
    assert_same(cache, source)
    return True


def outcome_of_crop(scale: float, rows: slice) -> int:
    """Exit code of a process that takes a crop of 128 from 1024 x 1024 and may touch no row outside of `rows`."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for planes in (3, 1):
            memory = mmap.mmap(-1, 1024 * 1024 * planes)
            array = np.frombuffer(memory, np.uint8).reshape(1024, 1024, planes)
            start, row = array.ctypes.data, 1024 * planes
            before = rows.start * row // mmap.PAGESIZE * mmap.PAGESIZE
            after = -(-rows.stop * row // mmap.PAGESIZE) * mmap.PAGESIZE
            for first, end in ((0, before), (after, 1024 * row)):
                if libc.mprotect(ctypes.c_void_p(start + first), ctypes.c_size_t(end - first), 0):
                    os._exit(99)
            array.flags.writeable = False
            if planes == 3:
                image = array
        RandomScaleCrop(128, (scale, scale))(image, array[..., 0], np.random.default_rng(0))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def crops_outcomes() -> dict[str, list[int]]:
    """With just the rows that the crop must read, and with half as many."""
    report = {}
    for scale in (0.75, 1.0, 2.0):
        side = int(1024 * scale)
        top = int(np.random.default_rng(0).random(3)[1] * (side - 128 + 1))
        reach = 1 + max(1, 1 / scale)  # the antialiasing filter's half width, and rounding
        first, end = int(top / scale - reach - 2), int((top + 128) / scale + reach + 3)
        whole, half = slice(first, end), slice(first, (first + end) // 2)
        report[str(scale)] = [outcome_of_crop(scale, whole), outcome_of_crop(scale, half)]
    return report


def main(root: Path) -> None:
    """Kills packing at every point, and at random times until it is through; reports what was left each time."""
    source, report = noise_set(root / "source"), {}
    for point in POINTS:
        for nth in (1, 4):
            folder = root / f"{point}, {nth}"
            kill = killed(source, folder, point, nth)
            journal = folder / packed_files.JOURNAL
            done = len(packed_files.noted(folder)[1]) if journal.exists() else 0
            report[f"{point}, {nth}"] = [kill, readable(folder, source), done]
            check_finished(pack(source, folder, progress=False), source)
        rewrite(source, 2)
        kill = killed(source, folder, point, 1)
        report[f"{point}, again"] = [kill, readable(folder, source, was=source)]
        check_finished(pack(source, folder, progress=False), source)
    folder = pack(source, root / "other reading", progress=False)
    kill = killed(NoisyMasks(source, 3), folder, "half an array", 4)
    report["other reading"] = [kill, readable(folder, source)]
    began = time.monotonic()
    killed(source, root / "whole", None, 0)
    typical, rng, folder = time.monotonic() - began, np.random.default_rng(0), root / "random"
    kills = [killed(source, folder, None, 0, float(rng.uniform(0, 0.6) * typical)) for _ in range(12)]
    readable(folder, source)
    report["random"] = sum(kills)
    report["crops"] = crops_outcomes()
    check_finished(pack(source, folder, progress=False), source)
    (root / "report.json").write_text(json.dumps(report))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """From a process of its own, which forks: one that runs tests has threads."""
    if not hasattr(os, "fork"):
        pytest.skip("no os.fork on this system")
    root = tmp_path_factory.mktemp("kills")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, str(root)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return json.loads((root / "report.json").read_text())


@pytest.mark.parametrize("point", POINTS)
def test_killed_packing_is_continued(report: dict, point: str) -> None:
    """The process itself checks that the next call ends with the whole data set and nothing else."""
    at_once = point in ("before the index", "after it")  # once in a call: there is no fourth time
    whole = point == "after it"
    assert report[f"{point}, 1"] == [True, whole, 5 if at_once else 0]
    assert report[f"{point}, 4"][:2] == [True, whole]
    assert report[f"{point}, 4"][2] == (5 if at_once else 1 if point in POINTS[:2] else 3)
    assert report[f"{point}, again"] == [True, whole]


def test_killed_over_a_finished_cache(report: dict) -> None:
    """The old index must not be read with some of the new files."""
    assert report["other reading"] == [True, False]


def test_killed_at_any_time(report: dict) -> None:
    assert report["random"] >= 2


def test_crop_touches_its_rows_alone(report: dict) -> None:
    """Other rows are out of bounds to the process: with them it lives, with half of them it does not."""
    assert report["crops"].keys() == {"0.75", "1.0", "2.0"}
    assert all(whole == 0 and -half in (signal.SIGSEGV, signal.SIGBUS) for whole, half in report["crops"].values())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
