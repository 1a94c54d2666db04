"""Transforms of torchvision and albumentations as ours: `transform(image, label, rng)`, random only by `rng`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seglib.data.base import VOID
from seglib.data.transforms import Sample


@dataclass(frozen=True)
class TorchvisionTransform:
    """A transform of torchvision.transforms.v2, such as `v2.Compose([v2.RandomCrop(128), v2.RandomRotation(10)])`.

    Where it fills a mask, with 0 by default, the label is void. Leave out what makes numbers of the pixels.
    """

    transform: Callable[..., Any]

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        from torchvision import tv_tensors  # here: as slow to import as torch itself

        pixels = tv_tensors.Image(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            pixels, mask = self.transform(pixels, tv_tensors.Mask(torch.from_numpy(_shift(label))))
        return _check(pixels.permute(1, 2, 0).numpy(), mask.numpy())


@dataclass(frozen=True)
class AlbumentationsTransform:
    """An albumentations.Compose. Fills, and what to leave out, as of `TorchvisionTransform`."""

    transform: Any

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        self.transform.set_random_seed(int(rng.integers(2**31)))
        found = self.transform(image=image, mask=_shift(label))
        return _check(found["image"], found["mask"])


def _shift(label: np.ndarray) -> np.ndarray:
    if (label == VOID - 1).any():
        raise ValueError("a label holds class 254; expected at most 254 classes: a library's fill of 255 means void")
    return label + np.uint8(1)  # void, 255, wraps to 0, with which libraries fill


def _check(image: np.ndarray, mask: np.ndarray) -> Sample:
    if image.dtype != np.uint8 or mask.dtype != np.uint8 or image.ndim != 3 or image.shape[:2] != mask.shape:
        found = f"image {image.shape} {image.dtype}, mask {mask.shape} {mask.dtype}"
        expected = "(H, W, C) and (H, W), uint8: the recipe's normalisation makes numbers of the pixels"
        raise ValueError(f"the transform returned {found}; expected {expected}")
    return np.ascontiguousarray(image), np.where(mask == VOID, VOID, mask - np.uint8(1))  # a fill of 255 is void too
