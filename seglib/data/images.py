"""Image files: one way to open them, and one way to say why not."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from seglib.files import some


def open_image(path: Path) -> Image.Image:
    """Opens and decodes an image file. Raises FileNotFoundError; ValueError if it is damaged, cut off, or no image."""
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's readers raise on damaged data
        raise ValueError(f"{path}: not an image that can be read; damaged or cut off? ({error})") from error
    return image


def read_rgb(path: Path) -> np.ndarray:
    """Reads (H, W, 3) uint8 RGB. Raises as `open_image` does."""
    image = open_image(path)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # a copy that torch may write to


def read_indices(path: Path) -> np.ndarray:
    """Reads (H, W) uint8 of a palette or grey image: indices as stored, never colours. Raises as `open_image` does."""
    image = open_image(path)
    if image.mode not in ("P", "L"):
        expected = "class indices, a palette (P) or 8-bit grey (L) image. Was the mask converted to colours?"
        raise ValueError(f"{path}: an image of mode {image.mode}; expected {expected}")
    return np.array(image)


def check_files(paths: Sequence[Path], hint: str = "") -> None:
    """Raises FileNotFoundError if some of the files are missing; the message names them and ends with the hint."""
    # One listing per folder, because asking for each file takes minutes on a network drive.
    present = {folder: set(os.listdir(folder)) if folder.is_dir() else set() for folder in {p.parent for p in paths}}
    if missing := [path for path in paths if path.name not in present[path.parent]]:
        names = some([path.name for path in missing], limit=3) + (hint and f"; {hint}")
        raise FileNotFoundError(f"{missing[0].parent}: lacks {len(missing)} of the {len(paths)} files listed: {names}")
