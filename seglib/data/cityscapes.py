"""Cityscapes: street scenes with fine and coarse annotations, ids mapped to the 19 trainIds in memory."""

from pathlib import Path

import numpy as np

from seglib.data.base import VOID, SegmentationDataset, Transform
from seglib.data.images import check_files, open_image, read_indices
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS

_TRAINED = sorted((row for row in CITYSCAPES_LABELS if 0 <= row.train_id < VOID), key=lambda row: row.train_id)
CITYSCAPES_CLASSES = tuple(row.name for row in _TRAINED)
TRAIN_IDS = np.array([row.train_id for row in CITYSCAPES_LABELS if row.id >= 0], np.uint8)  # from id, 0 to 33
LAST_ID = len(TRAIN_IDS) - 1
SPLITS = {"fine": ("train", "val", "test"), "coarse": ("train", "val", "train_extra")}
PACKAGES = {"fine": "gtFine_trainvaltest.zip (241 MB)", "coarse": "gtCoarse.zip (1.3 GB)"}
IMAGE = "_leftImg8bit.png"


def cityscapes_palette() -> np.ndarray:
    """(256, 3) uint8: the colours of the 19 trainIds; void and unused values are black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(_TRAINED)] = [row.colour for row in _TRAINED]
    return palette


class CityscapesSegmentation(SegmentationDataset):
    """Cityscapes (19 classes; 2,975 / 500 / 1,525 frames with fine, 19,998 more with coarse annotations).

    Frames are found by listing `leftImg8bit/SPLIT/CITY`. Labels come from `labelIds`, the files that the official
    packages hold. The 15 ids that are not evaluated become void, 255; `train_ids_to_ids` takes predictions back to ids.
    The annotations of "test" are withheld: every label is 255, and only the official server can score predictions.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine` or `gtCoarse`.
        split: "train", "val", "test" (fine only) or "train_extra" (coarse only).
        quality: "fine" or "coarse".
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: if a folder is missing, or an image has no annotation.
        ValueError: if split or quality is unknown, or the split does not have this quality.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        quality: str = "fine",
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        if quality not in SPLITS:
            raise ValueError(f"quality: expected one of {tuple(SPLITS)}, found {quality!r}")
        if split not in SPLITS[quality]:
            raise ValueError(f"split: expected one of {SPLITS[quality]} with quality {quality!r}, found {split!r}")
        self.split, self.quality = split, quality
        annotations = "gtFine" if quality == "fine" else "gtCoarse"
        images, labels = Path(root) / "leftImg8bit" / split, Path(root) / annotations / split
        for folder in (images, labels):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder; {self._origin()}")
        frames = {path: path.name.removesuffix(IMAGE) for path in sorted(images.glob(f"*/[!.]*{IMAGE}"))}
        if not frames:
            raise FileNotFoundError(f"{images}: holds no CITY folder with *{IMAGE} files; {self._origin()}")
        ids = [labels / path.parent.name / f"{name}_{annotations}_labelIds.png" for path, name in frames.items()]
        check_files(ids, "labelTrainIds files are not read")
        files = [*zip(frames, ids, strict=True)]
        super().__init__(files, CITYSCAPES_CLASSES, cityscapes_palette(), transform, seed, [*frames.values()])

    def _origin(self) -> str:
        images = "trainextra.zip (44 GB)" if self.split == "train_extra" else "trainvaltest.zip (11 GB)"
        return (
            "Cityscapes may not be passed on: log in at https://www.cityscapes-dataset.com/downloads, accept the "
            f"licence, and unpack leftImg8bit_{images} and {PACKAGES[self.quality]} into one folder, root"
        )

    def read_label(self, path: Path) -> np.ndarray:
        """Reads (H, W) uint8 trainIds, 255 = void, of a labelIds file. Raises ValueError if it holds something else."""
        if path.name.endswith("_labelTrainIds.png"):
            raise ValueError(f"{path}: trainIds; expected ids, a file named *_labelIds.png, which are mapped in memory")
        ids = read_indices(path)
        if ids.max() > LAST_ID:
            wrong = [int(value) for value in np.unique(ids) if value > LAST_ID]
            cause = "255 is void among trainIds: is it a labelTrainIds file? " if 255 in wrong else ""
            raise ValueError(f"{path}: holds the values {wrong}; {cause}expected ids, 0 to {LAST_ID}")
        return TRAIN_IDS[ids]

    def read_instances(self, index: int) -> np.ndarray:
        """Reads (H, W) int32 instanceIds of a sample: id * 1000 + number for a single object, else the plain id.

        Raises FileNotFoundError if there is no such file beside the labelIds, ValueError if it holds something else.
        """
        label = self.files[index][1]
        path = label.with_name(label.name.replace("_labelIds.png", "_instanceIds.png"))
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file, though there is {label.name}; {self._origin()}")
        image, size = open_image(path), open_image(label).size
        if image.mode[0] != "I":
            raise ValueError(f"{path}: an image of mode {image.mode}; expected instanceIds, a 16-bit grey image")
        if image.size != size:
            raise ValueError(f"{path}: an image {image.size}, its {label.name} is {size}; expected equal sizes")
        return np.array(image, np.int32)
