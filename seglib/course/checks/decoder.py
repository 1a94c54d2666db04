"""Checks of notebook 05: the trimap, what 48 channels cost, and the decoder's concatenation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, compare, diagnose, exercise, expect, expect_tensor

VOID = 255


def _void_label(height: int, width: int) -> np.ndarray:
    """Two classes that meet in the middle, a rim of void in one half, a dot of void, and void at an edge."""
    label = np.zeros((height, width), np.int64)
    label[:, width // 2 :] = 3
    label[3:9, 5] = label[9, 5:11] = label[height - 5, width - 6] = label[6, width - 1] = VOID
    return label


@exercise("5.1", "A square window of 2w + 1 around each void pixel, without the void pixels themselves.")
def trimap(answer: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """trimap(label, width) -> bool mask; compared with the distance of every pixel to every void pixel."""
    for shape, width in (((20, 26), 1), ((20, 26), 2), ((21, 24), 3)):
        label = _void_label(*shape)
        void = label == VOID
        found = np.asarray(call(answer, label.copy(), width))
        wrong = f"The mask should have the label's shape {shape}, found {found.shape}."
        expect(found.shape == shape, wrong, "cut off again what you have padded on.")
        found = found.astype(bool)
        offsets = np.abs(np.argwhere(np.ones_like(void))[:, None] - np.argwhere(void)[None])  # (pixels, void pixels, 2)

        def band(distances: np.ndarray, limit: int, void: np.ndarray = void) -> np.ndarray:
            return (distances.min(axis=1).reshape(void.shape) <= limit) & ~void

        square = band(offsets.max(axis=2), width)
        rolled = [np.roll(void, (y, x), (0, 1)) for y in range(-width, width + 1) for x in range(-width, width + 1)]
        borders = np.diff(label, axis=1, prepend=label[:, :1]) != 0
        wrong = f"At width {width}, {int((found != square).sum())} pixels are wrong."
        hint = "this band grows out of the void pixels, not out of every class border."
        stray = bool((found & borders & ~square & ~void).any())
        expect(not stray, f"{wrong} Some are where two classes meet without void between them.", hint)
        usual = {
            "np.roll and negative indices go round the image; pad or clip instead.": np.any(rolled, axis=0) & ~void,
            "rows and columns were added; the window is a square: take the larger.": band(offsets.sum(axis=2), width),
            "the distance is not Euclidean here; the window is a square.": band((offsets**2).sum(axis=2), width**2),
            "the window's side is 2 * width + 1: `width` pixels to each side.": band(offsets.max(axis=2), width // 2),
        }
        hint = "a pixel is in the band if any void pixel is within `width` rows and `width` columns."
        diagnose(found & ~void, square, usual, wrong, hint)
        hint = "void pixels have no class; a band that holds them counts pixels that nobody labelled."
        expect(not (found & void).any(), f"{wrong} All of them are void.", hint)


@exercise("5.2", "Nine taps, both maps' channels in, 256 out, at every pixel of the map at stride 4.")
def first_conv_mult_adds(answer: Callable[[int, int], int]) -> None:
    """first_conv_mult_adds(low_channels, side) -> multiply-adds; compared with the convolution itself."""

    def usual(low_channels: int, side: int) -> dict[str, int]:
        pixels, taps = _pixels(side), 9 * 256 * (256 + low_channels)
        return {
            "the 256 channels that come from ASPP go through this convolution too.": 9 * low_channels * 256 * pixels,
            "a strided, padded convolution rounds up: 513 becomes 257, then 129.": taps * (side // 4) ** 2,
            "the two maps are joined at the stride of the low-level map, 4, not 16.": taps * (-(-side // 16)) ** 2,
            "the decoder works at stride 4, not on the image's own pixels.": taps * side**2,
            "the kernel is 3x3: nine products per pair of channels.": taps // 9 * pixels,
            "each of the 256 output channels is a sum over all inputs of its own.": taps // 256 * pixels,
            "the map is a square; its number of pixels is the side squared.": taps * round(pixels**0.5),
            "a multiplication with its addition counts as one.": 2 * taps * pixels,
        }

    compare(
        answer,
        [(48, 512), (48, 513), (256, 513), (16, 97), (64, 500)],
        right=lambda low_channels, side: (
            nn.Conv2d(256 + low_channels, 256, 3, bias=False).weight.numel() * _pixels(side)
        ),
        usual=usual,
        hint="kernel pixels x channels in x channels out x output pixels.",
    )


def _pixels(side: int) -> int:
    """Pixels after the stem's two halvings, as the backbone pads them."""
    halve = nn.Conv2d(1, 1, 3, stride=2, padding=1, device="meta")
    return halve(halve(torch.empty(1, 1, side, side, device="meta"))).numel()


@exercise("5.3", "Bilinear to the size of the low-level map whatever it is, ASPP first, then the reduced low.")
@torch.no_grad()
def fuse(answer: Callable[[Tensor, Tensor, nn.Module], Tensor]) -> None:
    """fuse(aspp, low, reduce) -> the decoder's concatenation, (B, 256 + 48, H/4, W/4)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        reduce = nn.Conv2d(12, 4, 1).double()
        pairs = [
            (torch.randn(2, 8, *high, dtype=torch.float64), torch.randn(2, 12, *low, dtype=torch.float64))
            for high, low in (((6, 8), (24, 32)), ((7, 9), (25, 33)))
        ]
    for place, (aspp, low) in enumerate(pairs):
        high_size, size = tuple(aspp.shape[2:]), tuple(low.shape[2:])
        try:
            found = call(answer, aspp, low, reduce)
        except RuntimeError as error:
            if place == 0:
                raise
            raise Mistake(
                f"Maps of {high_size} and {size} cannot be joined: {error}",
                "the sizes have no factor of 4 between them (a side of 97 gives 7 and 25). Take the size of `low`.",
            ) from None
        usual_shapes = {
            "the low-level map keeps its pixels; it is the ASPP output that grows.": (2, 12, *high_size),
            "`reduce`, the 1x1 convolution, comes before the concatenation.": (2, 20, *size),
        }
        expect_tensor(found, (2, 12, *size), usual=usual_shapes)
        bilinear = F.interpolate(aspp, size=size, mode="bilinear", align_corners=False)
        corners = F.interpolate(aspp, size=size, mode="bilinear", align_corners=True)
        reduced = reduce(low)
        usual = {
            "the weights were trained for [ASPP, low]; some other projects have the other order.": (reduced, bilinear),
            "the ASPP output was enlarged by nearest neighbour; mode is bilinear.": (
                F.interpolate(aspp, size),
                reduced,
            ),
            "align_corners=False here, so that any input size works alike.": (corners, reduced),
        }
        usual = {its_hint: torch.cat(maps, dim=1) for its_hint, maps in usual.items()}
        wrong = "Sizes and channels are right, the values are not."
        diagnose(found, torch.cat((bilinear, reduced), dim=1), usual, wrong, "[bilinear(aspp), reduce(low)], dim=1.")
