"""Pascal VOC 2012 segmentation, with SBD's annotations: trainaug."""

from pathlib import Path

import numpy as np

from seglib.data.base import SegmentationDataset, Transform
from seglib.data.images import check_files, read_list
from seglib.files import some

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
COUNTS = {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582}


def voc_palette() -> np.ndarray:
    """Makes the VOC colours, (256, 3) uint8.

    Bits 0, 3 and 6 of an index are red's bits from the top; 1, 4 and 7 are green's; 2 and 5 blue's.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= (((index >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette


class VOCSegmentation(SegmentationDataset):
    """Pascal VOC 2012 (21 classes with background).

    train, val and trainval take their labels from `SegmentationClass`. trainaug is VOC's train and what SBD adds to it
    without touching val; its labels come from `SegmentationClassAug`. Where that folder or `trainaug.txt` is missing,
    SBD's `benchmark_RELEASE`, in `root` or beside it, serves: its .mat files for images that are not VOC's, its lists
    for (VOC train + SBD train + SBD val) - VOC val = 1,464 + 6,820 + 2,298. A missing `trainval.txt` is train + val.

    Args:
        root: the `VOCdevkit` folder, which holds `VOC2012`.
        split: "train" (1,464 images), "val" (1,449), "trainval" (2,913) or "trainaug" (10,582).
        transform, seed: as of `SegmentationDataset`.
        partial: True accepts a tree whose lists hold fewer images; False verifies the official counts.

    Raises:
        FileNotFoundError: if a folder, a list, an image or a label is missing.
        ValueError: if the split is unknown, a count is not the official one, or trainaug has val's or lacks train's.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        transform: Transform | None = None,
        partial: bool = False,
        seed: int = 0,
    ) -> None:
        if split not in COUNTS:
            raise ValueError(f"split: expected one of {tuple(COUNTS)}, found {split!r}")
        root = Path(root)
        self.folder, self._partial = root / "VOC2012", partial
        near = (folder / "benchmark_RELEASE" / "dataset" for folder in (root, root.absolute().parent))
        self._sbd = next((folder for folder in near if (folder / "cls").is_dir()), None)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder; root is the folder that holds VOC2012")
        names = self._ids(split)
        images = [self.folder / "JPEGImages" / f"{name}.jpg" for name in names]
        labels = self._labels(split, names)
        check_files(images)
        check_files(labels)
        super().__init__([*zip(images, labels, strict=True)], VOC_CLASSES, voc_palette(), transform, seed, names)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads (H, W) uint8 of a PNG, or of one of SBD's .mat files."""
        return _read_mat(path) if path.suffix == ".mat" else super().read_label(path)

    def _ids(self, split: str) -> list[str]:
        path = self.folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        if split == "trainval" and not path.exists():
            names = sorted(self._ids("train") + self._ids("val"))
        elif split == "trainaug":
            names = self._trainaug(path)
        else:
            names = _read_list(path)
        if not self._partial and len(names) != COUNTS[split]:
            cure = "partial=True accepts a part of the data set, whose scores compare with no published number"
            raise ValueError(f"{path}: {len(names)} images; expected the official {COUNTS[split]}. {cure}")
        return names

    def _trainaug(self, path: Path) -> list[str]:
        train, val = set(self._ids("train")), set(self._ids("val"))
        if path.exists():
            names = _read_list(path)
        elif self._sbd is not None:
            added = _read_list(self._sbd / "train.txt") + _read_list(self._sbd / "val.txt")
            names = sorted(train.union(added) - val)
        else:
            raise FileNotFoundError(f"{path}: no such list, and no benchmark_RELEASE folder (SBD) to make it from")
        if leaked := sorted(val.intersection(names)):
            raise ValueError(f"{path}: {len(leaked)} of val's images are in trainaug: {some(leaked)}; expected none")
        if lacking := sorted(train.difference(names)):
            raise ValueError(f"{path}: lacks {len(lacking)} of train's images: {some(lacking)}; trainaug holds all")
        return names

    def _labels(self, split: str, names: list[str]) -> list[Path]:
        own, augmented = self.folder / "SegmentationClass", self.folder / "SegmentationClassAug"
        if split != "trainaug" or augmented.is_dir():
            return [(augmented if split == "trainaug" else own) / f"{name}.png" for name in names]
        if self._sbd is None:
            raise FileNotFoundError(f"{augmented}: no such folder, and no benchmark_RELEASE folder (SBD) with labels")
        train = set(self._ids("train"))
        return [own / f"{name}.png" if name in train else self._sbd / "cls" / f"{name}.mat" for name in names]


def _read_list(path: Path) -> list[str]:
    names = read_list(path)
    if wrong := next((name for name in names if "/" in name or "." in name), None):
        raise ValueError(f"{path}: expected one image id such as 2007_000032 per line, found {wrong!r}")
    return names


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat  # here: only SBD's own files need it

    try:
        return loadmat(path)["GTcls"][0]["Segmentation"][0].astype(np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise ValueError(f"{path}: not one of SBD's label files ({error})") from error
