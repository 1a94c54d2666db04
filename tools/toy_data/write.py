"""Writing the toy data sets to disk, in the layouts of Pascal VOC 2012 and of Cityscapes."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from seglib.data.voc import voc_palette
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS
from tools.toy_data.mini_scenes import KINDS, MiniScene, mini_scene
from tools.toy_data.street_scenes import GUESTS, StreetScene, street_scene
from tools.toy_data.voc_scenes import SCENES, VOCScene, voc_scene

# Each part has its own numbering, so that a larger set begins with the pictures of the smaller one.
VOC_PARTS = {"train": (0, "2007"), "extra": (1, "2008"), "val": (2, "2009")}
QUALITY = {VOCScene: 85, MiniScene: 75}  # of a JPEG
CITIES = {"train": ("aldermoor", "fennwick", "tollhaven"), "val": ("brackenau",)}


def toy_voc_scene(part: str, index: int, seed: int = 0) -> VOCScene:
    """Picture `index` of a part of the toy VOC set: "train", "extra" (trainaug without train) or "val"."""
    rng = np.random.default_rng((seed, VOC_PARTS[part][0], index))
    return voc_scene(rng, kind=SCENES[index % len(SCENES)])


def toy_mini_scene(part: str, index: int, seed: int = 0) -> MiniScene:
    """Picture `index` of a part of the toy set for small networks, with the parts of the toy VOC set."""
    rng = np.random.default_rng((seed, 20 + VOC_PARTS[part][0], index))
    return mini_scene(rng, kind=tuple(KINDS)[index % len(KINDS)])


def toy_cityscapes_scene(split: str, index: int, seed: int = 0) -> StreetScene:
    """Picture `index` of "train" or "val" of the toy Cityscapes set."""
    rng = np.random.default_rng((seed, 10 + tuple(CITIES).index(split), index))
    return street_scene(rng, guests=index % len(GUESTS))


def generate_toy_voc(
    root: Path | str,
    train: int = 120,
    trainaug: int = 480,
    val: int = 120,
    seed: int = 0,
    overwrite: bool = False,
    paint: Callable[[str, int, int], VOCScene] = toy_voc_scene,
) -> Path:
    """Write a toy data set in the layout of Pascal VOC 2012 (see data/README.md).

    `root`: folder that will hold `VOCdevkit/VOC2012`; `train`, `trainaug`, `val`: numbers of images, `trainaug`
    including `train`; `overwrite`: replace the `VOCdevkit` in `root`; `paint`: a scene from (part, index, seed).
    Returns the VOC2012 folder.
    Raises FileExistsError if `root` is not empty and `overwrite` is False, ValueError if a number is too small.
    """
    root = Path(root)
    _check_counts(train=train, val=val)
    if trainaug < train:
        raise ValueError(f"trainaug: expected at least train = {train} images, found {trainaug}")
    _make_room(root, ("VOCdevkit",), overwrite)
    base = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    names: dict[str, list[str]] = {}
    for part, count in (("train", train), ("extra", trainaug - train), ("val", val)):
        names[part] = [f"{VOC_PARTS[part][1]}_{index + 1:06d}" for index in range(count)]
        for index, name in enumerate(names[part]):
            _write_voc(base, name, paint(part, index, seed), part)
    lists = {
        "train": names["train"],
        "val": names["val"],
        "trainval": names["train"] + names["val"],
        "trainaug": names["train"] + names["extra"],
    }
    for split, members in lists.items():
        path = base / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in members), encoding="utf-8", newline="\n")
    return base


generate_toy_mini = partial(generate_toy_voc, paint=toy_mini_scene)  # the data set for small networks


def generate_toy_cityscapes(
    root: Path | str, train: int = 48, val: int = 12, seed: int = 0, overwrite: bool = False
) -> Path:
    """Write a toy data set in the layout of Cityscapes (see data/README.md).

    `root`: folder that will hold `leftImg8bit` and `gtFine`; `train`, `val`: numbers of images; `overwrite`: replace
    these two folders in `root`. Returns `root`.
    Raises FileExistsError if `root` is not empty and `overwrite` is False, ValueError if a number is too small.
    """
    _check_counts(train=train, val=val)
    root = Path(root)
    _make_room(root, ("leftImg8bit", "gtFine"), overwrite)
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            city = CITIES[split][index % len(CITIES[split])]
            name = f"{city}_{index // len(CITIES[split]):06d}_000019"
            _write_cityscapes(root, split, city, name, toy_cityscapes_scene(split, index, seed))
    return root


def _write_voc(base: Path, name: str, scene: VOCScene, part: str) -> None:
    Image.fromarray(scene.image).save(base / "JPEGImages" / f"{name}.jpg", quality=QUALITY[type(scene)])
    if part != "extra":
        _save_indexed(scene.label, base / "SegmentationClass" / f"{name}.png")
    _save_indexed(scene.label_sbd if part == "extra" else scene.label, base / "SegmentationClassAug" / f"{name}.png")


def _save_indexed(label: np.ndarray, path: Path) -> None:
    image = Image.frombytes("P", label.shape[::-1], np.ascontiguousarray(label).tobytes())
    image.putpalette(voc_palette().tobytes())
    image.save(path, optimize=True)


def _write_cityscapes(root: Path, split: str, city: str, name: str, scene: StreetScene) -> None:
    colours = np.zeros((256, 4), np.uint8)
    for row in CITYSCAPES_LABELS:
        if row.id >= 0:
            colours[row.id] = (*row.colour, 255)
    arrays = {
        "leftImg8bit/leftImg8bit": scene.image,
        "gtFine/gtFine_labelIds": scene.label_ids,
        "gtFine/gtFine_instanceIds": scene.instance_ids,
        "gtFine/gtFine_color": colours[scene.label_ids],
    }
    for key, array in arrays.items():
        folder, suffix = key.split("/")
        path = root / folder / split / city / f"{name}_{suffix}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path, optimize=True)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}: expected at least 1 image, found {count}")


def _make_room(root: Path, children: tuple[str, ...], overwrite: bool) -> None:
    """Remove earlier `children` of `root` if told to; otherwise refuse to touch a folder that holds anything."""
    if root.exists() and any(root.iterdir()) and not overwrite:
        raise FileExistsError(f"{root}: expected a new or empty folder, found files in it; overwrite replaces them")
    for child in children:
        if (root / child).exists():
            shutil.rmtree(root / child)
