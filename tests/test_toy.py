"""The bundled toy data sets: layout, determinism, and the properties they were designed to have."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglib.data.toy import TOY_VOC_CLASSES, ToyVOC
from tools.toy_data import (
    generate_toy_cityscapes,
    generate_toy_voc,
    street_scene,
    toy_cityscapes_scene,
    toy_voc_scene,
    voc_objects,
    voc_scene,
    voc_scenes,
)
from tools.toy_data.canvas import Canvas, void_border
from tools.toy_data.voc_objects import canvas_triangle, koi

DATA = Path(__file__).parents[1] / "data"
VOC = DATA / "toy_voc" / "VOCdevkit" / "VOC2012"
CITIES = DATA / "toy_cityscapes"
HOUSE, TREE, BOAT, TENT, KITE, FISH, FENCE, LAMP = range(1, 9)
# Facts of the Cityscapes label table, written down here once more so that the package's table is checked too.
EVALUATED = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
             20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car",
             27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}  # fmt: skip
IGNORED = {0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30}
WITH_INSTANCES = {24, 25, 26, 27, 28, 29, 30, 31, 32, 33}
COLOURS = {7: (128, 64, 128), 8: (244, 35, 232), 11: (70, 70, 70), 12: (102, 102, 156), 13: (190, 153, 153),
           17: (153, 153, 153), 19: (250, 170, 30), 20: (220, 220, 0), 21: (107, 142, 35), 22: (152, 251, 152),
           23: (70, 130, 180), 24: (220, 20, 60), 25: (255, 0, 0), 26: (0, 0, 142), 27: (0, 0, 70), 28: (0, 60, 100),
           31: (0, 80, 100), 32: (0, 0, 230), 33: (119, 11, 32), 3: (0, 0, 0), 6: (81, 0, 81), 29: (0, 0, 90),
           10: (230, 150, 140)}  # fmt: skip


def names(split: str) -> list[str]:
    return (VOC / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


def mask(folder: str, name: str) -> np.ndarray:
    return np.array(Image.open(VOC / folder / f"{name}.png"))


def counts(folder: str, split: str) -> np.ndarray:
    """Pixels of each value, one row per image."""
    return np.stack([np.bincount(mask(folder, name).ravel(), minlength=256) for name in names(split)])


# ---------------------------------------------------------------------------------------------- toy_voc: the files


def test_voc_splits_follow_the_rules_of_the_real_set():
    train, aug, val, trainval = (names(s) for s in ("train", "trainaug", "val", "trainval"))
    assert (len(train), len(aug), len(val)) == (120, 480, 120)
    assert set(train) < set(aug)
    assert not set(aug) & set(val)
    assert set(trainval) == set(train) | set(val)
    for split in (train, aug, val, trainval):
        assert len(set(split)) == len(split)


def test_voc_folders_hold_exactly_what_the_lists_name():
    held = {folder: {p.stem for p in (VOC / folder).iterdir()} for folder in
            ("JPEGImages", "SegmentationClass", "SegmentationClassAug")}  # fmt: skip
    assert held["JPEGImages"] == set(names("trainaug")) | set(names("val"))
    assert held["SegmentationClass"] == set(names("trainval"))
    assert held["SegmentationClassAug"] == held["JPEGImages"]


def test_voc_masks_are_palette_images_of_the_image_size():
    first_colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    sizes = set()
    for name in names("trainval")[::7]:
        with Image.open(VOC / "SegmentationClass" / f"{name}.png") as label:
            assert label.mode == "P"
            palette = np.array(label.getpalette()).reshape(-1, 3)
            assert [tuple(c) for c in palette[:7].tolist()] == first_colours
            assert palette[255].tolist() == [224, 224, 192]
            with Image.open(VOC / "JPEGImages" / f"{name}.jpg") as image:
                assert (image.mode, image.size) == ("RGB", label.size)
            sizes.add(label.size)
    assert len(sizes) >= 4


@pytest.mark.parametrize("folder, split", [("SegmentationClass", "train"), ("SegmentationClassAug", "trainaug"),
                                           ("SegmentationClass", "val")])  # fmt: skip
def test_voc_classes_their_shares_and_void(folder, split):
    table = counts(folder, split)
    assert table[:, 9:255].sum() == 0
    pixels = table.sum(0)
    share = pixels[:9] / pixels[:9].sum()
    images = (table > 0).sum(0)
    assert (images[1:9] >= 25).all()  # every class is in at least a fifth of the images
    assert 0.6 < share[0] < 0.8
    assert share[1:].argmin() + 1 == LAMP and 0.005 < share[LAMP] < 0.02
    assert share[1:].max() > 3 * share[LAMP]
    void = pixels[255] / pixels.sum()
    assert 0.0 < void < 0.06


def test_extra_masks_have_no_void_and_rougher_outlines_as_sbd_has():
    extra = sorted(set(names("trainaug")) - set(names("train")))
    assert not any((mask("SegmentationClassAug", name) == 255).any() for name in extra[::5])
    for name in names("trainval")[::20]:
        assert np.array_equal(mask("SegmentationClass", name), mask("SegmentationClassAug", name))
    differing = total = 0
    for index in range(8):
        scene = toy_voc_scene("extra", index)
        valid = scene.label != 255
        assert set(np.unique(scene.label_sbd[valid])) <= set(np.unique(scene.label[valid])) | {0}
        differing += (scene.label != scene.label_sbd)[valid].sum()
        total += (scene.label[valid] > 0).sum()
    assert 0 < differing < 0.1 * total


@pytest.mark.parametrize("part, year, index", [("train", 2007, 0), ("train", 2007, 119), ("extra", 2008, 5),
                                               ("extra", 2008, 359), ("val", 2009, 0), ("val", 2009, 118)])  # fmt: skip
def test_the_generator_still_makes_the_committed_voc_files(part, year, index):
    scene, name = toy_voc_scene(part, index), f"{year}_{index + 1:06d}"
    label = scene.label_sbd if part == "extra" else scene.label
    assert np.array_equal(label, mask("SegmentationClassAug", name))
    image = np.array(Image.open(VOC / "JPEGImages" / f"{name}.jpg")).astype(float)
    assert np.abs(image - scene.image).mean() < 8  # JPEG coders differ, pictures do not


def test_reader_serves_the_bundled_set():
    data = ToyVOC("val")
    assert data.classes == TOY_VOC_CLASSES and data.num_classes == 9 and len(data) == 120
    image, label = data[3]
    assert image.dtype == label.dtype == np.uint8 and image.shape == (*label.shape, 3)
    assert np.array_equal(label, mask("SegmentationClass", data.names[3]))
    assert len(ToyVOC("trainaug")) == 480
    extra = ToyVOC("trainaug").names.index("2008_000006")
    assert np.array_equal(ToyVOC("trainaug")[extra][1], mask("SegmentationClassAug", "2008_000006"))


def test_reader_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m seglib\.data\.toy voc"):
        ToyVOC("train", root=tmp_path / "nothing")
    with pytest.raises(ValueError, match="split"):
        ToyVOC("test")


# ------------------------------------------------------------------------------------------- toy_voc: the design


@pytest.fixture(scope="module")
def scenes():
    return [toy_voc_scene("train", index) for index in range(48)]


@pytest.fixture(scope="module")
def sizes():
    """The sizes that the painters are asked for in 360 pictures, by class; nothing is painted, to save time."""
    result = {label_id: [] for label_id in range(1, 9)}

    def recording(paint):
        def wrapper(canvas, rng, label, x, y, size, *rest):
            result[label].append(size)
            paint(canvas, rng, label, x, y, size, *rest)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Canvas, "_window", lambda *arguments: None)
        patch.setattr(voc_scenes, "_develop", lambda *arguments: None)
        for name in ("house", "tree", "canvas_triangle", "koi", "fence", "lamp"):
            patch.setattr(voc_objects, name, recording(getattr(voc_objects, name)))
        for part in ("train", "extra", "val"):
            for index in range(120):
                toy_voc_scene(part, index)
    return result


def test_every_class_comes_in_an_eightfold_range_of_sizes(scenes, sizes):
    shown = dict.fromkeys(sizes, 0)
    for scene in scenes:
        for owner in np.unique(scene.owners)[1:]:
            rows, columns = np.nonzero(scene.owners == owner)
            values = scene.label[rows, columns]
            label_id = int(values[values < 255].max(initial=0))
            if label_id:
                shown[label_id] = max(shown[label_id], np.ptp(rows) + 1, np.ptp(columns) + 1)
    for label_id, drawn in sizes.items():
        assert len(drawn) >= 120
        assert max(drawn) >= 8 * min(drawn), (label_id, min(drawn), max(drawn))
        assert shown[label_id] >= 0.7 * max(drawn), label_id  # the largest really show


def widths(region: np.ndarray) -> np.ndarray:
    """For every pixel of a region: the length of the shorter of its horizontal and vertical runs."""

    def runs(rows):
        result = np.zeros(rows.shape, int)
        for row, out in zip(rows, result, strict=True):
            edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                out[start:stop] = stop - start
        return result

    return np.minimum(runs(region), runs(region.T).T)[region]


def test_thin_structures_are_a_good_share_of_fence_lamp_and_tree(scenes):
    def share_of_thin(label_id):
        return (np.concatenate([widths(s.label == label_id) for s in scenes[::3]]) <= 6).mean()  # of 16 at the head

    shares = {label_id: share_of_thin(label_id) for label_id in (HOUSE, TREE, TENT, FENCE, LAMP)}
    assert shares[FENCE] > 0.7 and shares[LAMP] > 0.5, shares
    assert 0.1 < shares[TREE] < 0.5 and shares[HOUSE] < 0.1 and shares[TENT] < 0.2, shares


@pytest.mark.parametrize("painter, pair, extra", [(canvas_triangle, (BOAT, TENT), ()), (koi, (KITE, FISH), ())])
def test_context_classes_are_the_same_object(painter, pair, extra):
    """From the same random numbers the two classes are the same pixels: only the surroundings can tell them apart."""
    drawn = []
    for label_id in pair:
        canvas = Canvas(80, 80)
        painter(canvas, np.random.default_rng(5), label_id, 40.0, 60.0, 50.0, *extra)
        assert set(np.unique(canvas.labels)) == {0, label_id}
        drawn.append((canvas.image(), canvas.labels > 0))
    assert np.array_equal(drawn[0][0], drawn[1][0]) and np.array_equal(drawn[0][1], drawn[1][1])


def mean_colours(pair, offset: int, scenes) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour of each object (offset 0) or of the pixels within `offset` around it, one array per class."""
    result = {label_id: [] for label_id in pair}
    for scene in scenes:
        for label_id in pair:
            for owner in np.unique(scene.owners[scene.label == label_id]):
                region = scene.owners == owner
                if offset:
                    rows, columns = np.nonzero(region)
                    ring = np.zeros_like(region)
                    ring[max(0, rows.min() - offset) : rows.min(), columns.min() : columns.max()] = True
                    region = ring & (scene.owners == 0)
                if region.any():
                    result[label_id].append(scene.image[region].mean(0))
    return tuple(np.array(result[label_id]) for label_id in pair)


def test_neither_the_colour_nor_the_backdrop_tells_a_kite_from_a_fish(scenes):
    """A threshold on any channel, of the object or of what is just above it, is hardly better than guessing."""
    for offset in (0, 5):
        kites, fish = mean_colours((KITE, FISH), offset, scenes)
        for channel in range(3):
            cut = np.linspace(0, 255, 103)
            above = [((kites[:, channel] > c).mean() + (fish[:, channel] <= c).mean()) / 2 for c in cut]
            assert max(np.max(above), 1 - np.min(above)) < 0.7


def test_context_decides_the_class(scenes):
    for scene in scenes:
        present = set(np.unique(scene.label).tolist())
        forbidden = {"land": {BOAT, FISH}, "lake": {TENT, FISH}, "sea floor": set(range(1, 9)) - {FISH}}[scene.kind]
        assert not present & forbidden


def test_void_is_a_rim_on_the_side_of_what_lies_behind():
    owners = np.zeros((9, 9), int)
    owners[2:7, 2:7] = 1
    owners[4:6, 4:9] = 2
    labels = np.array([0, 3, 5])[owners]
    bordered = void_border(labels, owners)
    assert (bordered[owners == 2] == 5).all()  # nothing is taken from the nearest object
    assert (bordered[1, 2:7] == 255).all() and (bordered[3, 4:7] == 255).all() and bordered[0, 4] == 0
    assert bordered[2, 2] == 3 and bordered[1, 1] == 0


def test_scenes_are_a_function_of_the_generator_alone():
    first, second = (voc_scene(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.label, second.label)
    assert not np.array_equal(toy_voc_scene("train", 0).image, toy_voc_scene("train", 0, seed=1).image)
    assert voc_scene(np.random.default_rng(0), "lake", (96, 128)).label.shape == (96, 128)
    with pytest.raises(ValueError, match="kind"):
        voc_scene(np.random.default_rng(0), kind="forest")


# ------------------------------------------------------------------------------------------------------ generating


def test_a_larger_set_begins_with_the_smaller_one(tmp_path):
    small = generate_toy_voc(tmp_path / "small", train=2, trainaug=3, val=1)
    large = generate_toy_voc(tmp_path / "large", train=3, trainaug=6, val=2)
    files = [p.relative_to(small) for p in small.rglob("*.*") if p.suffix != ".txt"]
    assert len(files) == 4 + 3 + 4
    with Image.open(small / "SegmentationClassAug" / "2008_000001.png") as written:
        assert written.mode == "P" and written.getpalette()[3:6] == [128, 0, 0]
    for path in files:
        assert (small / path).read_bytes() == (large / path).read_bytes()
    assert (large / "ImageSets/Segmentation/trainaug.txt").read_text().split() == [
        "2007_000001", "2007_000002", "2007_000003", "2008_000001", "2008_000002", "2008_000003"]  # fmt: skip
    assert len(ToyVOC("trainaug", root=tmp_path / "large")) == 6


def test_an_existing_folder_is_left_alone_unless_told(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for generate in (generate_toy_voc, generate_toy_cityscapes):
        with pytest.raises(FileExistsError, match="empty"):
            generate(tmp_path)
    generate_toy_voc(tmp_path, train=1, trainaug=2, val=1, overwrite=True)
    generate_toy_voc(tmp_path, train=1, trainaug=1, val=1, overwrite=True)
    assert len(list(tmp_path.rglob("*.jpg"))) == 2  # nothing of the former set is left
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_wrong_counts_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="trainaug"):
        generate_toy_voc(tmp_path / "a", train=5, trainaug=4)
    with pytest.raises(ValueError, match="val"):
        generate_toy_cityscapes(tmp_path / "a", val=0)
    assert not (tmp_path / "a").exists()


def test_command_line(tmp_path, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["toy", *arguments])
        runpy.run_module("tools.toy_data", run_name="__main__")

    arguments = ["voc", str(tmp_path / "x"), "--train", "1", "--trainaug", "2", "--val", "1"]
    run(*arguments)
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out.strip().endswith("VOC2012")
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2 and "overwrite" in capsys.readouterr().err
    run(*arguments, "--overwrite")
    run("cityscapes", str(tmp_path / "y"), "--train", "1", "--val", "1")
    assert len(list((tmp_path / "y").rglob("*.png"))) == 8


# ---------------------------------------------------------------------------------------------------- toy_cityscapes


def frames(split: str) -> list[tuple[Path, dict[str, np.ndarray]]]:
    result = []
    for path in sorted((CITIES / "leftImg8bit" / split).rglob("*.png")):
        stem = path.name.removesuffix("_leftImg8bit.png")
        folder = CITIES / "gtFine" / split / path.parent.name
        arrays = {kind: np.array(Image.open(folder / f"{stem}_gtFine_{kind}.png"))
                  for kind in ("labelIds", "instanceIds", "color")}  # fmt: skip
        result.append((path, arrays | {"image": np.array(Image.open(path))}))
    return result


@pytest.fixture(scope="module")
def streets():
    return {split: frames(split) for split in ("train", "val")}


def test_cityscapes_layout(streets):
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
    assert len(list((CITIES / "gtFine").rglob("*.png"))) == 3 * 60


def test_cityscapes_splits_hold_every_class(streets):
    for found in streets.values():
        present = set().union(*(np.unique(arrays["labelIds"]).tolist() for _, arrays in found))
        assert present == set(EVALUATED) | IGNORED


def test_cityscapes_instance_ids_follow_the_official_rules(streets):
    groups = set()
    for _, arrays in streets["train"] + streets["val"]:
        label_ids, instance_ids = arrays["labelIds"].astype(int), arrays["instanceIds"].astype(int)
        single = instance_ids >= 1000
        assert np.array_equal(np.where(single, instance_ids // 1000, instance_ids), label_ids)
        assert set(np.unique(label_ids[single]).tolist()) <= WITH_INSTANCES
        groups |= set(np.unique(label_ids[~single]).tolist()) & WITH_INSTANCES
        for label_id in np.unique(label_ids[single]):
            numbers = np.unique(instance_ids[single & (label_ids == label_id)]) - 1000 * label_id
            assert numbers.tolist() == list(range(len(numbers)))
    assert groups >= {24, 26, 33}  # crowds, far rows of cars, bicycle racks


def test_cityscapes_colours(streets):
    for _, arrays in streets["val"]:
        for label_id, colour in COLOURS.items():
            region = arrays["labelIds"] == label_id
            assert (arrays["color"][region] == (*colour, 255)).all()


@pytest.mark.parametrize("split, index, name", [("train", 0, "aldermoor_000000"), ("train", 47, "tollhaven_000015"),
                                                ("val", 5, "brackenau_000005")])  # fmt: skip
def test_the_generator_still_makes_the_committed_streets(streets, split, index, name):
    scene = toy_cityscapes_scene(split, index)
    arrays = next(arrays for path, arrays in streets[split] if path.name.startswith(name))
    assert np.array_equal(scene.label_ids, arrays["labelIds"])
    assert np.array_equal(scene.instance_ids, arrays["instanceIds"])
    assert np.abs(scene.image.astype(int) - arrays["image"]).max() <= 1


def test_street_scene_takes_its_size():
    assert street_scene(np.random.default_rng(0), guests=1, size=(128, 256)).image.shape == (128, 256, 3)


def test_bundled_data_stays_small():
    def megabytes(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6

    assert megabytes(VOC) < 4.5 and megabytes(CITIES) < 3.2
