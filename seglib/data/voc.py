"""Pascal VOC 2012 segmentation, with SBD's annotations: trainaug."""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from seglib.data.base import SegmentationDataset, Transform
from seglib.files import some

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


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
    without touching val; all its labels come from `SegmentationClassAug`. Where that folder is missing, or `sbd_root`
    is given, they are VOC's own for VOC's train and SBD's .mat files for the rest. Where `trainaug.txt`
    is missing it is made from SBD's: (VOC train + SBD train + SBD val) - VOC val = 1,464 + 6,820 + 2,298 = 10,582.
    Where `trainval.txt` is missing it is train + val.

    Args:
        root: the `VOCdevkit` folder, which holds `VOC2012`.
        split: "train" (1,464 images), "val" (1,449), "trainval" (2,913) or "trainaug" (10,582).
        transform, seed: as in `SegmentationDataset`.
        partial: True accepts a tree whose lists hold fewer images; False verifies the official counts.
        sbd_root: SBD's folder, `benchmark_RELEASE`; None looks for it in `root` and beside it.

    Raises:
        FileNotFoundError: if a folder, a list, an image or a label is missing.
        ValueError: if the split is unknown, a count is not the official one, or trainaug overlaps val or lacks some of
            train.
    """

    year: ClassVar[str] = "VOC2012"
    class_names: ClassVar[tuple[str, ...]] = VOC_CLASSES
    colours: ClassVar[np.ndarray] = voc_palette()
    counts: ClassVar[dict[str, int]] = {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582}

    def __init__(
        self,
        root: str | Path,
        split: str,
        transform: Transform | None = None,
        partial: bool = False,
        seed: int = 0,
        *,
        sbd_root: str | Path | None = None,
    ) -> None:
        if split not in self.counts:
            raise ValueError(f"split: expected one of {tuple(self.counts)}, found {split!r}")
        self.split = split
        self.folder = Path(root) / self.year
        self._partial = partial
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder; root is the folder that holds {self.year}")
        sbd = _find_sbd(Path(root), sbd_root)
        names = self._ids(split, sbd)
        labels = self._labels(names, sbd, use_sbd=sbd_root is not None)
        files = [(self.folder / "JPEGImages" / f"{name}.jpg", label) for name, label in zip(names, labels, strict=True)]
        _check_files([image for image, _ in files])
        _check_files(labels)
        super().__init__(files, self.class_names, self.colours, transform, seed, names)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads (H, W) uint8 of a PNG, or of one of SBD's .mat files."""
        return _read_mat(path) if path.suffix == ".mat" else super().read_label(path)

    def _ids(self, split: str, sbd: Path | None) -> list[str]:
        path = self.folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        if split == "trainval" and not path.exists():
            names = sorted(self._ids("train", sbd) + self._ids("val", sbd))
        elif split == "trainaug":
            names = _read_list(path) if path.exists() else self._trainaug_of_sbd(path, sbd)
            _check_trainaug(path, names, self._ids("train", sbd), self._ids("val", sbd))
        else:
            names = _read_list(path)
        if not self._partial and len(names) != self.counts[split]:
            raise ValueError(
                f"{path}: {len(names)} images; expected the official {self.counts[split]}. "
                "partial=True accepts a part of the data set, whose scores compare with no published number."
            )
        return names

    def _trainaug_of_sbd(self, path: Path, sbd: Path | None) -> list[str]:
        if sbd is None:
            raise FileNotFoundError(
                f"{path}: no such list, and no benchmark_RELEASE folder (SBD) to make it from; expected one of them"
            )
        names = {*self._ids("train", sbd), *_read_list(sbd / "train.txt"), *_read_list(sbd / "val.txt")}
        return sorted(names - set(self._ids("val", sbd)))

    def _labels(self, names: list[str], sbd: Path | None, use_sbd: bool) -> list[Path]:
        own, augmented = self.folder / "SegmentationClass", self.folder / "SegmentationClassAug"
        if self.split != "trainaug":
            return [own / f"{name}.png" for name in names]
        if augmented.is_dir() and not use_sbd:
            return [augmented / f"{name}.png" for name in names]
        if sbd is None:
            raise FileNotFoundError(
                f"{augmented}: no such folder, and no benchmark_RELEASE folder (SBD) with labels; expected one of them"
            )
        train = set(self._ids("train", sbd))
        return [own / f"{name}.png" if name in train else sbd / "cls" / f"{name}.mat" for name in names]


def _find_sbd(root: Path, sbd_root: str | Path | None) -> Path | None:
    """SBD's `dataset` folder: the one that holds cls/, train.txt and val.txt."""
    if sbd_root is not None:
        if not (Path(sbd_root) / "dataset" / "cls").is_dir():
            raise FileNotFoundError(
                f"sbd_root: {sbd_root} holds no dataset/cls; expected SBD's benchmark_RELEASE folder"
            )
        return Path(sbd_root) / "dataset"
    places = (root / "benchmark_RELEASE" / "dataset", root.absolute().parent / "benchmark_RELEASE" / "dataset")
    return next((place for place in places if (place / "cls").is_dir()), None)


def _read_list(path: Path) -> list[str]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list of image ids")
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise ValueError(f"{path}: lists no image; expected at least one")
    if wrong := next((name for name in names if "/" in name or "." in name), None):
        raise ValueError(f"{path}: expected one image id such as 2007_000032 per line, found {wrong!r}")
    if len(set(names)) != len(names):
        repeated = sorted(name for name in set(names) if names.count(name) > 1)
        raise ValueError(f"{path}: lists {some(repeated)} more than once")
    return names


def _check_trainaug(path: Path, names: list[str], train: list[str], val: list[str]) -> None:
    if leaked := sorted(set(names) & set(val)):
        raise ValueError(f"{path}: {len(leaked)} of val's images are in trainaug: {some(leaked)}; expected none")
    if lacking := sorted(set(train) - set(names)):
        raise ValueError(
            f"{path}: lacks {len(lacking)} of train's images: {some(lacking)}; trainaug holds all of train"
        )


def _check_files(paths: list[Path]) -> None:
    # One listing per folder, because asking for each file takes minutes on a network drive.
    present = {folder: set(os.listdir(folder)) if folder.is_dir() else set() for folder in {p.parent for p in paths}}
    if missing := [path for path in paths if path.name not in present[path.parent]]:
        shown = some([path.name for path in missing])
        raise FileNotFoundError(f"{missing[0].parent}: lacks {len(missing)} of the {len(paths)} files listed: {shown}")


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat  # here: only SBD's own files need it

    try:
        return loadmat(path)["GTcls"][0]["Segmentation"][0].astype(np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except MemoryError:
        raise
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise ValueError(f"{path}: not one of SBD's label files ({error})") from error
