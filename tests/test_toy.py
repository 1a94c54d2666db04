"""The bundled toy sets: the painter that wrote them, their layout, and the properties they were designed to have."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official
from PIL import Image

from seglib.data import TOY_VOC_CLASSES, ToyVOC, voc_palette
from seglib.data.images import read_rgb
from tools.toy_data import (
    generate_toy_cityscapes,
    generate_toy_voc,
    street_scene,
    toy_cityscapes_scene,
    toy_voc_scene,
    voc_scene,
)
from tools.toy_data.__main__ import main
from tools.toy_data.canvas import Canvas, void_border
from tools.toy_data.voc_objects import canvas_triangle, koi

DATA = Path(__file__).parents[1] / "data"
README = (DATA / "README.md").read_text()
VOC = DATA / "toy_voc" / "VOCdevkit" / "VOC2012"
CITIES = DATA / "toy_cityscapes"
HOUSE, TREE, BOAT, TENT, KITE, FISH, FENCE, LAMP = range(1, 9)
Frames = list[tuple[Path, dict[str, np.ndarray]]]


def names(split: str) -> list[str]:
    return (VOC / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


def mask(folder: str, name: str) -> np.ndarray:
    return np.array(Image.open(VOC / folder / f"{name}.png"))


# --- the painter


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
    assert_same_files(generate_toy_cityscapes(tmp_path, train=2, val=1), CITIES, 4 * 3)


@pytest.mark.parametrize(
    ("part", "year", "index"), [("train", 2007, 119), ("extra", 2008, 359), ("val", 2009, 57), ("val", 2009, 118)]
)
def test_the_last_pictures_are_painted_too(part: str, year: int, index: int) -> None:
    scene, name = toy_voc_scene(part, index), f"{year}_{index + 1:06d}"
    assert np.array_equal(scene.label_sbd if part == "extra" else scene.label, mask("SegmentationClassAug", name))
    image = read_rgb(VOC / "JPEGImages" / f"{name}.jpg").astype(int)
    assert np.abs(image - scene.image).mean() < 8, "what JPEG loses"


def test_the_last_street_is_painted_too(streets: dict[str, Frames]) -> None:
    scene, (_, arrays) = toy_cityscapes_scene("train", 47), streets["train"][-1]
    assert np.array_equal(scene.label_ids, arrays["labelIds"])
    assert np.array_equal(scene.instance_ids, arrays["instanceIds"])
    assert np.abs(scene.image.astype(int) - arrays["image"]).max() <= 1
    assert street_scene(np.random.default_rng(0), guests=1, size=(128, 256)).image.shape == (128, 256, 3)


def test_scenes_are_a_function_of_the_generator() -> None:
    first, second = (voc_scene(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.label, second.label)
    assert not np.array_equal(toy_voc_scene("train", 0).image, toy_voc_scene("train", 0, seed=1).image)
    assert voc_scene(np.random.default_rng(0), "lake", (96, 128)).label.shape == (96, 128)
    with pytest.raises(ValueError, match="kind"):
        voc_scene(np.random.default_rng(0), kind="forest")


@pytest.mark.parametrize(("painter", "pair", "extra"), [(canvas_triangle, (BOAT, TENT), ()), (koi, (KITE, FISH), ())])
def test_context_classes_are_the_same_object(painter: Callable, pair: tuple[int, int], extra: tuple) -> None:
    """From the same random numbers the two classes are the same pixels: only the surroundings can tell them apart."""
    drawn = []
    for label_id in pair:
        canvas = Canvas(80, 80)
        painter(canvas, np.random.default_rng(5), label_id, 40.0, 60.0, 50.0, *extra)
        assert set(np.unique(canvas.labels)) == {0, label_id}
        drawn.append((canvas.image(), canvas.labels > 0))
    assert np.array_equal(drawn[0][0], drawn[1][0]) and np.array_equal(drawn[0][1], drawn[1][1])


def test_context_decides_the_class() -> None:
    for index in range(16):
        scene = toy_voc_scene("train", index)
        forbidden = {"land": {BOAT, FISH}, "lake": {TENT, FISH}, "sea floor": set(range(1, 9)) - {FISH}}[scene.kind]
        assert not set(np.unique(scene.label).tolist()) & forbidden


def test_void_is_a_rim_on_the_side_of_the_farther_object() -> None:
    owners = np.zeros((9, 9), int)
    owners[2:7, 2:7] = 1
    owners[4:6, 4:9] = 2
    labels = np.array([0, 3, 5])[owners]
    bordered = void_border(labels, owners)
    assert (bordered[owners == 2] == 5).all(), "nothing is taken from the nearest object"
    assert (bordered[1, 2:7] == 255).all() and (bordered[3, 4:7] == 255).all() and bordered[0, 4] == 0
    assert bordered[2, 2] == 3 and bordered[1, 1] == 0


def test_an_existing_folder_is_left_alone_unless_told(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for generate in (generate_toy_voc, generate_toy_cityscapes):
        with pytest.raises(FileExistsError, match="empty"):
            generate(tmp_path)
    for trainaug in (2, 1):
        generate_toy_voc(tmp_path, train=1, trainaug=trainaug, val=1, overwrite=True)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2, "nothing of the former set is left"
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_wrong_counts_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trainaug"):
        generate_toy_voc(tmp_path / "a", train=5, trainaug=4)
    with pytest.raises(ValueError, match="val"):
        generate_toy_cityscapes(tmp_path / "a", val=0)
    assert not (tmp_path / "a").exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["voc", str(tmp_path / "x"), "--train", "1", "--trainaug", "2", "--val", "1"]
    main(arguments)
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out.strip().endswith("VOC2012")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and "overwrite" in capsys.readouterr().err
    main([*arguments, "--overwrite"])
    main(["cityscapes", str(tmp_path / "y"), "--train", "1", "--val", "1"])
    assert len(list((tmp_path / "y").rglob("*.png"))) == 8


# --- the bundled files: toy_voc


def test_voc_splits_follow_the_rules_of_the_real_set() -> None:
    train, aug, val, trainval = (names(s) for s in ("train", "trainaug", "val", "trainval"))
    assert (len(train), len(aug), len(val)) == (120, 480, 120)
    assert set(train) < set(aug) and not set(aug) & set(val) and set(trainval) == set(train) | set(val)
    assert all(len(set(split)) == len(split) for split in (train, aug, val, trainval))
    folders = ("JPEGImages", "SegmentationClass", "SegmentationClassAug")
    held = {folder: {p.stem for p in (VOC / folder).iterdir()} for folder in folders}
    assert held["JPEGImages"] == held["SegmentationClassAug"] == set(aug) | set(val)
    assert held["SegmentationClass"] == set(trainval)


def test_voc_masks_are_palette_images_of_the_image_size() -> None:
    sizes = set()
    for name in names("trainval")[::7]:
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


def test_thin_structures_are_the_share_in_the_readme() -> None:
    found: dict[int, list[np.ndarray]] = {label_id: [] for label_id in (FENCE, LAMP, TREE)}
    for name in names("trainval"):
        label = mask("SegmentationClass", name)
        for label_id, widths in found.items():
            region = label == label_id
            widths.append(np.minimum(runs(region), runs(region.T).T)[region])
    shares = [round(100 * (np.concatenate(widths) <= 6).mean()) for widths in found.values()]
    assert "{} % of the fences' pixels, {} % of the lamps' and {} % of the trees' lie in runs".format(*shares) in README


def runs(region: np.ndarray) -> np.ndarray:
    """For every pixel, the length of the horizontal run of True that it is in."""
    result = np.zeros(region.shape, int)
    for row, out in zip(region, result, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            out[start:stop] = stop - start
    return result


def test_extra_masks_have_no_void_and_rougher_outlines_as_sbd_has() -> None:
    extra = sorted(set(names("trainaug")) - set(names("train")))
    assert not any((mask("SegmentationClassAug", name) == 255).any() for name in extra[::5])
    for name in names("trainval")[::20]:
        assert np.array_equal(mask("SegmentationClass", name), mask("SegmentationClassAug", name))
    scenes = [toy_voc_scene("extra", index) for index in range(4)]
    differing = [((s.label != s.label_sbd) & (s.label != 255)).sum() / (s.label % 255 > 0).sum() for s in scenes]
    assert min(differing) > 0 and max(differing) < 0.1


def test_the_reader_serves_the_bundled_set(tmp_path: Path) -> None:
    data = ToyVOC("val")
    assert data.classes == TOY_VOC_CLASSES and data.num_classes == 9 and len(data) == 120
    image, label = data[3]
    assert image.dtype == label.dtype == np.uint8 and image.shape == (*label.shape, 3)
    assert np.array_equal(label, mask("SegmentationClass", data.names[3]))
    extra = ToyVOC("trainaug").names.index("2008_000006")
    assert np.array_equal(ToyVOC("trainaug")[extra][1], mask("SegmentationClassAug", "2008_000006"))
    with pytest.raises(FileNotFoundError, match=r"python -m tools\.toy_data voc"):
        ToyVOC("train", root=tmp_path / "nothing")
    with pytest.raises(ValueError, match="split"):
        ToyVOC("test")


# --- the bundled files: toy_cityscapes


@pytest.fixture(scope="module")
def streets() -> dict[str, Frames]:
    found: dict[str, Frames] = {"train": [], "val": []}
    for split, frames in found.items():
        for path in sorted((CITIES / "leftImg8bit" / split).rglob("*.png")):
            stem = path.name.removesuffix("_leftImg8bit.png")
            folder = CITIES / "gtFine" / split / path.parent.name
            kinds = ("labelIds", "instanceIds", "color")
            arrays = {kind: np.array(Image.open(folder / f"{stem}_gtFine_{kind}.png")) for kind in kinds}
            frames.append((path, arrays | {"image": np.array(Image.open(path))}))
    return found


def test_cityscapes_layout(streets: dict[str, Frames]) -> None:
    assert {split: len(found) for split, found in streets.items()} == {"train": 48, "val": 12}
    cities = {split: {path.parent.name for path, _ in found} for split, found in streets.items()}
    assert len(cities["train"]) == 3 and len(cities["val"]) == 1 and not cities["train"] & cities["val"]
    for found in streets.values():
        for path, arrays in found:
            city, sequence, frame, kind = path.stem.split("_")
            assert city == path.parent.name and len(sequence) == len(frame) == 6 and kind == "leftImg8bit"
            assert arrays["image"].shape == (256, 512, 3) and arrays["image"].dtype == np.uint8
            assert arrays["labelIds"].shape == (256, 512) and arrays["labelIds"].dtype == np.uint8
            assert arrays["instanceIds"].dtype in (np.uint16, np.int32) and arrays["color"].shape == (256, 512, 4)
        present = set().union(*(np.unique(arrays["labelIds"]).tolist() for _, arrays in found))
        assert present == {row.id for row in official if row.id >= 0}, "both splits hold every id"
    assert len(list((CITIES / "gtFine").rglob("*.png"))) == 3 * 60


def test_cityscapes_instances_and_colours_follow_the_official_rules(streets: dict[str, Frames]) -> None:
    with_instances = {row.id for row in official if row.hasInstances}
    groups = set()
    for _, arrays in streets["train"] + streets["val"]:
        label_ids, instance_ids = arrays["labelIds"].astype(int), arrays["instanceIds"].astype(int)
        single = instance_ids >= 1000
        assert np.array_equal(np.where(single, instance_ids // 1000, instance_ids), label_ids)
        assert set(np.unique(label_ids[single]).tolist()) <= with_instances
        groups |= set(np.unique(label_ids[~single]).tolist()) & with_instances
        for label_id in np.unique(label_ids[single]):
            numbers = np.unique(instance_ids[single & (label_ids == label_id)]) - 1000 * label_id
            assert numbers.tolist() == list(range(len(numbers)))
    assert groups >= {24, 26, 33}, "crowds, far rows of cars, bicycle racks"
    for _, arrays in streets["val"]:
        for row in official:
            assert (arrays["color"][arrays["labelIds"] == row.id] == (*row.color, 255)).all()


def test_bundled_data_stays_small() -> None:
    for folder, most in ((VOC, 4.5), (CITIES, 3.2)):
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6 < most
