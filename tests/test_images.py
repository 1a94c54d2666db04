"""Reading image files, and the errors that every data set passes on."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusal import refused
from trees import save

from seglib.data.images import open_image, read_indices, read_rgb

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
