"""Transforms beyond the papers' own, colours, blur and occlusion, and a recipe's augmentation of all of them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from seglib.data.base import VOID
from seglib.data.resampling import Size, pad, resample_image, resample_label, to_image, to_pixels
from seglib.data.transforms import IMAGE_MEAN, Colour, Compose, RandomFlip, RandomScaleCrop, Sample, Squash, check_range

LEVELS = ("geometric", "photometric", "occlusion")


@dataclass(frozen=True)
class ResizeKeepAspect:
    """Resizes the longer side to `size` pixels and pads to a square of `size` at the bottom and the right."""

    size: int
    fill: Colour = IMAGE_MEAN

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator | None = None) -> Sample:
        scale = self.size / max(label.shape)
        size = tuple(max(1, round(side * scale)) for side in label.shape)
        image, label = resample_image(image, size, (0, 0), size), resample_label(label, size, (0, 0), size)
        return pad(image, label, (self.size, self.size), self.fill)


@dataclass(frozen=True)
class ColorJitter:
    """Changes brightness, contrast, saturation and hue at random, in this order; the label is left as it is."""

    brightness: float = 0.0  # a factor is drawn from [max(0, 1 - value), 1 + value]; so for the next two
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # a turn is drawn from [-value, value] of the colour circle; 0 to 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_range(name, value, 0.5 if name == "hue" else math.inf)

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        from torchvision.transforms.v2 import functional as photometric  # here: as slow to import as torch itself

        draws = rng.random(4)
        pixels = to_pixels(image)
        adjustments = (photometric.adjust_brightness, photometric.adjust_contrast, photometric.adjust_saturation)
        strengths = (self.brightness, self.contrast, self.saturation)
        for adjust, strength, draw in zip(adjustments, strengths, draws[:3], strict=True):
            if strength:
                low = max(0.0, 1 - strength)
                pixels = adjust(pixels, low + draw * (1 + strength - low))
        if self.hue:
            pixels = photometric.adjust_hue(pixels, (2 * draws[3] - 1) * self.hue)
        return np.ascontiguousarray(to_image(pixels)), label


@dataclass(frozen=True)
class RandomBlur:
    """Blurs the image, with probability `p`, by a Gaussian whose deviation is 0.3 to 1.5 pixels."""

    p: float = 0.5

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        draw, position = rng.random(2)
        if draw >= self.p:
            return image, label
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        blurred = picture.filter(ImageFilter.GaussianBlur(float(0.3 + position * (1.5 - 0.3))))
        return np.asarray(blurred).reshape(image.shape), label


@dataclass(frozen=True)
class RandomOcclusion:
    """Hides a rectangle, with probability `p`: `fill` in the image and void in the label (after Zhong et al. 2020).

    It covers 2 to 20 % of the image, and its height is 0.3 to 3.3 times its width; it is cut where the image ends. The
    pixels of the hidden part are not asked for: nothing in the picture says what they were.
    """

    p: float = 0.5
    fill: Colour = IMAGE_MEAN

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        draw, area, aspect, *corner = rng.random(5)
        if draw >= self.p:
            return image, label
        height, width = label.shape
        area = (0.02 + area * (0.2 - 0.02)) * height * width
        lowest, highest = math.log(0.3), math.log(3.3)  # 1 : 3 and 3 : 1 are about equally likely
        ratio = math.exp(lowest + aspect * (highest - lowest))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        rows, columns = min(height, max(1, rows)), min(width, max(1, columns))
        top, left = int(corner[0] * (height - rows + 1)), int(corner[1] * (width - columns + 1))
        hidden = np.s_[top : top + rows, left : left + columns]
        image, label = image.copy(), label.copy()
        image[hidden], label[hidden] = self.fill, VOID
        return image, label


def build_augmentation(
    level: str,
    crop_size: int,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
    fill: Colour = IMAGE_MEAN,
    squash: Size | None = None,
) -> Compose:
    """Builds the training transform of a level; each level does all that the one before it does.

    Colours and blur come first, so that padding keeps the mean colour and no edge of it is smeared into the image.

    Args:
        level: "geometric": scale, crop and flip, the papers' own (v3 sec. 4.1); "photometric": brightness, contrast,
            saturation and hue too; "occlusion": a hidden rectangle and blur too.
        crop_size, scale_range, fill: as of `RandomScaleCrop`.
        flip: probability of a mirror image.
        squash: (height, width) of a plain resize in place of scale and crop; None for none.
    """
    if level not in LEVELS:
        raise ValueError(f"augmentation: level = {level!r}; expected one of {LEVELS}")
    window = Squash(squash) if squash else RandomScaleCrop(crop_size, scale_range, fill)
    colours = [] if level == "geometric" else [ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05)]
    blur, occlusion = ([RandomBlur()], [RandomOcclusion(fill=fill)]) if level == "occlusion" else ([], [])
    return Compose((*colours, *blur, window, RandomFlip(flip), *occlusion))
