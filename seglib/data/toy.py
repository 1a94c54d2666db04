"""The toy sets as data sets; `tools/toy_data` paints them."""

from pathlib import Path
from typing import ClassVar

from seglib.data.base import Transform
from seglib.data.cityscapes import CityscapesSegmentation
from seglib.data.voc import VOCSegmentation
from seglib.files import PROJECT

TOY_VOC_CLASSES = ("background", "house", "tree", "boat", "tent", "kite", "fish", "fence", "lamp")
SPLITS = ("train", "val")
BUNDLED = PROJECT / "data"


class ToyVOC(VOCSegmentation):
    """The toy set in VOC's layout (9 classes with background), read as the real set is.

    Args:
        split: "train", "val", "trainval" or "trainaug".
        root: the folder that holds `VOCdevkit`; None takes the bundled `data/toy_voc`.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: if there is no data set in `root`, or a file of it is missing.
        ValueError: if the split is unknown.
    """

    class_names: ClassVar[tuple[str, ...]] = TOY_VOC_CLASSES

    def __init__(
        self, split: str, root: str | Path | None = None, transform: Transform | None = None, seed: int = 0
    ) -> None:
        folder = BUNDLED / "toy_voc" if root is None else Path(root)
        if not (folder / "VOCdevkit").is_dir():
            raise FileNotFoundError(
                f"{folder}: expected a folder that holds VOCdevkit; `python -m tools.toy_data voc {folder}` writes one"
            )
        super().__init__(folder / "VOCdevkit", split, transform, partial=True, seed=seed)


class ToyCityscapes(CityscapesSegmentation):
    """The toy streets in the layout of Cityscapes (19 classes, fine annotations), read as the real set is.

    Args:
        split: "train" or "val".
        root: the folder that holds `leftImg8bit` and `gtFine`; None takes the bundled `data/toy_cityscapes`.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: if there is no data set in `root`, or a file of it is missing.
        ValueError: if the split is unknown.
    """

    def __init__(
        self, split: str, root: str | Path | None = None, transform: Transform | None = None, seed: int = 0
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {tuple(SPLITS)}, found {split!r}")
        self.folder = BUNDLED / "toy_cityscapes" if root is None else Path(root)
        super().__init__(self.folder, split, transform=transform, seed=seed)

    def _origin(self) -> str:
        return f"`python -m tools.toy_data cityscapes {self.folder}` writes a set"
