"""The two bundled data sets: writing them, and reading the toy VOC set.

python -m seglib.data.toy voc ROOT [--train 120 --trainaug 480 --val 120 --seed 0]
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from seglib.data.toy_voc import SCENES, TOY_VOC_CLASSES, Scene, voc_scene

__all__ = ["TOY_VOC_CLASSES", "generate_toy_voc", "toy_voc_scene"]

# Each part has its own numbering, so that a larger set begins with the pictures of the smaller one.
PARTS = {"train": (0, "2007"), "extra": (1, "2008"), "val": (2, "2009")}


def toy_voc_scene(part: str, index: int, seed: int = 0) -> Scene:
    """Picture `index` of a part of the toy VOC set ("train", "extra" = trainaug without train, or "val")."""
    rng = np.random.default_rng((seed, PARTS[part][0], index))
    return voc_scene(rng, kind=SCENES[index % len(SCENES)])


def generate_toy_voc(
    root: Path | str, train: int = 120, trainaug: int = 480, val: int = 120, seed: int = 0, overwrite: bool = False
) -> Path:
    """Write a toy data set in the layout of Pascal VOC 2012 (see data/README.md).

    `root`: folder that will hold `VOCdevkit/VOC2012`; `train`, `trainaug`, `val`: numbers of images, `trainaug`
    including `train`. Returns the VOC2012 folder.
    Raises FileExistsError if `root` is not empty and `overwrite` is False, ValueError if `trainaug` < `train`.
    """
    if trainaug < train:
        raise ValueError(f"trainaug: expected at least train = {train} images, found {trainaug}")
    base = _fresh_folder(Path(root), "VOCdevkit", overwrite) / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    names: dict[str, list[str]] = {}
    for part, count in (("train", train), ("extra", trainaug - train), ("val", val)):
        names[part] = [f"{PARTS[part][1]}_{index + 1:06d}" for index in range(count)]
        for index, name in enumerate(names[part]):
            _write_voc(base, name, toy_voc_scene(part, index, seed), part)
    lists = {
        "train": names["train"],
        "val": names["val"],
        "trainval": names["train"] + names["val"],
        "trainaug": names["train"] + names["extra"],
    }
    for split, members in lists.items():
        path = base / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in sorted(members)))
    return base


def _write_voc(base: Path, name: str, scene: Scene, part: str) -> None:
    Image.fromarray(scene.image).save(base / "JPEGImages" / f"{name}.jpg", quality=85)
    if part != "extra":
        _save_indexed(scene.label, base / "SegmentationClass" / f"{name}.png")
    _save_indexed(scene.label_sbd if part == "extra" else scene.label, base / "SegmentationClassAug" / f"{name}.png")


def _save_indexed(label: np.ndarray, path: Path) -> None:
    image = Image.frombytes("P", label.shape[::-1], np.ascontiguousarray(label).tobytes())
    image.putpalette(voc_palette().tobytes())
    image.save(path, optimize=True)


def voc_palette() -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            palette[index] |= np.array([(index >> (3 * bit + c)) & 1 for c in range(3)], np.uint8) << (7 - bit)
    return palette


def _fresh_folder(root: Path, child: str, overwrite: bool) -> Path:
    """`root / child`, not existing; raises FileExistsError rather than touch what is in `root` without leave."""
    if root.exists() and any(root.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{root}: expected a new or empty folder, found files in it (overwrite=True replaces them)"
        )
    if (root / child).exists():
        shutil.rmtree(root / child)
    return root / child


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m seglib.data.toy", description="Write a toy data set.")
    sets = parser.add_subparsers(dest="set", required=True)
    voc = sets.add_parser("voc", help="Pascal VOC layout, background and eight classes")
    for name, count in (("train", 120), ("trainaug", 480), ("val", 120)):
        voc.add_argument(f"--{name}", type=int, default=count, help=f"images in {name} (default {count})")
    for command in (voc,):
        command.add_argument("root", type=Path, help="folder to write to")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--overwrite", action="store_true", help="replace what is in ROOT")
    options = vars(parser.parse_args(arguments))
    kind = options.pop("set")
    print({"voc": generate_toy_voc}[kind](**options))


if __name__ == "__main__":
    main()
