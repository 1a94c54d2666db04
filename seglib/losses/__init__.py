"""Losses over dense logits. Every mean is taken over the valid pixels: void pixels count neither above nor below."""

from seglib.losses.class_weights import class_weights
from seglib.losses.pixel import cross_entropy, focal, hard_pixel_cross_entropy
from seglib.losses.region import combined, dice
from seglib.losses.rmi import region_mutual_information
from seglib.losses.upsampled import upsampled_cross_entropy

__all__ = [
    "class_weights", "combined", "cross_entropy", "dice", "focal", "hard_pixel_cross_entropy",
    "region_mutual_information", "upsampled_cross_entropy",
]  # fmt: skip
