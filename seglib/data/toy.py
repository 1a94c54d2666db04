"""The toy sets as data sets; `tools/toy_data` paints them."""

from pathlib import Path

from seglib.data.base import Transform
from seglib.data.cityscapes import CityscapesSegmentation
from seglib.data.voc import VOCSegmentation
from seglib.files import PROJECT

TOY_VOC_CLASSES = ("background", "house", "tree", "boat", "tent", "kite", "fish", "fence", "lamp")
TOY_MINI_CLASSES = (*TOY_VOC_CLASSES, "grass", "sand", "water")


class ToyVOC(VOCSegmentation):
    """The toy set in VOC's layout (9 classes with background), read as the real set is; raises as it does.

    Args:
        split: "train", "val", "trainval" or "trainaug".
        root: the folder that holds `VOCdevkit`; None takes the bundled one.
        transform, seed: as in `SegmentationDataset`.
    """

    bundled, class_names = PROJECT / "data" / "toy_voc", TOY_VOC_CLASSES

    def __init__(
        self, split: str, root: str | Path | None = None, transform: Transform | None = None, seed: int = 0
    ) -> None:
        folder = Path(root or self.bundled)
        if not (folder / "VOCdevkit").is_dir():
            cure = f"`python -m tools.toy_data voc {folder}` writes one"
            raise FileNotFoundError(f"{folder}: expected a folder that holds VOCdevkit; {cure}")
        super().__init__(folder / "VOCdevkit", split, transform, partial=True, seed=seed)
        self.classes = self.class_names


class ToyMini(ToyVOC):
    """The toy set for small networks: as `ToyVOC`, and what the ground is as three more classes."""

    bundled, class_names = PROJECT / "data" / "toy_mini", TOY_MINI_CLASSES


class ToyCityscapes(CityscapesSegmentation):
    """The toy streets in the layout of Cityscapes (19 classes, fine), read as the real set is; raises as it does.

    Args:
        split: "train" or "val".
        root: the folder that holds `leftImg8bit` and `gtFine`; None takes the bundled `data/toy_cityscapes`.
        transform, seed: as in `SegmentationDataset`.
    """

    def __init__(
        self, split: str, root: str | Path | None = None, transform: Transform | None = None, seed: int = 0
    ) -> None:
        self.folder = Path(root or PROJECT / "data" / "toy_cityscapes")
        super().__init__(self.folder, split, transform=transform, seed=seed)

    def _origin(self) -> str:
        return f"`python -m tools.toy_data cityscapes {self.folder}` writes a set"
