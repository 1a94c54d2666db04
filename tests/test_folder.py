"""A folder of one's own: layouts, names, splits, and what a run makes of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusal import refused
from small_set import SMALL, make_trainer

from seglib.data import FolderSegmentation, build_dataset
from seglib.data.fingerprint import count_labels, fingerprint
from seglib.data.folder import divide
from seglib.data.masks import ClassEntry, ClassTable, SplitRule
from seglib.recipe import Recipe

NAMES = [f"{walk}_{number:02d}" for walk in ("bay", "hill", "pier", "weir", "lane") for number in (1, 2, 3)]
COLOURS = ((0, 0, 0), (220, 20, 60), (60, 160, 60))
TABLE = ClassTable(
    classes=tuple(ClassEntry(f"class {k}", colour=colour) for k, colour in enumerate(COLOURS)),
    void_colours=((255, 255, 255),),
)
RECIPE = SMALL.replace(data="folder", train_split="train", iterations=2)


def draw(root: Path, name: str, picture: str = "images/{}.jpg", mask: str = "masks/{}.png") -> np.ndarray:
    """Draws a picture and its mask in colours; returns the label."""
    rng = np.random.default_rng(sum(name.encode()))
    label = np.zeros((40, 48), np.uint8)
    for value in (1, 2):
        top, left = rng.integers(0, 28, 2)
        label[top : top + 12, left : left + 12] = value
    label[-1] = 255
    drawn = np.concatenate([COLOURS, np.full((253, 3), 255)]).astype(np.uint8)[label]
    for file, pixels in ((picture, drawn // 2 + rng.integers(0, 128, drawn.shape, dtype=np.uint8)), (mask, drawn)):
        path = root / file.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A flat folder with its table."""
    folder = tmp_path / "mine"
    for name in NAMES:
        draw(folder, name)
    TABLE.save(folder / "classes.toml")
    return folder


def write_lists(root: Path, **lists: str) -> None:
    (root / "lists").mkdir(exist_ok=True)
    for split, text in lists.items():
        (root / "lists" / f"{split}.txt").write_text(text, encoding="utf-8")


def test_subfolders_of_any_names_and_extensions(tmp_path: Path) -> None:
    labels = {
        "a b.1": draw(tmp_path, "a b.1", "images/train/{}.JPG", "masks/train/{}_mask.PNG"),
        "ü": draw(tmp_path, "ü", "images/train/{}.jpeg", "masks/train/{}-label.tif"),
        "c": draw(tmp_path, "c", "images/train/{}.bmp", "masks/train/{}.gif"),
    }
    draw(tmp_path, "c", "images/val/{}.PNG", "masks/val/{}_gt.png")
    (tmp_path / "images/train/._c.jpg").touch()
    (tmp_path / "images/train/Thumbs.db").touch()
    TABLE.save(tmp_path / "classes.toml")
    train = FolderSegmentation(tmp_path, "train")
    assert train.names == ["a b.1", "c", "ü"] and FolderSegmentation(tmp_path, "val").names == ["c"]
    assert train.classes == ("class 0", "class 1", "class 2") and train.palette[:3].tolist() == [*map(list, COLOURS)]
    for index, name in enumerate(train.names):
        image, label = train.read(index)
        assert image.shape == (40, 48, 3) and np.array_equal(label, labels[name])
    refused(r"split: .* has \['train', 'val'\], found 'trainaug'", FolderSegmentation, tmp_path, "trainaug")


def test_lists(root: Path) -> None:
    write_lists(root, train="\ufeffbay_01.jpg\r\nhill_02\r\n", val="pier_03\n", test="weir_01\nweir_02\n")
    for split, names in (("train", ["bay_01", "hill_02"]), ("val", ["pier_03"]), ("test", ["weir_01", "weir_02"])):
        assert FolderSegmentation(root, split).names == names
    for lists, message in (
        ({"val": "pier_03\nBay_02\n"}, r"val\.txt: .*images lacks 1 of 2: Bay_02 \(bay_02\.jpg is there\)"),
        ({"val": "bay_01\n"}, r"lists: bay_01\.jpg in train and in val"),
        ({"val": "pier_03\npier_03"}, "pier_03 more than once"),
    ):
        write_lists(root, **lists)
        refused(message, FolderSegmentation, root, "train", error=(FileNotFoundError, ValueError))


def test_pictures_of_one_prefix_stay_on_one_side(root: Path) -> None:
    parts = {split: FolderSegmentation(root, split).names for split in ("train", "val")}
    assert sorted(parts["train"] + parts["val"]) == sorted(NAMES) and len(parts["val"]) == 3
    assert len({name.split("_")[0] for name in parts["val"]}) == 1
    images = [root / f"{name}.jpg" for name in NAMES]
    others = [divide(images, SplitRule(seed=seed))["val"] for seed in range(20)]
    assert {len(val) for val in others} == {3} and len({*map(tuple, others)}) == 5, "every walk has its turn"
    singly = divide(images, SplitRule(share=0.4, group="none"))
    assert len(singly["val"]) == 6 and len({path.stem.split("_")[0] for path in singly["val"]}) > 2
    one_walk = divide([root / f"IMG_{number}.jpg" for number in range(10)], SplitRule())
    assert (len(one_walk["train"]), len(one_walk["val"])) == (8, 2), "no groups in one prefix"
    grown = divide([*images, root / "zoo_01.jpg"], SplitRule())["val"]
    assert {path.stem for path in grown} & {*parts["val"]}, "one more picture draws no new lots"


def mask_of(root: Path, name: str) -> Path:
    return root / "masks" / f"{name}.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: mask_of(r, "bay_02").rename(r / "masks/Bay_02.png"), r"mask of bay_02\.jpg \(Bay_02\.png is there"),
        (lambda r: mask_of(r, "bay_02").unlink(), r"1 of \d+ pictures of train have not one mask: .*bay_02\.png"),
        (lambda r: shutil.copy(mask_of(r, "bay_02"), r / "masks/bay_02.tif"), r"bay_02\.png, bay_02\.tif are masks of"),
        (lambda r: shutil.copy(r / "images/bay_02.jpg", r / "images/bay_02.JPEG"), "are called bay_02"),
        (lambda r: (r / "images/train").mkdir(), r"bay_01\.jpg lies beside the folder train"),
        (lambda r: (r / "classes.toml").unlink(), r"classes\.toml: no such file; .*check-folder .* --write"),
        (lambda r: (r / "masks").rename(r / "labels"), "expected the folders images and masks, found .*labels"),
        (lambda r: [path.unlink() for path in (r / "images").iterdir()], r"images: no picture in .*expected \.jpg"),
    ],
)  # fmt: skip
def test_what_is_missing_or_there_twice_is_named(root: Path, damage: object, message: str) -> None:
    damage(root)
    refused(message, FolderSegmentation, root, "train", error=(FileNotFoundError, ValueError))


def test_packing_folds_and_fingerprints(root: Path, tmp_path: Path) -> None:
    plain, packed = (build_dataset(RECIPE, "train", root, packed_root=place) for place in (None, tmp_path / "packed"))
    assert all(
        np.array_equal(a, b) for i in range(len(plain)) for a, b in zip(plain.read(i), packed.read(i), strict=True)
    )
    identity = fingerprint(plain, count_labels(plain, {}))
    assert fingerprint(packed, count_labels(packed, {})) == identity
    folds = RECIPE.replace(folds=4, fold=1, val_split="fold")
    train, val = build_dataset(folds, "train", root, train=True), build_dataset(folds, "fold", root)
    assert len(train) + len(val) == len(plain) and not {*train.names} & {*val.names}
    exchanged = ClassTable(classes=(*TABLE.classes[:1], *TABLE.classes[:0:-1]), void_colours=TABLE.void_colours)
    known = count_labels(plain, {})
    exchanged.save(root / "classes.toml")  # the same files, read through another table
    for place in (None, tmp_path / "packed"):
        other = build_dataset(RECIPE, "train", root, packed_root=place)
        assert fingerprint(other, count_labels(other, known)) != identity
        assert np.array_equal(other.read(0)[1] == 1, plain.read(0)[1] == 2)


def test_grey_and_many_channels(root: Path) -> None:
    text = (root / "classes.toml").read_text()
    (root / "classes.toml").write_text(text.replace("in_channels = 3", "in_channels = 1"))
    grey = FolderSegmentation(root, "train")
    assert np.array_equal(grey.read(0)[0][..., 0], Image.open(grey.files[0][0]).convert("L")) and grey.in_channels == 1
    for path in sorted((root / "images").iterdir()):
        np.save(path.with_suffix(".npy"), np.full((40, 48, 5), 900, np.uint16))
        path.unlink()
    (root / "classes.toml").write_text("pixel_range = [0, 1800]\n" + text.replace("in_channels = 3", "in_channels = 5"))
    image, label = FolderSegmentation(root, "train").read(0)
    assert image.shape == (40, 48, 5) and (image == 128).all() and label.shape == (40, 48)


def test_a_run_on_a_folder(root: Path, tmp_path: Path) -> None:
    trainer = make_trainer(RECIPE, tmp_path / "run", root).fit()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["classes"] == ["class 0", "class 1", "class 2"] and len(result["scores"]["iou"]) == 3
    assert trainer.train_set.num_classes == 3
    refused("data = 'folder': expected data_root", make_trainer, RECIPE, tmp_path / "other", None)
    refused("has .*'train', 'val'.*found 'trainaug'", make_trainer, Recipe(data="folder"), tmp_path / "other", root)


def binary_masks(root: Path, *values: int) -> None:
    for path in (root / "masks").iterdir():
        colours = np.array(Image.open(path))
        Image.fromarray(np.array(values, np.uint8)[(colours == COLOURS[1]).all(axis=2).astype(int)]).save(path)


def test_masks_of_0_and_255_do_not_train_to_a_perfect_score(root: Path, tmp_path: Path) -> None:
    two = tuple(ClassEntry(name, value) for name, value in (("ground", 0), ("object", 1)))
    ClassTable(classes=two).save(root / "classes.toml")
    binary_masks(root, 0, 255)
    message = r"no pixel of object in any of 12 training labels, while \d+\.\d% are void; .*classes\.toml"
    refused(message, make_trainer, RECIPE, tmp_path / "run", root)
    right = ClassTable(classes=(two[0], ClassEntry("object", 255)))
    right.save(root / "classes.toml")
    assert make_trainer(RECIPE, tmp_path / "run", root).data["train"]["pixels"][1] > 0
    for path in (root / "masks").iterdir():
        Image.new("L", (48, 40), 255).save(path)
    ClassTable(classes=two).save(root / "classes.toml")
    refused("no pixel of ground, object in any", make_trainer, RECIPE, tmp_path / "void", root)


def test_a_wrong_mask_of_val_is_found_at_the_start(root: Path, tmp_path: Path) -> None:
    path = FolderSegmentation(root, "val").files[1][1]
    Image.fromarray(np.full((40, 48), 100, np.uint8)).save(path)
    refused(rf"{path.name}: .*100 \(1920 pixels\)", make_trainer, RECIPE, tmp_path / "run", root)
