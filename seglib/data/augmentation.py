"""Augmentation in three levels: geometric; and photometric; and occlusion and blur."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from seglib.data.dataset import Transform
from seglib.data.transforms import IMAGE_MEAN, ColorJitter, Compose, RandomFlip, RandomScaleCrop, Sample, Squash

LEVELS = ("geometric", "photometric", "occlusion")
JITTER = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05)


@dataclass(frozen=True)
class RandomBlur:
    """Blurs the image, with probability `p`, by a Gaussian whose deviation in pixels is drawn from `sigma_range`.

    Raises:
        ValueError: an argument is out of range.
    """

    p: float = 0.5
    sigma_range: tuple[float, float] = (0.3, 1.5)

    def __post_init__(self) -> None:
        _check_probability(self.p)
        if not 0 <= self.sigma_range[0] <= self.sigma_range[1]:
            raise ValueError(f"sigma_range: expected 0 <= smallest <= largest, found {self.sigma_range}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        draw, position = rng.random(2)
        if draw >= self.p:
            return image, label
        low, high = self.sigma_range
        blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(low + position * (high - low))))
        return np.asarray(blurred), label


@dataclass(frozen=True)
class RandomOcclusion:
    """Hides a rectangle, with probability `p`: `fill` in the image and void in the label (after Zhong et al. 2020).

    The pixels of the hidden part are not asked for: nothing in the picture says what they were.

    Args:
        area_range: share of the image that is hidden, more than 0 and less than 1.
        aspect_range: height over width of the rectangle, which is cut where the image ends.

    Raises:
        ValueError: an argument is out of range.
    """

    p: float = 0.5
    area_range: tuple[float, float] = (0.02, 0.2)
    aspect_range: tuple[float, float] = (0.3, 3.3)
    fill: tuple[int, int, int] = IMAGE_MEAN
    ignore_index: int = 255

    def __post_init__(self) -> None:
        _check_probability(self.p)
        if not 0 < self.area_range[0] <= self.area_range[1] < 1:
            raise ValueError(f"area_range: expected 0 < smallest <= largest < 1, found {self.area_range}")
        if not 0 < self.aspect_range[0] <= self.aspect_range[1]:
            raise ValueError(f"aspect_range: expected 0 < smallest <= largest, found {self.aspect_range}")

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        draw, area, aspect, *corner = rng.random(5)
        if draw >= self.p:
            return image, label
        height, width = label.shape
        area = (self.area_range[0] + area * (self.area_range[1] - self.area_range[0])) * height * width
        lowest, highest = (math.log(bound) for bound in self.aspect_range)  # 1 : 3 and 3 : 1 are equally likely
        ratio = math.exp(lowest + aspect * (highest - lowest))
        rows = min(height, max(1, round(math.sqrt(area * ratio))))
        columns = min(width, max(1, round(math.sqrt(area / ratio))))
        top, left = int(corner[0] * (height - rows + 1)), int(corner[1] * (width - columns + 1))
        hidden = np.s_[top : top + rows, left : left + columns]
        image, label = image.copy(), label.copy()
        image[hidden], label[hidden] = self.fill, self.ignore_index
        return image, label


def augmentation(
    level: str,
    crop_size: int,
    scale_range: tuple[float, float] = (0.5, 2.0),
    scale_step: float | None = None,
    flip: float = 0.5,
    fill: tuple[int, int, int] = IMAGE_MEAN,
    squash: tuple[int, int] | None = None,
) -> Compose:
    """The training transform of a level; each level does all that the one before it does.

    Args:
        level: "geometric": scale, crop and flip, the papers' own (v3 sec. 4.1); "photometric": brightness, contrast,
            saturation and hue too; "occlusion": a hidden rectangle and blur too.
        squash: (height, width) of a plain resize in place of scale and crop; None for none.
        The others are those of `RandomScaleCrop` and `RandomFlip`.

    Colours and blur come first, so that padding keeps the mean colour and no edge of it is smeared into the image.

    Raises:
        ValueError: an unknown level; as the transforms.
    """
    if level not in LEVELS:
        raise ValueError(f"augmentation: level = {level!r}; expected one of {LEVELS}")
    window = Squash(squash) if squash else RandomScaleCrop(crop_size, scale_range, scale_step, fill)
    steps: list[Transform] = [window, RandomFlip(flip)]
    if level != "geometric":
        steps.insert(0, JITTER)
    if level == "occlusion":
        steps.insert(1, RandomBlur())
        steps.append(RandomOcclusion(fill=fill))
    return Compose(tuple(steps))


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability, 0 to 1, found {p}")
