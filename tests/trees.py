"""Writing the files of small data sets."""

from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, array: np.ndarray, palette: np.ndarray | None = None, **options: int) -> Path:
    """Writes an image file, and the folders that hold it; with a palette, class indices. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.save(path, **options)
    return path
