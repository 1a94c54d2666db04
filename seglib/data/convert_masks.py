"""Masks of any form, COCO's and labelme's annotations as a folder of index PNGs: `python -m seglib convert-masks`."""

import shutil
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from math import floor
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from PIL import Image, ImageDraw

from seglib.data.base import VOID
from seglib.data.folder import find_splits, pair_masks
from seglib.data.images import open_image
from seglib.data.make_table import list_masks, make_table
from seglib.data.masks import ClassEntry, ClassTable, indices_of, read_stored
from seglib.files import make_folder, read_text, some

Side = Annotated[int, Meta(ge=1)]
Coordinate = Annotated[float, Meta(ge=-1e6, le=1e6)]  # beyond, Pillow draws nothing, and pycocotools takes all memory
Key = int | str
Sample = tuple[Path, Path, np.ndarray, str]  # picture, its place and name in the folder, label, what it was read from


class _Category(msgspec.Struct):
    id: Key
    name: str


class _Image(msgspec.Struct):
    id: Key
    file_name: str
    height: Side
    width: Side


class _Runs(msgspec.Struct):
    counts: list[int] | str
    size: tuple[Side, Side]


class _Annotation(msgspec.Struct):
    image_id: Key
    category_id: Key
    id: Key | None = None
    segmentation: list[Annotated[list[Coordinate], Meta(min_length=6)]] | _Runs | None = None


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Shape(msgspec.Struct):
    label: str
    points: list[tuple[Coordinate, Coordinate]]
    shape_type: str = "polygon"
    mask: str | None = None  # a PNG in base64, which lies between the two points of a "mask"


class _Labelme(msgspec.Struct):
    shapes: list[_Shape]
    imagePath: str  # noqa: N815
    imageHeight: Side  # noqa: N815
    imageWidth: Side  # noqa: N815


Content = TypeVar("Content", _Coco, _Labelme)


def convert_masks(source: Path, target: Path, /, *, images: Path | None = None) -> None:
    """Write a folder of pictures, index PNGs and classes.toml from masks in any form, or COCO or labelme files.

    Args:
        source: a folder with images and masks, a COCO file (.json), or labelme's: one, or a folder of them.
        target: the new folder.
        images: the folder of the annotated pictures; default: the annotations' own, or images in it or beside it.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        found = "files in it" if target.is_dir() else "a file"
        raise FileExistsError(f"{target}: expected a new or empty folder, found {found}")
    files = [source] if source.suffix.lower() == ".json" and not source.is_dir() else sorted(source.glob("*.json"))
    if files and (files[0] != source or "shapes" in _keys(source)):
        table, samples = _read_labelme(files, images)
    elif files:
        table, samples = _read_coco(source, images)
    else:
        table, samples = _read_folder(source)
    if deleted := [entry.name for entry in table.classes if "\x7f" in entry.name]:  # classes.toml could not be read
        raise ValueError(f"{source}: the character DEL in the name of the class {deleted[0]!r}; expected text")
    palette = table.palette
    classes = tuple(ClassEntry(entry.name, k, tuple(palette[k].tolist())) for k, entry in enumerate(table.classes))
    free = tuple(palette[VOID].tolist())
    colours = () if free in [entry.colour for entry in classes] else (free,)
    forms: Counter[str] = Counter()
    pixels = np.zeros(256, np.int64)
    with make_folder(target) as work:
        for picture, place, label, form in samples:
            mask, copy = work / "masks" / f"{place}.png", work / "images" / place.with_name(picture.name)
            if mask.exists():
                raise ValueError(f"{picture}: a second picture called {place}; expected different names")
            for path in (mask, copy):
                path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, copy)
            image = Image.fromarray(label)
            image.putpalette(palette.tobytes())
            image.save(mask, optimize=True)
            forms[form] += 1
            pixels += np.bincount(label.ravel(), minlength=256)
        if not forms:
            raise ValueError(f"{source}: no picture with a mask; expected at least one")
        written = ClassTable(classes, (VOID,), colours, table.split, table.pixel_range, table.in_channels)
        written.save(work / "classes.toml")
        if (source / "lists").is_dir():
            shutil.copytree(source / "lists", work / "lists")
    print("read: " + "; ".join(f"{count} {form}" for form, count in forms.items()))
    for k, entry in enumerate(table.classes):
        old = [str(each) for each in (entry.value, entry.colour) if each is not None]
        print(f"{k:5} {entry.name:24} {pixels[k] / pixels.sum():7.2%}" + (f"  was {' '.join(old)}" if old else ""))
    print(f"{VOID:5} {'void':24} {pixels[VOID] / pixels.sum():7.2%}")
    print(f"{target}: written; `python -m seglib check-folder {quote(str(target))}` checks it")


def _read_folder(source: Path) -> tuple[ClassTable, Iterator[Sample]]:
    path = source / "classes.toml"
    if not (source / "masks").is_dir():
        raise FileNotFoundError(f"{source}: expected images and masks, labelme files, or a COCO file; found none")
    table = ClassTable.load(path) if path.exists() else make_table(list_masks(source))
    images = sorted({image for found in find_splits(source, table.split).values() for image in found})
    pairs = pair_masks(source, images)

    def samples() -> Iterator[Sample]:
        for image, mask in pairs:
            stored = read_stored(mask)
            place = image.parent.relative_to(source / "images") / image.stem
            yield image, place, indices_of(mask, stored, table), f"masks, {stored.form}"

    return table, samples()


def _keys(path: Path) -> list[str]:
    """Returns the names that a JSON file begins with; none if it is something else."""
    try:
        return [*msgspec.json.decode(read_text(path), type=dict[str, msgspec.Raw])]
    except ValueError:
        return []


def _read_json(path: Path, kind: type[Content]) -> Content:
    try:
        return msgspec.json.decode(read_text(path), type=kind)
    except msgspec.MsgspecError as error:  # says where
        keys, what = _keys(path), "COCO's" if kind is _Coco else "labelme's"
        if kind is _Labelme and {"images", "annotations"} <= {*keys}:
            raise ValueError(
                f"{path}: COCO's JSON in a folder; expected labelme's: name the file to convert it"
            ) from None
        raise ValueError(f"{path}: not {what} JSON, it holds {some(keys) or 'no object'}: {error}") from error


def _index_names(path: Path, names: Iterable[str]) -> tuple[ClassTable, dict[str, int]]:
    """Makes a table with background first, and the index of each name; `__ignore__` is void."""
    classes, index = ["background"], {}
    for name in dict.fromkeys(names):
        index[name] = {"background": 0, "_background_": 0, "__ignore__": VOID}.get(name.lower(), len(classes))
        classes += [name] if index[name] == len(classes) else []
    if len(classes) > VOID:
        raise ValueError(f"{path}: {len(classes) - 1} classes beside background; expected at most {VOID - 1}")
    return ClassTable(classes=tuple(ClassEntry(name) for name in classes)), index


def _find_picture(path: Path, name: str, size: tuple[int, int], images: Path | None) -> Path:
    """Finds the picture that the annotations in `path` were drawn on; `size` is its width and height."""
    places = [images] if images else [path.parent, path.parent / "images", path.parent.parent / "images"]
    picture = next((place / name for place in places if (place / name).exists()), None)
    if picture is None:
        raise FileNotFoundError(f"{path}: {name} is not in {some([*map(str, places)])}; --images names the folder")
    # Arrays and TIFFs may have any number of channels: not for Pillow.
    if picture.suffix.lower() not in (".npy", ".tif", ".tiff") and (found := open_image(picture).size) != size:
        expected = f"{picture.name} is {found[0]} x {found[1]} as it is shown (EXIF may turn it)"
        raise ValueError(f"{path}: drawn on {size[0]} x {size[1]}; {expected}; expected equal sizes")
    return picture


def _read_coco(path: Path, images: Path | None) -> tuple[ClassTable, Iterator[Sample]]:
    """Reads a file of object annotations; small objects lie over large ones."""
    from pycocotools import mask as coco  # here: only COCO's files need it

    content = _read_json(path, _Coco)
    for what, entries in (("images", content.images), ("categories", content.categories)):
        counts = Counter(entry.id for entry in entries)
        if twice := [str(key) for key, number in counts.items() if number > 1]:
            raise ValueError(f"{path}: {what} have the id {some(twice)} more than once; expected one of each")
    ordered = sorted(content.categories, key=lambda each: (isinstance(each.id, str), each.id))
    categories = {entry.id: entry.name for entry in ordered}
    table, index = _index_names(path, categories.values())
    annotations: dict[Key, list[_Annotation]] = {image.id: [] for image in content.images}
    for entry in content.annotations:
        if entry.image_id not in annotations:
            raise ValueError(f"{path}: annotation {entry.id} is of image {entry.image_id}, which images lacks")
        annotations[entry.image_id].append(entry)

    def decode(entry: _Annotation, name: str, size: tuple[int, int]) -> np.ndarray:
        what, shape = f"{path}: annotation {entry.id} of {name}", entry.segmentation
        if not shape:
            raise ValueError(f"{what} has no segmentation, only a box")
        if entry.category_id not in categories:
            raise ValueError(f"{what} has no known category, found {entry.category_id}")
        if isinstance(shape, list) and (odd := next((len(polygon) for polygon in shape if len(polygon) % 2), 0)):
            raise ValueError(f"{what} has a polygon of {odd} numbers; expected pairs, x and y of each corner")
        if isinstance(shape, _Runs) and shape.size != size:
            raise ValueError(f"{what} is of height and width {shape.size}; expected {size}, the image's")
        try:
            runs = coco.frPyObjects(_read_runs(shape) if isinstance(shape, _Runs) else shape, *size)
            return coco.decode(coco.merge(runs) if isinstance(runs, list) else runs) > 0  # (H, W)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{what} cannot be decoded ({error}); expected polygons or COCO's run lengths") from error

    def samples() -> Iterator[Sample]:
        for image in content.images:
            size = image.height, image.width
            picture = _find_picture(path, image.file_name, size[::-1], images)
            label, entries = np.zeros(size, np.uint8), annotations[image.id]
            masks = [decode(entry, image.file_name, size) for entry in entries]
            for place in sorted(range(len(masks)), key=lambda place: -masks[place].sum()):
                label[masks[place]] = index[categories[entries[place].category_id]]
            yield picture, Path(picture.stem), label, "COCO pictures" if masks else "COCO pictures without annotations"

    return table, samples()


def _read_runs(runs: _Runs) -> dict[str, Any]:
    """Returns run lengths as pycocotools takes them, uncompressed; raises ValueError unless they fill their picture.

    pycocotools does not look: of runs that are too short it returns pixels that nothing has written.
    """
    counts = runs.counts if isinstance(runs.counts, list) else _decompress(runs.counts)
    if sum(counts) != (expected := runs.size[0] * runs.size[1]):
        raise ValueError(f"runs of {sum(counts)} pixels in a picture of {expected}")
    return {"counts": counts, "size": [*runs.size]}


def _decompress(text: str) -> list[int]:
    """Reads COCO's compressed run lengths: numbers of 6-bit characters, the low ones first; the sixth bit: more follow.

    From the fourth on, a number is the difference to the run before the last.
    """
    counts, number, bits = [], 0, 0
    for character in text:
        if not 0 <= (code := ord(character) - 48) < 64:
            raise ValueError(f"the character {character!r}")
        number, bits = number | (code & 31) << bits, bits + 5
        if not code & 32:
            number -= (code >> 4) << bits  # the highest bit is the sign
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number, bits = 0, 0
    if bits:
        raise ValueError("cut off")
    return counts


def _read_labelme(files: list[Path], images: Path | None) -> tuple[ClassTable, Iterator[Sample]]:
    """Reads labelme's files; a later shape lies over an earlier one."""
    contents = [_read_json(path, _Labelme) for path in files]
    names = sorted({shape.label for content in contents for shape in content.shapes})
    table, index = _index_names(files[0].parent, names)

    def samples() -> Iterator[Sample]:
        for path, content in zip(files, contents, strict=True):
            size = content.imageWidth, content.imageHeight
            picture = _find_picture(path, content.imagePath.replace("\\", "/"), size, images)
            label = Image.new("L", size)
            for shape in content.shapes:
                _draw(path, ImageDraw.Draw(label), shape, index[shape.label])
            yield picture, Path(path.stem), np.array(label), "labelme files"

    return table, samples()


def _draw(path: Path, draw: ImageDraw.ImageDraw, shape: _Shape, k: int) -> None:
    points = shape.points
    if len(points) > 1:
        (left, right), (top, bottom) = (sorted(each) for each in zip(*points[:2], strict=True))
    match shape.shape_type, len(points):
        case "polygon", number if number > 2:
            draw.polygon(points, fill=k, outline=k)
        case "rectangle", 2:
            draw.rectangle((left, top, right, bottom), fill=k, outline=k)
        case "circle", 2:
            (x, y), radius = points[0], np.hypot(*np.subtract(*points))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=k, outline=k)
        case "mask", 2 if shape.mask:
            try:
                mask = np.array(Image.open(BytesIO(b64decode(shape.mask)))) > 0
            except (OSError, ValueError, SyntaxError) as error:
                raise ValueError(f"{path}: the mask of {shape.label} is no PNG in base64 ({error})") from error
            left, top, right, bottom = (floor(side) for side in (left, top, right, bottom))
            if mask.shape != (sides := (bottom - top + 1, right - left + 1)):
                found = f"the mask of {shape.label} is {mask.shape}"
                raise ValueError(f"{path}: {found}; expected {sides}, of its two points")
            draw.bitmap((left, top), Image.fromarray(mask), fill=k)
        case kind, number:
            found = f"{shape.label} is a {kind} of {number} points"
            expected = "polygons, rectangles, circles and masks, which have an area"
            raise ValueError(f"{path}: {found}; expected {expected}")
