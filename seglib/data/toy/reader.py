"""The toy sets as data sets."""

from pathlib import Path
from typing import ClassVar

from seglib.data.cityscapes import CityscapesSegmentation
from seglib.data.dataset import Transform
from seglib.data.toy.voc_scenes import TOY_VOC_CLASSES
from seglib.data.toy.write import CITIES
from seglib.data.voc import VOCSegmentation

BUNDLED = Path(__file__).parents[3] / "data"


class ToyVOC(VOCSegmentation):
    """The toy set in VOC's layout (9 classes with background), read as the real set is.

    Args:
        split: "train", "val", "trainval" or "trainaug".
        root: the folder that holds `VOCdevkit`; None takes the bundled `data/toy_voc`.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: no data set in `root`, or a file of it is missing.
        ValueError: unknown split.
    """

    class_names: ClassVar[tuple[str, ...]] = TOY_VOC_CLASSES

    def __init__(
        self, split: str, root: str | Path | None = None, transform: Transform | None = None, seed: int = 0
    ) -> None:
        folder = BUNDLED / "toy_voc" if root is None else Path(root)
        if not (folder / "VOCdevkit").is_dir():
            raise FileNotFoundError(
                f"{folder}: expected a folder that holds VOCdevkit; `python -m seglib.data.toy voc {folder}` writes one"
            )
        super().__init__(folder / "VOCdevkit", split, transform, partial=True, seed=seed)


class ToyCityscapes(CityscapesSegmentation):
    """The toy streets in the layout of Cityscapes (19 classes, fine annotations), read as the real set is.

    Args:
        split: "train" or "val".
        root: the folder that holds `leftImg8bit` and `gtFine`; None takes the bundled `data/toy_cityscapes`.
        transform, seed: as in `SegmentationDataset`.

    Raises:
        FileNotFoundError: no data set in `root`, or a file of it is missing.
        ValueError: unknown split.
    """

    def __init__(
        self, split: str, root: str | Path | None = None, transform: Transform | None = None, seed: int = 0
    ) -> None:
        if split not in CITIES:
            raise ValueError(f"split: expected one of {tuple(CITIES)}, found {split!r}")
        self.folder = BUNDLED / "toy_cityscapes" if root is None else Path(root)
        super().__init__(self.folder, split, transform=transform, seed=seed)

    def _origin(self) -> str:
        return f"`python -m seglib.data.toy cityscapes {self.folder}` writes a set"
