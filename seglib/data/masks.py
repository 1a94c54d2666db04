"""Masks in any form, read to class indices through a table of classes: a folder's classes.toml."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from seglib.data.base import VOID
from seglib.data.images import PixelRange, open_mask, palette_of
from seglib.data.voc import voc_palette
from seglib.files import read_text, some, write_atomic

Byte = Annotated[int, Meta(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
Value = Annotated[int, Meta(ge=0, le=65535)]
VOC_COLOURS = [tuple(colour) for colour in voc_palette().tolist()]
NO_COLOUR = (-1, -1, -1)  # of a grey of more than 8 bits


class ClassEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A class: what its pixels have in a mask, a value, a colour or both. Without either, the value is its place."""

    name: str
    value: Value | None = None
    colour: Colour | None = None


class SplitRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How pictures that lie in one folder, without lists, are divided into train and val."""

    share: Annotated[float, Meta(gt=0, lt=1)] = 0.2  # of the pictures, for val
    seed: Annotated[int, Meta(ge=0)] = 0
    group: Literal["prefix", "none"] = "prefix"  # names alike up to the last - or _ and number stay on one side


class ClassTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of classes.toml.

    Args:
        classes: at most 255; the place in the list is the class index.
        void_values: of pixels that are neither trained on nor scored; None is 255, unless a class has it.
        void_colours: colours of such pixels.
        split: the rule for pictures without lists.
        pixel_range: the pixel values that become 0 and 255, for pictures of more than 8 bits a channel.
        in_channels: 1 for grey pictures, 3 for RGB, or as many as the arrays have.
    """

    classes: Annotated[tuple[ClassEntry, ...], Meta(min_length=1, max_length=VOID)]
    void_values: tuple[Value, ...] | None = None
    void_colours: tuple[Colour, ...] = ()
    split: SplitRule = SplitRule()
    pixel_range: PixelRange | None = None
    in_channels: Annotated[int, Meta(ge=1)] = 3

    def __post_init__(self) -> None:
        values = [value for value in self.values if value is not None]
        for what, given in (
            ("name", [entry.name for entry in self.classes]),
            ("value", [*values, *(self.void_values or ())]),
            ("colour", [*filter(None, (entry.colour for entry in self.classes)), *self.void_colours]),
        ):
            if repeated := [each for each in given if given.count(each) > 1]:
                raise ValueError(f"classes and void: {what} {repeated[0]!r} is there twice; expected different ones")
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            raise ValueError(f"pixel_range = {list(self.pixel_range)}; expected two values, the lower first")

    @classmethod
    def load(cls, path: Path) -> "ClassTable":
        """Reads classes.toml. Raises FileNotFoundError; ValueError if it holds something else; both name it."""
        if not path.exists():
            cure = f"`python -m seglib check-folder {path.parent} --write` makes one of what the masks hold"
            raise FileNotFoundError(f"{path}: no such file; {cure}")
        text = read_text(path)
        try:
            return msgspec.convert(tomllib.loads(text), cls)
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Writes the table as TOML, atomically."""
        rule = self.split
        lines = [
            "# The classes, in the order of their indices: a name, and the value or the colour in the masks, or both.",
            f"void_values = {sorted(self.void)}  # of pixels that nobody labelled",
            f"void_colours = {[list(colour) for colour in self.void_colours]}",
            f"in_channels = {self.in_channels}",
            *([f"pixel_range = {list(self.pixel_range)}"] if self.pixel_range else []),
            "\n[split]  # where there are no folders train and val, and no lists",
            f'share = {rule.share}\nseed = {rule.seed}\ngroup = "{rule.group}"',
        ]
        for entry in self.classes:
            fields = msgspec.to_builtins(entry).items()
            lines += ["\n[[classes]]", *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields)]
        write_atomic(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))

    @property
    def values(self) -> list[int | None]:
        """The value of each class in the mask; None where there is only a colour."""
        return [k if (c.value, c.colour) == (None, None) else c.value for k, c in enumerate(self.classes)]

    @property
    def class_of_value(self) -> dict[int, int]:
        """Class indices by the value in the mask; without the classes that only have a colour."""
        return {value: k for k, value in enumerate(self.values) if value is not None}

    @property
    def class_of_colour(self) -> dict[Colour, int]:
        """Class indices by the colour in the mask; without the classes that have none."""
        return {entry.colour: k for k, entry in enumerate(self.classes) if entry.colour is not None}

    @property
    def void(self) -> set[int]:
        """Values of void."""
        return {VOID} - set(self.class_of_value) if self.void_values is None else set(self.void_values)

    @property
    def palette(self) -> np.ndarray:
        """(256, 3) uint8: the classes' colours, VOC's where none is given, and void's at 255."""
        palette = voc_palette()
        given = {*self.class_of_colour, *self.void_colours}
        spare = iter([colour for colour in VOC_COLOURS[len(self.classes) : VOID] if colour not in given])
        for k, entry in enumerate(self.classes):
            own = VOC_COLOURS[k] if VOC_COLOURS[k] not in given else next(spare, VOC_COLOURS[k])
            palette[k] = own if entry.colour is None else entry.colour
        palette[len(self.classes) : VOID] = 0
        palette[VOID] = self.void_colours[0] if self.void_colours else palette[VOID]
        return palette

    @property
    def digest(self) -> str:
        """A hash of what decides on how a file is read."""
        content = (self.classes, self.void_values, self.void_colours, self.pixel_range, self.in_channels)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


class StoredMask(NamedTuple):
    """A mask as its file stores it."""

    form: str  # "1-bit grey", "8-bit grey", "16-bit grey", "palette" or "colours"
    codes: np.ndarray  # (H, W): values, indices of the palette, or 65536 R + 256 G + B
    used: np.ndarray  # the codes that occur, in ascending order
    values: list[int]  # of the codes in use: the grey that a viewer shows, or -1 for a colour
    colours: list[Colour]  # of the codes in use


def read_stored(path: Path) -> StoredMask:
    """Reads a mask without knowledge of classes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or does not keep the values drawn: see `open_mask`; pixels that are partly
            transparent, floating point, 16 bits in each of several channels.
    """
    image = open_mask(path)
    bands = image.getbands()
    if bands[-1] in ("A", "a"):
        if transparent := int((np.array(image)[..., -1] != 255).sum()):
            raise ValueError(f"{path}: {transparent} pixels of the mask are transparent; expected none: fill them")
        image = image.convert("L" if len(bands) == 2 and bands[0] == "L" else "RGB")
    deep = image.mode.startswith("I")
    if not (deep or image.mode in ("1", "L", "P", "RGB")) or (not deep and ";16" in image.info["stored"]):
        expected = "grey, a palette, or RGB of 8 bits"
        raise ValueError(f"{path}: a mask of mode {image.mode} {image.info['stored']}; expected {expected}")
    codes = np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode == "RGB":
        codes = codes.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    used = np.unique(codes)
    if image.mode == "RGB":
        form, shown = "colours", np.stack([used >> 16, used >> 8 & 255, used & 255], axis=1)
    elif image.mode == "P":
        form, shown = "palette", palette_of(image)[used]
    else:
        form = "16-bit grey" if deep else f"{8 if image.mode == 'L' else 1}-bit grey"
        shown = np.repeat(used[:, None], 3, axis=1)
    is_grey = (shown == shown[:, :1]).all(axis=1)
    values = np.where(is_grey, shown[:, 0], -1).tolist()
    colours = [NO_COLOUR] * len(used) if deep else [tuple(colour) for colour in shown.tolist()]
    return StoredMask(form, codes, used, values, colours)


def read_mask(path: Path, table: ClassTable) -> np.ndarray:
    """Reads (H, W) uint8 class indices, 255 = void, of a mask in any form.

    Greys are values of the table. Colours, of a palette too, are its colours, or values where red, green and blue are
    equal; a palette's indices count only where their colours agree with the table.

    Raises as `read_stored` does; ValueError if a value or colour has no class, or could be read in two ways.
    """
    return indices_of(path, read_stored(path), table)


def indices_of(path: Path, mask: StoredMask, table: ClassTable) -> np.ndarray:
    """Returns what `read_mask` does of a mask that was read; the path is for errors."""
    indices = _classes_of(path, mask, table)
    if mask.codes.dtype == np.uint8:
        lookup = np.zeros(256, np.uint8)
        lookup[mask.used] = indices
        return lookup[mask.codes]
    return np.array(indices, np.uint8)[np.searchsorted(mask.used, mask.codes)]


def _classes_of(path: Path, mask: StoredMask, table: ClassTable) -> list[int]:
    """Returns the class, or void, of each code in use."""
    values, of_value, of_colour = mask.values, table.class_of_value, table.class_of_colour
    if mask.form == "1-bit grey" and values[-1] == 255 and 1 in {*of_value, *table.void}:
        if 255 in of_value or 255 in (table.void_values or ()):
            cure = "classes.toml has both; save it with 8 bits"
            raise ValueError(f"{path}: white of a 1-bit mask may be the value 1 or 255, and {cure}")
        values = [min(value, 1) for value in values]
    pairs = list(zip(values, mask.colours, strict=True))
    void = [VOID if v in table.void or c in table.void_colours else None for v, c in pairs]
    by_value = [of_value.get(v, other) for (v, _), other in zip(pairs, void, strict=True)]
    by_colour = [of_colour.get(c, other) for (_, c), other in zip(pairs, void, strict=True)]
    readings = [by_value, by_colour]
    if mask.form == "palette":
        if len(set(mask.colours)) < len(mask.colours):
            raise ValueError(f"{path}: its palette has one colour for several indices in use; save it as 8-bit grey")
        by_index = [_class_of_index(index, c, table) for index, c in zip(mask.used.tolist(), mask.colours, strict=True)]
        readings = [by_value if None in by_index else by_index, by_colour]
    if not of_value:  # a table of colours: greys are colours too, and white is the void of no value
        readings = [by_colour]
    possible = [reading for reading in readings if None not in reading]
    if not possible:
        raise ValueError(f"{path}: {_describe_unknown(mask, by_value, by_colour, table)}")
    if possible[-1] != possible[0] and not mask.form.endswith("grey"):
        found = (
            f"the colours {some([str(colour) for colour in mask.colours])} are some classes' colours, others' values"
        )
        cure = "delete the values in classes.toml if colours are meant, or its colours if values are"
        raise ValueError(f"{path}: {found}; {cure}")
    return possible[0]


def _class_of_index(index: int, colour: Colour, table: ClassTable) -> int | None:
    """Returns the class whose value is a palette's index, if its colour shows that nothing has renumbered it."""
    k = table.class_of_value.get(index)
    if k is None:
        return VOID if index in table.void and colour not in table.class_of_colour else None
    usual = colour in ((index,) * 3, VOC_COLOURS[index])
    return k if usual or table.class_of_colour.get(colour) == k else None


def _describe_unknown(
    mask: StoredMask, by_value: list[int | None], by_colour: list[int | None], table: ClassTable
) -> str:
    as_values = by_value.count(None) <= by_colour.count(None) and -1 not in mask.values
    keys, reading = (mask.values, by_value) if as_values else (mask.colours, by_colour)
    pixels = np.unique(mask.codes, return_counts=True)[1]
    unknown = sorted(
        ((int(n), key) for n, key, k in zip(pixels, keys, reading, strict=True) if k is None), reverse=True
    )
    found = some([f"{key} ({n} pixels)" for n, key in unknown], limit=4)
    known = [*table.class_of_value, *table.void] if as_values else [*table.class_of_colour, *table.void_colours]
    smooth = "; so many are smoothed edges or a lossy copy: export it again without" if len(unknown) > 20 else ""
    what = "values" if as_values else "colours"
    said = what if what == mask.form else f"{mask.form}, {what}"
    return f"{said} without a class: {found}; classes.toml has {some([str(key) for key in known])}{smooth}"
