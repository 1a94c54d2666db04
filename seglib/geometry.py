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

    - "first_pixel": on pixel k * stride, where a strided convolution or pooling of odd size leaves it, padded alike on
      both sides.
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

        (B, C, h, w) -> (B, C, *size). Raises ValueError if an image of `size` has a map of another size than x's.
        """
        return self._sample(x, size, (self.stride, self.stride))

    def resize_columns(self, x: Tensor, width: int) -> Tensor:
        """As `resize`, along the width only. (B, C, h, w) -> (B, C, h, width)."""
        return self._sample(x, (x.shape[2], width), (1, self.stride))

    def argmax(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Finds the class of the largest logit at every pixel of an image, as `resize(logits, size).argmax(dim=1)`.

        The full-size logits are never in memory, and most of them are not computed: a pixel's logits are a weighted
        mean of the four values around it, so where all four agree on a class, the pixel has that class.

        (B, K, h, w), at most 256 classes -> (B, *size) uint8. Raises ValueError as `resize`.
        """
        self.check_size(logits, size, (self.stride, self.stride))
        rows, columns = (
            self.neighbours(torch.arange(side, dtype=torch.float64), map_side, side)
            for side, map_side in zip(size, logits.shape[2:], strict=True)
        )
        winners = logits.max(dim=1).indices.to(torch.uint8)  # (B, h, w)
        low, high, row_share = (x.to(logits.device) for x in rows)
        left, right, column_share = (x.to(logits.device) for x in columns)
        labels = winners[:, low[:, None], left]  # (B, H, W)
        beside, below = (F.pad(winners, pad, mode="replicate") for pad in ((0, 1, 0, 0), (0, 0, 0, 1)))
        mixed = (winners != beside[..., 1:]) | (winners != below[:, 1:])  # (B, h, w): the corners of a cell differ
        mixed[:, :-1] |= winners[:, 1:] != beside[:, 1:, 1:]
        source = logits.float().transpose(0, 1)  # (K, B, h, w)
        for row in range(logits.shape[2]):
            picture, x = mixed[:, row][:, left].nonzero(as_tuple=True)  # (m,) columns of all images
            inside = (low == row).nonzero()[:, 0]
            if not len(x) or not len(inside):
                continue
            above, under = (
                torch.lerp(source[:, picture, y, left[x]], source[:, picture, y, right[x]], column_share[x])
                for y in (row, int(high[inside[-1]]))
            )  # (K, m)
            between = torch.lerp(above[:, None], under[:, None], row_share[inside, None])  # (K, rows, m)
            labels[picture, inside[:, None], x] = between.max(dim=0).indices.to(torch.uint8)
        return labels

    def neighbours(self, pixels: Tensor, map_side: int, image_side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the two values on a side of the map that each pixel lies between, and the second one's share."""
        places = self.places(pixels, map_side, image_side)
        low = places.floor().long()
        return low, (low + 1).clamp(max=map_side - 1), (places - low).float()

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

    def check_size(self, x: Tensor, size: tuple[int, int], strides: tuple[int, int]) -> None:
        """Raises ValueError if the map is of no image of this size."""
        fits = all(-(-side // stride) == found for side, stride, found in zip(size, strides, x.shape[2:], strict=True))
        if self.rule in ("first_pixel", "cell_centre") and not fits:
            raise ValueError(f"a map of {(*x.shape[2:],)} at strides {strides} fits no image of {(*size,)}")

    def _sample(self, x: Tensor, size: tuple[int, int], strides: tuple[int, int]) -> Tensor:
        if self.rule in ("centred", "stretched"):
            return F.interpolate(x, size=size, mode="bilinear", align_corners=self.rule == "stretched")
        self.check_size(x, size, strides)
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
