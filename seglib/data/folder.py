"""A folder of one's own: pictures, masks in any form, and classes.toml."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np

from seglib.data.base import SegmentationDataset, Transform
from seglib.data.images import nearest_name, read_channels, read_list
from seglib.data.masks import ClassTable, SplitRule, read_mask
from seglib.files import some

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".npy")
ENDINGS = ("", "_mask", "_masks", "_label", "_labels", "_gt", "_seg", "-mask", "-label")  # of a mask's name


class FolderSegmentation(SegmentationDataset):
    """Pictures in `images`, masks of the same names (or NAME_mask and the like) in `masks`, classes in `classes.toml`.

    Both folders have one subfolder per split; or they are flat, and `lists/SPLIT.txt` names the pictures; or, without
    lists, they are divided into "train" and "val" by the rule of classes.toml.

    Args:
        root: the folder that holds images, masks and classes.toml.
        split: "train", "val", or another subfolder or list.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: if a folder, a list or a picture is missing, or a picture has no mask or several.
        ValueError: if classes.toml is wrong, there is no such split, or two pictures have one name.
    """

    def __init__(self, root: str | Path, split: str, transform: Transform | None = None, seed: int = 0) -> None:
        root = Path(root)
        self.table = ClassTable.load(root / "classes.toml")
        self.in_channels, self.pixel_range = self.table.in_channels, self.table.pixel_range
        splits = find_splits(root, self.table.split)
        if split not in splits:
            cure = "a recipe names its own as train_split and val_split"
            raise ValueError(f"split: {root} has {sorted(splits)}, found {split!r}; {cure}")
        files = pair_masks(root, splits[split], f"pictures of {split}")
        if twice := [name for name, count in Counter(_stem(image) for image, _ in files).items() if count > 1]:
            raise ValueError(f"{root}: several pictures are called {some(twice)}; expected different names")
        names = [entry.name for entry in self.table.classes]
        super().__init__(files, names, self.table.palette, transform, seed)

    def read_image(self, path: Path) -> np.ndarray:
        """Reads (H, W, in_channels) uint8 of a picture or array; raises as `read` does."""
        return read_channels(path, self.in_channels, self.table.pixel_range)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads (H, W) uint8 class indices of a mask in any form; raises as `read` does."""
        return read_mask(path, self.table)

    def stamp(self, path: Path) -> str:
        """Returns what changes when a mask, or the table it is read through, does."""
        return f"{super().stamp(path)} {self.table.digest}"


def find_splits(root: Path, rule: SplitRule) -> dict[str, list[Path]]:
    """Finds the pictures of each split; raises as `FolderSegmentation`."""
    folder = root / "images"
    if not folder.is_dir() or not (root / "masks").is_dir():
        present = sorted(os.listdir(root)) if root.is_dir() else []
        raise FileNotFoundError(f"{root}: expected the folders images and masks, found {some(present) or 'nothing'}")
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    images = list_files(folder)
    if subfolders and images:
        raise ValueError(
            f"{folder}: {images[0].name} lies beside the folder {subfolders[0].name}; expected one or other"
        )
    splits = {path.name: list_files(path) for path in subfolders}
    if not subfolders and (root / "lists").is_dir():
        known = {normalize("NFC", image.name): image for image in images} | {_stem(image): image for image in images}
        lists = sorted((root / "lists").glob("*.txt"))
        if not lists:
            found = some(sorted(os.listdir(root / "lists"))) or "nothing"
            raise FileNotFoundError(
                f"{root / 'lists'}: expected train.txt and val.txt, or no such folder; found {found}"
            )
        for path in lists:
            ids = [normalize("NFC", name) for name in read_list(path)]
            if absent := [name for name in ids if name not in known]:
                shown = some([name + nearest_name(name, [image.name for image in images]) for name in absent[:3]])
                raise FileNotFoundError(f"{path}: {folder} lacks {len(absent)} of {len(ids)}: {shown}")
            splits[path.stem] = [known[name] for name in ids]
            if twice := [image.name for image, number in Counter(splits[path.stem]).items() if number > 1]:
                raise ValueError(f"{path}: lists {some(twice)} twice, with and without its ending")
        if twice := sorted({*splits.get("train", ())} & {*splits.get("val", ())}):
            shown = some([image.name for image in twice])
            raise ValueError(f"{root / 'lists'}: {shown} in train and in val; expected no picture in both")
    elif not subfolders:
        splits = divide(images, rule)
    if empty := [name for name, found in splits.items() if not found]:
        if images:
            found = "one picture" if len(images) == 1 else f"{len(images)} pictures, by share = {rule.share},"
            raise ValueError(f"{folder}: {found} cannot be divided into train and val; expected a picture in each")
        deeper = [path.name for name in empty for path in (folder / name).glob("*/")]
        note = f", not in folders inside it: {some(deeper)}" if deeper else ""
        raise FileNotFoundError(f"{folder}: no picture in {empty}; expected {', '.join(SUFFIXES)}{note}")
    return splits


def divide(images: Sequence[Path], rule: SplitRule) -> dict[str, list[Path]]:
    """Divides pictures into train and val: by a hash of the seed and the name, or of the prefix that names share."""
    prefixes = {image: re.sub(r"[-_]\d+$", "", image.stem) for image in images}
    grouped = rule.group == "prefix" and len(set(prefixes.values())) > 1  # else there is nothing to keep apart
    groups = prefixes if grouped else {image: image.stem for image in images}
    sizes = Counter(groups.values())
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{rule.seed} {group}".encode()).digest())
    target, val, count = rule.share * len(images), set(), 0
    for group in order if len(sizes) > 1 else []:
        if abs(count + sizes[group] - target) < abs(count - target):
            val.add(group)
            count += sizes[group]
    if not val and len(sizes) > 1:
        val = {min(order, key=sizes.get)}
    return {part: [i for i in images if (groups[i] in val) == (part == "val")] for part in ("train", "val")}


def pair_masks(root: Path, images: Sequence[Path], what: str = "pictures") -> list[tuple[Path, Path]]:
    """Pairs pictures with their masks. Raises FileNotFoundError if some have none or several."""
    found = find_masks(root, images)
    if wrong := [fault for *_, fault in found if fault]:
        raise FileNotFoundError(f"{root}: {len(wrong)} of {len(images)} {what} have not one mask: {some(wrong, 3)}")
    return [(image, mask) for image, [mask], _ in found]


def find_masks(root: Path, images: Sequence[Path]) -> list[tuple[Path, list[Path], str]]:
    """Finds each picture's masks, named as it is or with one of ENDINGS, and what is wrong; "" if there is one."""
    present: dict[Path, dict[str, list[Path]]] = {}
    found = []
    # of all pictures, not of this split's only: the mask of `a_gt` is no second mask of `a`
    stems = {_stem(path) for parent in {image.parent for image in images} for path in list_files(parent)}
    for image in images:
        folder = root / "masks" / image.parent.relative_to(root / "images")
        if folder not in present:
            present[folder] = {}
            for path in list_files(folder):
                present[folder].setdefault(_stem(path), []).append(path)
        own = [_stem(image) + ending for ending in ENDINGS if not ending or _stem(image) + ending not in stems]
        masks = [mask for name in own for mask in present[folder].get(name, ())]
        fault = f"{some([mask.name for mask in masks])} are masks of {image.name}; expected one"
        if not masks:
            near = nearest_name(image.name, os.listdir(folder) if folder.is_dir() else [])
            fault = f"{folder} has no mask of {image.name}{near}; expected {image.stem}.png"
        found.append((image, masks, "" if len(masks) == 1 else fault))
    return found


def _stem(path: Path) -> str:
    """Returns the name without its ending; a Mac writes an accent as a character of its own, others do not."""
    return normalize("NFC", path.stem)


def list_files(folder: Path) -> list[Path]:
    """Lists the pictures of a folder, in the order of their names; none if there is no such folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in found if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file())
