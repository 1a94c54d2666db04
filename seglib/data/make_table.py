"""A table of classes for masks that come without one, and what their sizes and values betray."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm  # not .auto: in a notebook it writes to no terminal, and is silent

from seglib.data.folder import list_files
from seglib.data.masks import NO_COLOUR, ClassEntry, ClassTable, Colour, read_stored
from seglib.files import some

MOST = 100  # values or colours that are taken for classes
USUAL_VOIDS = ((255, 255, 255), (224, 224, 192))  # colours


def list_masks(folder: Path) -> list[Path]:
    """Lists all masks of a folder."""
    places = (folder / "masks", *sorted(filter(Path.is_dir, (folder / "masks").rglob("*"))))
    return [path for place in places for path in list_files(place)]


def describe_sizes(image: tuple[int, int], label: tuple[int, int], turned: bool) -> str:
    """Says how a label's (height, width) differs from its image's, and what to do; `turned`: EXIF turns the image."""
    (height, width), (rows, columns) = image, label
    if turned and (height, width) == (columns, rows):
        cure = "EXIF turns the picture, and the mask was drawn on it as stored: turn the mask"
    elif height * columns == width * rows:
        cure = "of one shape: resize the mask by nearest neighbour, never smoothly"
    else:
        cure = "is it the mask of another picture?"
    return f"{columns} x {rows}, its picture is {width} x {height} (width x height); {cure}"


def make_table(masks: Iterable[Path]) -> ClassTable:
    """Makes a table of what masks hold: a class per value or colour, called class_0 and so on.

    255, or white, is taken as void where there are more than two. Raises ValueError for more than MOST, for none, or
    for values of 16 bits beside colours.
    """
    found: Counter[tuple[int, Colour]] = Counter()  # code, or -1 for a colour; colour as shown
    forms: dict[str, Path] = {}  # the first mask of each
    for path in tqdm(masks, "masks", unit="mask", disable=None):
        mask = read_stored(path)
        forms.setdefault(mask.form, path)
        counts = np.unique(mask.codes, return_counts=True)[1].tolist()
        codes = [-1] * len(counts) if mask.form == "colours" else mask.used.tolist()
        for code, colour, count in zip(codes, mask.colours, counts, strict=True):
            found[code, colour] += count
    if not found:
        raise ValueError("masks: no mask in this folder; expected one for each picture, of the picture's name")
    greys = all(colour[0] == colour[1] == colour[2] for _, colour in found)
    if not greys and {*forms} - {"palette"} != {"colours"} and len(forms) > 1:
        listed = some([f"{form} as {path.name}" for form, path in forms.items()])
        if NO_COLOUR in {colour for _, colour in found}:
            raise ValueError(f"masks: {listed}; expected one form in all: save them alike, or write classes.toml")
        print(f"masks of several forms: {listed}; a class may be there by its value and again by its colour")
    if len(found) > MOST:
        cure = "smoothed edges (data/README.md has a cure) or lossy copies? If they are right, write classes.toml"
        raise ValueError(f"masks: {len(found)} different values or colours; expected 1 to {MOST}; {cure}")
    if greys:
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
