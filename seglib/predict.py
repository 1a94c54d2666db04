"""Predictions and scores at the label's own resolution, whole or in sliding windows; masks of image files."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from seglib.data import SegmentationDataset, camvid_palette, cityscapes_palette, voc_palette
from seglib.data.transforms import IMAGENET, Normalisation
from seglib.metrics import ConfusionMatrix, update_trimap
from seglib.metrics.cityscapes_labels import train_ids_to_ids
from seglib.recipe import Recipe
from seglib.zoo import load_checkpoint
from seglib.zoo.checkpoints import LAYOUTS


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one side, so that they cover all of 0 to `length` and at least `overlap` of each other.

    The last one is moved back to end at `length`; a side no longer than a window has one, which begins at 0.
    """
    stride = max(int(window * (1 - overlap)), 1)
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


@torch.inference_mode()
def window_probabilities(model: nn.Module, pixels: Tensor, window: tuple[int, int], overlap: float = 1 / 3) -> Tensor:
    """Class probabilities of normalised images, the mean over all windows that see a pixel.

    Beside the network's own memory for one window of every image this takes that of the result, whatever the overlap.

    Args:
        pixels: (B, 3, H, W) float32. Where a side is shorter than the window, it is padded with the mean colour at the
            bottom or right, and the prediction is cut back.
        window: (height, width). overlap: least share of a window's side that its neighbour sees too, 0 <= overlap < 1.

    Returns:
        (B, K, H, W) float32, summing to 1 over K.

    Raises:
        ValueError: an empty window, or an overlap outside its range.
    """
    if min(window) < 1:
        raise ValueError(f"window = {window}; expected (height, width), each at least 1")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap = {overlap}; expected 0 <= overlap < 1")
    height, width = pixels.shape[-2:]
    window_height, window_width = window
    rows, columns = window_starts(height, window_height, overlap), window_starts(width, window_width, overlap)
    total: Tensor | None = None
    for top in rows:
        for left in columns:
            seen = pixels[..., top : top + window_height, left : left + window_width]
            bottom, right = top + seen.shape[-2], left + seen.shape[-1]
            # 0 is the mean colour, now that it is subtracted
            padded = F.pad(seen, (0, window_width - seen.shape[-1], 0, window_height - seen.shape[-2]))
            found = model(padded).float().softmax(dim=1)[..., : bottom - top, : right - left]
            if total is None:
                total = found.new_zeros(*found.shape[:2], height, width)  # (B, K, H, W)
            total[..., top:bottom, left:right] += found
    down = _times_seen(height, rows, window_height).to(total)
    across = _times_seen(width, columns, window_width).to(total)
    return total.div_(down[:, None]).div_(across)


def _times_seen(length: int, starts: list[int], window: int) -> Tensor:
    """(length,) by how many windows each place of a side is seen."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts


PALETTES = {11: camvid_palette, 19: cityscapes_palette}  # by number of classes: weights do not say what of
BATCH_PIXELS = 8 * 513 * 513  # eight images of VOC, or one of 1024 x 2048, which a GPU of 8 GB has room for


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Tensor,
    normalisation: Normalisation = IMAGENET,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    pad_to: int | None = None,
    window: tuple[int, int] | None = None,
    overlap: float = 1 / 3,
) -> Tensor:
    """Class probabilities, averaged over scales and mirror images (DeepLabv3 Table 6: the mean of the probabilities).

    Args:
        model: put into evaluation mode by the caller.
        images: (B, 3, H, W) uint8 RGB on the model's device.
        scales: of the input. The scaled side is (side - 1) * scale + 1, so that 513 becomes 512 * scale + 1.
        flip: average with the prediction for the mirrored image.
        pad_to: side of a square that every image is put into first, at its top left, with the mean colour around it;
            the prediction is cut back. The papers' code evaluates VOC so, at 513, and a network that was trained on
            padded images with align_corners=True needs it.
        window: (height, width) of the parts in which each scaled image is predicted; None predicts it whole. The
            probabilities of a scale are averaged over its windows before they are resized.
        overlap: of windows, as `seglib.predict.window_probabilities`.

    Returns:
        (B, K, H, W) float32, summing to 1 over K.

    Raises:
        ValueError: no scale, or one that is not above 0; images larger than `pad_to`; an impossible window or overlap.
    """
    if min(scales, default=1) <= 0:
        raise ValueError(f"predict: scales = {tuple(scales)}; expected each to be more than 0")
    pixels = normalisation(images)  # (B, 3, H, W) float32
    if pad_to is not None:
        pixels = _padded(pixels, pad_to)
    height, width = pixels.shape[-2:]
    total: Tensor | None = None
    for scale in scales:
        size = (round((height - 1) * scale) + 1, round((width - 1) * scale) + 1)
        scaled = pixels
        if size != (height, width):
            scaled = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        for mirrored in (False, True) if flip else (False,):
            view = scaled.flip(-1) if mirrored else scaled
            if window is None:
                probabilities = _resized(model(view).float(), (height, width)).softmax(dim=1)  # (B, K, H, W)
            else:
                probabilities = _resized(window_probabilities(model, view, window, overlap), (height, width))
            probabilities = probabilities.flip(-1) if mirrored else probabilities
            # added in place: at 1024 x 2048 and 19 classes every copy is 159 MB
            total = probabilities if total is None else total.add_(probabilities)
            del view, probabilities
    if total is None:
        raise ValueError("predict: scales is empty; expected at least one, such as (1.0,)")
    return total.div_(len(scales) * (2 if flip else 1))[..., : images.shape[-2], : images.shape[-1]]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _padded(pixels: Tensor, side: int) -> Tensor:
    height, width = pixels.shape[-2:]
    if max(height, width) > side:
        raise ValueError(f"pad_to = {side}; expected at least the image's larger side, found {height} x {width}")
    return F.pad(pixels, (0, side - width, 0, side - height))  # 0 is the mean colour, now that it is subtracted


def evaluate(
    model: nn.Module,
    dataset: SegmentationDataset,
    normalisation: Normalisation = IMAGENET,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    output_stride: int | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    progress: bool = False,
    trimap: Mapping[int, ConfusionMatrix] | None = None,
    pad_to: int | None = None,
    window: tuple[int, int] | None = None,
    overlap: float = 1 / 3,
) -> ConfusionMatrix:
    """One confusion matrix over a whole data set, each image at its label's own resolution, void left out.

    Args:
        dataset: without a transform, so that images and labels are what is on the disk.
        output_stride: evaluate at this stride and put the model's own back afterwards; None leaves it.
        batch_size: images of equal size are predicted together, at most so many, and fewer large ones (`equal_sizes`).
        trimap: a band's width in pixels to a matrix on the model's device, which counts the pixels of that band too
            (v3+ section 4.4; `seglib.metrics.update_trimap`).
        pad_to, window, overlap: as `predict`.

    Returns:
        The matrix; `.compute()` gives the scores. The model is left in the mode it came in.

    Raises:
        ValueError: the data set has a transform.
    """
    if dataset.transform is not None:
        raise ValueError("evaluate: the data set has a transform; scores count on the labels as they are stored")
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(dataset.num_classes, dataset.ignore_index, device=device)
    stride, modes = model.output_stride, [(module, module.training) for module in model.modules()]
    model.eval()
    if output_stride is not None:
        model.set_output_stride(output_stride)
    try:
        samples = DataLoader(dataset, batch_size=None, num_workers=num_workers, generator=torch.Generator())
        samples = tqdm(samples, desc="evaluate", unit="image", disable=not progress, leave=False)
        for images, labels in equal_sizes(samples, batch_size):
            pixels = torch.stack(images).to(device).permute(0, 3, 1, 2)  # (B, 3, H, W)
            probabilities = predict(model, pixels, normalisation, scales, flip, pad_to, window, overlap)
            predictions = probabilities.argmax(dim=1).to(torch.uint8)  # (B, H, W)
            truth = torch.stack(labels).to(device)
            matrix.update(truth, predictions)
            update_trimap(trimap or {}, truth, predictions)
    finally:
        for module, training in modes:  # one by one: a frozen batch norm stays frozen
            module.training = training
        if output_stride is not None:
            model.set_output_stride(stride)
    return matrix


def equal_sizes(
    samples: Iterable[tuple[Tensor, Tensor]], batch_size: int
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Groups samples of equal image size into batches of at most `batch_size`; every sample comes out once.

    Images that hold more than BATCH_PIXELS together make smaller batches, down to one image.
    """
    waiting: dict[tuple[int, ...], tuple[list[Tensor], list[Tensor]]] = {}
    for image, label in samples:
        images, labels = waiting.setdefault(tuple(image.shape), ([], []))
        images.append(image)
        labels.append(label)
        if len(images) >= min(batch_size, BATCH_PIXELS // label.numel()):
            yield waiting.pop(tuple(image.shape))
    yield from waiting.values()


def predict_image(
    model: nn.Module,
    image: np.ndarray,
    normalisation: Normalisation = IMAGENET,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    pad_to: int | None = None,
    window: tuple[int, int] | None = None,
    overlap: float = 1 / 3,
) -> np.ndarray:
    """The label map of one image: (H, W, 3) uint8 RGB -> (H, W) uint8 class indices. Arguments as `predict`."""
    device = next(model.parameters()).device
    batch = torch.from_numpy(image).to(device).permute(2, 0, 1)[None]  # (1, 3, H, W)
    probabilities = predict(model, batch, normalisation, scales, flip, pad_to, window, overlap)  # (1, K, H, W)
    return probabilities.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()


def save_mask(path: Path, labels: np.ndarray, palette: np.ndarray) -> None:
    """Writes (H, W) uint8 class indices as a palette PNG, as Pascal VOC stores its labels."""
    mask = Image.fromarray(labels)
    mask.putpalette(palette.astype(np.uint8).tobytes())
    mask.save(path)


def _write_masks(options: argparse.Namespace) -> None:
    targets = {image: options.output / f"{image.stem}.png" for image in options.images}
    for image, target in targets.items():
        if list(targets.values()).count(target) > 1 or target.resolve() == image.resolve():
            raise ValueError(f"{image}: its mask would overwrite another file; expected images of different names")
    from seglib.train.checkpoint import load_run

    if options.source:
        model, recipe = load_checkpoint(options.checkpoint, options.source), Recipe()
    else:
        model, recipe = load_run(options.checkpoint)
    if options.ids and model.num_classes != 19:
        raise ValueError(f"--ids are those of Cityscapes' 19 classes; {options.checkpoint} has {model.num_classes}")
    if options.output_stride:
        model.set_output_stride(options.output_stride)
    model.to(options.device, memory_format=torch.channels_last)
    palette = PALETTES.get(model.num_classes, voc_palette)()
    options.output.mkdir(parents=True, exist_ok=True)
    for image, target in targets.items():
        labels = predict_image(
            model,
            _read_image(image),
            Normalisation.named(options.normalisation or recipe.normalisation),
            scales=options.scales or recipe.eval_scales,
            flip=recipe.eval_flip if options.flip is None else options.flip,
            pad_to=options.pad_to,
            window=tuple(options.window) if options.window else recipe.eval_window,
            overlap=options.overlap,
        )
        if options.ids:
            Image.fromarray(train_ids_to_ids(labels)).save(target)
        else:
            save_mask(target, labels, palette)
        print(target)


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise ValueError(f"{path}: not an image that can be read ({error})") from error


def main(arguments: list[str] | None = None) -> None:
    """Command line: `python -m seglib.predict CHECKPOINT IMAGE... --output DIR`."""
    parser = argparse.ArgumentParser(
        prog="python -m seglib.predict",
        description="Write a palette PNG of classes for each image, of its size and name. What is not given is as the "
        "run's recipe evaluates.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a run, or another library's weights")
    parser.add_argument("images", type=Path, nargs="+", metavar="image")
    parser.add_argument("--output", type=Path, required=True, help="folder for the masks")
    parser.add_argument("--ids", action="store_true", help="Cityscapes: grey PNGs of ids, as its benchmark wants them")
    parser.add_argument("--source", choices=tuple(LAYOUTS), help="the library that other weights come from")
    parser.add_argument("--normalisation", choices=("imagenet", "unit"))
    parser.add_argument("--output-stride", type=int)
    parser.add_argument("--scales", type=float, nargs="+")
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, help="average with the mirrored image")
    parser.add_argument("--pad-to", type=int, help="side of a square to put every image into")
    parser.add_argument("--window", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="predict in windows")
    parser.add_argument("--overlap", type=float, default=1 / 3, help="of windows, a share of their side (default 1/3)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    try:
        _write_masks(options)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
