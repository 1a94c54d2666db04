"""Pascal VOC and SBD on a small tree with the official layout, damaged in every way that trees get damaged."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from refusal import refused
from scipy.io import savemat
from trees import save

from seglib.data import VOC_CLASSES, SegmentationDataset, VOCSegmentation, sample_rng, voc, voc_palette

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


def label_of(source: int, **pixel: int) -> np.ndarray:
    label = np.zeros(SIZE, dtype=np.uint8)
    label[0, 0], label[1, 1], label[2, 2], label[5, 5] = source, 20, 255, pixel.get("wrong", 0)
    return label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A VOCdevkit folder with lists, images, VOC's labels and SegmentationClassAug."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for split, names in {"train": TRAIN, "val": VAL, "trainval": sorted(TRAIN + VAL), "trainaug": TRAINAUG}.items():
        write_list(base / "ImageSets" / "Segmentation" / f"{split}.txt", names)
    for index, name in enumerate([*TRAINAUG, *VAL]):
        save(base / "JPEGImages" / f"{name}.jpg", np.full((*SIZE, 3), (30 * index, 80, 200), np.uint8))
        save(base / "SegmentationClassAug" / f"{name}.png", label_of(AUG), voc_palette())
    for name in [*TRAIN, *VAL]:
        save(base / "SegmentationClass" / f"{name}.png", label_of(OWN), voc_palette())
    return tmp_path / "VOCdevkit"


@pytest.fixture
def sbd(root: Path) -> Path:
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


def test_sbd_serves_what_voc_lacks(root: Path, sbd: Path) -> None:
    """Its lists where there is none of trainaug, its labels where there is no augmented folder."""
    lists(root, "trainaug").unlink()
    data = VOCSegmentation(root, "trainaug", partial=True)
    assert data.names == TRAINAUG
    assert sources(data) == dict.fromkeys(TRAINAUG, AUG), "SegmentationClassAug is there and goes first"
    shutil.rmtree(root / "VOC2012" / "SegmentationClassAug")
    data = VOCSegmentation(root, "trainaug", partial=True)
    assert sources(data) == {name: OWN if name in TRAIN else SBD for name in TRAINAUG}
    _, label = data.read(data.names.index("2008_000002"))
    assert label.dtype == np.uint8 and label.shape == SIZE and set(np.unique(label)) == {0, SBD, 20}
    path = sbd / "dataset" / "cls" / "2008_000001.mat"
    whole = path.read_bytes()
    savemat(path, {"something": np.zeros(3)})
    for contents in (path.read_bytes(), whole[:150], b"", b"nothing of the kind" * 20):
        path.write_bytes(contents)
        refused(r"2008_000001\.mat: not one of SBD's label files", data.read, data.names.index("2008_000001"))


def test_official_counts_are_verified(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """trainaug verifies all the lists that it depends on."""
    for split, count, official in (("train", 3, 1464), ("val", 2, 1449), ("trainval", 5, 2913)):
        refused(rf"{split}\.txt: {count} images; .*official {official}.* partial=True", VOCSegmentation, root, split)
    counts = {"train": 3, "val": 2, "trainval": 5, "trainaug": 6}
    monkeypatch.setattr(voc, "COUNTS", counts)
    assert len(VOCSegmentation(root, "trainaug")) == 6
    for split in ("train", "val", "trainaug"):
        monkeypatch.setattr(voc, "COUNTS", {**counts, split: 10582})
        refused(rf"{split}\.txt: .*official 10582", VOCSegmentation, root, "trainaug")


@pytest.mark.parametrize(
    ("split", "names", "message"),
    [
        ("trainaug", [*TRAINAUG, *VAL], "2 of val's images are in trainaug: 2007_000004, 2007_000005"),
        ("trainaug", TRAINAUG[1:], "lacks 1 of train's images: 2007_000001"),
        ("val", ["/JPEGImages/2007_000004.jpg /a.png"], r"val\.txt: expected one image id .* found '/JPEGImages"),
        ("val", [], r"val\.txt: lists no image"),
        ("val", ["2007_000004 -1", "2007_000005  1"], r"lacks 2 .*2007_000004 -1\.jpg \(2007_000004\.jpg is there\)"),
    ],
)
def test_lists_are_read_carefully(root: Path, split: str, names: list[str], message: str) -> None:
    write_list(lists(root, split), names)
    refused(message, VOCSegmentation, root, split, error=(FileNotFoundError, ValueError), partial=True)


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    refused(r"split: expected one of .*'trainaug'.* found 'test'", VOCSegmentation, root, "test", partial=True)
    with pytest.raises(FileNotFoundError, match=r"nowhere.VOC2012: no such folder; root is the folder that holds"):
        VOCSegmentation(tmp_path / "nowhere", "train", partial=True)
    base = root / "VOC2012"
    for remove, path, split, message in (
        (Path.unlink, base / "JPEGImages/2007_000002.jpg", "train", r"JPEGImages: lacks 1 .* 3 .*: 2007_000002\.jpg"),
        (shutil.rmtree, base / "SegmentationClass", "val", "SegmentationClass: lacks 2 of the 2 files"),
        (shutil.rmtree, base / "SegmentationClassAug", "trainaug", "Aug: no such folder, and no benchmark_RELEASE"),
        (Path.unlink, lists(root, "trainaug"), "trainaug", r"trainaug\.txt: no such list, and no benchmark_RELEASE"),
        (Path.unlink, lists(root, "val"), "val", r"val\.txt: no such list"),
    ):
        remove(path)
        refused(message, VOCSegmentation, root, split, error=FileNotFoundError, partial=True)


def test_samples_are_keyed_by_epoch_and_index(root: Path) -> None:
    def draw(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), label

    data = VOCSegmentation(root, "trainaug", transform=draw, partial=True, seed=5)
    for key, epoch, index in ((3, 0, 3), ((2, 3), 2, 3), (-1, 0, 5), ((1, -2), 1, 4)):
        for rng in (np.random.default_rng((5, epoch, index)), sample_rng(5, epoch, index)):
            assert np.array_equal(data[key][0], rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
    assert len(list(data)) == 6
    with pytest.raises(IndexError):
        data[6]


def test_a_data_set_of_ones_own(root: Path) -> None:
    base, palette = VOCSegmentation(root, "train", partial=True), voc_palette()
    data = SegmentationDataset(base.files[:2], VOC_CLASSES, palette, names=["one", "two"])
    assert data.names == ["one", "two"] and np.array_equal(data[1][1], base[1][1])
    data.read_image = lambda path: np.zeros(SIZE, np.uint8)
    refused(r"is \(12, 17\); expected equal sizes, \(H, W\) and \(H, W, channels\)", data.read, 0)
    for classes, colours, names, message in (
        (VOC_CLASSES, palette, ["one"], "names: expected one for each of the 3 files, found 1"),
        (VOC_CLASSES, palette[:21], None, r"palette: expected \(256, 3\) uint8, found \(21, 3\)"),
        ((), palette, None, "classes: expected 1 to 255 names, found 0"),
    ):
        refused(message, SegmentationDataset, base.files, classes, colours, names=names)


def test_the_real_tree_and_the_official_lists(seglib_data: Path) -> None:
    root, folder = seglib_data / "voc" / "VOCdevkit", seglib_data / "voc" / "full_lists"
    if not root.is_dir() or not folder.is_dir():
        pytest.skip("SEGLIB_DATA holds no voc/VOCdevkit or no voc/full_lists")
    for split in voc.COUNTS:
        data = VOCSegmentation(root, split, partial=True)
        samples = [data[index] for index in range(0, len(data), max(1, len(data) // 40))]
        assert all(image.shape[:2] == label.shape and max(label.shape) <= 500 for image, label in samples)
        seen = set().union(*(np.unique(label).tolist() for _, label in samples))
        assert {0, 15, 255} <= seen <= {*range(21), 255}
    official = {split: (folder / f"{split}.txt").read_text().split() for split in voc.COUNTS}
    assert {split: len({*ids}) for split, ids in official.items()} == voc.COUNTS
    assert official["trainval"] == sorted(official["train"] + official["val"])
    assert not {*official["trainaug"]} & {*official["val"]} and {*official["train"]} <= {*official["trainaug"]}
