"""The places of a map's values on the image, and the map between them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RULES = ("first_pixel", "cell_centre", "centred", "stretched")


@dataclass(frozen=True)
class Grid:
    """The places of a map's values on the image, and bilinear interpolation between them.

    The rule says where value k of a map lies, along each axis:

    - "first_pixel": on pixel k * stride, where strided convolutions and poolings of odd size leave it that are padded
      on both sides alike.
    - "cell_centre": on k * stride + (stride - 1) / 2, in the middle of its cell, where a 2x2 pooling leaves it.
    - "centred": map and image lie outline on outline, whatever their sizes (`F.interpolate(..., align_corners=False)`).
      At sides of k * stride this is "cell_centre".
    - "stretched": the outermost values lie on the outermost pixels (`align_corners=True`). At sides of k * stride + 1
      this is "first_pixel".

    Raises:
        ValueError: if the rule is unknown.
    """

    stride: int  # pixels of the image from one value to the next
    rule: str = "first_pixel"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule = {self.rule!r}; expected one of {RULES}")

    def resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Samples a map at every pixel of an image; beyond its outermost values it stays as it is there.

        (B, C, h, w) -> (B, C, *size). Raises ValueError if a map at this stride is larger or smaller for such an image.
        """
        return self._sample(x, size, (self.stride, self.stride))

    def resize_columns(self, x: Tensor, width: int) -> Tensor:
        """As `resize`, of each row by itself. (B, C, h, w) -> (B, C, h, width)."""
        return self._sample(x, (x.shape[2], width), (1, self.stride))

    def places(self, pixels: Tensor, map_side: int, image_side: int) -> Tensor:
        """Returns the places on a side of the map, 0 to map_side - 1, that pixels of the image are sampled at."""
        if self.rule == "first_pixel":
            places = pixels / self.stride
        elif self.rule == "cell_centre":
            places = (pixels + 0.5) / self.stride - 0.5
        elif self.rule == "centred":
            places = (pixels + 0.5) * (map_side / image_side) - 0.5
        else:
            places = pixels * ((map_side - 1) / max(image_side - 1, 1))
        return places.clamp(0, map_side - 1)

    def pick(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """Takes the label of the pixel that each value of a map lies on. (B, H, W) -> (B, *size)."""
        rows, columns = (
            self._pixels(side, image_side).to(labels.device)
            for side, image_side in zip(size, labels.shape[1:], strict=True)
        )
        return labels[:, rows[:, None], columns]

    def _pixels(self, map_side: int, image_side: int) -> Tensor:
        values = torch.arange(map_side, dtype=torch.float64)
        if self.rule == "first_pixel":
            return (values * self.stride).long()
        if self.rule == "cell_centre":  # of an even number of pixels the lower right one of the middle two
            return ((values + 0.5) * self.stride).long().clamp(max=image_side - 1)
        if self.rule == "centred":
            return ((values + 0.5) * (image_side / map_side)).long()
        return (values * ((image_side - 1) / max(map_side - 1, 1))).round().long()

    def _sample(self, x: Tensor, size: tuple[int, int], strides: tuple[int, int]) -> Tensor:
        if self.rule in ("centred", "stretched"):
            return F.interpolate(x, size=size, mode="bilinear", align_corners=self.rule == "stretched")
        if any(-(-side // stride) != found for side, stride, found in zip(size, strides, x.shape[2:], strict=True)):
            raise ValueError(f"a map of {(*x.shape[2:],)} at strides {strides} fits no image of {(*size,)}")
        if self.rule == "cell_centre":
            whole = [side * stride for side, stride in zip(x.shape[2:], strides, strict=True)]
            x = F.interpolate(x, size=whole, mode="bilinear", align_corners=False)
        else:
            # Where the image goes on beyond the last value, that value is repeated.
            right, bottom = (int(size[axis] > (x.shape[2 + axis] - 1) * strides[axis] + 1) for axis in (1, 0))
            x = F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x
            whole = [(side - 1) * stride + 1 for side, stride in zip(x.shape[2:], strides, strict=True)]
            x = F.interpolate(x, size=whole, mode="bilinear", align_corners=True)
        return x[..., : size[0], : size[1]]
