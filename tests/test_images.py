"""Reading image files, and the errors that every data set passes on."""

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from imagecodecs import png_encode, tiff_encode
from PIL import Image, ImageOps
from refusal import refused
from trees import save

from seglib.data import voc_palette
from seglib.data.images import check_files, open_image, read_channels, read_indices, read_list, read_rgb
from seglib.data.masks import ClassTable
from seglib.recipe import Recipe

NOISE = np.random.default_rng(0).integers(0, 21, (12, 17, 3), dtype=np.uint8)
REVERSED = np.repeat(np.arange(255, -1, -1, dtype=np.uint8)[:, None], 3, axis=1)  # a palette


def test_colours_are_read_as_rgb_of_any_mode(tmp_path: Path) -> None:
    for name, pixels, expected in (
        ("rgb.png", NOISE, NOISE),
        ("grey.png", NOISE[..., 0], NOISE[..., :1]),
        ("alpha.png", NOISE[..., [0, 1, 2, 0]], NOISE),
        ("photograph.jpg", np.full((12, 17, 3), (30, 80, 200), np.uint8), (30, 80, 200)),
    ):
        found = read_rgb(save(tmp_path / name, pixels))
        assert found.shape == (12, 17, 3) and found.dtype == np.uint8 and found.flags.writeable
        assert np.abs(found.astype(int) - expected).max() <= (4 if name.endswith("jpg") else 0), "RGB, not BGR"


def test_indices_are_read_and_not_colours(tmp_path: Path) -> None:
    for palette in (None, REVERSED):
        found = read_indices(save(tmp_path / "mask.png", NOISE[..., 0], palette))
        assert np.array_equal(found, NOISE[..., 0]) and found.dtype == np.uint8 and found.flags.writeable
    for mode in ("RGB", "RGBA", "I;16", "1", "LA"):
        Image.new(mode, (17, 12)).save(tmp_path / "mask.png")
        refused(rf"mask\.png: an image of mode {mode}; expected class indices", read_indices, tmp_path / "mask.png")


@pytest.mark.parametrize("read", [open_image, read_rgb, read_indices])
def test_missing_and_damaged_files_are_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    refused(r"absent\.png: no such file$", read, tmp_path / "absent.png", error=FileNotFoundError)
    for name, pixels in (("a.png", NOISE[..., 0]), ("a.jpg", NOISE)):
        whole = save(tmp_path / name, pixels).read_bytes()
        for content in (*(whole[:size] for size in range(0, len(whole) - 20, 7)), b"a text", bytes(300)):
            (tmp_path / name).write_bytes(content)
            refused(rf"{name}: not an image that can be read; damaged or cut off\?", read, tmp_path / name)
        for place in range(8, len(whole), 3):  # a flipped bit: Pillow raises many types, or reads other pixels
            (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
            with suppress(ValueError):
                read(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_lie_as_viewers_show_them(tmp_path: Path, orientation: int) -> None:
    upright, exif = Image.fromarray(np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)), Image.Exif()
    exif[0x0112] = orientation
    upright.save(tmp_path / "a.png", exif=exif)
    upright.convert("L").save(tmp_path / "mask.png", exif=exif)
    shown = ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
    assert np.array_equal(read_rgb(tmp_path / "a.png"), shown)
    assert np.array_equal(read_indices(tmp_path / "mask.png"), shown.convert("L"))
    assert (read_rgb(tmp_path / "a.png").shape == (16, 12, 3)) == (orientation > 4)


RAMP = np.linspace(500, 60000, 12 * 17).reshape(12, 17).astype(np.uint16)


def test_more_than_8_bits_are_refused_or_scaled(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    Image.fromarray(RAMP).save(tmp_path / "grey.tif")
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "rgb.png").write_bytes(png_encode(np.stack([RAMP] * 3, axis=2)))
    (tmp_path / "rgb.tif").write_bytes(tiff_encode(np.stack([RAMP] * 3, axis=2), photometric="rgb"))
    np.save(tmp_path / "array.npy", RAMP)
    scaled = np.round((RAMP / 1.0 - 400) / (60000 - 400) * 255)
    for path in tmp_path.iterdir():
        refused(rf"{path.name}: \d+ bits a channel, values 500(\.0)? to 60000(\.0)?; expected 8", read_rgb, path)
        refused("values 500.* to 60000.*; expected 500 to 59999, pixel_range", read_rgb, path, (500, 59999))
        found = read_rgb(path, (400, 60000))
        assert found.dtype == np.uint8 and (found == scaled[..., None]).all(), path
    save(tmp_path / "b.png", NOISE)
    refused(r"b\.png: 8 bits a channel, .*expected more bits", read_rgb, tmp_path / "b.png", (0, 4000))


def test_a_deep_picture_that_exif_turns_is_refused(tmp_path: Path) -> None:
    """Upside down too, where its size tells nothing."""
    exif, path = Image.Exif(), tmp_path / "turned.png"
    for orientation in (6, 3, 1):
        exif[0x0112] = orientation
        tag, whole = b"eXIf" + exif.tobytes()[6:], png_encode(np.stack([RAMP] * 3, axis=2))
        chunk = struct.pack(">I", len(tag) - 4) + tag + struct.pack(">I", zlib.crc32(tag))
        path.write_bytes(whole[:33] + chunk + whole[33:])  # after the header
        if orientation > 1:
            refused(r"turned\.png: EXIF turns a picture of 16 bits", read_rgb, path, (400, 60000))
    assert read_rgb(path, (400, 60000)).shape == (12, 17, 3)


def test_several_pages_are_refused_and_previews_are_not(tmp_path: Path) -> None:
    first, second = Image.fromarray(NOISE), Image.fromarray(NOISE[::-1])
    for name in ("pages.tif", "film.gif", "film.png"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        refused(f"{name}: 2 pages of one size", open_image, tmp_path / name)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "pages.tif").read_bytes()[:760])  # in the second header
    refused(r"cut\.tif: not an image that can be read", open_image, tmp_path / "cut.tif")
    first.save(tmp_path / "overview.tif", save_all=True, append_images=[second.resize((8, 6))])
    assert np.array_equal(read_rgb(tmp_path / "overview.tif"), NOISE)
    first.save(tmp_path / "telephone.jpg", "MPO", save_all=True, append_images=[second])
    assert read_rgb(tmp_path / "telephone.jpg").shape == NOISE.shape


def test_any_number_of_channels(tmp_path: Path) -> None:
    six = np.concatenate([NOISE, NOISE[::-1]], axis=2)
    np.save(tmp_path / "six.npy", six)
    (tmp_path / "six.TIF").write_bytes(tiff_encode(six, photometric="rgb"))
    for name in ("six.npy", "six.TIF"):
        assert np.array_equal(read_channels(tmp_path / name, 6), six)
        refused(rf"{name}: an array \(12, 17, 6\); expected \(height, width, 5\)", read_channels, tmp_path / name, 5)
    np.save(tmp_path / "deep.npy", np.full((12, 17, 5), 900, np.uint16))
    assert (read_channels(tmp_path / "deep.npy", 5, (0, 1800)) == 128).all()
    grey, alpha = save(tmp_path / "grey.png", NOISE[..., 0]), save(tmp_path / "rgba.png", six[..., :4])
    assert np.array_equal(read_channels(grey, 1), NOISE[..., :1])
    assert np.array_equal(read_channels(alpha, 4), six[..., :4])
    refused(r"an array \(12, 17, 1\); expected \(height, width, 4\)", read_channels, grey, 4)
    pages = [Image.fromarray(six[..., :4], "CMYK")] * 2
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    refused(r"pages\.tif: 2 pages of one size; expected one picture", read_channels, tmp_path / "pages.tif", 4)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "six.npy").read_bytes()[:300])
    refused(r"cut\.npy: not an array that can be read", read_channels, tmp_path / "cut.npy", 6)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "six.npy").read_bytes().replace(b"}", b" ", 1))
    refused(r"cut\.npy: not an array that can be read", read_channels, tmp_path / "cut.npy", 6)
    refused(r"no\.npy: no such file", read_channels, tmp_path / "no.npy", 6, error=FileNotFoundError)


def test_masks_whose_values_may_be_others_are_refused(tmp_path: Path) -> None:
    """Lossy formats, greys of few bits, and palettes that a program has renumbered."""
    mask, palette = NOISE[..., 0] // 7 * 7, voc_palette()  # 0, 7, 14
    for name in ("a.jpg", "a.webp"):
        refused(rf"{name}: a mask in \w+ format, which may be lossy", read_indices, save(tmp_path / name, mask))
    for bits in (2, 4):
        shades = mask // 7 * (255 // (2**bits - 1))
        path = save(tmp_path / "few.png", shades, bits=bits)
        assert np.array_equal(Image.open(path), shades), "as Pillow reads 0, 1, 2 too"
        refused(rf"few\.png: a grey mask of {bits} bits; expected 8", read_indices, path)
        assert not read_indices(save(path, mask * 0, bits=bits)).any()
    stored = Image.fromarray(mask)
    stored.putpalette(palette.tobytes())
    stored.remap_palette([0, 14, 7]).save(tmp_path / "p.png", optimize=True)  # as a lossless optimiser does
    assert np.array_equal(Image.open(tmp_path / "p.png").convert("RGB"), palette[mask])
    message = r"p\.png: its palette shows index 1 as \(64, 128, 128\), the data set's as \(128, 0, 0\)"
    refused(message, read_indices, tmp_path / "p.png", palette)
    for own in (palette, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)):
        assert np.array_equal(read_indices(save(tmp_path / "right.png", mask, own), palette), mask)


def test_lists_of_any_editor(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    for content in ("\ufeffb_2\r\n\r\n img 03.x \r\n", "b_2\nimg 03.x"):
        path.write_bytes(content.encode())
        assert read_list(path) == ["b_2", "img 03.x"]
    path = tmp_path / "val.toml"
    for encoding in ("utf-16", "utf-16-le", "latin-1"):
        path.write_bytes("b_2\nd\u00e4".encode(encoding))
        for read in (read_list, Recipe.load, ClassTable.load):
            refused(r"val\.toml: not a text in UTF-8 .*save it as UTF-8", read, path)
    for content, message in (("b_2\na\nb_2", "lists b_2 more than once"), ("\n", "lists no image")):
        path.write_text(content)
        refused(rf"val\.toml: {message}", read_list, path)


def test_the_nearest_file_is_named(tmp_path: Path) -> None:
    for present, absent in (("b_2.JPG", "b_2.jpg"), ("C.png", "c.png"), ("d_mask.png", "d.png"), ("e.png", "e -1.png")):
        (tmp_path / present).touch()
        message = rf"lacks 1 of the 2 files listed: {absent} \({present} is there\)$"
        refused(message, check_files, [tmp_path / absent, tmp_path / "b_2.JPG"], error=FileNotFoundError)
    refused(r"listed: d2\.png$", check_files, [tmp_path / "d2.png"], error=FileNotFoundError)
