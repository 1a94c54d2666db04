"""Reading image files, and the errors that every data set passes on."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglib.data.images import open_image, read_indices, read_rgb

NOISE = np.random.default_rng(0).integers(0, 21, (12, 17, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_colours_are_read_as_rgb_of_any_mode(tmp_path: Path) -> None:
    found = read_rgb(save(tmp_path / "a.png", Image.fromarray(NOISE)))
    assert np.array_equal(found, NOISE) and found.dtype == np.uint8 and found.flags.writeable
    photograph = read_rgb(save(tmp_path / "a.jpg", Image.new("RGB", (17, 12), (30, 80, 200))))
    assert np.abs(photograph.astype(int) - (30, 80, 200)).max() <= 4, "RGB, not BGR"
    grey = read_rgb(save(tmp_path / "grey.png", Image.new("L", (17, 12), 77)))
    assert grey.shape == (12, 17, 3) and (grey == 77).all()
    assert read_rgb(save(tmp_path / "alpha.png", Image.new("RGBA", (17, 12)))).shape == (12, 17, 3)


def test_indices_are_read_and_not_colours(tmp_path: Path) -> None:
    mask = Image.fromarray(NOISE[..., 0])
    for name, palette in (("grey", None), ("palette", list(range(255, -1, -1)) * 3)):
        if palette:
            mask.putpalette(palette)
        found = read_indices(save(tmp_path / f"{name}.png", mask))
        assert np.array_equal(found, NOISE[..., 0]) and found.dtype == np.uint8 and found.flags.writeable


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "1", "LA"])
def test_a_mask_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "mask.png", Image.new(mode, (17, 12)))
    with pytest.raises(ValueError, match=rf"mask\.png: an image of mode {mode}; expected class indices"):
        read_indices(path)


@pytest.mark.parametrize("read", [open_image, read_rgb, read_indices])
def test_missing_and_damaged_files_are_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.png: no such file$"):
        read(tmp_path / "absent.png")
    for name, pixels in (("a.png", NOISE[..., 0]), ("a.jpg", NOISE)):
        whole = save(tmp_path / name, Image.fromarray(pixels)).read_bytes()
        for content in (*(whole[:size] for size in range(0, len(whole) - 20, 7)), b"a text", bytes(300)):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ValueError, match=rf"{name}: not an image that can be read; damaged or cut off\?"):
                read(tmp_path / name)
        for place in range(8, len(whole), 3):  # a flipped bit: Pillow raises many types, or reads other pixels
            (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
            with suppress(ValueError):
                read(tmp_path / name)
