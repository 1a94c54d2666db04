"""The packed cache: bit for bit the data set it was made from, whatever happens while it is made."""

import errno
import functools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from refusal import refused
from small_set import SMALL, make_trainer, weights
from trees import save

from seglib.data import PackedDataset, SegmentationDataset, ToyCityscapes, build_dataset, cache, voc_palette
from seglib.data.batches import EpochBatches, make_loader
from seglib.data.noise import NoisyMasks
from seglib.data.resampling import resample_image
from seglib.data.transforms import Compose, RandomFlip, RandomScaleCrop
from seglib.recipe import Recipe

CLASSES = ("nothing", "a", "b", "c")
SIZES = ((20, 31), (33, 17), (20, 31), (8, 50), (41, 40))
CROPS = Compose((RandomScaleCrop(24), RandomFlip()))
pack = functools.partial(cache.pack, progress=False)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this system")
FORK = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")


def write_sample(root: Path, number: int, size: tuple[int, int], seed: int = 0) -> tuple[Path, Path]:
    rng = np.random.default_rng((number, seed))
    image, label = rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, 5, size, dtype=np.uint8)
    label[label == len(CLASSES)] = 255
    return save(root / "images" / f"s{number}.png", image), save(root / "labels" / f"s{number}.png", label)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> SegmentationDataset:
    """Five images of four sizes, void in the labels."""
    files = [write_sample(tmp_path / "source", number, size) for number, size in enumerate(SIZES)]
    return SegmentationDataset(files, CLASSES, voc_palette())


def assert_same(found: SegmentationDataset, expected: SegmentationDataset) -> None:
    assert found.names == expected.names and len(found) == len(expected)
    assert found.classes == expected.classes and np.array_equal(found.palette, expected.palette)
    for index in range(len(expected)):
        for a, b in zip(found.read(index), expected.read(index), strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b)


def check_finished(folder: Path, dataset: SegmentationDataset) -> None:
    """The cache is the data set, and nothing but it is in the folder."""
    packed = PackedDataset(folder)
    packed.verify(dataset)
    assert_same(packed, dataset)
    sources = {path for pair in dataset.files for path in pair}
    assert len(list(folder.iterdir())) == len(sources) + 1


def touch(path: Path, later_ns: int) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + later_ns))


def test_packed_is_the_data_set(source: SegmentationDataset, folder: Path) -> None:
    assert pack(source, folder) == folder
    check_finished(folder, source)
    packed = PackedDataset(str(folder), CROPS, seed=3)
    plain = SegmentationDataset(source.files, CLASSES, voc_palette(), CROPS, seed=3)
    for key in [(epoch, index) for epoch in range(4) for index in range(5)]:
        assert all(np.array_equal(a, b) for a, b in zip(packed[key], plain[key], strict=True))
    frames = ToyCityscapes("val")
    check_finished(pack(frames, folder.with_name("frames")), frames)


def test_subset_noisy_masks_and_workers(source: SegmentationDataset, folder: Path) -> None:
    pack(source, folder)
    packed, source.transform = PackedDataset(folder, CROPS), CROPS
    assert_same(packed.subset([3, 1]), source.subset([3, 1]))
    packed.subset([3, 1]).verify(source.subset([3, 1]))
    assert_same(NoisyMasks(packed, 2), NoisyMasks(source, 2))
    assert_same(pickle.loads(pickle.dumps(packed)), source)
    batches = EpochBatches(5, 2, 4, seed=0)
    for ours, theirs in zip(make_loader(packed, batches, 2), make_loader(source, batches), strict=True):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("transform", [None, RandomFlip(p=0), CROPS], ids=["none", "no copy", "crops"])
def test_views_are_read_only(source: SegmentationDataset, folder: Path, transform: object) -> None:
    packed = PackedDataset(pack(source, folder), transform)
    assert not any(array.flags.writeable for array in packed.read(0))
    for array in packed[0]:
        array[:] = 0
    check_finished(folder, source)


def test_window_equals_resizing_all_and_cropping_and_reads_only_its_rows() -> None:
    """Of colours by the same kernel, bit for bit: enlarged, shrunk, along one axis only, not at all."""
    read: list[slice] = []

    class Rows(np.ndarray):
        def __getitem__(self, rows: slice) -> np.ndarray:
            read.append(rows)
            return np.asarray(self)[rows]

    rng = np.random.default_rng(0)
    for number in range(100):
        height, width = (int(side) for side in rng.integers(1, 90, 2))
        channels = 5 if number % 9 == 0 else 3
        image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        factors = [rng.uniform(0.15, 3), rng.uniform(0.15, 3)]
        if number % 5 < 2:
            factors[number % 5] = 1.0
        size = max(1, int(height * factors[0])), max(1, int(width * factors[1]))
        extent = tuple(int(rng.integers(1, side + 1)) for side in size)
        top, left = (int(rng.integers(0, side - part + 1)) for side, part in zip(size, extent, strict=True))
        pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
        whole = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
        expected = whole[top : top + extent[0], left : left + extent[1]]
        read.clear()
        found = resample_image(image.view(Rows), size, (top, left), extent)
        assert np.abs(found.astype(int) - expected).max() <= (channels == 5), size
        scale, (rows,) = height / size[0], read
        assert rows.stop - rows.start <= extent[0] * scale + 2 * max(1, scale) + 4, "only the rows it needs"


@pytest.mark.parametrize("part", [0, 1], ids=["image", "label"])
@pytest.mark.parametrize("change", ["time", "size", "removed"])
def test_changed_source(
    source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch, part: int, change: str
) -> None:
    pack(source, folder)
    path = source.files[2][part]
    was, content = path.stat(), path.read_bytes()
    if change == "time":
        touch(path, 1000)
    elif change == "size":
        path.write_bytes(content + b"\0")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    else:
        path.unlink()
    refused(r"s2\.png changed or removed since it was packed; pack again", PackedDataset, folder)
    write_sample(path.parents[1], 2, SIZES[2], seed=1)
    touch(path, 10**9)
    noted, read = [], source.read
    monkeypatch.setattr(source, "read", lambda index: (noted.append(index), read(index))[1])
    pack(source, folder)
    assert noted == [0, 2], "the first to see that the data set still reads the same"
    made = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    pack(source, folder)
    assert noted == [0, 2, 0] and {path: path.stat().st_mtime_ns for path in folder.iterdir()} == made
    monkeypatch.undo()
    check_finished(folder, source)


def test_samples_come_and_go(source: SegmentationDataset, folder: Path, tmp_path: Path) -> None:
    renamed = SegmentationDataset(source.files, CLASSES, voc_palette()[::-1].copy(), names=list("abcde"))
    for chosen in (source.subset([0, 1, 2]), source, source.subset([4, 0]), source.subset([0, 4, 0]), renamed):
        check_finished(pack(chosen, folder), chosen)
    expected = [source.read(index) for index in range(5)]
    folder.rename(tmp_path / "copy")
    shutil.rmtree(tmp_path / "source")
    packed = PackedDataset(tmp_path / "copy")
    packed.verify()
    for index, pair in enumerate(expected):
        assert all(np.array_equal(a, b) for a, b in zip(packed.read(index), pair, strict=True))
    files = [write_sample(tmp_path / "moved", number, size) for number, size in enumerate(SIZES)]
    moved = SegmentationDataset(files, CLASSES, voc_palette())
    check_finished(pack(moved, tmp_path / "copy"), moved)


def test_folder_of_something_else_is_left_alone(source: SegmentationDataset, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "source"
    before = sorted(root.rglob("*"))
    refused(r"source: expected a new or empty folder, .*; found images", pack, source, root, error=FileExistsError)
    assert sorted(root.rglob("*")) == before
    pack(source, folder)
    refused(r"holds another data set \(s0 \.\.\.\)", pack, ToyCityscapes("val"), folder, error=FileExistsError)
    with pytest.raises(FileExistsError, match=r"s0-.*\.npy: holds what another data set reads from the same file"):
        pack(NoisyMasks(source, 3), folder)
    twin = [write_sample(tmp_path / "twin", number, size) for number, size in enumerate(SIZES)]  # of the same names
    for files, classes, message in (
        (twin, CLASSES, r"cache: holds another data set \(.*source.images.s0\.png \.\.\.\)"),
        (source.files, ("w", "x", "y", "z"), r"cache: packed through other classes"),
    ):
        other = SegmentationDataset(files, classes, voc_palette())
        refused(message, pack, other, folder, error=FileExistsError)
    check_finished(folder, source)


@pytest.mark.parametrize("part", [0, 1], ids=["image", "label"])
def test_damage_is_named_and_mended(source: SegmentationDataset, folder: Path, part: int) -> None:
    pack(source, folder)
    path = PackedDataset(folder)._arrays[source.files[3][part]]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(rf"{path.name}: differs from .*s3\.png; delete it and pack again", PackedDataset(folder).verify, source)
    for damaged in (content[:-1], content[: len(content) // 2], b""):
        path.write_bytes(damaged)
        refused(rf"{path.name}: missing or cut off .*; delete it and pack again", PackedDataset(folder).read, 3)
    for wrong, message in (((3, 4), "expected equal sizes"), (SIZES[3], r"label values \[9\]")):
        if part == 1:
            np.save(path, np.full(wrong, 9, np.uint8))
            refused(message, PackedDataset(folder).verify)
    path.unlink()
    refused(rf"{path.name}: missing", PackedDataset(folder).verify)
    check_finished(pack(source, folder), source)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b'{"samples": [["s0", 1, 2]]}'])
def test_damaged_index(source: SegmentationDataset, folder: Path, content: bytes) -> None:
    refused(r"packed\.json: nothing to read yet; .* starts or resumes", PackedDataset, folder, error=FileNotFoundError)
    pack(source, folder)
    (folder / cache.INDEX).write_bytes(content)
    refused(r"packed\.json: not an index that can be read", PackedDataset, folder)
    check_finished(pack(source, folder), source)


def test_full_disk(source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(source.subset([0, 1]), folder)

    def full(file: object, array: np.ndarray) -> None:
        file.write(array.tobytes()[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache.np, "save", full)
        with pytest.raises(OSError, match=r"cache.s\d-\w+\.npy: could not be written .*No space left.* keeps what is"):
            pack(source, folder)
    check_finished(folder, source.subset([0, 1]))
    check_finished(pack(source, folder), source)


def test_bad_sample_is_named(source: SegmentationDataset, folder: Path) -> None:
    good = source.files[3][1].read_bytes()
    save(source.files[3][1], np.full(SIZES[3], 9, np.uint8))
    refused(r"labels.s3\.png: holds the label values \[9\]", pack, source, folder)
    refused("nothing to read yet", PackedDataset, folder, error=FileNotFoundError)
    source.files[3][1].write_bytes(good)
    check_finished(pack(source, folder), source)
    source.files[0][0].unlink()
    refused(r"s0\.png: no such file, though the data set lists it", pack, source, folder, error=FileNotFoundError)


POINTS = ("half an array", "before a name", "after a name", "before the index", "after the index")


def pack_and_die(source: SegmentationDataset, folder: Path, point: str, nth: int) -> None:
    """Packs, and kills this process when it comes to `point` for the nth time."""
    left, save, replace = [nth], np.save, Path.replace

    def die_at(this: str) -> None:
        left[0] -= this == point
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def save_half(file: object, array: np.ndarray) -> None:
        if point == "half an array":
            save(file, array[: len(array) // 2])
            file.flush()
        die_at("half an array")
        save(file, array)

    def replace_or_die(path: Path, target: Path) -> None:
        is_index = target.name == cache.INDEX
        die_at("before the index" if is_index else "before a name")
        replace(path, target)
        die_at("after the index" if is_index else "after a name")

    np.save, Path.replace = save_half, replace_or_die
    pack(source, folder)


@needs_fork
@pytest.mark.parametrize("changed", [False, True], ids=["new", "changed"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_packing(source: SegmentationDataset, folder: Path, point: str, changed: bool) -> None:
    if changed:
        pack(source, folder)
        for path in write_sample(source.files[2][0].parents[1], 2, SIZES[2], seed=1):
            touch(path, 10**9)
    nth = 1 if "index" in point else 2
    process = FORK.Process(target=pack_and_die, args=(source, folder, point, nth))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    if point == "after the index":
        assert_same(PackedDataset(folder), source)
    else:
        refused(r"changed|nothing to read yet", PackedDataset, folder, error=(FileNotFoundError, ValueError))
    check_finished(pack(source, folder), source)


def slow_pack(source: SegmentationDataset, folder: Path) -> None:
    save = np.save
    cache.np.save = lambda file, array: (save(file, array), time.sleep(0.01))
    pack(source, folder)
    PackedDataset(folder).verify(source)


@needs_fork
def test_processes_that_pack_at_once(source: SegmentationDataset, folder: Path) -> None:
    for _ in range(2):
        processes = [FORK.Process(target=slow_pack, args=(source, folder)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        check_finished(folder, source)
        for index in (1, 2):
            touch(source.files[index][0], 10**9)


def test_file_tidied_up(source: SegmentationDataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one finishes while this one writes, and takes its temporary file for a leftover."""
    save = np.save

    def finish_meanwhile(file: object, array: np.ndarray) -> None:
        save(file, array)
        monkeypatch.setattr(cache.np, "save", save)
        pack(source, folder)

    monkeypatch.setattr(cache.np, "save", finish_meanwhile)
    check_finished(pack(source, folder), source)


@pytest.mark.parametrize(
    ("changes", "workers"),
    [({"label_noise": 2, "folds": 3, "fold": 1, "val_split": "fold"}, 2), ({"squash": (33, 33)}, 0)],
    ids=["workers, noise and folds", "squashed"],
)
def test_run_from_the_packed_copy_is_the_same(tmp_path: Path, data: Path, changes: dict, workers: int) -> None:
    recipe = SMALL.replace(**changes)
    plain = make_trainer(recipe, tmp_path / "plain", data).fit()
    # Begun from the files and resumed from the copy.
    make_trainer(recipe, tmp_path / "packed", data).fit(until=5)
    copies = {"packed_root": tmp_path / "copies", "num_workers": workers}
    packed = make_trainer(recipe, tmp_path / "packed", data, **copies).fit()
    assert torch.equal(weights(plain.model), weights(packed.model))
    assert plain.history.equals(packed.history)
    results = [json.loads((each.run_dir / "result.json").read_text()) for each in (plain, packed)]
    assert results[0]["scores"] == results[1]["scores"] and results[0]["data"] == results[1]["data"]
    lists = {"toy_voc-trainaug"} | (set() if "folds" in changes else {"toy_voc-val"})
    assert {path.name for path in (tmp_path / "copies").iterdir()} == lists, "a folder for each list"


def test_fine_and_coarse_labels_are_copies_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, suffix in (("leftImg8bit",) * 2, ("gtFine", "gtFine_labelIds"), ("gtCoarse", "gtCoarse_labelIds")):
        pixels = rng.choice(np.array([7, 11, 26], np.uint8), (16, 32, 3) if kind == "leftImg8bit" else (16, 32))
        save(tmp_path / kind / "train" / "town" / f"town_000000_000019_{suffix}.png", pixels)
    labels = []
    for quality in ("fine", "coarse"):
        recipe = Recipe(data="cityscapes", train_split="train", quality=quality)
        packed = build_dataset(recipe, "train", tmp_path, packed_root=tmp_path / "copies")
        assert_same(packed, build_dataset(recipe, "train", tmp_path))
        labels.append(packed.read(0)[1])
    assert not np.array_equal(*labels) and len(list((tmp_path / "copies").iterdir())) == 2
    touch(packed.files[0][0], 10**9)
    again = build_dataset(recipe, "train", tmp_path, packed_root=tmp_path / "copies")
    assert_same(again, build_dataset(recipe, "train", tmp_path))
