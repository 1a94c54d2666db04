"""From a recipe to its data set, with its augmentation."""

import copy
import sys
from pathlib import Path

import numpy as np

from seglib.data.augmentation import build_augmentation
from seglib.data.base import SegmentationDataset
from seglib.data.cache import PackedDataset, pack
from seglib.data.camvid import CAMVID_CLASSES, CamVid, camvid_palette
from seglib.data.cityscapes import CITYSCAPES_CLASSES, CityscapesSegmentation, cityscapes_palette
from seglib.data.folder import FolderSegmentation
from seglib.data.noise import NoisyMasks
from seglib.data.toy import TOY_MINI_CLASSES, TOY_VOC_CLASSES, ToyCityscapes, ToyMini, ToyVOC
from seglib.data.transforms import Colour, Compose, Normalisation, Squash, measure_normalisation
from seglib.data.voc import VOC_CLASSES, VOCSegmentation, voc_palette
from seglib.files import data_folder
from seglib.recipe import Recipe

# By a recipe's `data`, but for a folder, which has its own: class names, and the function that makes the palette.
CLASSES = {
    "toy_voc": (TOY_VOC_CLASSES, voc_palette),
    "toy_mini": (TOY_MINI_CLASSES, voc_palette),
    "voc": (VOC_CLASSES, voc_palette),
    "toy_cityscapes": (CITYSCAPES_CLASSES, cityscapes_palette),
    "cityscapes": (CITYSCAPES_CLASSES, cityscapes_palette),
    "camvid": (CAMVID_CLASSES, camvid_palette),
}
TOYS = {"toy_voc": ToyVOC, "toy_mini": ToyMini, "toy_cityscapes": ToyCityscapes}


def build_dataset(
    recipe: Recipe, split: str, data_root: Path | None = None, train: bool = False, packed_root: Path | None = None
) -> SegmentationDataset:
    """Opens the recipe's data set, with its augmentation if `train`; else as it is scored.

    Args:
        split: name of an image list, or "fold", the part of `recipe.train_split` that is not trained on.
        data_root: the data set's folder, such as VOCdevkit; None is the bundled toy set, or that folder in SEGLIB_DATA.
            data = "folder" needs one.
        train: with the recipe's augmentation and label noise, and without the part that its `fold` leaves out.
        packed_root: keeps decoded copies, a folder for each image list: a list is packed when it is first asked for,
            and read from there (`seglib.data.pack`). The samples are the same bit for bit. None reads the files.

    Raises:
        FileNotFoundError: if there is no data_root and SEGLIB_DATA is not set, or files are missing.
        ValueError: if the data set does not have the split, or data = "folder" and there is no data_root.
    """
    dataset = _open_part(recipe, split, data_root, train, packed_root)
    if train:
        return _augment(dataset, recipe, choose_normalisation(recipe, dataset))
    dataset.transform = Squash(recipe.eval_squash) if recipe.eval_squash else None
    return dataset


def _open_part(
    recipe: Recipe, split: str, data_root: Path | None, train: bool, packed_root: Path | None
) -> SegmentationDataset:
    images = recipe.train_split if split == "fold" else split
    quality = recipe.quality if images == recipe.train_split else "fine"
    dataset = _open(recipe, images, quality, data_root)
    if packed_root is not None:
        parts = (recipe.data, quality, images) if recipe.data == "cityscapes" else (recipe.data, images)
        if isinstance(dataset, FolderSegmentation):  # a packed label is what the table made of it
            parts = (*parts, dataset.table.digest)
        folder = pack(dataset, packed_root / "-".join(parts), progress=sys.stderr.isatty())
        pixel_range, dataset = dataset.pixel_range, PackedDataset(folder, None, recipe.seed)
        dataset.pixel_range = pixel_range
    if recipe.folds and (train or split == "fold"):
        left_out = split_into_folds(len(dataset), recipe.folds)[recipe.fold]
        dataset = dataset.subset(sorted({*range(len(dataset))} - {*left_out}) if train else left_out)
    return dataset


def _augment(dataset: SegmentationDataset, recipe: Recipe, normalisation: Normalisation) -> SegmentationDataset:
    dataset = copy.copy(dataset)
    dataset.seed, dataset.transform = recipe.seed, dataset.transform or build_transform(recipe, normalisation.fill)
    return NoisyMasks(dataset, recipe.label_noise) if recipe.label_noise else dataset


def choose_normalisation(recipe: Recipe, train_set: SegmentationDataset) -> Normalisation:
    """Returns the recipe's pixel convention; "measured" reads all of the train set's pictures."""
    if recipe.normalisation == "measured":
        return measure_normalisation(train_set)
    return Normalisation.named(recipe.normalisation, recipe.in_channels)


def open_sets(
    recipe: Recipe,
    data_root: Path | None = None,
    packed_root: Path | None = None,
    train_set: SegmentationDataset | None = None,
    val_set: SegmentationDataset | None = None,
    normalisation: Normalisation | None = None,
) -> tuple[SegmentationDataset, SegmentationDataset, Normalisation]:
    """Opens what a recipe is trained and scored on, or takes two data sets in its place; with the pixel convention.

    A given train_set without a transform gets the recipe's augmentation; the recipe's seed keys any transform.
    A `normalisation` that was measured before saves measuring it again.

    Raises:
        ValueError: if only one is given, or beside settings that choose the recipe's own data; if their classes differ,
            the val_set has a transform, or pictures do not have the recipe's in_channels; also as `build_dataset`.
    """
    if train_set is None and val_set is None:
        train_set = _open_part(recipe, recipe.train_split, data_root, True, packed_root)
        val_set = build_dataset(recipe, recipe.val_split, data_root, packed_root=packed_root)
    else:
        own = {"data_root": data_root, "packed_root": packed_root, "folds": recipe.folds}
        _check_given(train_set, val_set, own | {"label_noise": recipe.label_noise})
        val_set = copy.copy(val_set)
        val_set.transform = Squash(recipe.eval_squash) if recipe.eval_squash else None
    for each in (train_set, val_set):
        for path, _ in each.files[:1]:
            if (shape := each.read_image(path).shape)[2:] != (recipe.in_channels,):
                expected = f"expected (height, width, {recipe.in_channels}), the recipe's in_channels last"
                cure = "set in_channels in the recipe, and in a folder's classes.toml, to what the pictures have"
                raise ValueError(f"{path}: a picture {shape}; {expected}: {cure}")
    normalisation = normalisation or choose_normalisation(recipe, train_set)
    return _augment(train_set, recipe, normalisation), val_set, normalisation


def _check_given(train_set: object, val_set: object, own: dict[str, object]) -> None:
    """Raises ValueError unless both are data sets of the same classes, and nothing of the recipe's `own` is given."""
    for name, given in {"train_set": train_set, "val_set": val_set}.items():
        if not isinstance(given, SegmentationDataset):
            raise ValueError(f"{name}: expected a SegmentationDataset, as both sets or neither; found {given!r}")
    if unused := [name for name, value in own.items() if value]:
        raise ValueError(f"{', '.join(unused)}: of the recipe's own data; expected none beside a train_set and val_set")
    if train_set.classes != val_set.classes:
        found = f"{train_set.num_classes} there {train_set.classes}, {val_set.num_classes} here {val_set.classes}"
        raise ValueError(f"val_set: expected the train_set's classes; found {found}")
    if val_set.transform is not None:
        raise ValueError("val_set: has a transform; expected none: scores count on the labels as they are stored")


def _open(recipe: Recipe, split: str, quality: str, data_root: Path | None) -> SegmentationDataset:
    seed = recipe.seed
    if recipe.data in TOYS:
        return TOYS[recipe.data](split, data_root, seed=seed)
    if recipe.data == "folder":
        if data_root is None:
            raise ValueError("data = 'folder': expected data_root (--data-root FOLDER), which holds images and masks")
        return FolderSegmentation(data_root, split, seed=seed)
    root = data_root or data_folder() / {"voc": "voc/VOCdevkit"}.get(recipe.data, recipe.data)
    if recipe.data == "voc":
        return VOCSegmentation(root, split, None, recipe.partial, seed)
    if recipe.data == "cityscapes":
        return CityscapesSegmentation(root, split, quality, seed=seed)
    return CamVid(root, split, seed=seed)


def build_transform(recipe: Recipe, fill: Colour | None = None) -> Compose:
    """Builds the recipe's augmentation; None fills with the mean colour of its normalisation.

    Raises ValueError for None where the normalisation is "measured", whose mean the training pictures tell.
    """
    crop, fill = recipe.crop_size, fill or Normalisation.named(recipe.normalisation, recipe.in_channels).fill
    return build_augmentation(recipe.augmentation, crop, recipe.scale_range, recipe.flip, fill, recipe.squash)


def split_into_folds(length: int, folds: int, seed: int = 0) -> list[list[int]]:
    """Splits range(length) at random into `folds` parts whose sizes differ by at most one, each in ascending order.

    Train on all parts but one and validate on that one; every sample is then validated on exactly once.
    """
    if not 2 <= folds <= length:
        raise ValueError(f"folds = {folds}; expected 2 to {length}, the number of samples")
    order = np.random.default_rng((seed, length, folds)).permutation(length)
    return [sorted(part.tolist()) for part in np.array_split(order, folds)]
