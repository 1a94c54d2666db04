"""From a recipe to its data set and augmentation."""

import sys
from pathlib import Path

from seglib.data import (
    CamVid,
    CityscapesSegmentation,
    PackedDataset,
    SegmentationDataset,
    ToyCityscapes,
    ToyVOC,
    VOCSegmentation,
    pack,
)
from seglib.data.base import Transform, fold_indices
from seglib.data.noise import NoisyMasks
from seglib.data.transforms import Compose, Normalisation, augmentation
from seglib.files import data_folder
from seglib.recipe import Recipe


def build_dataset(
    recipe: Recipe, split: str, data_root: Path | None = None, train: bool = False, packed_root: Path | None = None
) -> SegmentationDataset:
    """The recipe's data set, with its augmentation where `train`.

    Args:
        split: name of an image list, or "fold", the part of `recipe.train_split` that is not trained on.
        data_root: the data set's folder, such as VOCdevkit; None is the bundled toy set, or that folder in SEGLIB_DATA.
        train: with the recipe's augmentation and label noise, and without the part that its `fold` leaves out.
        packed_root: keeps decoded copies, a folder for each image list: a list is packed when it is first asked for,
            and read from there (`seglib.data.pack`). The samples are the same bit for bit. None reads the files.

    Raises:
        ValueError: unknown data set. FileNotFoundError: no data_root and SEGLIB_DATA is not set.
        OSError: too little room in packed_root.
    """
    transform = training_transform(recipe) if train else None
    images = recipe.train_split if split == "fold" else split
    dataset = _open_dataset(recipe, images, data_root, transform)
    if packed_root is not None:
        folder = packed_root / "-".join((recipe.data, *_quality(recipe, images), images))
        dataset = PackedDataset(pack(dataset, folder, progress=sys.stderr.isatty()), transform, recipe.seed)
    if recipe.folds and (train or split == "fold"):
        left_out = fold_indices(len(dataset), recipe.folds)[recipe.fold]
        dataset = dataset.subset(sorted({*range(len(dataset))} - {*left_out}) if train else left_out)
    return NoisyMasks(dataset, recipe.label_noise) if train and recipe.label_noise else dataset


def _open_dataset(
    recipe: Recipe, split: str, data_root: Path | None, transform: Transform | None
) -> SegmentationDataset:
    if recipe.data == "toy_voc":
        return ToyVOC(split, root=data_root, transform=transform, seed=recipe.seed)
    if recipe.data == "toy_cityscapes":
        return ToyCityscapes(split, root=data_root, transform=transform, seed=recipe.seed)
    if recipe.data == "voc":
        root = data_root or data_folder() / "voc" / "VOCdevkit"
        return VOCSegmentation(root, split, transform=transform, partial=recipe.partial, seed=recipe.seed)
    if recipe.data == "cityscapes":
        root = data_root or data_folder() / "cityscapes"
        return CityscapesSegmentation(root, split, *_quality(recipe, split), transform=transform, seed=recipe.seed)
    if recipe.data == "camvid":
        return CamVid(data_root or data_folder() / "camvid", split, transform=transform, seed=recipe.seed)
    known = ("toy_voc", "voc", "toy_cityscapes", "cityscapes", "camvid")
    raise ValueError(f"recipe: data = {recipe.data!r}; expected one of {known}")


def _quality(recipe: Recipe, split: str) -> tuple[str, ...]:
    """Of a list's labels; nothing for data sets whose labels are of one quality."""
    if recipe.data != "cityscapes":
        return ()
    return (recipe.quality if split == recipe.train_split else "fine",)


def normalisation(recipe: Recipe) -> Normalisation:
    """The recipe's pixel convention."""
    return Normalisation.named(recipe.normalisation)


def training_transform(recipe: Recipe) -> Compose:
    """The recipe's augmentation. Raises ValueError: an unknown level."""
    fill = normalisation(recipe).fill
    scale = recipe.scale_range, recipe.scale_step
    return augmentation(recipe.augmentation, recipe.crop_size, *scale, recipe.flip, fill, recipe.squash)
