"""Predictions as files: masks, overlays and a table of areas of image files, and the scores of mask files."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from seglib.crf import dense_crf
from seglib.data.base import SegmentationDataset
from seglib.data.folder import SUFFIXES  # of images in a folder
from seglib.data.images import PixelRange, read_channels, read_indices
from seglib.data.transforms import IMAGENET, Normalisation
from seglib.files import some, write_atomic
from seglib.metrics import ConfusionMatrix, Scores
from seglib.metrics.cityscapes_labels import train_ids_to_ids  # for submissions to Cityscapes' benchmark
from seglib.predict import ONE_VIEW, Scoring, predict, predict_image


def find_images(given: Sequence[Path], output: Path) -> dict[Path, Path]:
    """Pairs images with the masks to be written: those of a folder keep its sub-folders, and `output` is left out.

    Raises:
        ValueError: if there is no image, two masks would have one name, a mask would overwrite an image, or `output` is
            a file.
    """
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output}: a file; expected a folder for the masks")
    targets: dict[Path, Path] = {}
    for path in given:
        if not path.is_dir():
            targets[path] = output / f"{path.stem}.png"
            continue
        inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
        own = output.resolve() if path.resolve() in output.resolve().parents else None  # earlier masks
        inside = [file for file in inside if own not in file.resolve().parents and not file.is_dir()]
        if not inside:
            raise ValueError(f"{path}: expected a folder with images ({', '.join(SUFFIXES)}), found none")
        targets |= {file: output / file.relative_to(path).with_suffix(".png") for file in inside}
    if not targets:
        raise ValueError("images: expected at least one file or folder")
    sources, taken = {image.resolve() for image in targets}, set()
    for image, target in targets.items():
        if target in taken or target.resolve() in sources:
            raise ValueError(f"{image}: its mask would overwrite another file; expected images of different names")
        taken.add(target)
    return targets


def write_masks(
    model: nn.Module,
    targets: Mapping[Path, Path],
    classes: Sequence[str],
    palette: np.ndarray,
    normalisation: Normalisation = IMAGENET,
    scoring: Scoring = ONE_VIEW,
    *,
    crf: bool = False,
    ids: bool = False,
    overlay: float = 0.0,
    areas: Path | None = None,
    pixel_range: PixelRange | None = None,
) -> Iterator[Path]:
    """Predicts image files, writes a PNG of each one's size, as it is shown, and yields its path.

    Args:
        targets: image -> mask, as `find_images` returns them.
        classes: the K names.
        palette: (256, 3) uint8: masks are class indices in these colours, as Pascal VOC stores its labels.
        crf: refine the probabilities by `seglib.crf.dense_crf`, before the classes are chosen.
        ids: grey masks of Cityscapes' ids instead, as its benchmark takes them.
        overlay: opacity, 0 to 1, of the colours over the picture in a NAME_overlay.jpg beside the mask; 0 writes none.
        areas: a CSV file for the pixels of each class, and their share, in each picture.
        pixel_range: as in `seglib.data.images.read_channels`.

    Raises:
        ValueError: at the end, after all other images: names each that could not be read, predicted or written, and
            why; before the first, if overlay is not in 0 to 1, crf is asked for where it makes no sense, or the table
            or an overlay would overwrite an image.
    """
    if not 0 <= overlay <= 1:
        raise ValueError(f"overlay = {overlay}; expected an opacity from 0 to 1")
    if crf and len(normalisation.mean) != 3:
        channels = len(normalisation.mean)
        raise ValueError(f"crf: compares the colours of RGB pictures; the network takes {channels} channels")
    if crf and scoring.window:
        raise ValueError(f"crf: takes a picture whole; expected no window, found {scoring.window}")
    sources, others = {image.resolve() for image in targets}, [] if areas is None else [areas]
    others += map(_overlay_of, targets.values()) if overlay else ()
    if lost := [str(path) for path in others if path.resolve() in sources]:
        raise ValueError(f"{some(lost)}: an image that the overlays or the table would overwrite; choose other names")
    failed, rows = [], [("image", "class", "pixels", "share")]
    for path, target in targets.items():
        try:
            image = read_channels(path, len(normalisation.mean), pixel_range)
            if crf:
                labels = _predict_refined(model, image, normalisation, scoring)
            else:
                labels = predict_image(model, image, normalisation, scoring)
            mask, colours = Image.fromarray(train_ids_to_ids(labels) if ids else labels), Image.fromarray(labels)
            colours.putpalette(palette.astype(np.uint8).tobytes())
            target.parent.mkdir(parents=True, exist_ok=True)
            _save(mask if ids else colours, target)
            if overlay:
                rgb = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)  # grey for one
                drawn = Image.blend(Image.fromarray(rgb), colours.convert("RGB"), overlay)
                _save(drawn, _overlay_of(target), quality=90, subsampling=0)
        except (OSError, ValueError, MemoryError, RuntimeError) as error:  # torch's RuntimeError for lack of memory
            message = str(error).partition("\n")[0]
            failed.append(message if message.startswith(str(path)) else f"{path}: {message or type(error).__name__}")
            continue
        pixels = np.bincount(labels.ravel(), minlength=len(classes))
        rows += [(path, name, count, f"{count / labels.size:.6f}") for name, count in zip(classes, pixels, strict=True)]
        yield target
    if areas is not None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        table = text.getvalue().encode(errors="backslashreplace")  # a file's name may be no UTF-8
        write_atomic(areas, lambda file: file.write(table))
    if failed:
        done = len(targets) - len(failed)
        raise ValueError(
            "; ".join(failed) + (f". The other {done} {'is' if done == 1 else 'are'} done" if done else "")
        )


def _overlay_of(mask: Path) -> Path:
    return mask.with_name(f"{mask.stem}_overlay.jpg")


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    """Writes an image whole or not at all; not `write_atomic`, which looks for leftovers among thousands of files."""
    temporary = path.with_name(f".{path.name}")  # a hidden file is no image of a folder
    try:
        image.save(temporary, **options)
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: could not be written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _predict_refined(model: nn.Module, image: np.ndarray, normalisation: Normalisation, scoring: Scoring) -> np.ndarray:
    """Predicts (H, W) uint8 class indices of one image (H, W, 3) uint8 RGB through the CRF."""
    image = np.require(image, requirements=["C", "W"])  # torch takes no read-only arrays
    pixels = torch.from_numpy(image).to(next(model.parameters()).device).permute(2, 0, 1)[None]  # (1, 3, H, W)
    probabilities = predict(model, pixels, normalisation, scoring)[0].cpu().numpy()  # (K, H, W)
    return dense_crf(image, probabilities).argmax(axis=0).astype(np.uint8)


def score_masks(dataset: SegmentationDataset, folder: Path) -> ConfusionMatrix:
    """Counts mask files of class indices against a data set's labels; void is left out.

    Args:
        folder: holds NAME.png for each image NAME, in any sub-folder, as `write_masks` writes them.

    Raises:
        FileNotFoundError: if images have no mask; names them.
        ValueError: if one has several, a mask cannot be read, has another size than its label or holds another value.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".png" and path.name[0] != ".":
            found.setdefault(path.stem, []).append(path)
    matrix, k = ConfusionMatrix(dataset.num_classes, dataset.ignore_index), dataset.num_classes
    pairs = zip(dataset.files, dataset.names, strict=True)
    masks = [found.get(image.stem) or found.get(name, []) for (image, _), name in pairs]
    if missing := [f"{name}.png" for name, paths in zip(dataset.names, masks, strict=True) if not paths]:
        raise FileNotFoundError(f"{folder}: lacks {len(missing)} of {len(masks)} masks: {some(missing)}")
    for (image, label_path), paths in zip(dataset.files, masks, strict=True):
        if len(paths) > 1:  # of equal names, the one that lies as the image does
            paths = [path for path in paths if path.parent.name == image.parent.name] or paths
        if len(paths) > 1:
            raise ValueError(f"{folder}: expected one mask of {image.name}, found {some([*map(str, paths)])}")
        mask, label = read_indices(paths[0], dataset.palette), dataset.read_label(label_path)
        if mask.shape != label.shape:
            raise ValueError(f"{paths[0]}: a mask of {mask.shape}; expected {label.shape}, the size of {label_path}")
        if (wrong := np.unique(mask)[-1]) >= k:
            raise ValueError(f"{paths[0]}: holds the value {wrong}; expected class indices, 0 to {k - 1}")
        dataset.check_values(label_path, np.unique(label))
        matrix.update(label, mask)
    return matrix


def describe_scores(scores: Scores, classes: Sequence[str], pixels: Sequence[int]) -> str:
    """Describes scores for readers: IoU per class, mIoU, the classes that no label has, and the share of void.

    Args:
        pixels: labelled pixels of each class and, last, of void.
    """
    width, labelled = max(map(len, (*classes, "class"))), max(sum(pixels[:-1]), 1)
    rows = list(zip(classes, scores.iou, pixels, strict=False))
    lines = [f"{'class':{width}}  {'IoU':>6}  of the labels"]
    lines += [f"{name:{width}}  {iou:6.4f}  {count / labelled:13.2%}" for name, iou, count in rows]
    mean = f"mIoU {scores.miou:.4f} over {sum(np.isfinite(scores.iou))} of {len(classes)} classes"
    lines.append(f"{mean}; pixel accuracy {scores.pixel_accuracy:.4f}")
    why = {True: "left out", False: "predicted: its IoU is 0"}
    if absent := [f"{name} ({why[bool(np.isnan(iou))]})" for name, iou, count in rows if not count]:
        lines.append(f"Without a labelled pixel: {', '.join(absent)}")
    lines.append(f"Void, not scored: {pixels[-1] / max(sum(pixels), 1):.2%} of the pixels")
    return "\n".join(lines)
