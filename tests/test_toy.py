"""The bundled toy sets: the painter that wrote them, their layout, and the properties they were designed to have."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from refusal import refused

from seglib.data import TOY_VOC_CLASSES, ToyCityscapes, ToyMini, ToyVOC, voc_palette
from seglib.data.cityscapes import TRAIN_IDS
from seglib.data.images import read_rgb
from seglib.studies.gates import measure_ground_distances
from tools.toy_data import (
    generate_toy_cityscapes,
    generate_toy_mini,
    generate_toy_voc,
    mini_scene,
    raw_set,
    street_scene,
    toy_cityscapes_scene,
    toy_mini_scene,
    toy_voc_scene,
    voc_scene,
)
from tools.toy_data.__main__ import main
from tools.toy_data.canvas import Canvas
from tools.toy_data.mini_scenes import DISTANCE, KINDS, REACH
from tools.toy_data.raw_set import write_raw_set
from tools.toy_data.voc_objects import canvas_triangle, koi

DATA = Path(__file__).parents[1] / "data"
README = (DATA / "README.md").read_text()
VOC = DATA / "toy_voc" / "VOCdevkit" / "VOC2012"
CITIES = DATA / "toy_cityscapes"
BOAT, TENT, KITE, FISH = range(3, 7)


def names(split: str) -> list[str]:
    return (VOC / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


def mask(folder: str, name: str) -> np.ndarray:
    return np.array(Image.open(VOC / folder / f"{name}.png"))


def assert_same_files(written: Path, bundled: Path, count: int) -> None:
    """Every file is the bundled one, byte for byte; a JPEG may differ where the coder does, but not in the picture."""
    paths = [path for path in written.rglob("*.*") if path.suffix != ".txt"]
    assert len(paths) == count
    for path in paths:
        other = bundled / path.relative_to(written)
        if path.read_bytes() != other.read_bytes():
            assert path.suffix == ".jpg", path
            assert np.abs(read_rgb(path).astype(int) - read_rgb(other)).mean() < 0.3, path


def test_the_painter_writes_the_bundled_voc_files(tmp_path: Path) -> None:
    """A set begins with the pictures of a smaller one of the same seed."""
    folder = generate_toy_voc(tmp_path, train=4, trainaug=8, val=4)
    assert_same_files(folder, VOC, 12 + 8 + 12)
    with Image.open(folder / "SegmentationClassAug" / "2008_000001.png") as written:
        assert written.mode == "P" and written.getpalette()[3:6] == [128, 0, 0]
    listed = (folder / "ImageSets/Segmentation/trainaug.txt").read_text().split()
    assert listed == [f"{year}_{number:06d}" for year in (2007, 2008) for number in range(1, 5)]
    assert len(ToyVOC("trainaug", root=tmp_path)) == 8


def test_the_painter_writes_the_bundled_streets(tmp_path: Path) -> None:
    assert_same_files(generate_toy_cityscapes(tmp_path, train=1, val=1), CITIES, 4 * 2)


@pytest.mark.parametrize(
    ("part", "year", "index"), [("train", 2007, 119), ("extra", 2008, 359), ("val", 2009, 57), ("val", 2009, 118)]
)
def test_the_last_pictures_are_painted_too(part: str, year: int, index: int) -> None:
    scene, name = toy_voc_scene(part, index), f"{year}_{index + 1:06d}"
    assert np.array_equal(scene.label_sbd if part == "extra" else scene.label, mask("SegmentationClassAug", name))
    image = read_rgb(VOC / "JPEGImages" / f"{name}.jpg").astype(int)
    assert np.abs(image - scene.image).mean() < 8, "what JPEG loses"


def test_the_last_street_is_painted_too() -> None:
    scene, data = toy_cityscapes_scene("train", 47), ToyCityscapes("train")
    image, label = data.read(47)
    assert np.array_equal(TRAIN_IDS[scene.label_ids], label)
    assert np.array_equal(scene.instance_ids, data.read_instances(47))
    assert np.abs(scene.image.astype(int) - image).max() <= 1


def test_another_seed_or_size_is_another_scene() -> None:
    assert not np.array_equal(toy_voc_scene("train", 0).image, toy_voc_scene("train", 0, seed=1).image)
    assert voc_scene(np.random.default_rng(0), "lake", (96, 128)).label.shape == (96, 128)
    assert street_scene(np.random.default_rng(0), guests=1, size=(128, 256)).image.shape == (128, 256, 3)


@pytest.mark.parametrize(("painter", "pair"), [(canvas_triangle, (BOAT, TENT)), (koi, (KITE, FISH))])
def test_context_classes_are_the_same_object(painter: Callable, pair: tuple[int, int]) -> None:
    """From the same random numbers the two classes are the same pixels: only the surroundings can tell them apart."""
    drawn = []
    for label_id in pair:
        canvas = Canvas(80, 80)
        painter(canvas, np.random.default_rng(5), label_id, 40.0, 60.0, 50.0)
        assert set(np.unique(canvas.labels)) == {0, label_id}
        drawn.append((canvas.image(), canvas.labels > 0))
    assert np.array_equal(drawn[0][0], drawn[1][0]) and np.array_equal(drawn[0][1], drawn[1][1])


def test_an_existing_folder_is_left_alone_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    arguments = [str(tmp_path), "--train", "1", "--val", "1"]
    for kind in (["voc", "--trainaug", "1"], ["cityscapes"]):
        with pytest.raises(SystemExit) as stopped:
            main([*kind, *arguments])
        assert stopped.value.code == 2 and "overwrite" in capsys.readouterr().err
    for trainaug in ("2", "1"):
        main(["voc", *arguments, "--trainaug", trainaug, "--overwrite"])
        printed = capsys.readouterr()
        assert printed.err == "" and printed.out.strip().endswith("VOC2012")
    assert len(list(tmp_path.rglob("*.jpg"))) == 2, "nothing of the former set is left"
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    for generate, counts, message in (
        (generate_toy_voc, {"train": 5, "trainaug": 4}, "trainaug"),
        (generate_toy_cityscapes, {"val": 0}, "val"),
    ):
        refused(message, generate, tmp_path / "new", **counts)
    assert not (tmp_path / "new").exists()


# --- the bundled files: my_pictures


def test_the_raw_set_is_the_painters_with_its_mishaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scenes, painted = DATA / "my_pictures", raw_set.walk_scenes, ("inlet", "meadow", "evening")
    monkeypatch.setattr(raw_set, "walk_scenes", lambda *walk: scenes(*walk) if walk[0] in painted else {})
    assert_same_files(write_raw_set(tmp_path / "raw"), folder, 30)
    refused("expected a new or empty folder", write_raw_set, tmp_path / "raw", error=FileExistsError)
    lamps, sizes_differ = set(), []
    for path in sorted((folder / "images").iterdir()):
        shown, mask = ImageOps.exif_transpose(Image.open(path)), Image.open(folder / "masks" / f"{path.stem}.png")
        colours = {colour for _, colour in mask.getcolors()}
        assert colours <= {*raw_set.COLOURS.values(), raw_set.UNLABELLED}
        if raw_set.COLOURS["lamp"] in colours:
            lamps.add(path.stem.split("_")[0])
        if shown.size != mask.size:
            sizes_differ.append(path.stem)
    assert lamps == {"evening"} and sizes_differ == [raw_set.HALVED]
    assert Image.open(folder / "images" / f"{raw_set.TURNED}.jpg").getexif()[0x0112] == 6
    first, second = (np.asarray(Image.open(folder / "masks" / f"hill_0{number}.png")) for number in (3, 4))
    assert np.array_equal(first[:, raw_set.STEP :], second[:, : -raw_set.STEP]), "a place, photographed twice"


# --- the bundled files: toy_mini


def test_the_mini_set_is_the_painters_and_the_ground_is_far_away(tmp_path: Path) -> None:
    folder = generate_toy_mini(tmp_path, train=4, trainaug=8, val=4)
    assert_same_files(folder, DATA / "toy_mini" / "VOCdevkit" / "VOC2012", 12 + 8 + 12)
    distances = []
    for index in range(0, 80, 3):
        scene = toy_mini_scene("val", index)
        rows = np.flatnonzero(np.isin(scene.label, (BOAT, TENT, KITE, FISH)).any(axis=1))
        distances.append(scene.ground - rows.max() - 1)
        assert max(scene.label.shape) <= 128 and len(rows) >= 8
    assert min(distances) >= DISTANCE


def test_distances_to_the_ground_are_those_in_the_readme() -> None:
    shares = np.percentile(measure_ground_distances("toy_mini"), (0, 50, 100))
    found = "between {:.0f} and {:.0f} pixels, with a median of {:.0f}".format(*shares[[0, 2, 1]])
    assert found in " ".join((DATA / "README.md").read_text().split())


@pytest.mark.parametrize(
    ("first", "second", "classes"),
    [("meadow, kites", "sea floor", (KITE, FISH)), ("meadow, tents", "lake", (TENT, BOAT))],
)
def test_above_the_ground_the_pictures_of_a_pair_are_the_same(first: str, second: str, classes: tuple) -> None:
    for seed in range(8):
        one, other = (mini_scene(np.random.default_rng(seed), kind) for kind in (first, second))
        top = one.ground
        assert np.array_equal(one.image[:top], other.image[:top]) and not np.array_equal(one.image, other.image)
        assert np.array_equal(one.label == classes[0], other.label == classes[1])
        assert (one.label == classes[0]).any() and not np.isin(one.label, classes[1:]).any()


def test_the_ground_of_the_mini_set_is_labelled() -> None:
    data = ToyMini("val")
    for index, (kind, ground) in enumerate(zip((*KINDS, *KINDS), ("grass", "sand", "grass", "water") * 2, strict=True)):
        label, scene = data.read(index)[1], toy_mini_scene("val", index)
        present = {data.classes[value] for value in np.unique(label[label != 255])}
        assert scene.kind == kind and present & {"grass", "sand", "water"} == {ground}
        rows = np.flatnonzero((label == data.classes.index(ground)).any(axis=1))
        assert rows.min() >= scene.ground + REACH and rows.max() == len(label) - 1 and not (label[rows] == 0).any()


def test_voc_splits_and_masks_follow_the_rules_of_the_real_set() -> None:
    train, aug, val, trainval = (names(s) for s in ("train", "trainaug", "val", "trainval"))
    assert (len(train), len(aug), len(val)) == (120, 480, 120)
    assert set(train) < set(aug) and not set(aug) & set(val) and set(trainval) == set(train) | set(val)
    held = {folder.name: {path.stem for path in folder.iterdir()} for folder in VOC.iterdir()}
    assert held["JPEGImages"] == held["SegmentationClassAug"] == set(aug) | set(val)
    assert held["SegmentationClass"] == set(trainval)
    sizes = set()
    for name in trainval[::7]:
        with Image.open(VOC / "SegmentationClass" / f"{name}.png") as label:
            assert label.mode == "P" and label.getpalette() == voc_palette().ravel().tolist()
            with Image.open(VOC / "JPEGImages" / f"{name}.jpg") as image:
                assert (image.mode, image.size) == ("RGB", label.size)
            sizes.add(label.size)
    assert sizes == {(160, 120), (120, 160), (144, 144), (168, 112)}


@pytest.mark.parametrize("split", ["train", "trainaug", "val"])
def test_voc_shares_are_those_in_the_readme(split: str) -> None:
    folder = "SegmentationClassAug" if split == "trainaug" else "SegmentationClass"
    table = np.stack([np.bincount(mask(folder, name).ravel(), minlength=256) for name in names(split)])
    assert table[:, 9:255].sum() == 0
    pixels = table.sum(0)
    shares = [*(100 * pixels[:9] / pixels[:9].sum()), 100 * pixels[255] / pixels.sum()]
    row = re.search(rf"^\| `{split}` \| (\d+\.\d.*) \|$", README, re.MULTILINE)
    assert [round(share, 1) for share in shares] == [float(value) for value in row[1].split(" | ")]
    assert ((table > 0).sum(0)[1:9] >= 25).all(), "no class is rare among the pictures"


def test_the_reader_serves_the_bundled_set(tmp_path: Path) -> None:
    data = ToyVOC("trainaug")
    image, label = data[data.names.index("2008_000006")]
    assert data.classes == TOY_VOC_CLASSES and data.names == names("trainaug") and image.shape == (*label.shape, 3)
    assert np.array_equal(label, mask("SegmentationClassAug", "2008_000006"))
    refused(r"python -m tools\.toy_data voc", ToyVOC, "train", error=FileNotFoundError, root=tmp_path / "nothing")
