"""Cityscapes on a small tree with the official layout, damaged in every way that trees get damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official
from PIL import Image
from refusal import refused
from trees import save

from seglib.data import CITYSCAPES_CLASSES, CityscapesSegmentation, ToyCityscapes, cityscapes_palette, train_ids_to_ids
from seglib.data.transforms import RandomFlip
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

SIZE = (16, 34)  # 34 columns: one of each id
FRAMES = ("ulm/ulm_000000_000019", "ulm/ulm_000001_000019", "aachen/aachen_000000_000019")
KINDS = [
    *(("fine", split) for split in ("train", "val", "test")),
    *(("coarse", split) for split in ("train", "val", "train_extra")),
]
LABELS = {row.id: row for row in official}
TRAINED = {row.trainId: row for row in official if 0 <= row.trainId < 255}


def label_ids(frame: int = 0) -> np.ndarray:
    ids = np.tile(np.arange(34, dtype=np.uint8), (SIZE[0], 1))
    ids[0, 0] = 7 + frame  # tells which frame it is
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three frames of two cities for every split and quality."""
    for quality, split in KINDS:
        gt = {"fine": "gtFine", "coarse": "gtCoarse"}[quality]
        for number, frame in enumerate(FRAMES):
            image = np.full((*SIZE, 3), (10 * number, 80, 200), np.uint8)
            save(tmp_path / "leftImg8bit" / split / f"{frame}_leftImg8bit.png", image)
            ids = label_ids(number) if split != "test" else np.zeros(SIZE, np.uint8)
            instances = ids.astype(np.uint16)
            instances[:, 26] = 26003
            files = {"labelIds": ids, "instanceIds": instances, "color": np.zeros((*SIZE, 4), np.uint8)}
            for kind, array in files.items():
                save(tmp_path / gt / split / f"{frame}_{gt}_{kind}.png", array)
    return tmp_path


def label_path(root: Path, split: str = "train", kind: str = "labelIds") -> Path:
    return root / "gtFine" / split / f"{FRAMES[0]}_gtFine_{kind}.png"


@pytest.mark.parametrize(("quality", "split"), KINDS)
def test_frames_are_found_by_city_and_name(root: Path, quality: str, split: str) -> None:
    data = CityscapesSegmentation(root, split, quality, transform=RandomFlip(), seed=4)
    assert data.transform == RandomFlip() and data.seed == 4
    assert data.names == ["aachen_000000_000019", "ulm_000000_000019", "ulm_000001_000019"]
    assert (data.num_classes, data.ignore_index, data.classes) == (19, 255, CITYSCAPES_CLASSES)
    image, label = data.read(0)
    assert image.shape == (*SIZE, 3) and image[0, 0].tolist() == [20, 80, 200] and image.dtype == np.uint8
    assert label.shape == SIZE and label.dtype == np.uint8 and label.flags.writeable
    if split == "test":
        assert (label == 255).all(), "dummy annotations: nothing can be scored"


def test_ids_become_the_official_train_ids_with_their_names_and_colours(root: Path) -> None:
    data = CityscapesSegmentation(root, "train")
    expected = {row.id: row.trainId for row in official if row.id >= 0}
    label = data.read(0)[1]
    assert label[1].tolist() == [expected[k] for k in range(34)]
    assert [int(data.read(k)[1][0, 0]) for k in range(3)] == [expected[9], expected[7], expected[8]]
    palette, trained = cityscapes_palette(), [row.id for row in TRAINED.values()]
    assert list(CITYSCAPES_CLASSES) == [TRAINED[k].name for k in range(19)]
    assert palette[:19].tolist() == [list(TRAINED[k].color) for k in range(19)] and not palette[19:].any()
    ids = train_ids_to_ids(label)
    assert ids.dtype == np.uint8 and ids[1].tolist() == [k if k in trained else 0 for k in range(34)]
    assert train_ids_to_ids(label[:0]).shape == (0, 34)
    for wrong in (19, 33, 254, 256, -1):
        message = rf"expected trainIds, 0 to 18 or 255 for void; found \[{wrong}\]"
        refused(message, train_ids_to_ids, np.array([0, 18, wrong, 255], np.int64))
    assert [tuple(row) for row in CITYSCAPES_LABELS] == [tuple(row) for row in official], "the table, in its order"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(SIZE, np.uint8), "an image of mode L; expected instanceIds, a 16-bit"),
        (np.zeros((*SIZE, 3), np.uint8), "an image of mode RGB; expected instanceIds"),
        (np.zeros((3, 4), np.uint16), r"an image \(4, 3\), its .* is \(34, 16\)"),
        (b"\x89PNG", "not an image"),
        (None, r"no such file, though there is .*labelIds\.png"),
    ],
)
def test_instances(root: Path, content: np.ndarray | bytes | None, message: str) -> None:
    data = CityscapesSegmentation(root, "val")
    instances = data.read_instances(1)
    assert instances.dtype == np.int32 and instances.shape == SIZE
    assert (instances[:, 26] == 26003).all() and instances[0, 0] == 7
    assert data.subset([2]).read_instances(0)[0, 0] == 8
    path = label_path(root, "val", "instanceIds")
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save(path, content)
    with pytest.raises(FileNotFoundError if content is None else ValueError, match=rf"instanceIds\.png: {message}"):
        data.read_instances(1)


@pytest.mark.parametrize(
    ("folder", "quality", "split", "packages"),
    [
        ("leftImg8bit", "fine", "val", r"leftImg8bit_trainvaltest\.zip.* and gtFine_trainvaltest\.zip"),
        ("gtFine", "fine", "test", r"leftImg8bit_trainvaltest\.zip.* and gtFine_trainvaltest\.zip"),
        ("gtCoarse", "coarse", "train", r"leftImg8bit_trainvaltest\.zip.* and gtCoarse\.zip"),
        ("leftImg8bit", "coarse", "train_extra", r"leftImg8bit_trainextra\.zip.* and gtCoarse\.zip"),
    ],
)
def test_missing_folder_has_its_source(root: Path, folder: str, quality: str, split: str, packages: str) -> None:
    login = "log in at https://www.cityscapes-dataset.com"
    shutil.rmtree(root / folder / split)
    with pytest.raises(FileNotFoundError, match=rf"{folder}.{split}: no such folder; .*{login}.*{packages}"):
        CityscapesSegmentation(root, split, quality)
    (root / folder / split).mkdir()
    empty = rf"{split}: holds no CITY folder.*{login}" if folder == "leftImg8bit" else "aachen: lacks 3 of the 3 files"
    refused(empty, CityscapesSegmentation, root, split, quality, error=FileNotFoundError)


def test_unknown_split_and_quality(root: Path) -> None:
    for quality, split, message in (
        ("fine", "trainval", r"split: expected one of \('train', 'val', 'test'\) .*'fine', found 'trainval'"),
        ("coarse", "test", r"\('train', 'val', 'train_extra'\) with quality 'coarse', found 'test'"),
        ("medium", "train", r"quality: expected one of \('fine', 'coarse'\), found 'medium'"),
    ):
        refused(message, CityscapesSegmentation, root, split, quality)


def test_an_image_needs_its_annotation_and_other_files_are_no_samples(root: Path) -> None:
    label_path(root).rename(label_path(root, kind="labelTrainIds"))
    missing = r"train.ulm: lacks 1 of the 3 .*: ulm_000000_000019_gtFine_labelIds\.png; labelTrainIds files are not"
    refused(missing, CityscapesSegmentation, root, error=FileNotFoundError)
    folder = root / "leftImg8bit" / "train"
    (folder / "ulm" / "ulm_000000_000019_leftImg8bit.png").unlink()
    for name in ("ulm/._ulm_000000_000019_leftImg8bit.png", "ulm/Thumbs.db", "license.txt"):
        (folder / name).write_bytes(b"of another program")
    assert CityscapesSegmentation(root).names == ["aachen_000000_000019", "ulm_000001_000019"]


def test_train_ids_in_place_of_ids(root: Path) -> None:
    data = CityscapesSegmentation(root, "train")
    for value, message in ((255, r"\[255\]; .*labelTrainIds.*ids, 0 to 33"), (34, r"\[34\]; expected ids, 0 to 33")):
        ids = label_ids()
        ids[3, 4] = value
        save(label_path(root), ids)
        refused(rf"_labelIds\.png: holds the values {message}", data.read, 1)
    path = save(label_path(root, kind="labelTrainIds"), np.zeros(SIZE, np.uint8))
    refused(r"labelTrainIds\.png: trainIds; expected ids", data.read_label, path)


def check_instances(data: CityscapesSegmentation, index: int) -> np.ndarray:
    """An instance's class is its label, and one that has instances. Returns the ids of all pixels."""
    label, instances = data.read(index)[1], data.read_instances(index)
    ids = np.where(instances >= 1000, instances // 1000, instances)
    assert np.array_equal(train_ids_to_ids(label)[label != 255], ids[label != 255])
    assert all(LABELS[kind].hasInstances for kind in np.unique(ids[instances >= 1000]))
    return ids


def test_toy_streets(root: Path, tmp_path: Path) -> None:
    train, val = ToyCityscapes("train", seed=2), ToyCityscapes("val")
    assert (len(train), len(val), train.seed) == (48, 12, 2)
    assert train.classes == CITYSCAPES_CLASSES and isinstance(train, CityscapesSegmentation)
    assert train.names[0] == "aldermoor_000000_000019" and {n.split("_")[0] for n in val.names} == {"brackenau"}
    for data in (train, val):
        ids = np.stack([check_instances(data, index) for index in range(len(data))])
        assert ids.shape[1:] == (256, 512) and {*np.unique(ids)} == {row.id for row in official if row.id >= 0}
    label = val.files[1][1]
    colours = np.array(Image.open(label.with_name(label.name.replace("labelIds", "color"))))
    assert all((colours[ids[1] == row.id] == (*row.color, 255)).all() for row in official)
    assert len(ToyCityscapes("val", root=root)) == 3
    with pytest.raises(FileNotFoundError, match=r"no such folder; `python -m tools\.toy_data cityscapes .*absent`"):
        ToyCityscapes("train", root=tmp_path / "absent")


def test_real_frames(seglib_data: Path) -> None:
    if not (seglib_data / "cityscapes" / "leftImg8bit" / "train").is_dir():
        pytest.skip("SEGLIB_DATA holds no cityscapes/leftImg8bit/train")
    data = CityscapesSegmentation(seglib_data / "cityscapes", "train")
    assert check_instances(data, 0).shape == (1024, 2048) and 0.02 < (data.read(0)[1] == 255).mean() < 0.3
