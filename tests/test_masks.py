"""Masks of every form that people have, against Pillow's own view of their pixels."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from refusal import refused
from trees import save

from seglib.data import voc_palette
from seglib.data.masks import ClassEntry, ClassTable, SplitRule, read_mask
from seglib.files import PROJECT

COLOURS = ((0, 0, 0), (220, 20, 60), (60, 160, 60))
LABEL = np.random.default_rng(1).integers(0, 3, (20, 30), dtype=np.uint8)
LABEL[0] = 255
LUT = np.full((256, 3), 255, np.uint8)  # void is white
LUT[:3] = COLOURS
DRAWN = LUT[LABEL]  # what a viewer shows
NAMES = ("ground", "red", "green")
BY_COLOUR = ClassTable(
    classes=tuple(ClassEntry(name, colour=colour) for name, colour in zip(NAMES, COLOURS, strict=True)),
    void_colours=((255, 255, 255),),
)
BY_VALUE = ClassTable(classes=tuple(ClassEntry(name) for name in NAMES))
BOTH = ClassTable(
    classes=tuple(ClassEntry(name, k, colour) for k, (name, colour) in enumerate(zip(NAMES, COLOURS, strict=True))),
    void_values=(255,),
    void_colours=((255, 255, 255),),
)


def binary(*values: int, void: tuple[int, ...] | None = None) -> ClassTable:
    return ClassTable(classes=tuple(ClassEntry(f"c{value}", value) for value in values), void_values=void)


def as_palette(label: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(label)
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


def renumbered(label: np.ndarray, palette: np.ndarray, order: list[int]) -> Image.Image:
    """The same picture with another order of colours and only as many as are used, as optimisers write it."""
    image = as_palette(label, palette).remap_palette(order)
    assert np.array_equal(image.convert("RGB"), np.asarray(palette, np.uint8)[label])
    return image


VOC = voc_palette()
GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


@pytest.mark.parametrize(
    ("image", "table"),
    [
        (Image.fromarray(LABEL), BY_VALUE),
        (Image.fromarray(LABEL), BOTH),
        (Image.fromarray(LABEL.astype(np.uint16)), BY_VALUE),
        (Image.fromarray(LABEL.astype(np.int32)), BY_VALUE),
        (Image.fromarray(GREYS[LABEL]), BY_VALUE),
        (Image.fromarray(np.dstack([GREYS[LABEL], LABEL * 0 + 255])), BY_VALUE),
        (Image.fromarray(DRAWN), BY_COLOUR),
        (Image.fromarray(DRAWN), BOTH),
        (Image.fromarray(np.dstack([DRAWN, LABEL * 0 + 255])), BY_COLOUR),
        (as_palette(LABEL, LUT), BOTH),
        (as_palette(LABEL, LUT), BY_COLOUR),
        (as_palette(LABEL, VOC), BY_VALUE),
        (as_palette(LABEL, GREYS), BY_VALUE),
        (renumbered(LABEL, LUT, [255, 2, 0, 1]), BOTH),
        (renumbered(LABEL, LUT, [255, 2, 0, 1]), BY_COLOUR),
        (renumbered(LABEL, GREYS, [2, 0, 255, 1]), BY_VALUE),
        (Image.fromarray(DRAWN).convert("P", palette=Image.Palette.ADAPTIVE, colors=4), BY_COLOUR),
        (Image.fromarray(DRAWN).quantize(4), BOTH),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
@pytest.mark.parametrize("suffix", ["png", "TIF"])
def test_every_form_is_read_to_the_same_classes(
    tmp_path: Path, image: Image.Image, table: ClassTable, suffix: str
) -> None:
    if suffix == "png" and image.mode == "I":
        image = image.convert("I;16")  # PNG has no 32 bits
    image.save(tmp_path / f"a.{suffix}")
    found = read_mask(tmp_path / f"a.{suffix}", table)
    assert np.array_equal(found, LABEL) and found.dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "stored"), [((0, 15), [0, 15]), ((0, 15, 255), [0, 15, 255]), ((0, 7, 14), [14, 0, 7])]
)
def test_vocs_colours_after_a_lossless_optimiser(tmp_path: Path, values: tuple[int, ...], stored: list[int]) -> None:
    """The index of a colour then differs from file to file."""
    classes = tuple(ClassEntry(f"c{k}", k, tuple(VOC[k].tolist())) for k in range(21))
    table = ClassTable(classes=classes, void_values=(255,), void_colours=(tuple(VOC[255].tolist()),))
    truth = np.array(values, np.uint8)[LABEL % len(values)]
    renumbered(truth, VOC, stored).save(tmp_path / "a.png", optimize=True)
    assert np.array_equal(read_mask(tmp_path / "a.png", table), truth)
    unknown = ClassTable(classes=tuple(ClassEntry(f"c{k}") for k in range(21)))
    refused(r"a\.png: palette, colours without a class", read_mask, tmp_path / "a.png", unknown)


def test_binary_masks(tmp_path: Path) -> None:
    truth = (LABEL == 1).astype(np.uint8)
    grey, bit = save(tmp_path / "grey.png", truth * 255), save(tmp_path / "bit.png", truth == 1)
    assert Image.open(bit).mode == "1"
    for path, table in (
        (grey, binary(0, 255)),
        (bit, binary(0, 255)),
        (bit, binary(0, 1)),
        (bit, binary(0, 1, void=())),
    ):
        assert np.array_equal(read_mask(path, table), truth)
    assert np.array_equal(read_mask(grey, binary(0, 1)), truth * 255), "void, as the table says"
    refused("white of a 1-bit mask may be the value 1 or 255", read_mask, bit, binary(0, 1, void=(255,)))
    white = ClassTable(classes=(ClassEntry("ground", colour=(0, 0, 0)), ClassEntry("object", colour=(255, 255, 255))))
    for path in (grey, bit):
        assert np.array_equal(read_mask(path, white), truth)
    for mode in ("L", "RGB"):  # of white alone
        Image.new(mode, (4, 3), "white").save(tmp_path / "full.png")
        assert (read_mask(tmp_path / "full.png", white) == 1).all(), "the class, not void"


def test_other_voids_and_other_firsts(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.where(LABEL == 255, 0, LABEL + 1).astype(np.uint8))
    one_based = ClassTable(classes=tuple(ClassEntry(name, k + 1) for k, name in enumerate(NAMES)), void_values=(0,))
    assert np.array_equal(read_mask(path, one_based), LABEL)
    far = ClassTable(classes=(ClassEntry("a", 1000), ClassEntry("b", 40000)), void_values=(7,))
    deep = np.array([1000, 40000, 7], np.uint16)[LABEL % 3]
    assert np.array_equal(read_mask(save(tmp_path / "b.png", deep), far), np.array([0, 1, 255])[LABEL % 3])


def rgba_with_a_hole() -> np.ndarray:
    alpha = np.full(LABEL.shape, 255, np.uint8)
    alpha[3, :7] = 0
    return np.dstack([DRAWN, alpha])


SMOOTH = np.asarray(Image.fromarray(DRAWN).resize((60, 40), Image.Resampling.BILINEAR))
SAME = np.repeat(np.array([[0, 0, 0]], np.uint8), 256, axis=0)
# Black is a class of value 2, and 0 is the value of another.
CROSSED = ClassTable(classes=(ClassEntry("a", 0, (9, 9, 9)), ClassEntry("b", 2, (0, 0, 0))))


def test_what_may_mean_something_else_is_refused(tmp_path: Path) -> None:
    for image, table, message in (
        (Image.fromarray(np.where(LABEL == 1, 9, LABEL)), BY_VALUE, rf"8-bit grey, .*: 9 \({(LABEL == 1).sum()} pix"),
        (Image.fromarray(DRAWN + np.uint8(1)), BY_COLOUR, r"colours .*: \(\d+, \d+, \d+\) \(\d+ pixels\).*toml has"),
        (Image.fromarray(SMOOTH), BY_COLOUR, r"and \d\d+ more;.*smoothed edges"),
        (Image.fromarray(rgba_with_a_hole()), BY_COLOUR, "7 pixels of the mask are transparent"),
        (Image.fromarray(LABEL.astype(np.float32)), BY_VALUE, "a mask of mode F"),
        (as_palette(LABEL, SAME), BOTH, "one colour for several indices"),
        (as_palette(LABEL, LUT), BY_VALUE, r"palette, colours without a class: \(\d+"),
        (Image.fromarray(DRAWN * 0), CROSSED, "some classes' colours, others' values; delete"),
    ):
        image.save(tmp_path / "a.tif")
        refused(rf"a\.tif: .*{message}", read_mask, tmp_path / "a.tif", table)
    refused(r"a\.JPG: a mask in JPEG format", read_mask, save(tmp_path / "a.JPG", LABEL, quality=95), BY_VALUE)
    refused("a grey mask of 4 bits", read_mask, save(tmp_path / "a.png", LABEL % 3 * 17, bits=4), BY_VALUE)


def test_black_of_a_class_that_is_not_the_first(tmp_path: Path) -> None:
    """A grey 0 is a value; a palette whose index and colour agree is no riddle."""
    assert (read_mask(save(tmp_path / "grey.png", LABEL * 0), CROSSED) == 0).all()
    palette = np.zeros((256, 3), np.uint8)
    palette[0] = 9
    as_palette(LABEL * 0 + 2, palette).save(tmp_path / "p.png")
    assert (read_mask(tmp_path / "p.png", CROSSED) == 1).all()


def test_wrong_tables_are_refused(tmp_path: Path) -> None:
    for text, message in (
        ("", "missing required field `classes`"),
        ("classes = []", "length >= 1"),
        ('[[classes]]\nname = "a"\ncolor = [1, 2, 3]', "unknown field `color`"),
        ('[[classes]]\nname = "a"\ncolour = [1, 2, 300]', "<= 255"),
        ('[[classes]]\nname = "a"\n[[classes]]\nname = "a"', "name 'a' is there twice"),
        ('[[classes]]\nname = "a"\n[[classes]]\nname = "b"\nvalue = 0', "value 0 is there twice"),
        ('void_values = [0]\n[[classes]]\nname = "a"', "value 0 is there twice"),
        ('void_colours = [[1, 2, 3]]\n[[classes]]\nname = "a"\ncolour = [1, 2, 3]', r"colour \(1, 2, 3\) is there twi"),
        ('pixel_range = [9, 9]\n[[classes]]\nname = "a"', "pixel_range = .*the lower first"),
        ("[[classes]\n", ""),
    ):
        (tmp_path / "classes.toml").write_text(text)
        refused(rf"classes\.toml: .*{message}", ClassTable.load, tmp_path / "classes.toml")


def test_a_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    for table in [BY_COLOUR, BY_VALUE, BOTH, CROSSED, binary(0, 255)]:
        table = msgspec.structs.replace(table, pixel_range=(0.5, 4000), in_channels=1)
        path = tmp_path / "classes.toml"
        table.save(path)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        found = ClassTable.load(path)
        assert (found.classes, found.split, found.pixel_range) == (table.classes, table.split, table.pixel_range)
        assert (found.void, found.void_colours) == (table.void, table.void_colours)
        assert found.palette.shape == (256, 3) and np.array_equal(found.palette, table.palette)


def test_no_two_classes_share_a_colour() -> None:
    """A class without a colour gets one of VOC's, but none that another class or void has."""
    first, fourth, void = (tuple(VOC[k].tolist()) for k in (1, 4, 2))
    entries = (ClassEntry("a", 5, first), ClassEntry("b", 6), ClassEntry("c", 7), ClassEntry("d", 8, fourth))
    palette = ClassTable(classes=entries, void_colours=(void,)).palette
    used = [tuple(colour) for colour in palette[[0, 3, 255, 1, 2]].tolist()]
    assert used[:3] == [first, fourth, void] and len({*used}) == 5


def test_the_table_that_data_readme_shows_is_one(tmp_path: Path) -> None:
    text = (PROJECT / "data" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "classes.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    table = ClassTable.load(tmp_path / "classes.toml")
    assert [(entry.name, entry.value) for entry in table.classes] == [("ground", 0), ("object", 255)]
    assert table.split == SplitRule() and table.void == set()
