"""Checks of notebook 05: the trimap, what 48 channels cost, and the decoder's concatenation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, exercise, expect, expect_tensor

VOID = 255


def _void_label(height: int, width: int) -> np.ndarray:
    """Two classes that meet in the middle, a rim of void in one half, a dot of void, and void at an edge."""
    label = np.zeros((height, width), np.int64)
    label[:, width // 2 :] = 3
    label[3:9, 5] = VOID
    label[9, 5:11] = VOID
    label[height - 5, width - 6] = VOID
    label[6, width - 1] = VOID
    return label


@exercise("5.1", correct="A square window of 2w + 1 around each void pixel, without the void pixels themselves.")
def trimap(answer: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """trimap(label, width) -> bool mask; compared with the distance of every pixel to every void pixel."""
    for shape, width in (((20, 26), 1), ((20, 26), 2), ((21, 24), 3)):
        label = _void_label(*shape)
        found = np.asarray(call(answer, label.copy(), width))
        expect(
            found.shape == label.shape,
            f"The mask should have the label's shape {label.shape}, found {found.shape}.",
            "what is padded on must be cut off again.",
        )
        found = found.astype(bool)
        void = label == VOID
        places, voids = np.argwhere(np.ones_like(void)), np.argwhere(void)
        offsets = np.abs(places[:, None] - voids[None])  # (pixels, void pixels, 2)
        near = {
            "square": offsets.max(axis=2).min(axis=1).reshape(shape) <= width,
            "diamond": offsets.sum(axis=2).min(axis=1).reshape(shape) <= width,
            "disc": (offsets**2).sum(axis=2).min(axis=1).reshape(shape) <= width**2,
            "half": offsets.max(axis=2).min(axis=1).reshape(shape) <= width // 2,
        }
        turned = [np.roll(void, (y, x), (0, 1)) for y in range(-width, width + 1) for x in range(-width, width + 1)]
        edges = label != np.roll(label, 1, axis=1)
        edges[:, 0] = False
        if np.array_equal(found, near["square"] & ~void):
            continue
        wrong = f"At width {width} {int((found != (near['square'] & ~void)).sum())} pixels are wrong."
        expect(
            not np.array_equal(found & ~void, near["square"] & ~void),
            f"{wrong} All of them are void.",
            "void pixels have no class; a band that holds them counts pixels that nobody labelled.",
        )
        expect(
            not np.array_equal(found & ~void, np.any(turned, axis=0) & ~void),
            f"{wrong} They lie at the border opposite to a void pixel.",
            "np.roll and negative indices go round the image; pad or clip instead.",
        )
        for kind, hint in (
            ("diamond", "steps along rows and columns were added up; the window is a square, so take the larger."),
            ("disc", "the distance is not Euclid's here; the window is a square."),
            ("half", "the window has the side 2 * width + 1, so that it reaches `width` pixels to each side."),
        ):
            expect(not np.array_equal(found & ~void, near[kind] & ~void), wrong, hint)
        expect(
            not bool((found & edges & ~near["square"]).any()),
            f"{wrong} Some lie where two classes meet without void between them.",
            "this band grows out of the void pixels, not out of every class border.",
        )
        raise Mistake(wrong, "a pixel is in the band if any void pixel is within `width` rows and `width` columns.")


@exercise("5.2", correct="Nine taps, both maps' channels in, 256 out, at every pixel of the map at stride 4.")
def first_conv_mult_adds(answer: Callable[[int, int], int]) -> None:
    """first_conv_mult_adds(low_channels, side) -> multiply-adds; compared with the convolution itself."""
    for low_channels, side in ((48, 512), (48, 513), (256, 513), (16, 97), (64, 500)):
        found = call(answer, low_channels, side)
        with torch.device("meta"):
            conv = nn.Conv2d(256 + low_channels, 256, 3, padding=1, bias=False)
            x = torch.empty(1, 1, side, side)
            for _ in range(2):  # the stem's two halvings, as the backbone pads them
                x = F.conv2d(x, torch.empty(1, 1, 3, 3), stride=2, padding=1)
            pixels = x.numel()
        expected = conv.weight.numel() * pixels
        if found == expected:
            continue
        wrong = f"first_conv_mult_adds({low_channels}, {side}) is {found:,}, expected {expected:,}."
        taps = 9 * 256 * (256 + low_channels)
        strided16 = (-(-side // 16)) ** 2
        for value, hint in (
            (9 * low_channels * 256 * pixels, "the 256 channels that come from ASPP go through this convolution too."),
            (taps * (side // 4) ** 2, "a strided, padded convolution rounds up: 513 becomes 257, then 129."),
            (taps * strided16, "the two maps are joined at the stride of the low-level features, 4, not 16."),
            (taps * side**2, "the decoder works at stride 4, not on the image's own pixels."),
            (taps // 9 * pixels, "the kernel is 3x3: nine products per pair of channels."),
            (taps // 256 * pixels, "each of the 256 output channels is a sum over all inputs of its own."),
            (taps * round(pixels**0.5), "the map is a square; its number of pixels is the side squared."),
            (2 * expected, "a multiplication with its addition counts as one."),
        ):
            expect(found != value, wrong, hint)
        raise Mistake(wrong, "kernel pixels x channels in x channels out x output pixels.")


@exercise("5.3", correct="Bilinear to the size of the low-level map whatever it is, ASPP first, then the reduced low.")
def fuse(answer: Callable[[Tensor, Tensor, nn.Module], Tensor]) -> None:
    """fuse(aspp, low, reduce) -> the decoder's concatenation, (B, 256 + 48, H/4, W/4)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        reduce = nn.Conv2d(12, 4, 1).double().eval()
        for high_size, low_size in (((6, 8), (24, 32)), ((7, 9), (25, 33))):
            aspp = torch.randn(2, 8, *high_size, dtype=torch.float64)
            low = torch.randn(2, 12, *low_size, dtype=torch.float64)
            try:
                found = call(answer, aspp, low, reduce)
            except RuntimeError as error:
                if low_size[0] == 4 * high_size[0]:
                    raise
                raise Mistake(
                    f"Maps of {high_size} and {low_size} cannot be joined: {error}",
                    "the sizes have no factor of 4 between them (a side of 97 gives 7 and 25). Take the size of `low`.",
                ) from None
            _check_fused(found, aspp, low, reduce)


def _check_fused(found: Tensor, aspp: Tensor, low: Tensor, reduce: nn.Module) -> None:
    size, reduced = low.shape[2:], reduce(low)
    if isinstance(found, Tensor) and found.ndim == 4:
        expect(
            found.shape[2:] != aspp.shape[2:],
            "The result has the coarse map's size.",
            "the low-level features keep their pixels; it is the ASPP output that grows.",
        )
        expect(
            found.shape[1] != aspp.shape[1] + low.shape[1],
            f"The result has all {low.shape[1]} channels of the low-level map.",
            "`reduce`, the 1x1 convolution, belongs in front of the concatenation.",
        )
    expect_tensor(found, (len(low), aspp.shape[1] + reduced.shape[1], *size))
    ways = {
        "bilinear": {"mode": "bilinear", "align_corners": False},
        "corners": {"mode": "bilinear", "align_corners": True},
        "nearest": {"mode": "nearest"},
    }
    wide = {name: F.interpolate(aspp, size=size, **options) for name, options in ways.items()}

    def same(first: Tensor, second: Tensor) -> bool:
        return torch.allclose(found, torch.cat((first, second), dim=1))

    if same(wide["bilinear"], reduced):
        return
    expect(
        not any(same(reduced, map_) for map_ in wide.values()),
        "The low-level channels come first.",
        "the decoder's weights were trained for [ASPP, low]; some other projects join them the other way round.",
    )
    expect(
        not same(wide["nearest"], reduced), "The ASPP output was enlarged by nearest neighbour.", "mode is bilinear."
    )
    expect(
        not same(wide["corners"], reduced),
        "The corner pixels were aligned.",
        "align_corners=False here, so that any input size works alike.",
    )
    raise Mistake("Sizes and channels are right, the values are not.", "[bilinear(aspp), reduce(low)], dim=1.")
