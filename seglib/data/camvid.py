"""CamVid: street scenes filmed from a car, in the 11 classes and the size of the SegNet authors' copy."""

from collections import Counter
from pathlib import Path

import numpy as np

from seglib.data.base import SegmentationDataset, Transform
from seglib.data.folder import list_files
from seglib.data.images import check_files

CAMVID_CLASSES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
COLOURS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
COUNTS = {"train": 367, "val": 101, "test": 233}
PUBLISHED_VOID = 11


def camvid_palette() -> np.ndarray:
    """(256, 3) uint8: the colours that SegNet's authors use; void and unused values are black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(COLOURS)] = COLOURS
    return palette


class CamVid(SegmentationDataset):
    """CamVid (11 classes, 480 x 360; 367 / 101 / 233 frames).

    Frames are found by listing `images/SPLIT`, JPEG or PNG; each has a label PNG of the same name in `labels/SPLIT`.
    val is one short clip whose frames are much like frames of train, so its scores flatter. `data/README.md` says how
    to get the published files, whose void is 11, and `python -m seglib convert-camvid` converts them.

    Args:
        root: the folder that holds `images` and `labels`; as `convert_camvid` makes it.
        split: "train", "val" or "test".
        transform, seed: as in `SegmentationDataset`.

    Raises FileNotFoundError if something is missing, ValueError for an unknown split or two images of one name.
    """

    def __init__(
        self, root: str | Path, split: str = "train", transform: Transform | None = None, seed: int = 0
    ) -> None:
        if split not in COUNTS:
            raise ValueError(f"split: expected one of {tuple(COUNTS)}, found {split!r}")
        images, labels = Path(root) / "images" / split, Path(root) / "labels" / split
        for folder in (images, labels):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder; data/README.md says how to get CamVid")
        files = [(image, labels / f"{image.stem}.png") for image in list_files(images)]
        if not files:
            raise FileNotFoundError(f"{images}: holds no .jpg or .png file; data/README.md says how to get CamVid")
        if twice := [name for name, number in Counter(image.stem for image, _ in files).items() if number > 1]:
            raise ValueError(f"{images}: {twice[0]} is there twice, as .jpg and as .png; expected one of them")
        check_files([label for _, label in files], "each image needs a label of its name")
        super().__init__(files, CAMVID_CLASSES, camvid_palette(), transform, seed)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads (H, W) uint8, 255 = void. Raises ValueError if void is 11, as in the published files."""
        label = super().read_label(path)
        if (label == PUBLISHED_VOID).any():
            cure = "expected 0 to 10, or 255 for void: `python -m seglib convert-camvid` converts them"
            raise ValueError(f"{path}: holds the value {PUBLISHED_VOID}, void in the published files; {cure}")
        return label
