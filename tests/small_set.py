"""A data set of sixteen tiny scenes in the toy set's layout, and a recipe that trains on it in a second."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from trees import save

from seglib.data import voc_palette
from seglib.recipe import Recipe
from seglib.train import Trainer

TRAIN = tuple(f"2007_{number:06d}" for number in range(1, 13))
VAL = tuple(f"2007_{number:06d}" for number in range(13, 17))
SIZE = (40, 48)
write_label = partial(save, palette=voc_palette())
SMALL = Recipe(
    crop_size=33,
    backbone="resnet18",
    width=8,
    channels=8,
    decoder_channels=4,
    batch_size=2,
    iterations=12,
    lr=0.05,
    dropout=0.5,
)


def write_small_set(root: Path, train: Sequence[str] = TRAIN, val: Sequence[str] = VAL) -> Path:
    """Writes `VOCdevkit` into root: rectangles of the nine classes on noise, with a void row. Returns root.

    `train` are the names of trainaug; the first half of them is train.
    """
    folder = root / "VOCdevkit" / "VOC2012"
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split, names in {"train": train[: len(train) // 2], "trainaug": train, "val": val}.items():
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    rng = np.random.default_rng(0)
    for name in (*train, *val):
        label = np.zeros(SIZE, dtype=np.uint8)
        for value in rng.integers(1, 9, size=3):
            top, left = rng.integers(0, SIZE[0] - 12), rng.integers(0, SIZE[1] - 12)
            label[top : top + 12, left : left + 12] = value
        label[-1] = 255
        image = voc_palette()[label] // 2 + rng.integers(0, 128, (*SIZE, 3), dtype=np.uint8)
        save(folder / "JPEGImages" / f"{name}.jpg", image, quality=95)
        write_label(folder / "SegmentationClass" / f"{name}.png", label)
        write_label(folder / "SegmentationClassAug" / f"{name}.png", label)
    return root


def make_trainer(recipe: Recipe, run_dir: Path, data: Path | None, progress: bool = False, **options: Any) -> Trainer:
    """Makes a trainer on the CPU; without `data`, on the bundled set."""
    return Trainer(recipe, run_dir, data_root=data, device="cpu", progress=progress, **options)


def weights(model: nn.Module) -> Tensor:
    """Returns all parameters and buffers of a model as one vector, for a comparison bit for bit."""
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


def write_recipe(path: Path, recipe: Recipe) -> Path:
    """Writes a recipe as TOML, and returns the path."""
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in recipe.changes().items()))
    return path
