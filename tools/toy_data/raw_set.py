"""A small set as somebody would have it: photographs from a few walks, masks in colours, and a few mishaps.

`python -m tools.toy_data raw ROOT` writes `images/` and `masks/`. The names of one walk share a prefix. The masks are
RGB drawings in the colours of COLOURS; white is what nobody labelled. Two places of a walk are photographed twice, a
step apart: a part of one picture is in the other. Mishaps: one photograph is stored turned and says
so (EXIF), one mask has half its picture's size, some names end in .JPG, and only one walk passes lamps.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter

from tools.toy_data import voc_scenes as scenes
from tools.toy_data.voc_scenes import VOCScene, voc_scene

COLOURS = {
    "background": (0, 0, 0),
    "building": (220, 20, 60),
    "tree": (60, 160, 60),
    "boat": (40, 90, 220),
    "lamp": (250, 210, 40),
}
UNLABELLED = (255, 255, 255)
CLASS_OF = {scenes.HOUSE: "building", scenes.TREE: "tree", scenes.BOAT: "boat", scenes.LAMP: "lamp"}
# The walks, and which scenes they pass. Lamps are met in the evening only.
WALKS = {
    "bay": "lake", "hill": "land", "inlet": "lake", "meadow": "land",
    "pier": "lake", "village": "land", "weir": "lake", "evening": "land",
}  # fmt: skip
SIZES = ((144, 192), (192, 144), (144, 192), (144, 192), (192, 144))  # height, width of the pictures of a walk
STEP = 40  # pixels to the right between the two photographs of a place
PLACES = ((1,), (2, 5), (3, 4))  # numbers of the pictures that show the same
LAMP_PIXELS = 100  # at least, in each picture of the evening
TURNED, HALVED, UPPER = "meadow_03", "inlet_02", ("pier", "weir")


def walk_scenes(walk: str, seed: int = 0) -> dict[int, VOCScene]:
    """Paints the pictures of a walk by number: the first scenes with a lamp in the evening, or without one else."""
    pictures = {}
    for numbers in PLACES:
        height, width = SIZES[numbers[0] - 1]
        for attempt in range(1000):
            rng = np.random.default_rng((seed, 30, list(WALKS).index(walk), numbers[0], attempt))
            place = voc_scene(rng, WALKS[walk], (height, width + STEP * (len(numbers) - 1)))
            views = [_window(place, STEP * k, width) for k in range(len(numbers))]
            lamps = [np.count_nonzero(view.label_sbd == scenes.LAMP) for view in views]
            if min(lamps) >= LAMP_PIXELS if walk == "evening" else not any(lamps):
                break
        else:
            raise RuntimeError(f"{walk}, {numbers}: no scene of 1000 is as asked")
        pictures |= dict(zip(numbers, views, strict=True))
    return pictures


def _window(scene: VOCScene, left: int, width: int) -> VOCScene:
    names = ("image", "label", "label_sbd", "owners")
    return replace(scene, **{name: getattr(scene, name)[:, left : left + width] for name in names})


def draw_mask(scene: VOCScene) -> np.ndarray:
    """Paints a scene's mask in COLOURS, with a thin unlabelled rim round what has a class. -> (H, W, 3) uint8."""
    table = np.zeros((256, 3), np.uint8)
    for value, name in CLASS_OF.items():
        table[value] = COLOURS[name]
    mask = table[scene.label_sbd]
    rim = (scene.label == 255) & maximum_filter(mask.any(axis=2), size=3)
    mask[rim] = UNLABELLED
    return mask


def write_raw_set(root: Path | str, seed: int = 0) -> Path:
    """Writes the set into a new or empty folder; returns it. Raises FileExistsError if it holds anything."""
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root}: expected a new or empty folder, found files in it")
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for walk in WALKS:
        for number, scene in walk_scenes(walk, seed).items():
            _write(root, walk, number, scene)
    return root


def _write(root: Path, walk: str, number: int, scene: VOCScene) -> None:
    name = f"{walk}_{number:02d}"
    image, mask = Image.fromarray(scene.image), Image.fromarray(draw_mask(scene))
    options = {}
    if name == TURNED:  # as a telephone that is held upright stores it
        image = image.transpose(Image.Transpose.ROTATE_90)
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    if name == HALVED:
        mask = mask.resize((mask.width // 2, mask.height // 2), Image.Resampling.NEAREST)
    image.save(root / "images" / f"{name}.{'JPG' if walk in UPPER else 'jpg'}", quality=85, **options)
    mask.save(root / "masks" / f"{name}.png", optimize=True)
