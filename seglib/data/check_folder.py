"""What is wrong with a folder of pictures and masks: `python -m seglib check-folder FOLDER`."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm  # not .auto: in a notebook it writes to no terminal, and is silent

from seglib.data.base import VOID
from seglib.data.folder import find_masks, find_splits, list_files
from seglib.data.images import read_channels
from seglib.data.masks import ClassEntry, ClassTable, Colour, read_mask, read_stored
from seglib.files import some

MOST = 100  # values or colours that are taken for classes
USUAL_VOIDS = ((255, 255, 255), (224, 224, 192))  # colours


def check_folder(folder: Path, /, *, write: bool = False) -> int:
    """Read all pictures and masks of a folder, and list what is wrong with them; exit status 1 if anything is.

    Args:
        folder: holds images, masks and classes.toml.
        write: make classes.toml of the values or colours that the masks hold.
    """
    path = folder / "classes.toml"
    if write:
        if path.exists():
            raise FileExistsError(f"{path}: is there already; delete it to have it written, or leave out --write")
        if not (folder / "masks").is_dir():
            raise FileNotFoundError(f"{folder / 'masks'}: no such folder; expected the folders images and masks")
        make_table(list_masks(folder)).save(path)
        print(f"{path}: written; give the classes their names")
    table = ClassTable.load(path)
    splits = find_splits(folder, table.split)
    faults, turned, used = [], [], set()
    pixels = {split: np.zeros(256, np.int64) for split in splits}
    seen: dict[bytes, tuple[str, Path]] = {}
    pairs = [(split, *found) for split, images in splits.items() for found in find_masks(folder, images)]
    for split, image, masks, fault in tqdm(pairs, "check", unit="picture", disable=None):
        used.update(masks)
        other = seen.setdefault(hashlib.sha256(image.read_bytes()).digest(), (split, image))
        if other[0] != split:
            faults.append(f"{image}: in {split}, and the same file as {other[1]} in {other[0]}; take one out")
        faults += filter(None, [fault])
        shapes = []
        try:
            shapes.append(read_channels(image, table.in_channels, table.pixel_range).shape[:2])
            if image.suffix.lower() != ".npy":
                with Image.open(image) as opened:
                    turned += [image.name] * (opened.getexif().get(0x0112, 1) != 1)
        except (OSError, ValueError) as error:
            faults.append(str(error))
        try:
            for mask in masks[:1]:
                label = read_mask(mask, table)
                pixels[split] += np.bincount(label.ravel(), minlength=256)
                shapes.append(label.shape)
        except (OSError, ValueError) as error:
            faults.append(str(error))
        if len(set(shapes)) > 1:
            faults.append(f"{masks[0]}: {_describe_sizes(*shapes, turned=image.name in turned)}")
    faults += [f"{mask}: a mask without a picture" for mask in list_masks(folder) if mask not in used]
    faults += _find_absent(table, pixels)
    _print_shares(table, splits, pixels)
    if turned:
        print(f"EXIF turns {some(turned)}: masks must lie as viewers show the pictures")
    print(*[f"fault: {fault}" for fault in faults], f"{len(pairs)} pictures; faults: {len(faults)}", sep="\n")
    return int(bool(faults))


def list_masks(folder: Path) -> list[Path]:
    """Lists all masks of a folder."""
    masks = folder / "masks"
    return [path for place in (masks, *sorted(filter(Path.is_dir, masks.rglob("*")))) for path in list_files(place)]


def _describe_sizes(image: tuple[int, int], label: tuple[int, int], turned: bool) -> str:
    (height, width), (rows, columns) = image, label
    if turned and (height, width) == (columns, rows):
        cure = "EXIF turns the picture, and the mask was drawn on it as stored: turn the mask"
    elif height * columns == width * rows:
        cure = "of one shape: resize the mask by nearest neighbour, never smoothly"
    else:
        cure = "is it the mask of another picture?"
    return f"{columns} x {rows}, its picture is {width} x {height} (width x height); {cure}"


def _find_absent(table: ClassTable, pixels: dict[str, np.ndarray]) -> list[str]:
    names, faults = [entry.name for entry in table.classes], []
    for split in sorted(pixels.keys() & {"train", "val"}):
        counts, void = pixels[split][: len(names)], pixels[split][VOID]
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        if absent and (counts > 0).sum() < 2 and void and VOID in table.void:
            faults.append(
                f"{split}: no pixel of {some(absent)}, while {void / pixels[split].sum():.1%} are void: binary masks "
                "often store 255 for the object; then give it value = 255, and set void_values = []"
            )
        elif absent:
            lost = "learned" if split == "train" else "scored"
            cure = "more pictures, another seed of [split], or lists of your own"
            faults.append(f"{split}: no pixel of {some(absent)}, which cannot be {lost}; {cure}")
    return faults


def _print_shares(table: ClassTable, splits: dict[str, list[Path]], pixels: dict[str, np.ndarray]) -> None:
    print(f"{'share of the pixels, in %':30}" + "".join(f"{split:>10}" for split in splits))
    print(f"{'pictures':30}" + "".join(f"{len(images):10}" for images in splits.values()))
    for k, name in [*enumerate(entry.name for entry in table.classes), (VOID, "void")]:
        print(f"{name:30}" + "".join(f"{100 * counts[k] / max(1, counts.sum()):10.2f}" for counts in pixels.values()))


def make_table(masks: Iterable[Path]) -> ClassTable:
    """Makes a table of what masks hold: a class per value or colour, called class_0 and so on.

    255, or white, is taken as void where there are more than two. Raises ValueError for more than MOST, or for none.
    """
    found: Counter[tuple[int, Colour]] = Counter()  # code, or -1 for a colour; colour as shown
    for path in tqdm(masks, "masks", unit="mask", disable=None):
        mask = read_stored(path)
        counts = np.unique(mask.codes, return_counts=True)[1].tolist()
        codes = [-1] * len(counts) if mask.form == "colours" else mask.used.tolist()
        for code, colour, count in zip(codes, mask.colours, counts, strict=True):
            found[code, colour] += count
    if not 0 < len(found) <= MOST:
        cure = "smoothed edges or lossy copies? If they are right, write classes.toml by hand"
        raise ValueError(f"masks: {len(found)} different values or colours; expected 1 to {MOST}; {cure}")
    if all(colour[0] == colour[1] == colour[2] for _, colour in found):
        values = sorted({code if colour[0] < 0 else colour[0] for code, colour in found})
        void = {255} & {*values} if len(values) > 2 else set()
        entries, colours = [(value, None) for value in values if value not in void], ()
    else:
        pixels = Counter[Colour]()
        for (_, colour), count in found.items():
            pixels[colour] += count
        of_colour = {colour: code for code, colour in found}
        one_to_one = len(of_colour) == len(found) == len({code for code, _ in found}) and min(found)[0] >= 0
        colours = tuple(colour for colour in USUAL_VOIDS if colour in pixels and len(pixels) > 2)
        rest = sorted(pixels.keys() - {*colours}, key=lambda colour: (colour != (0, 0, 0), -pixels[colour]))
        entries = [(of_colour[colour] if one_to_one else None, colour) for colour in rest]
        if one_to_one:
            entries.sort()
        void = {of_colour[colour] for colour in colours} if one_to_one else set()
    if void or colours:
        print(f"taken as void: {some([*map(str, sorted(void)), *map(str, colours)])}")
    classes = tuple(ClassEntry(f"class_{k}", value, colour) for k, (value, colour) in enumerate(entries))
    return ClassTable(classes=classes, void_values=tuple(sorted(void)), void_colours=colours)
