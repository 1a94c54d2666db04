"""A folder of one's own: layouts, names, splits, a run on it; the commands that check and convert it."""

import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from imagecodecs import tiff_encode
from msgspec.structs import replace
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.mask import encode
from refusal import refused
from small_set import SMALL, make_trainer
from trees import save

from seglib.data import FolderSegmentation, build_dataset, pack
from seglib.data.convert_masks import convert_masks
from seglib.data.fingerprint import count_labels, fingerprint
from seglib.data.folder import divide
from seglib.data.make_table import make_table
from seglib.data.masks import ClassEntry, ClassTable, SplitRule
from seglib.diagnose.folder import check_folder
from seglib.files import PROJECT
from seglib.recipe import Recipe
from tools.toy_data import raw_set

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
    save(root / picture.format(name), drawn // 2 + rng.integers(0, 128, drawn.shape, dtype=np.uint8))
    save(root / mask.format(name), drawn)
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
        "c_gt": draw(tmp_path, "c_gt", "images/train/{}.bmp", "masks/train/{}.png"),  # no mask of c
    }
    draw(tmp_path, "c", "images/val/{}.PNG", "masks/val/{}_gt.png")
    (tmp_path / "images/train/._c.jpg").touch()
    (tmp_path / "images/train/Thumbs.db").touch()
    TABLE.save(tmp_path / "classes.toml")
    train = FolderSegmentation(tmp_path, "train")
    assert train.names == ["a b.1", "c", "c_gt", "ü"] and FolderSegmentation(tmp_path, "val").names == ["c"]
    assert train.classes == ("class 0", "class 1", "class 2") and train.palette[:3].tolist() == [*map(list, COLOURS)]
    for index, name in enumerate(train.names):
        image, label = train.read(index)
        assert image.shape == (40, 48, 3) and np.array_equal(label, labels[name])
    message = r"split: .* has \['train', 'val'\], found 'trainaug'; a recipe names its own as train_split"
    refused(message, FolderSegmentation, tmp_path, "trainaug")


def test_lists(root: Path) -> None:
    write_lists(root, train="\ufeffbay_01.jpg\r\nhill_02\r\n", val="pier_03\n", test="weir_01\nweir_02\n")
    for split, names in (("train", ["bay_01", "hill_02"]), ("val", ["pier_03"]), ("test", ["weir_01", "weir_02"])):
        assert FolderSegmentation(root, split).names == names
    for lists, message in (
        ({"val": "pier_03\nBay_02\n"}, r"val\.txt: .*images lacks 1 of 2: Bay_02 \(bay_02\.jpg is there\)"),
        ({"val": "bay_01\n"}, r"lists: bay_01\.jpg in train and in val"),
        ({"val": "pier_03\npier_03.jpg\n"}, r"val\.txt: lists pier_03\.jpg twice, with and without its ending"),
    ):
        write_lists(root, **lists)
        refused(message, FolderSegmentation, root, "train", error=(FileNotFoundError, ValueError))
    for path in (root / "lists").iterdir():
        path.rename(path.with_suffix(".TXT"))
    message = r"lists: expected train\.txt and val\.txt, or no such folder; found test\.TXT, train\.TXT, val\.TXT"
    refused(message, FolderSegmentation, root, "train", error=FileNotFoundError)


def test_an_accent_may_be_one_character_or_two(tmp_path: Path) -> None:
    """As in the names of pictures from a Mac, whose masks and lists were made elsewhere."""
    for name in ("", "_gt"):
        draw(tmp_path, name, "images/e\u0301{}.jpg", "masks/\u00e9{}.png")
    TABLE.save(tmp_path / "classes.toml")
    write_lists(tmp_path, train="\u00e9\n", val="\u00e9_gt.jpg\n")
    assert [FolderSegmentation(tmp_path, split).names for split in ("train", "val")] == [["e\u0301"], ["e\u0301_gt"]]
    shutil.copy(tmp_path / "images" / "e\u0301.jpg", tmp_path / "images" / "\u00e9.png")
    write_lists(tmp_path, train="e\u0301.jpg\n\u00e9.png\n")
    refused("several pictures are called", FolderSegmentation, tmp_path, "train")


def test_the_mask_of_a_picture_in_another_list_is_no_second_mask(tmp_path: Path) -> None:
    for name in ("a", "a_gt", "b"):
        draw(tmp_path, name)
    TABLE.save(tmp_path / "classes.toml")
    write_lists(tmp_path, train="a\nb\n", val="a_gt\n")
    for split, names in (("train", ["a", "b"]), ("val", ["a_gt"])):
        assert FolderSegmentation(tmp_path, split).names == names


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


def test_pictures_that_are_divided_one_by_one_are_told(root: Path, command: Callable) -> None:
    said = "of 15 pictures tell of no groups, so train and val were divided one by one"
    assert said not in command("check-folder", root) and said not in command("diagnose", root)
    for part in ("images", "masks"):
        for number, path in enumerate(sorted((root / part).iterdir())):
            path.rename(path.with_stem(f"IMG_{number}"))
    assert said in command("check-folder", root)
    assert f"divided_singly: the names {said}" in command("diagnose", root)
    names = [f"IMG_{number}" for number in range(15)]
    write_lists(root, train="\n".join(names[:12]), val="\n".join(names[12:]))
    assert said not in command("check-folder", root) and said not in command("diagnose", root)


def mask_of(root: Path, name: str) -> Path:
    return root / "masks" / f"{name}.png"


def nest(root: Path) -> None:
    (root / "images/train/day1").mkdir(parents=True)
    for path in (root / "images").glob("*.jpg"):
        path.rename(root / "images/train/day1" / path.name)


def divide_by(root: Path, share: float) -> None:
    replace(TABLE, split=SplitRule(share)).save(root / "classes.toml")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: mask_of(r, "bay_02").rename(r / "masks/Bay_02.png"), r"mask of bay_02\.jpg \(Bay_02\.png is there"),
        (lambda r: mask_of(r, "bay_02").unlink(), r"1 of \d+ pictures of train have not one mask: .*bay_02\.png"),
        (lambda r: shutil.copy(mask_of(r, "bay_02"), r / "masks/bay_02.tif"), r"bay_02\.png, bay_02\.tif are masks of"),
        (lambda r: shutil.copy(mask_of(r, "bay_02"), mask_of(r, "bay_02_gt")), r"bay_02\.png, bay_02_gt\.png are m"),
        (lambda r: shutil.copy(r / "images/bay_02.jpg", r / "images/bay_02.JPEG"), "are called bay_02"),
        (lambda r: (r / "images/train").mkdir(), r"bay_01\.jpg lies beside the folder train"),
        (lambda r: (r / "classes.toml").unlink(), r"classes\.toml: no such file; .*check-folder .* --write"),
        (lambda r: (r / "masks").rename(r / "labels"), "expected the folders images and masks, found .*labels"),
        (lambda r: [path.unlink() for path in (r / "images").iterdir()], r"images: no picture in .*expected \.jpg"),
        (lambda r: [p.unlink() for p in sorted((r / "images").iterdir())[1:]], "one picture cannot be divided"),
        (lambda r: divide_by(r, 0.999), r"images: 15 pictures, by share = 0\.999, cannot be divided into"),
        (lambda r: nest(r), r"no picture in \['train'\]; .* not in folders inside it: day1"),
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
    pack(FolderSegmentation(root, "train"), tmp_path / "one", progress=False)
    ClassTable(classes=exchanged.classes, void_colours=(*TABLE.void_colours, (1, 2, 3))).save(root / "classes.toml")
    opened = FolderSegmentation(root, "train")  # reads these masks as before
    refused(r"other classes or classes\.toml", pack, opened, tmp_path / "one", False, error=FileExistsError)


def test_a_run_needs_its_folder_and_split(root: Path, tmp_path: Path) -> None:
    refused("data = 'folder': expected data_root", make_trainer, RECIPE, tmp_path / "run", None)
    refused("has .*'train', 'val'.*found 'trainaug'", make_trainer, Recipe(data="folder"), tmp_path / "run", root)


def binary_masks(root: Path, *values: int) -> None:
    for path in (root / "masks").iterdir():
        colours = np.array(Image.open(path))
        Image.fromarray(np.array(values, np.uint8)[(colours == COLOURS[1]).all(axis=2).astype(int)]).save(path)


def test_masks_of_0_and_255_do_not_train_to_a_perfect_score(root: Path, tmp_path: Path) -> None:
    two = tuple(ClassEntry(name, value) for name, value in (("ground", 0), ("object", 1)))
    ClassTable(classes=two).save(root / "classes.toml")
    binary_masks(root, 0, 255)
    message = r"no pixel of object in any label, while \d+\.\d% are void: .*classes\.toml"
    refused(message, make_trainer, RECIPE, tmp_path / "run", root)
    right = ClassTable(classes=(two[0], ClassEntry("object", 255)))
    right.save(root / "classes.toml")
    assert make_trainer(RECIPE, tmp_path / "run", root).data["train"]["pixels"][1] > 0
    for path in (root / "masks").iterdir():
        Image.new("L", (48, 40), 255).save(path)
    ClassTable(classes=two).save(root / "classes.toml")
    refused("no pixel of ground, object in any", make_trainer, RECIPE, tmp_path / "void", root)


def test_one_class_does_not_train_to_a_perfect_score(root: Path, tmp_path: Path) -> None:
    ClassTable(classes=(ClassEntry("object", 0),)).save(root / "classes.toml")
    binary_masks(root, 0, 255)
    refused("^object is the only class; expected two or more", make_trainer, RECIPE, tmp_path / "run", root)


def test_a_class_that_no_training_label_has_is_told(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    remove_class(root, "train")
    make_trainer(RECIPE, tmp_path / "run", root)
    assert "no training label has a pixel of class 2: it cannot be learned" in capsys.readouterr().err


def test_a_folder_without_faults(root: Path, command: Callable) -> None:
    for name, no_turn in (("bay_01", 0), ("bay_02", 9)):  # as some cameras write it
        turn(root / f"images/{name}.jpg", no_turn)
    out = command("check-folder", root)
    assert "15 pictures; faults: 0" in out and "EXIF" not in out
    labels = np.stack([FolderSegmentation(root, "val").read(i)[1] for i in range(3)])
    for k, name in enumerate((*FolderSegmentation(root, "val").classes, "void")):
        share = 100 * (labels == (255 if name == "void" else k)).mean()
        assert re.search(rf"^{name} +[\d.]+ +{share:.2f}$", out, re.MULTILINE)


def turn(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def remove_class(root: Path, split: str) -> None:
    for _, path in FolderSegmentation(root, split).files:
        mask = np.array(Image.open(path))
        mask[(mask == COLOURS[2]).all(axis=2)] = 0
        Image.fromarray(mask).save(path)


def paint(root: Path, name: str, colour: tuple[int, int, int]) -> None:
    mask = np.array(Image.open(mask_of(root, name)))
    mask[3, :7] = colour
    Image.fromarray(mask).save(mask_of(root, name))


def resize(root: Path) -> None:
    Image.open(mask_of(root, "bay_02")).resize((24, 20), 0).save(mask_of(root, "bay_02"))


def deep(root: Path) -> None:
    np.save(root / "images/new.npy", np.zeros((40, 48), np.uint16))
    shutil.copy(mask_of(root, "bay_02"), mask_of(root, "new"))


def enlarge(root: Path) -> None:
    """Writes a picture and a mask whose headers say that they are far too large."""
    Image.new("L", (1, 1)).save(content := BytesIO(), "PNG")
    png = bytearray(content.getvalue())
    png[16:24] = (20000).to_bytes(4, "big") * 2
    png[29:33] = crc32(png[12:29]).to_bytes(4, "big")
    for path in (root / "images/new.png", mask_of(root, "new")):
        path.write_bytes(png)


def copy_across(root: Path) -> None:
    source, target = (FolderSegmentation(root, split).files[0][0] for split in ("train", "val"))
    shutil.copy(source, target)


def all_binary(root: Path) -> None:
    binary_masks(root, 0, 255)
    ClassTable(classes=(ClassEntry("ground"), ClassEntry("object"))).save(root / "classes.toml")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            lambda r: turn(r / "images/bay_02.jpg", 6),
            r"bay_02\.png: 48 x 40, its picture is 40 x 48 .*EXIF turns the picture, and the mask",
        ),
        (resize, r"bay_02\.png: 24 x 20, its picture is 48 x 40 .*nearest neighbour"),
        (lambda r: Image.new("L", (9, 9)).save(mask_of(r, "bay_02")), r"9 x 9.*is it the mask of another picture"),
        (lambda r: paint(r, "bay_02", (1, 2, 3)), r"bay_02\.png: colours without a class: \(1, 2, 3\) \(7 pixels\)"),
        (lambda r: mask_of(r, "bay_02").unlink(), r"no mask of bay_02\.jpg"),
        (lambda r: (r / "images/bay_02.jpg").unlink(), r"bay_02\.png: a mask without a picture"),
        (
            lambda r: shutil.copy(r / "images/bay_02.jpg", r / "images/bay_02.JPEG"),
            r"bay_02\.\w+ share the mask .*02\.png",
        ),
        (lambda r: mask_of(r, "bay_02").write_bytes(b"no"), r"bay_02\.png: not an image that can be read"),
        (
            lambda r: (r / "images/bay_02.jpg").write_bytes(b"\xff\xd8\xff"),
            r"images/bay_02\.jpg: cannot be read \(cannot identify",
        ),
        (enlarge, r"images/new\.png: cannot be read \(Image size \(400000000 pixels\) exceeds limit"),
        (lambda r: deep(r), r"new\.npy: more than 8 bits a channel, as 1 of 16 pictures have; .*expected one depth"),
        (lambda r: remove_class(r, "val"), "val: no pixel of class 2, which cannot be scored; .*seed"),
        (lambda r: remove_class(r, "train"), "train: no pixel of class 2, which cannot be learned"),
        (all_binary, r"train: no pixel of object in any label, while .* are void: binary masks often store 255"),
        (copy_across, r"in (train|val), and the same file as .* in (val|train); take one out"),
    ],
)
def test_every_fault_is_listed(root: Path, command: Callable, damage: object, fault: str) -> None:
    damage(root)
    out = command("check-folder", root, status=1)
    assert re.search(rf"^fault: .*{fault}", out, re.MULTILINE), out
    assert "colours, colours" not in out


def test_what_the_recipe_does_not_read_is_told(root: Path, command: Callable) -> None:
    write_lists(root, train="\n".join(NAMES))
    assert "no val: the recipe `folder` reads train and val" in (out := command("check-folder", root))
    assert "lists: not read" not in out
    for part in ("images", "masks"):
        for split in ("train", "val"):
            (root / part / split).mkdir()
        for number, path in enumerate(sorted((root / part).glob("*.*"))):
            path.rename(path.parent / ("val" if number % 3 else "train") / path.name)
    out = command("check-folder", root)
    assert "lists: not read, as images has folders" in out and "no val" not in out


def test_deep_pictures_of_four_channels_are_told_in_one_round(root: Path, command: Callable) -> None:
    """Depth, channels, sizes and masks without a class at once; the lines that are told, written, end all of it."""
    for number, path in enumerate(sorted((root / "images").iterdir())):
        pixels = np.full((40, 48, 4), 1000 + number, np.uint16)
        pixels[0, 0] = 60000 if number == 3 else 100 + number
        path.with_suffix(".tif").write_bytes(tiff_encode(pixels, photometric="rgb"))
        path.unlink()
    resize(root)
    paint(root, "bay_03", (1, 2, 3))
    out = command("check-folder", root, status=1)
    faults = [line for line in out.splitlines() if line.startswith("fault: ")]
    assert len(faults) == 4, out
    for told in (
        r": images/bay_01\.tif, images/bay_02\.tif, images/bay_03\.tif and 12 more: 4 channels, as 15 of 15 pictures "
        r"have; in_channels = 3 in classes\.toml; set in_channels = 4 in classes\.toml$",
        r"15 of 15 pictures have; values 100 to 60000; set pixel_range = \[100, 60000\] in classes\.toml",
        r"bay_02\.png: 24 x 20, its picture is 48 x 40",
        r"bay_03\.png: colours without a class: \(1, 2, 3\)",
    ):
        assert any(re.search(told, fault) for fault in faults), (told, out)
    report = command("diagnose", root, status=1)
    assert all(f"error   {name}: " in report for name in ("channels", "deep_pixels", "size_differs"))
    text = (root / "classes.toml").read_text().replace("in_channels = 3", "in_channels = 4\npixel_range = [100, 60000]")
    (root / "classes.toml").write_text(text)
    for name in ("bay_02", "bay_03"):
        draw(root, name, mask="masks/{}.png", picture="spare/{}.png")
    out = command("check-folder", root)
    assert "faults: 0" in out, out
    (root / "classes.toml").write_text(text.replace("[100, 60000]", "[300, 20000]"))
    assert "set pixel_range = [100, 60000] in classes.toml" in command("check-folder", root, status=1)
    (root / "classes.toml").write_text(text)
    for wrong, told in (
        (np.full((40, 48, 4), np.nan), "holds nan"),
        (np.where(np.mgrid[:40, :48, :4][0] > 0, 500, -np.inf), "holds -inf"),
        (np.ones((40, 48, 4), bool), "values True to True"),
    ):
        np.save(root / "images/bay_04.npy", wrong)
        shutil.copy(mask_of(root, "bay_03"), mask_of(root, "bay_04"))
        out = command("check-folder", root, status=1)
        assert re.search(rf"^fault: .*bay_04\.npy: .*{told}", out, re.MULTILINE)
    for path in (root / "images/bay_04.npy", mask_of(root, "bay_04")):
        path.unlink()
    Image.open(root / "spare/bay_02.png").save(root / "images/bay_02.tif")
    out = command("check-folder", root, status=1)
    assert re.search(r"^fault: images/bay_02\.tif: 3 channels, as 1 of 15 .*expected one number$", out, re.MULTILINE), (
        out
    )
    assert re.search(r"bay_02\.tif: 8 bits a channel, as 1 of 15 pictures have; pixel_range .* is for more", out), out


def test_a_fourth_channel_that_is_not_read_is_told(root: Path, command: Callable) -> None:
    for path in sorted((root / "images").iterdir())[:2]:
        infrared = np.dstack([np.array(Image.open(path)), np.full((40, 48), 90, np.uint8)])
        path.with_suffix(".tif").write_bytes(tiff_encode(infrared, photometric="rgb"))
        path.unlink()
    out = command("check-folder", root)
    assert "a fourth channel of bay_01.tif, bay_02.tif is not read" in out
    assert "channel_dropped: " in command("diagnose", root)


def test_masks_of_several_forms_and_folders_of_nothing(root: Path, tmp_path: Path, command: Callable) -> None:
    (root / "classes.toml").unlink()
    Image.fromarray(np.arange(1920, dtype=np.uint8).reshape(40, 48) % 3).save(mask_of(root, "bay_02"))
    out = command("check-folder", root, "--write", status=1)
    assert "masks of several forms: colours as bay_01.png, 8-bit grey as bay_02.png; a class may be there by its" in out
    assert ClassTable.load(root / "classes.toml").values
    (root / "classes.toml").unlink()
    Image.fromarray(np.arange(1920, dtype=np.uint16).reshape(40, 48) % 3).save(mask_of(root, "bay_02"))
    refused(r"16-bit grey as bay_02.png; expected one form in all", check_folder, root, write=True)
    assert not (root / "classes.toml").exists()
    (tmp_path / "a b" / "nothing").mkdir(parents=True)
    for message, name, options in (
        (r"gone: no such folder$", "gone", {}),
        (r"nothing: expected the folders images and masks, found nothing", "a b/nothing", {}),
        (r"`python -m seglib convert-masks '.*a b/nothing' NEW`", "a b/nothing", {"write": True}),
    ):
        refused(message, check_folder, tmp_path / name, error=FileNotFoundError, **options)


def test_pictures_without_any_mask_are_counted(root: Path, command: Callable) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()
    assert "picture_without_mask: 15 in 15 pictures; " in command("diagnose", root, status=1)
    out = command("check-folder", root, status=1)
    assert "15 pictures; faults: 15" in out


@pytest.mark.parametrize(
    ("values", "classes", "void"),
    [
        ((0, 1, 2, 255), ((0, None), (1, None), (2, None)), {255}),
        ((1, 2, 3, 0), ((0, None), (1, None), (2, None), (3, None)), set()),
        ((0, 255, 255, 255), ((0, None), (255, None)), set()),
        ((0, 1000, 40000, 7), ((0, None), (7, None), (1000, None), (40000, None)), set()),
        ("colours", ((None, COLOURS[0]), (None, COLOURS[1]), (None, COLOURS[2])), set()),
        ("palette", ((0, COLOURS[0]), (1, COLOURS[1]), (2, COLOURS[2])), {255}),
    ],
)
def test_the_table_is_written_for_the_user(
    root: Path, command: Callable, values: object, classes: tuple, void: set[int]
) -> None:
    labels = {path: FolderSegmentation(root, "train").read_label(path) for path in (root / "masks").iterdir()}
    for path, label in labels.items():
        if values == "palette":
            save(path, label, TABLE.palette)
        elif values != "colours":
            lookup = np.zeros(256, np.uint16 if max(values) > 255 else np.uint8)
            lookup[[0, 1, 2, 255]] = values
            save(path, lookup[label])
    (root / "classes.toml").unlink()
    command("check-folder", root, "--write")
    table = ClassTable.load(root / "classes.toml")
    assert {(entry.value, entry.colour) for entry in table.classes} == {*classes} and table.void == void
    assert table.void_colours == (((255, 255, 255),) if isinstance(values, str) else ())
    refused(r"classes\.toml: is there already", check_folder, root, write=True, error=FileExistsError)
    noise = save(mask_of(root, "noise"), np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    refused(r"different values or colours; expected 1 to 100; smoothed", make_table, [noise])
    refused("no mask in this folder", make_table, [])


@pytest.mark.parametrize("layout", ["flat", "lists", "subfolders"])
def test_a_converted_folder_reads_the_same(root: Path, tmp_path: Path, command: Callable, layout: str) -> None:
    if layout == "lists":
        write_lists(root, train="\n".join(NAMES[3:]), val="\n".join(NAMES[:3]))
    if layout == "subfolders":
        for kind in ("images", "masks"):
            for path in [*(root / kind).iterdir()]:
                (part := root / kind / ("val" if "bay" in path.name else "train")).mkdir(exist_ok=True)
                path.rename(part / path.name)
    target = tmp_path / "converted"
    out = command("convert-masks", root, target)
    assert "read: 15 masks, colours" in out and "was (220, 20, 60)" in out
    for split in ("train", "val"):
        before, after = FolderSegmentation(root, split), FolderSegmentation(target, split)
        assert before.names == after.names and before.classes == after.classes and len(before)
        assert (before.palette == after.palette).all()
        for index in range(len(before)):
            assert all(np.array_equal(*pair) for pair in zip(before.read(index), after.read(index), strict=True))
            mask = Image.open(after.files[index][1])
            assert mask.mode == "P" and np.array_equal(mask, before.read(index)[1])
    refused("expected a new or empty folder, found files", convert_masks, root, target, error=FileExistsError)
    file = root / "classes.toml"
    refused("expected a new or empty folder, found a file", convert_masks, root, file, error=FileExistsError)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def not_converted(message: str, source: Path, **options: Any) -> None:
    """Asserts that a source is refused."""
    refused(message, convert_masks, source, source.parent / "wrong", **options)


def test_coco_is_read_as_pycocotools_reads_it(tmp_path: Path, command: Callable) -> None:
    rng = np.random.default_rng(0)
    files = ("a.jpg", "b.png", "c.jpg")
    for name in files:
        save(tmp_path / "images" / name, rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    large = {"segmentation": [[2, 2, 40, 3, 38, 35.5, 4, 36]], "category_id": 7}
    small = {"segmentation": [[10, 10, 20, 10, 15, 22]], "category_id": 3}  # over the large one, though named first
    counts = [48 * 10, 100, 40 * 48 - 580]
    crowd = {"segmentation": {"counts": counts, "size": [40, 48]}, "category_id": 3, "iscrowd": 1}
    drawn = rng.random((40, 48)) < 0.5
    drawn[:, -1] = np.arange(40) // 10 % 2  # the last run is of 10 pixels
    compressed = encode(np.asfortranarray(drawn, np.uint8))["counts"].decode()
    noise = {"segmentation": {"counts": compressed, "size": [40, 48]}, "category_id": 7}
    annotations = [{**each, "image_id": image} for each, image in ((small, 1), (large, 1), (crowd, 2), (noise, 2))]
    content = {
        "images": [{"id": k, "file_name": name, "height": 40, "width": 48} for k, name in enumerate(files, 1)],
        "annotations": [{"id": k, "bbox": [0, 0, 1, 1], **each} for k, each in enumerate(annotations, 1)],
        "categories": [{"id": 7, "name": "sheep"}, {"id": 3, "name": "dog"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    out = command("convert-masks", path, tmp_path / "out")
    assert "2 COCO pictures; 1 COCO pictures without annotations" in out
    coco = COCO(str(path))
    dog, sheep, crowd, noise = (coco.annToMask(coco.anns[k]) > 0 for k in (1, 2, 3, 4))
    table = ClassTable.load(tmp_path / "out/classes.toml")
    assert [entry.name for entry in table.classes] == ["background", "dog", "sheep"]
    expected = {"a": np.where(dog, 1, np.where(sheep, 2, 0)), "b": np.where(crowd, 1, noise * 2), "c": crowd * 0}
    assert dog[sheep].any() and np.array_equal(noise, drawn)
    for name, label in expected.items():
        assert np.array_equal(Image.open(tmp_path / f"out/masks/{name}.png"), label)
    for change, message in (
        ({"segmentation": []}, "annotation 1 of a.jpg has no segmentation, only a box"),
        ({"category_id": 9}, "annotation 1 of a.jpg has no known category"),
        ({"image_id": 9}, "annotation 1 is of image 9, which images lacks"),
        ({"segmentation": [[1, 2, 3]]}, r"of length >= 6 - at `\$\.annotations\[0\]\.segmentation\[0\]"),
        ({"segmentation": [[1, 2, 9, 2, 9, 8, 3]]}, "annotation 1 of a.jpg has a polygon of 7 numbers; expected pairs"),
        ({"segmentation": [[1, 2, 9, 2, 2e6, 8]]}, r"<= 1000000.0 - at `\$\.annotations\[0\]\.segmentation\[0\]\[4\]`"),
        ({"segmentation": {"counts": [9], "size": [3, 3]}}, r"of height and width \(3, 3\); expected \(40, 48\)"),
        *(
            ({"segmentation": {"counts": counts, "size": [40, 48]}}, rf"of a.jpg cannot be decoded \({message}")
            for counts, message in (
                ([9, 2000], "runs of 2009 pixels in a picture of 1920"),
                ([9], "runs of 9 pixels"),
                ([-1, 1921], ""),
                ("é", "the character 'é'"),
                ("", "runs of 0 pixels"),
                (compressed[:-1], "runs of 1910 pixels"),  # without the run of 10 at its end
                (compressed + "1", "runs of 1931 pixels"),  # 1 more than the run before the last
                (compressed + "Q", "cut off"),
            )
        ),
    ):
        wrong = {**content, "annotations": [{**content["annotations"][0], **change}]}
        path.write_text(json.dumps(wrong))
        not_converted(message, path)
    for part in ("images", "categories"):
        path.write_text(json.dumps({**content, part: [*content[part], content[part][0]]}))
        not_converted(rf"instances\.json: {part} have the id \d more than once", path)
    path.write_text(json.dumps({**content, "categories": [{"id": "b", "name": "goat"}, *content["categories"]]}))
    convert_masks(path, tmp_path / "mixed")  # numbers and texts have no order
    assert len(ClassTable.load(tmp_path / "mixed/classes.toml").classes) == 4
    many = [{"id": 7, "name": "sheep"}, *({"id": 10 + k, "name": str(k)} for k in range(254))]
    path.write_text(json.dumps({**content, "categories": many}))
    not_converted("255 classes beside background; expected at most 254", path)
    path.write_text(json.dumps({**content, "images": [{**content["images"][0], "height": 48, "width": 40}]}))
    not_converted("annotation 3 is of image 2", path)
    path.write_text(path.read_text().replace('"image_id": 2', '"image_id": 1'))
    not_converted("drawn on 40 x 48; a.jpg is 48 x 40 as it is shown", path)
    path.write_text(json.dumps(content))
    (tmp_path / "images/a.jpg").unlink()
    not_converted("a.jpg is not in .*--images names", path, error=FileNotFoundError)
    path.write_text("{}")
    not_converted(r"instances\.json: not COCO's JSON, it holds .* required field `images`", path)


PART_OF_A_BOAT = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 0]], np.uint8)


def as_labelme(mask: np.ndarray) -> str:
    Image.fromarray(mask).save(content := BytesIO(), "PNG")
    return b64encode(content.getvalue()).decode()


def test_labelme(tmp_path: Path, command: Callable) -> None:
    save(tmp_path / "in/a.jpg", np.zeros((40, 48, 3), np.uint8))
    shapes = [
        {"label": "lake", "points": [[4.0, 5.0], [30.0, 5.0], [30.0, 25.0], [4.0, 25.0]], "shape_type": "polygon"},
        {"label": "boat", "points": [[20.0, 15.0], [10.0, 8.0]], "shape_type": "rectangle"},
        {"label": "__IGNORE__", "points": [[40.0, 30.0], [43.0, 34.0]], "shape_type": "circle"},
        {"label": "boat", "points": [[2, 30], [5, 32]], "shape_type": "mask", "mask": as_labelme(PART_OF_A_BOAT)},
    ]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 40, "imageWidth": 48, "imageData": None}
    path = tmp_path / "in/a.json"
    path.write_text(json.dumps(content))
    out = command("convert-masks", tmp_path / "in", tmp_path / "out")
    assert "read: 1 labelme files" in out
    rows, columns = np.mgrid[:40, :48]
    expected = np.zeros((40, 48), int)
    expected[5:26, 4:31], expected[8:16, 10:21], expected[30:33, 2:6] = 2, 1, PART_OF_A_BOAT
    found = np.array(Image.open(tmp_path / "out/masks/a.png"))
    distance = np.hypot(rows - 30, columns - 40)
    assert (found[distance < 4.5] == 255).all() and not (found[distance > 5.6] == 255).any()
    assert np.array_equal(found[distance > 5.6], expected[distance > 5.6])
    classes = ClassTable.load(tmp_path / "out/classes.toml").classes
    assert [entry.name for entry in classes] == ["background", "boat", "lake"]
    assert "read: 1 labelme files" in command("convert-masks", path, tmp_path / "one")
    assert (tmp_path / "one/masks/a.png").read_bytes() == (tmp_path / "out/masks/a.png").read_bytes()
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    not_converted(r"a\.json: COCO's JSON in a folder; .*: name the file", tmp_path / "in")
    path.write_text('{"regions": 3}')
    not_converted(r"a\.json: not COCO's JSON, it holds regions: .*`images`", path)
    for mask in ("!!!", "AAAA", "A"):
        path.write_text(json.dumps({**content, "shapes": [{**shapes[3], "mask": mask}]}))
        not_converted(r"a\.json: the mask of boat is no PNG", tmp_path / "in")
    colours = np.dstack([PART_OF_A_BOAT] * 3)
    for mask, found in ((PART_OF_A_BOAT[1:], r"\(2, 4\)"), (colours, r"\(3, 4, 3\)")):
        path.write_text(json.dumps({**content, "shapes": [{**shapes[3], "mask": as_labelme(mask)}]}))
        not_converted(rf"a\.json: the mask of boat is {found}; expected \(3, 4\), of its two points", tmp_path / "in")
    path.write_text(json.dumps({**content, "shapes": [{**shapes[1], "points": [[5.0, 5.0], [1e30, 20.0]]}]}))
    not_converted(r"<= 1000000.0 - at `\$\.shapes\[0\]\.points\[1\]\[0\]`", tmp_path / "in")  # Pillow draws nothing
    path.write_text(json.dumps({**content, "shapes": [{**shapes[1], "label": "boat\x7f"}]}))
    not_converted(r"in: the character DEL in the name of the class 'boat\\x7f'", tmp_path / "in")
    shapes[0]["shape_type"] = "linestrip"
    path.write_text(json.dumps(content))
    not_converted(r"a\.json: lake is a linestrip of 4 points", tmp_path / "in")
    turn(tmp_path / "in/a.jpg", 6)
    not_converted("drawn on 48 x 40; a.jpg is 40 x 48 as it is shown .EXIF", tmp_path / "in")
    path.write_text(json.dumps(content).replace('"label"', '"name"', 1))
    not_converted(r"required field `label` - at `\$.shapes\[0\]`", tmp_path / "in")
    path.write_text(json.dumps({**content, "imagePath": "b.jpg"}))
    not_converted("b.jpg is not in .*in, .*; --images names", tmp_path / "in", error=FileNotFoundError)


def test_the_bundled_pictures_from_raw_masks_to_a_data_set(tmp_path: Path, command: Callable) -> None:
    out = command("convert-masks", PROJECT / "data/my_pictures", tmp_path / "mine")
    assert "taken as void: (255, 255, 255)" in out
    out = command("check-folder", tmp_path / "mine", status=1)
    assert re.search(r"inlet_02\.png: \d+ x \d+, its picture is .*nearest neighbour", out)
    assert "EXIF turns meadow_03.jpg" in out and re.search(r": no pixel of class_\d, which cannot be", out)
    for path in (tmp_path / "mine").glob("*/inlet_02.*"):
        path.unlink()
    assert "39 pictures; faults: 1" in command("check-folder", tmp_path / "mine", status=1)
    parts = [FolderSegmentation(tmp_path / "mine", split) for split in ("train", "val")]
    places = [{name[:3] for name in part.names} for part in parts]
    assert sum(map(len, parts)) == 39 and not places[0] & places[1]
    colours = {tuple(colour) for colour in parts[0].palette[: parts[0].num_classes].tolist()}
    assert colours == {*raw_set.COLOURS.values()}
