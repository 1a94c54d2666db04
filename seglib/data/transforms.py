"""Joint transforms of an image and its label map, and the step from uint8 to what a network takes.

Every transform is a frozen dataclass called as `(image, label, rng) -> (image, label)`: image (H, W, C) uint8, RGB,
label (H, W) uint8 with 255 = void. The image is interpolated; the label never is, it takes the nearest pixel. A random
transform draws the same number of values whatever the image, so that one step never shifts the next step's draws.
`resampling` does the work on pixels: `resample_image` and `resample_label` resize and cut out a window, `pad` fills up.
`data/augmentation.py` has the other steps and puts a recipe's together (`build_augmentation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seglib.data.base import SegmentationDataset, Transform
from seglib.data.resampling import Size, flip, pad, resample_image, resample_label

Sample = tuple[np.ndarray, np.ndarray]
Colour = tuple[int, ...]  # a value for each channel
IMAGE_MEAN = (124, 116, 104)  # ImageNet's mean colour, which normalises to nearly 0


def check_range(name: str, value: float, largest: float) -> None:
    if not 0 <= value <= largest:
        raise ValueError(f"{name}: expected 0 to {largest}, found {value}")


@dataclass(frozen=True)
class Compose:
    """The steps one after the other, sharing one generator."""

    steps: tuple[Transform, ...]

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        for step in self.steps:
            image, label = step(image, label, rng)
        return image, label


@dataclass(frozen=True)
class RandomScaleCrop:
    """Scales image and label at random and takes a random window (DeepLabv3 sec. 4.1: scale 0.5 to 2.0, crop 513).

    An image smaller than the window is padded at the bottom and the right, as in the authors' code, with `fill` and
    void. The bilinear filter widens when it shrinks (antialiasing, as Pillow's); the authors' TensorFlow resize does
    not, and aligns the corners. Their code draws one of seven scales, here any in the range.
    """

    crop_size: int | Size  # side of the square window, or (height, width), in pixels
    scale_range: tuple[float, float] = (0.5, 2.0)  # smallest and largest scale
    fill: Colour = IMAGE_MEAN  # of padded pixels

    def __post_init__(self) -> None:
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"scale_range: expected 0 < smallest <= largest, found {self.scale_range}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        draws, (low, high) = rng.random(3), self.scale_range
        crop = (self.crop_size, self.crop_size) if isinstance(self.crop_size, int) else self.crop_size
        scale = low + draws[0] * (high - low)
        size = tuple(max(1, int(side * scale)) for side in label.shape)  # truncated, as the authors' code does
        extent = tuple(min(pair) for pair in zip(size, crop, strict=True))
        corner = tuple(int(u * (s - e + 1)) for u, s, e in zip(draws[1:], size, extent, strict=True))
        image, label = resample_image(image, size, corner, extent), resample_label(label, size, corner, extent)
        return pad(image, label, crop, self.fill)


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors image and label left to right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_range("p", self.p, 1)

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        return (flip(image), flip(label)) if rng.random() < self.p else (image, label)


@dataclass(frozen=True)
class Squash:
    """Resizes to (height, width) whatever the image's own proportions are: notebook 07 shows the price."""

    size: Size

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator | None = None) -> Sample:
        whole = self.size, (0, 0), self.size
        return resample_image(image, *whole), resample_label(label, *whole)


def to_batch(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Stacks samples of one size: images (B, C, H, W) uint8 in channels_last order, labels (B, H, W) uint8."""
    sizes = {label.shape for _, label in samples}
    if len(sizes) != 1:
        found = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)) or "no sample"
        raise ValueError(f"to_batch: expected samples of one size, found {found}; crop or pad them first")
    images, labels = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True))
    return images.permute(0, 3, 1, 2), labels  # (B, H, W, C) -> (B, C, H, W)


@dataclass(frozen=True)
class Normalisation:
    """The pixel convention that a network's weights expect: (RGB / 255 - mean) / std, one value per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def named(convention: str, channels: int = 3) -> "Normalisation":
        """Returns "imagenet" (mean and deviation; for one channel the mean of each) or "unit" (value / 127.5 - 1)."""
        known = {"imagenet": IMAGENET, "unit": UNIT}
        if convention not in known:
            raise ValueError(f"normalisation = {convention!r}; expected one of {[*known]}")
        if channels == 3:
            return known[convention]
        if channels != 1 and convention == "imagenet":
            raise ValueError(f"normalisation = 'imagenet': expected 1 or 3 channels, found {channels}")
        mean, std = (sum(values) / 3 for values in (known[convention].mean, known[convention].std))
        return Normalisation((mean,) * channels, (std,) * channels)

    @property
    def fill(self) -> Colour:
        """The uint8 colour nearest to the mean: what padding should be."""
        return tuple(round(255 * value) for value in self.mean)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> float32 on the same device, in the same memory format. Raises ValueError otherwise."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != len(self.mean):
            raise ValueError(
                f"expected images (B, {len(self.mean)}, H, W) uint8, found {tuple(images.shape)} {images.dtype}"
            )
        mean, std = (torch.tensor(v).to(images.device, non_blocking=True) for v in (self.mean, self.std))
        values = images.to(torch.float32)
        if values.is_contiguous(memory_format=torch.channels_last):
            # whole rows at a time: on a CPU a broadcast over three neighbouring channels takes three times as long
            rows = values.permute(0, 2, 3, 1).flatten(2)  # (B, H, W C), the same memory
            rows.sub_((255 * mean).repeat(images.shape[3])).div_((255 * std).repeat(images.shape[3]))
            return values
        return values.sub_(255 * mean.view(-1, 1, 1)).div_(255 * std.view(-1, 1, 1))


def measure_normalisation(dataset: SegmentationDataset) -> Normalisation:
    """Measures mean and deviation of each channel over all pixels of a data set, before its transform."""
    sums, pixels = 0, 0
    for index in range(len(dataset)):
        image = dataset.read(index)[0]
        values = image.reshape(-1, image.shape[2]).astype(np.int64)  # (H W, C)
        sums = sums + np.stack([values.sum(axis=0), np.square(values).sum(axis=0)])
        pixels += len(values)
    mean, square = sums / pixels
    std = np.sqrt(np.maximum(square - np.square(mean), 1.0))  # a channel of one value stays finite
    return Normalisation(tuple((mean / 255).tolist()), tuple((std / 255).tolist()))


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
UNIT = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
