"""Scores of whole folders of Cityscapes predictions, from the files, by several processes.

`python -m seglib.metrics.cityscapes_scores GROUND_TRUTH PREDICTIONS` prints the tables of Cityscapes' evaluation script. torch
is not imported: that would take longer than to score twenty frames. Pillow and process pools are, where they are used.
"""

import argparse
import bisect
import functools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from seglib.metrics.street_scores import CONVERT, PLANES, StreetScores, pieces_of, runs_of

if TYPE_CHECKING:
    from PIL import Image

Frame = tuple[Path, Path, Path]  # labelIds, prediction, instanceIds
RUN_FIELDS = ("label_ids", "instance_ids", "lengths")  # of a cached frame
PNG_START = b"\x89PNG\r\n\x1a\n"
GREY = (b"\x08\x00", b"\x10\x00")  # bits and kind of colour in a PNG's header: 8 and 16 bits of grey
ID_MODES = ("L", "P", "I;16", "I;16B", "I")  # Pillow's names of 8, 16 and 32 bits of grey, and of palette indices


def find_frames(ground_truth: str | Path, predictions: str | Path) -> list[Frame]:
    """Pairs files as the evaluation script does: CITY_NUMBER_NUMBER_*_labelIds.png with CITY_NUMBER_NUMBER*.png.

    Both folders are searched with all folders in them. Returns (labelIds, prediction, instanceIds) sorted by name.

    Raises:
        FileNotFoundError: a folder does not exist, no labelIds, no instanceIds beside one, or no prediction for one.
        ValueError: a labelIds file is not named as Cityscapes names them; several predictions for one.
    """
    labels = [path for path in _files_in(ground_truth) if path.name.endswith("_labelIds.png")]
    if not labels:
        raise FileNotFoundError(f"{ground_truth}: expected files CITY_NUMBER_NUMBER_gtFine_labelIds.png, found none")
    found = sorted((path.name, path) for path in _files_in(predictions) if path.suffix == ".png")
    names = [name for name, _ in found]
    frames = []
    for label in sorted(labels):
        if label.name.count("_") not in (3, 4):
            raise ValueError(f"{label}: expected a name such as aachen_000000_000019_gtFine_labelIds.png")
        frame = "_".join(label.name.split("_")[:3])
        first = bisect.bisect_left(names, frame)
        last = bisect.bisect_left(names, frame + "\U0010ffff")
        if first == last:
            raise FileNotFoundError(f"{predictions}: expected a prediction {frame}*.png for {label}, found none")
        if last - first > 1:
            several = ", ".join(str(path) for _, path in found[first:last])
            raise ValueError(f"{predictions}: expected one prediction {frame}*.png, found {several}")
        instances = label.with_name(label.name.replace("_labelIds", "_instanceIds"))
        if not instances.is_file():
            raise FileNotFoundError(f"{instances}: no such file; expected it beside {label.name}, for the iIoU")
        frames.append((label, found[first][1], instances))
    return frames


def score_frame(frame: Frame, cache: Path | None = None) -> StreetScores:
    """The counts of one frame's files.

    Args:
        frame: paths of labelIds, prediction, instanceIds.
        cache: folder that keeps what labelIds and instanceIds decode to, in about 150 KB a frame, for the next
            prediction; a file whose size or time is another then is decoded anew. None keeps nothing.

    Raises:
        ValueError: names the file that cannot be read, is no map of ids, has another size than the labelIds, or holds
            a value that cannot be. OSError: the cache cannot be written.
    """
    label, prediction, instances = frame
    labels, instance_ids = _ground_truth(label, instances, cache)
    predictions = _read_ids(prediction)
    _check_size(prediction, predictions, label, labels)
    scores = StreetScores()
    try:
        scores.update(labels, predictions, instance_ids)
    except ValueError as error:
        files = dict(zip(PLANES, frame, strict=True))
        raise ValueError(f"{files[str(error).split(':')[0]]}: {error}") from None
    return scores


def score_folders(
    ground_truth: str | Path,
    predictions: str | Path,
    workers: int = 1,
    progress: bool = False,
    cache: Path | None = None,
) -> StreetScores:
    """The counts of all frames of two folders; the same, bit for bit, whatever the number of processes.

    `cache`: as `score_frame`; the next predictions for the same ground truth then take about half the time.

    Raises as `find_frames` and `score_frame`; ValueError too where the predictions look like trainIds
    (`StreetScores.suspects_train_ids`) or workers < 1.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, found {workers}")
    frames = find_frames(ground_truth, predictions)
    total = StreetScores()
    for number, scores in enumerate(_scored(frames, workers, cache), start=1):
        total.merge(scores)
        if progress:
            end = "\n" if number == len(frames) else ""
            print(f"\r{number} of {len(frames)} frames", end=end, file=sys.stderr, flush=True)
    if total.suspects_train_ids:
        raise ValueError(
            f"{predictions}: holds no id above 18, but ids that are not evaluated: are these trainIds? {CONVERT}"
        )
    return total


def _scored(frames: Sequence[Frame], workers: int, cache: Path | None) -> Iterator[StreetScores]:
    score = functools.partial(score_frame, cache=cache)
    if workers == 1:
        yield from map(score, frames)
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(score, frames)


def _files_in(folder: str | Path) -> Iterator[Path]:
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"{folder}: expected a folder, found {'a file' if Path(folder).exists() else 'nothing'}"
        )
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _read_ids(path: Path) -> np.ndarray:
    """(H, W) what an image stores for each pixel: a shade of grey, or an index into its palette."""
    try:
        content = path.read_bytes()
        if content.startswith(PNG_START) and content[24:26] in GREY:
            ids = imagecodecs.png_decode(content)  # three quarters of Pillow's time
            if ids.ndim == 2:  # else it has transparency too
                return ids
        with _image(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, imagecodecs.PngError) as error:  # what both raise on damaged files
        raise ValueError(f"{path}: not an image that can be read ({error})") from error
    if image.mode not in ID_MODES:
        raise ValueError(f"{path}: an image of mode {image.mode}; expected one id for each pixel, a mode of {ID_MODES}")
    return np.asarray(image)


def _image(path: Path) -> "Image.Image":
    from PIL import Image  # here: few files need it, and every process would take the time

    return Image.open(path)


def _check_size(path: Path, found: np.ndarray, label: Path, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        sizes = [f"{width} x {height}" for height, width in (expected.shape, found.shape)]
        raise ValueError(f"{path}: expected {sizes[0]}, the size of {label.name}, found {sizes[1]}")


def _ground_truth(label: Path, instances: Path, cache: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The frame's labelIds and instanceIds (H, W): decoded, or as the cache kept them."""
    if cache is not None:
        # The name says what was decoded, so that nothing else needs to be compared.
        stamps = (f"{status.st_size:x}.{status.st_mtime_ns:x}" for status in (label.stat(), instances.stat()))
        kept = cache / f"{label.stem}-{'-'.join(stamps)}.npy"
        if (found := _kept_truth(kept, label)) is not None:
            return found
    planes = _read_ids(label), _read_ids(instances)
    _check_size(instances, planes[1], label, planes[0])
    if cache is not None:
        _keep_truth(kept, planes)
    return planes


def _kept_truth(kept: Path, label: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """What `_keep_truth` wrote; None where it did not, or not to the end."""
    try:
        runs = np.load(kept)
        with _image(label) as image:  # reads no more than the header
            width, height = image.size
        if runs.dtype.names != RUN_FIELDS or runs["lengths"].sum() != width * height:
            return None
    except (OSError, ValueError, EOFError):  # missing; what NumPy and Pillow raise on damaged files
        return None
    labels, instances = (runs[name].repeat(runs["lengths"]).reshape(height, width) for name in RUN_FIELDS[:2])
    return labels, instances


def _keep_truth(kept: Path, planes: tuple[np.ndarray, np.ndarray]) -> None:
    parts = [runs_of(piece) for piece in pieces_of(planes)]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    runs = np.empty(len(columns[0]), list(zip(RUN_FIELDS, (*(p.dtype for p in planes), np.int32), strict=True)))
    for name, column in zip(RUN_FIELDS, columns, strict=True):
        runs[name] = column
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_name(f".{kept.name}.{os.getpid()}.tmp")  # other processes see the whole file or none
    try:
        with part.open("wb") as file:
            np.save(file, runs)
        part.replace(kept)
    finally:
        part.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """Command line: `python -m seglib.metrics.cityscapes_scores GROUND_TRUTH PREDICTIONS --workers N`."""
    parser = argparse.ArgumentParser(
        prog="python -m seglib.metrics.cityscapes_scores",
        description="IoU and iIoU as Cityscapes' evaluation script has them.",
    )
    parser.add_argument("ground_truth", type=Path, help="folder with *_labelIds.png and *_instanceIds.png: gtFine/val")
    parser.add_argument("predictions", type=Path, help="folder with CITY_NUMBER_NUMBER*.png, which hold ids")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the decoded ground truth for the next time")
    parser.add_argument("--output", type=Path, help="write the scores into this JSON file too")
    options = parser.parse_args(arguments)
    try:
        counts = score_folders(
            options.ground_truth, options.predictions, options.workers, sys.stderr.isatty(), options.cache
        )
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    scores = counts.compute()
    print(scores.table())
    if options.output:
        text = json.dumps({**scores.to_dict(), "matrix": counts.matrix.tolist()}, indent=1)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
