"""Pascal VOC and SBD on a small tree with the official layout, damaged in every way that trees get damaged."""

import builtins
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from seglib.data import VOC_CLASSES, SegmentationDataset, VOCSegmentation, sample_rng, voc_palette

TRAIN, VAL = ["2007_000001", "2007_000002", "2007_000003"], ["2007_000004", "2007_000005"]
# SBD's own lists, which know nothing of VOC's: they hold images of VOC's train and val.
SBD_TRAIN = ["2008_000001", "2008_000002", "2007_000001", "2007_000004"]
SBD_VAL = ["2008_000003", "2007_000002", "2007_000005"]
TRAINAUG = sorted([*TRAIN, "2008_000001", "2008_000002", "2008_000003"])
SIZE = (12, 17)
# The value of the top left label pixel tells where a label came from.
OWN, AUG, SBD = 3, 5, 7


def write_list(path: Path, names: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def label_of(source: int) -> np.ndarray:
    label = np.zeros(SIZE, dtype=np.uint8)
    label[0, 0], label[1, 1], label[2, 2] = source, 20, 255
    return label


def write_mask(path: Path, label: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(label)
    mask.putpalette(voc_palette().tobytes())
    mask.save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A VOCdevkit folder with lists, images, VOC's labels and SegmentationClassAug."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for split, names in {"train": TRAIN, "val": VAL, "trainval": sorted(TRAIN + VAL), "trainaug": TRAINAUG}.items():
        write_list(base / "ImageSets" / "Segmentation" / f"{split}.txt", names)
    (base / "JPEGImages").mkdir()
    for index, name in enumerate([*TRAINAUG, *VAL]):
        Image.new("RGB", SIZE[::-1], (30 * index, 80, 200)).save(base / "JPEGImages" / f"{name}.jpg", quality=95)
        write_mask(base / "SegmentationClassAug" / f"{name}.png", label_of(AUG))
    for name in [*TRAIN, *VAL]:
        write_mask(base / "SegmentationClass" / f"{name}.png", label_of(OWN))
    return tmp_path / "VOCdevkit"


@pytest.fixture
def sbd(root: Path) -> Path:
    """SBD beside VOCdevkit."""
    folder = root.parent / "benchmark_RELEASE"
    write_list(folder / "dataset" / "train.txt", SBD_TRAIN)
    write_list(folder / "dataset" / "val.txt", SBD_VAL)
    (folder / "dataset" / "cls").mkdir()
    label = label_of(SBD)
    label[2, 2] = 0  # SBD has no void
    for name in [*SBD_TRAIN, *SBD_VAL]:
        contents = {"Segmentation": label, "Boundaries": np.zeros(1), "CategoriesPresent": np.array([7, 20])}
        savemat(folder / "dataset" / "cls" / f"{name}.mat", {"GTcls": contents}, do_compression=True)
    return folder


def lists(root: Path, split: str) -> Path:
    return root / "VOC2012" / "ImageSets" / "Segmentation" / f"{split}.txt"


def sources(data: VOCSegmentation) -> dict[str, int]:
    return {name: int(data.read(index)[1][0, 0]) for index, name in enumerate(data.names)}


def test_palette_and_class_names_are_the_published_ones() -> None:
    palette = voc_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    # the devkit's VOClabelcolormap, as it is printed all over the field
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert palette[:7].tolist() == [list(colour) for colour in first]
    assert palette[[12, 15, 20, 255]].tolist() == [[64, 0, 128], [192, 128, 128], [0, 64, 128], [224, 224, 192]]
    assert len(np.unique(palette, axis=0)) == 256
    assert len(VOC_CLASSES) == 21 and VOC_CLASSES[0] == "background" and VOC_CLASSES[15] == "person"
    assert list(VOC_CLASSES[1:]) == sorted(VOC_CLASSES[1:])


@pytest.mark.parametrize(
    ("split", "names", "source"),
    [("train", TRAIN, OWN), ("val", VAL, OWN), ("trainval", sorted(TRAIN + VAL), OWN), ("trainaug", TRAINAUG, AUG)],
)
def test_splits_and_their_labels(root: Path, split: str, names: list[str], source: int) -> None:
    data = VOCSegmentation(root, split, partial=True)
    assert data.names == names and len(data) == len(names) and data.num_classes == 21
    assert sources(data) == dict.fromkeys(names, source)
    assert np.array_equal(data.read(0)[1], label_of(source)), "indices, not colours"
    if split == "trainval":
        lists(root, split).unlink()
        assert VOCSegmentation(root, split, partial=True).names == names, "train and val"


def test_trainaug_is_made_from_sbds_lists(root: Path, sbd: Path) -> None:
    lists(root, "trainaug").unlink()
    data = VOCSegmentation(root, "trainaug", partial=True)
    assert data.names == TRAINAUG
    assert sources(data) == dict.fromkeys(TRAINAUG, AUG), "SegmentationClassAug is there and goes first"


def test_sbds_labels_serve_where_there_is_no_augmented_folder(root: Path, sbd: Path) -> None:
    shutil.rmtree(root / "VOC2012" / "SegmentationClassAug")
    data = VOCSegmentation(root, "trainaug", partial=True)
    assert sources(data) == {name: OWN if name in TRAIN else SBD for name in TRAINAUG}
    _, label = data.read(data.names.index("2008_000002"))
    assert label.dtype == np.uint8 and label.shape == SIZE and set(np.unique(label)) == {0, SBD, 20}


def test_sbd_root_goes_first_when_given(root: Path, sbd: Path) -> None:
    moved = shutil.move(sbd, root.parent / "elsewhere")
    data = VOCSegmentation(root, "trainaug", partial=True, sbd_root=moved)
    assert sources(data)["2008_000001"] == SBD and sources(data)["2007_000001"] == OWN
    with pytest.raises(FileNotFoundError, match=r"sbd_root: .*holds no dataset/cls"):
        VOCSegmentation(root, "trainaug", partial=True, sbd_root=root)


def test_a_damaged_mat_file_is_named(root: Path, sbd: Path) -> None:
    data = VOCSegmentation(root, "trainaug", partial=True, sbd_root=sbd)
    path = sbd / "dataset" / "cls" / "2008_000001.mat"
    index = data.names.index("2008_000001")
    whole = path.read_bytes()
    savemat(path, {"something": np.zeros(3)})
    for contents in (path.read_bytes(), whole[:150], b"", b"nothing of the kind" * 20):
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=r"2008_000001\.mat: not one of SBD's label files"):
            data.read(index)


def test_missing_scipy_is_said_at_once(root: Path, sbd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_scipy(name: str, *rest: object) -> object:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    assert len(VOCSegmentation(root, "trainaug", partial=True)) == len(TRAINAUG)
    with pytest.raises(ImportError, match="pip install scipy"):
        VOCSegmentation(root, "trainaug", partial=True, sbd_root=sbd)


def test_official_counts_are_verified(root: Path) -> None:
    for split, count, official in (("train", 3, 1464), ("val", 2, 1449), ("trainval", 5, 2913)):
        with pytest.raises(ValueError, match=rf"{split}\.txt: {count} images; .*official {official}.* partial=True"):
            VOCSegmentation(root, split)


def test_trainaug_verifies_all_the_lists_it_depends_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train": 3, "val": 2, "trainval": 5, "trainaug": 6}
    monkeypatch.setattr(VOCSegmentation, "counts", counts)
    assert len(VOCSegmentation(root, "trainaug")) == 6
    for split in ("train", "val", "trainaug"):
        monkeypatch.setattr(VOCSegmentation, "counts", {**counts, split: 10582})
        with pytest.raises(ValueError, match=rf"{split}\.txt: .*official 10582"):
            VOCSegmentation(root, "trainaug")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*TRAINAUG, *VAL], "2 of val's images are in trainaug: 2007_000004, 2007_000005"),
        (TRAINAUG[1:], "lacks 1 of train's images: 2007_000001"),
    ],
)
def test_a_wrong_trainaug_is_refused(root: Path, names: list[str], message: str) -> None:
    write_list(lists(root, "trainaug"), names)
    with pytest.raises(ValueError, match=message):
        VOCSegmentation(root, "trainaug", partial=True)


def test_lists_are_read_carefully(root: Path) -> None:
    lists(root, "val").write_bytes("\r\n".join([*VAL, "", ""]).encode())
    assert VOCSegmentation(root, "val", partial=True).names == VAL
    write_list(lists(root, "val"), [*VAL, VAL[0]])
    with pytest.raises(ValueError, match=r"val\.txt: lists 2007_000004 more than once"):
        VOCSegmentation(root, "val", partial=True)
    write_list(lists(root, "val"), ["/JPEGImages/2007_000004.jpg /SegmentationClassAug/2007_000004.png"])
    with pytest.raises(ValueError, match=r"expected one image id .* found '/JPEGImages"):
        VOCSegmentation(root, "val", partial=True)


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split: expected one of .*'trainaug'.* found 'test'"):
        VOCSegmentation(root, "test", partial=True)
    with pytest.raises(FileNotFoundError, match=r"nowhere.VOC2012: no such folder; root is the folder that holds"):
        VOCSegmentation(tmp_path / "nowhere", "train", partial=True)
    (root / "VOC2012" / "JPEGImages" / "2007_000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"JPEGImages: lacks 1 of the 3 files listed: 2007_000002\.jpg"):
        VOCSegmentation(root, "train", partial=True)
    shutil.rmtree(root / "VOC2012" / "SegmentationClass")
    with pytest.raises(FileNotFoundError, match=r"SegmentationClass: lacks 2 of the 2 files"):
        VOCSegmentation(root, "val", partial=True)
    shutil.rmtree(root / "VOC2012" / "SegmentationClassAug")
    with pytest.raises(FileNotFoundError, match="SegmentationClassAug: no such folder, and no benchmark_RELEASE"):
        VOCSegmentation(root, "trainaug", partial=True)
    lists(root, "trainaug").unlink()
    with pytest.raises(FileNotFoundError, match=r"trainaug\.txt: no such list, and no benchmark_RELEASE"):
        VOCSegmentation(root, "trainaug", partial=True)
    lists(root, "val").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt: no such list"):
        VOCSegmentation(root, "val", partial=True)


def test_wrong_labels_and_files_that_go_away_are_named(root: Path) -> None:
    data = VOCSegmentation(root, "train", partial=True)
    write_mask(data.files[0][1], np.zeros((10, 17), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"000001\.png: the label is 17 x 10, its image 2007_000001\.jpg is 17 x 12"):
        data[0]
    for value in (21, 22, 128, 254):
        label = label_of(OWN)
        label[5, 5] = value
        write_mask(data.files[1][1], label)
        with pytest.raises(ValueError, match=rf"2007_000002\.png: .*values \[{value}\]; expected 0 to 20 for 21 class"):
            data[1]
    for index, path in ((1, data.files[1][1]), (2, data.files[2][0])):
        path.unlink()
        with pytest.raises(FileNotFoundError, match=rf"{path.name}: no such file"):
            data[index]


def test_samples_are_keyed_by_epoch_and_index(root: Path) -> None:
    def draw(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), label

    data = VOCSegmentation(root, "trainaug", transform=draw, partial=True, seed=5)
    for key, epoch, index in ((3, 0, 3), ((2, 3), 2, 3), (-1, 0, 5), ((1, -2), 1, 4)):
        expected = np.random.default_rng((5, epoch, index)).integers(0, 256, (2, 2, 3), dtype=np.uint8)
        assert np.array_equal(data[key][0], expected)
        assert np.array_equal(sample_rng(5, epoch, index).integers(0, 256, (2, 2, 3), dtype=np.uint8), expected)
    assert len(list(data)) == 6
    with pytest.raises(IndexError):
        data[6]


def test_a_data_set_of_ones_own(root: Path) -> None:
    base = VOCSegmentation(root, "train", partial=True)
    palette = voc_palette()
    data = SegmentationDataset(base.files[:2], VOC_CLASSES, palette, names=["one", "two"])
    assert data.names == ["one", "two"] and np.array_equal(data[1][1], base[1][1])
    with pytest.raises(ValueError, match="names: expected one for each of the 2 files, found 1"):
        SegmentationDataset(base.files[:2], VOC_CLASSES, palette, names=["one"])
    with pytest.raises(ValueError, match=r"palette: expected \(256, 3\) uint8, found \(21, 3\)"):
        SegmentationDataset(base.files, VOC_CLASSES, palette[:21])
    with pytest.raises(ValueError, match="classes: expected 1 to 255 names, found 0"):
        SegmentationDataset(base.files, (), palette)


def test_the_real_tree_is_read(seglib_data: Path) -> None:
    root = seglib_data / "voc" / "VOCdevkit"
    if not root.is_dir():
        pytest.skip("SEGLIB_DATA holds no voc/VOCdevkit")
    for split in ("train", "val", "trainaug", "trainval"):
        data = VOCSegmentation(root, split, partial=True)
        seen = np.zeros(256, dtype=bool)
        for index in range(0, len(data), max(1, len(data) // 40)):
            image, label = data[index]
            assert image.shape[:2] == label.shape and max(label.shape) <= 500
            seen[np.unique(label)] = True
        assert seen[0] and seen[15] and seen[255] and not seen[21:255].any()


def test_the_official_lists_have_the_official_counts(
    seglib_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = seglib_data / "voc" / "full_lists"
    if not folder.is_dir():
        pytest.skip("SEGLIB_DATA holds no voc/full_lists")
    monkeypatch.setattr("seglib.data.voc._check_files", lambda paths: None)  # the lists without their images
    (tmp_path / "VOC2012" / "SegmentationClassAug").mkdir(parents=True)
    names = {split: (folder / f"{split}.txt").read_text().split() for split in VOCSegmentation.counts}
    for split, ids in names.items():
        write_list(lists(tmp_path, split), ids)
    for split, ids in names.items():
        assert VOCSegmentation(tmp_path, split).names == ids
    lists(tmp_path, "trainval").unlink()
    assert VOCSegmentation(tmp_path, "trainval").names == sorted(names["trainval"])
    assert not {*names["trainaug"]} & {*names["val"]} and {*names["train"]} <= {*names["trainaug"]}
