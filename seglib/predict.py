"""Predictions and scores at the label's own resolution: several scales, mirror images, sliding windows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from seglib.data.base import SegmentationDataset
from seglib.data.transforms import IMAGENET, Normalisation, Squash
from seglib.geometry import Grid
from seglib.metrics import ConfusionMatrix, update_trimap  # a trimap: the pixels close to void
from seglib.recipe import Recipe

BATCH_PIXELS = 8 * 513 * 513  # eight images of VOC, or one of 1024 x 2048, which a GPU of 8 GB has room for
BAND_ROWS = 32


@dataclass(frozen=True)
class Scoring:
    """A trained network's way to predict; the probabilities of all views (scales, mirrored) are averaged (v3 Table 6).

    The scaled side is (side - 1) * scale + 1, so that 513 becomes 512 * scale + 1. Images shrink as in training: with
    antialiasing, which the authors' TensorFlow resize does without; it aligns the corners too. Set pad_to=513, as the
    papers' code does, for networks that were trained on padded images with align_corners=True.

    The values of a map at stride s lie on pixels 0, s, 2 s and so on. Where an image ends beyond the last of them, its
    edge pixels are repeated up to the next one, and the prediction is cut back; otherwise one value predicts the rest.
    """

    scales: tuple[float, ...] = (1.0,)  # of the input
    flip: bool = False  # average with the prediction for the mirrored image
    output_stride: int | None = None  # predict at this stride; None takes the model's
    window: tuple[int, int] | None = None  # (height, width) of sliding windows in a scaled image; None takes it whole
    overlap: float = 1 / 3  # least share of a window's side that its neighbour sees too, 0 <= overlap < 1
    pad_to: int | None = None  # side of a square to put images into, with the mean colour at the bottom and right
    continued: bool | None = None  # repeat edge pixels as said; None: if values of its maps lie on first pixels

    def __post_init__(self) -> None:
        if min(self.scales, default=0) <= 0:
            raise ValueError(f"scales = {self.scales}; expected at least one, each more than 0")
        if self.window is not None and min(self.window) < 1:
            raise ValueError(f"window = {self.window}; expected (height, width), each at least 1")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap = {self.overlap}; expected 0 <= overlap < 1")

    @classmethod
    def of(cls, recipe: Recipe) -> "Scoring":
        """Returns the scoring that a recipe names."""
        views = (recipe.eval_scales, recipe.eval_flip, recipe.eval_output_stride, recipe.eval_window)
        return cls(*views, continued=recipe.eval_continued)


ONE_VIEW = Scoring()


def predict(
    model: nn.Module, images: Tensor, normalisation: Normalisation = IMAGENET, scoring: Scoring = ONE_VIEW
) -> Tensor:
    """Computes class probabilities, (B, K, H, W) float32, which sum to 1 over K.

    Args:
        model: runs in evaluation mode, and is left in the mode and at the output stride that it came with.
        images: (B, 3, H, W) uint8 RGB on the model's device.

    Raises:
        ValueError: if images are larger than `pad_to`, or the model does not offer the output stride.
    """
    with _as_scored(model, scoring):
        return _average_views(model, normalisation(images), scoring)


def predict_labels(
    model: nn.Module, images: Tensor, normalisation: Normalisation = IMAGENET, scoring: Scoring = ONE_VIEW
) -> Tensor:
    """Predicts the most probable class of every pixel, (B, H, W) uint8; arguments and errors are those of `predict`."""
    with _as_scored(model, scoring):
        return _predict_labels(model, images, normalisation, scoring)


def predict_image(
    model: nn.Module, image: np.ndarray, normalisation: Normalisation = IMAGENET, scoring: Scoring = ONE_VIEW
) -> np.ndarray:
    """Predicts the label map of one image: (H, W, 3) uint8 RGB -> (H, W) uint8 class indices; see `predict`."""
    image = np.require(image, requirements=["C", "W"])  # a PIL image too; torch takes no read-only arrays
    if image.ndim != 3:
        raise ValueError(f"image: expected (H, W, 3) uint8 RGB, found {image.shape} {image.dtype}")
    batch = torch.from_numpy(image).to(next(model.parameters()).device).permute(2, 0, 1)[None]  # (1, 3, H, W)
    return predict_labels(model, batch, normalisation, scoring)[0].cpu().numpy()


def evaluate(
    model: nn.Module,
    dataset: SegmentationDataset,
    normalisation: Normalisation = IMAGENET,
    scoring: Scoring = ONE_VIEW,
    *,
    trimap: Mapping[int, ConfusionMatrix] | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    progress: bool = False,
) -> ConfusionMatrix:
    """Counts one confusion matrix over a whole data set, each image at its label's own resolution, void left out.

    Args:
        model: left in the mode and at the output stride that it came with.
        dataset: without a transform, so that images and labels are as they are on the disk; or with a `Squash`, which
            moves the score to its own resolution.
        trimap: a width in pixels -> a matrix on the model's device, which counts the pixels so close to void, which is
            where objects meet (v3+ section 4.4; `seglib.metrics.update_trimap`).
        batch_size: images of equal size are predicted together, at most so many, and fewer large ones.
        num_workers: processes that read images.

    Raises:
        ValueError: if the data set has a transform, or other classes than the model; also as `predict`.
    """
    if not isinstance(dataset.transform, Squash | None):
        raise ValueError("evaluate: the data set has a transform; scores count on the labels as they are stored")
    if (found := getattr(model, "num_classes", dataset.num_classes)) != dataset.num_classes:
        raise ValueError(f"evaluate: the network has {found} classes, the data set {dataset.num_classes}")
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(dataset.num_classes, dataset.ignore_index, device=device)
    samples = DataLoader(dataset, batch_size=None, num_workers=num_workers, generator=torch.Generator())
    samples = tqdm(samples, desc="evaluate", unit="image", disable=not progress, leave=False)
    with _as_scored(model, scoring):
        for images, labels in group_equal_sizes(samples, batch_size):
            pixels = torch.stack(images).to(device).permute(0, 3, 1, 2)  # (B, 3, H, W)
            predictions = _predict_labels(model, pixels, normalisation, scoring)  # (B, H, W)
            truth = torch.stack(labels).to(device)
            matrix.update(truth, predictions)
            update_trimap(trimap or {}, truth, predictions)
    return matrix


@contextmanager
def _as_scored(model: nn.Module, scoring: Scoring) -> Iterator[None]:
    """Puts the model into evaluation mode and at the output stride of the scoring, and undoes both afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    if scoring.output_stride and not hasattr(model, "set_output_stride"):
        found = f"output_stride = {scoring.output_stride}; {type(model).__name__} has no choice"
        raise ValueError(f"{found}: expected None")
    stride = model.output_stride if scoring.output_stride else None
    model.eval()
    try:
        if stride:
            model.set_output_stride(scoring.output_stride)
        yield
    finally:
        for module, training in modes:  # one by one: a frozen batch norm stays frozen
            module.training = training
        if stride:
            model.set_output_stride(stride)


@torch.inference_mode()
def _predict_labels(model: nn.Module, images: Tensor, normalisation: Normalisation, scoring: Scoring) -> Tensor:
    """Predicts class indices. (B, 3, H, W) uint8 -> (B, H, W) uint8."""
    if scoring.window is not None and scoring.scales == (1.0,) and scoring.pad_to is None:
        return torch.cat([*_label_strips(model, images, normalisation, scoring)], dim=1)
    pixels = normalisation(images)
    if scoring.scales != (1.0,) or scoring.flip or scoring.window is not None:
        return _average_views(model, pixels, scoring).max(dim=1).indices.to(torch.uint8)
    height, width = pixels.shape[-2:]
    pixels = _pad(pixels, scoring.pad_to)
    logits, grid, size = predict_map(model, pixels, scoring)
    return grid.argmax(logits, size)[:, :height, :width]


def _label_strips(model: nn.Module, images: Tensor, normalisation: Normalisation, scoring: Scoring) -> Iterator[Tensor]:
    """Predicts by windows at one scale, a strip of rows at a time: only uint8 tensors hold the whole image."""
    strips = _average_strips(model, images, scoring, normalisation)
    if scoring.flip:
        mirrored = _average_strips(model, images.flip(-1), scoring, normalisation)
        strips = ((plain + other.flip(-1)) / 2 for plain, other in zip(strips, mirrored, strict=True))
    for strip in strips:
        yield strip.max(dim=1).indices.to(torch.uint8)  # (B, rows, W)


@torch.inference_mode()
def _average_views(model: nn.Module, pixels: Tensor, scoring: Scoring) -> Tensor:
    """Averages the class probabilities of normalised images over all views. -> (B, K, H, W) float32."""
    whole = pixels.shape[-2:]
    pixels = _pad(pixels, scoring.pad_to)
    height, width = pixels.shape[-2:]
    total: Tensor | None = None
    for scale in scoring.scales:
        size = (round((height - 1) * scale) + 1, round((width - 1) * scale) + 1)
        scaled = _resize(pixels, size, antialias=True)
        for mirrored in (False, True) if scoring.flip else (False,):
            view = scaled.flip(-1) if mirrored else scaled
            if scoring.window is None:
                maps, grid, padded = predict_map(model, view, scoring)
            else:
                maps = torch.cat([*_average_strips(model, view, scoring, lambda window: window)], dim=2)
                grid, padded = Grid(1), size
            if total is None:
                total = maps.new_zeros(*maps.shape[:2], height, width)  # (B, K, H, W)
            columns = _resize(grid.resize_columns(maps, padded[1])[..., : size[1]], (maps.shape[2], width))
            columns = columns.flip(-1) if mirrored else columns  # (B, K, h, W)
            # A band of rows at a time: at 1024 x 2048 and 19 classes a view's full-size logits are 159 MB.
            for rows, weights, source in _bands(grid, maps.shape[2], padded[0], size[0], height):
                band = weights.to(maps) @ columns[:, :, source]  # (B, K, rows, W)
                total[:, :, rows] += band.softmax(dim=1) if scoring.window is None else band
    views = len(scoring.scales) * (2 if scoring.flip else 1)
    return total.div_(views)[..., : whole[0], : whole[1]]


def _bands(grid: Grid, map_side: int, padded: int, scaled: int, height: int) -> Iterator[tuple[slice, Tensor, slice]]:
    """Yields bands of an image's rows: which rows, the weights that mix them, and of which rows of the map.

    The map is sampled at `padded` rows, cut back to `scaled` ones, and resized to `height`.
    """
    one_each = torch.eye(map_side)[None, ..., None]  # (1, map_side, map_side, 1): each channel marks a row
    matrix = _resize(grid.resize(one_each, (padded, 1))[:, :, :scaled], (height, 1))[0, ..., 0].T  # (height, map_side)
    for top in range(0, height, BAND_ROWS):
        weights = matrix[top : top + BAND_ROWS]
        used = weights.any(dim=0).nonzero()
        source = slice(int(used[0]), int(used[-1]) + 1)
        yield slice(top, top + len(weights)), weights[:, source], source


def predict_map(model: nn.Module, pixels: Tensor, scoring: Scoring) -> tuple[Tensor, Grid, tuple[int, int]]:
    """Predicts logits of normalised images that are continued as the scoring asks.

    Returns them at the network's own stride, (B, K, h, w) float32, their grid, and the size of the continued images.
    """
    height, width = pixels.shape[-2:]
    grid: Grid | None = getattr(model, "backbone_grid", None)  # any network can be scored; ours know their grid
    if grid is None:
        found = model(pixels)
        # torchvision's networks return a dictionary
        return (found["out"] if isinstance(found, Mapping) else found).float(), Grid(1), (height, width)
    if scoring.continued if scoring.continued is not None else grid.rule == "first_pixel":
        # up to the next s * k + 1; in this form torch.export knows that it is one
        right, below = ((side + grid.stride - 2) // grid.stride * grid.stride + 1 - side for side in (width, height))
        pixels = F.pad(pixels, (0, right, 0, below), mode="replicate")
    return model(pixels, upsample=False).float(), model.logits_grid, (*pixels.shape[-2:],)


def _average_strips(
    model: nn.Module, images: Tensor, scoring: Scoring, normalise: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """Averages the class probabilities of all windows that see a pixel; yields finished rows, (B, K, rows, W).

    One row of windows is in memory at a time. Where a side is shorter than the window, it is padded with the mean
    colour, and the prediction is cut back. `normalise` takes one window at a time.
    """
    (height, width), window = images.shape[-2:], scoring.window
    rows = window_starts(height, window[0], scoring.overlap)
    columns = window_starts(width, window[1], scoring.overlap)
    down, across = _count_views(height, rows, window[0]), _count_views(width, columns, window[1])
    strip: Tensor | None = None
    for top, following in zip(rows, [*rows[1:], height], strict=True):
        bottom, begun = min(top + window[0], height), strip
        strip = None
        for left in columns:
            seen = normalise(images[..., top:bottom, left : left + window[1]])
            # 0 is the mean colour, now that it is subtracted
            padded = F.pad(seen, (0, window[1] - seen.shape[-1], 0, window[0] - seen.shape[-2]))
            logits, grid, size = predict_map(model, padded, scoring)
            found = grid.resize(logits, size)[..., : bottom - top, : seen.shape[-1]].softmax(dim=1)
            if strip is None:
                strip = found.new_zeros(*found.shape[:2], bottom - top, width)  # (B, K, h, W)
                if begun is not None:
                    strip[:, :, : begun.shape[2]] = begun
            strip[..., left : left + found.shape[-1]] += found
        done, strip = strip[:, :, : following - top], strip[:, :, following - top :]
        yield done.div_(down[top:following, None].to(done)).div_(across.to(done))


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Places windows along a side, so that they cover 0 to `length` and at least the share `overlap` of each other.

    The last one is moved back to end at `length`; a side no longer than a window has one, which begins at 0.
    """
    stride = max(int(window * (1 - overlap)), 1)
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _count_views(length: int, starts: list[int], window: int) -> Tensor:
    """Counts by how many windows each place of a side is seen. -> (length,)."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def _resize(maps: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def _pad(pixels: Tensor, side: int | None) -> Tensor:
    if side is None:
        return pixels
    height, width = pixels.shape[-2:]
    if max(height, width) > side:
        raise ValueError(f"pad_to = {side}; expected at least the image's larger side, found {height} x {width}")
    return F.pad(pixels, (0, side - width, 0, side - height))  # 0 is the mean colour, now that it is subtracted


def group_equal_sizes(
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
