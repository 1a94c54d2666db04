"""The toy VOC set as a data set."""

from pathlib import Path
from typing import ClassVar

from seglib.data.dataset import Transform
from seglib.data.toy.voc_scenes import TOY_VOC_CLASSES
from seglib.data.voc import VOCSegmentation

BUNDLED = Path(__file__).parents[3] / "data" / "toy_voc"


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
        folder = BUNDLED if root is None else Path(root)
        if not (folder / "VOCdevkit").is_dir():
            raise FileNotFoundError(
                f"{folder}: expected a folder that holds VOCdevkit; `python -m seglib.data.toy voc {folder}` writes one"
            )
        super().__init__(folder / "VOCdevkit", split, transform, partial=True, seed=seed)
