"""Masks as a hurried annotator would draw them: the boundaries of a data set's labels, displaced."""

import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from seglib.data.base import SegmentationDataset

GRID = 4  # times the displacement: the distance over which its direction changes


class NoisyMasks(SegmentationDataset):
    """A data set whose label maps are displaced by a smooth random field; the images stay.

    The noise belongs to a mask as an annotator's error does: it depends only on the seed and the file's name, not on
    the epoch, so that a network can learn it by heart.

    Args:
        source: the data set whose files, transform and seed are taken over.
        pixels: the largest displacement along each axis, at least 1.
    """

    def __init__(self, source: SegmentationDataset, pixels: int) -> None:
        if pixels < 1:
            raise ValueError(f"pixels: expected at least 1, found {pixels}")
        super().__init__(source.files, source.classes, source.palette, source.transform, source.seed, source.names)
        self.source, self.pixels = source, pixels

    def read_image(self, path: Path) -> np.ndarray:
        """Reads the data set's own image."""
        return self.source.read_image(path)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads the data set's own label, displaced."""
        label = self.source.read_label(path)
        return displace(label, self.pixels, np.random.default_rng((self.seed, zlib.crc32(path.stem.encode()))))


def displace(label: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Takes each pixel of (H, W) uint8 from a place up to `pixels` away along each axis."""
    height, width = label.shape
    step = GRID * pixels
    coarse = rng.uniform(-pixels, pixels, size=(1, 2, height // step + 2, width // step + 2))
    field = F.interpolate(torch.from_numpy(coarse), size=label.shape, mode="bilinear", align_corners=True)
    down, right = field[0].round().long().numpy()  # (H, W) each
    rows = np.clip(np.arange(height)[:, None] + down, 0, height - 1)
    columns = np.clip(np.arange(width) + right, 0, width - 1)
    return label[rows, columns]
