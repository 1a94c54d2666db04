"""Checks of notebook 05: the trimap, the decoder's concatenation, an atrous separable convolution."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Size, Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import Mistake, call, diagnose, exercise, expect, kind
from seglib.data import VOID
from seglib.geometry import Grid
from seglib.metrics import boundary_band


@exercise("5.1", "A square window of 2w + 1 around each void pixel, without the void pixels themselves.")
def trimap(answer: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """Takes two classes that meet in the middle, a rim of void in one half, a dot of void, and void at two edges."""
    for (height, width), reach in (((20, 26), 1), ((20, 26), 2), ((21, 24), 3)):
        label = np.zeros((height, width), np.int64)
        label[:, width // 2 :] = 3
        label[3:9, 5] = label[9, 5:11] = label[height - 5, width - 6] = label[6, width - 1] = label[0, 1] = VOID
        void, name = label == VOID, f"The mask at width {reach}"
        found = np.asarray(call(answer, label.copy(), reach))
        expect(found.shape == label.shape, f"{name} has the shape {found.shape}.", "cut off what you have padded on.")
        offsets = np.abs(np.argwhere(np.ones_like(void))[:, None] - np.argwhere(void)[None])  # (pixels, void pixels, 2)

        def band(distances: np.ndarray, limit: int, void: np.ndarray = void) -> np.ndarray:
            return (distances.min(axis=1).reshape(void.shape) <= limit) & ~void

        right = boundary_band(torch.from_numpy(label), reach).numpy()
        borders = np.diff(label, axis=1, prepend=label[:, :1]) != 0
        stray = (found.astype(bool) & borders & ~right & ~void).any()
        hint = "this band grows out of the void pixels, not out of every class border."
        expect(not stray, f"{name} is true where two classes meet without void between them.", hint)
        unclipped = np.zeros_like(void)
        for y, x in np.argwhere(void):
            unclipped[y - reach : y + reach + 1, x - reach : x + reach + 1] = True
        rolled = [np.roll(void, (y, x), (0, 1)) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
        usual = {
            "np.roll goes round the image; pad instead.": np.any(rolled, axis=0) & ~void,
            "a slice that begins below 0 counts from the other end and is empty: max(0, ...).": unclipped & ~void,
            "rows and columns were added; the window is a square: take the larger.": band(offsets.sum(axis=2), reach),
            "the distance is not Euclidean here; the window is a square.": band((offsets**2).sum(axis=2), reach**2),
            "the window's side is 2 * width + 1: `width` pixels to each side.": band(offsets.max(axis=2), reach // 2),
            "void pixels have no class; leave them out of the band.": right | void,
        }
        hint = "a pixel is in the band if any void pixel is within `width` rows and `width` columns."
        diagnose(name, found.astype(bool), right, usual, hint)


@exercise("5.2", "ASPP's map sampled at every value of the low-level map, ASPP first, then the reduced low.")
@torch.no_grad()
def fuse(answer: Callable[[Tensor, Tensor, nn.Module], Tensor]) -> None:
    """Takes maps of images of 16 k + 1 pixels, on which the first and the last values of both maps lie together."""
    reduce = nn.Conv2d(12, 4, 1).double()
    maps = torch.randn(2, 8, 7, 9).double(), torch.randn(2, 12, 25, 33).double()
    for sides in ((7, 9), (5, 6)):
        size = Size(4 * (side - 1) + 1 for side in sides)
        aspp, low = maps[0][..., : sides[0], : sides[1]], maps[1][..., : size[0], : size[1]]
        try:
            found = call(answer, aspp, low, reduce)
        except RuntimeError as error:
            if "Sizes of tensors must match" not in str(error):
                raise
            hint = "the sizes have no factor of 4 between them (a side of 97 gives 7 and 25); take the size of `low`."
            raise Mistake(f"Maps of {(*sides,)} and {(*size,)} cannot be joined: {error}", hint) from None
        bilinear, reduced = Grid(4).resize(aspp, size), reduce(low)
        centred = F.interpolate(aspp, size, mode="bilinear", align_corners=False)
        whole = F.interpolate(aspp, scale_factor=4, mode="bilinear", align_corners=True)[..., : size[0], : size[1]]
        moved = "ASPP's value k lies on the low-level map's value 4 k. "
        moved += "align_corners=False puts it into the middle of its cell, up to half a cell away."
        usual = {
            "the low-level map keeps its pixels; it is the ASPP output that grows.": Size([2, 12, *aspp.shape[2:]]),
            "`reduce`, the 1x1 convolution, comes before the concatenation.": Size([2, 20, *size]),
            "the weights were trained for [ASPP, low], in this order.": torch.cat((reduced, bilinear), 1),
            "mode is bilinear, not nearest.": torch.cat((F.interpolate(aspp, size), reduced), 1),
            moved: torch.cat((centred, reduced), 1),
            "four times the side is three values too many; ask for the size of `low`.": torch.cat((whole, reduced), 1),
        }
        diagnose("The result", found, torch.cat((bilinear, reduced), 1), usual, "[bilinear(aspp), reduce(low)], dim=1.")


@exercise("5.3", "One kernel per channel looks around, at the rate; the 1x1 mixes: about a ninth of the products.")
@torch.no_grad()
def separable_conv(answer: Callable[[int, int, int], nn.Module]) -> None:
    """Counts the parameters, then computes with the answer's own, in their order."""
    for rate in (2, 3):
        _examine_separable(call(answer, 6, 5, rate), 6, 5, rate)


def _examine_separable(found: nn.Module, inputs: int, outputs: int, rate: int) -> None:
    hint = "depthwise 3x3, norm, ReLU, 1x1, norm, ReLU."
    expect(isinstance(found, nn.Module), f"{kind(found)} is returned.", "build the layers; they are not called here.")
    right = 9 * inputs + 2 * inputs + inputs * outputs + 2 * outputs
    usual = {
        "one kernel per channel: groups=inputs.": right + 9 * inputs * (inputs - 1),
        "that is one full 3x3 convolution.": 9 * inputs * outputs + 2 * outputs,
        "a convolution that batch norm follows has no bias.": right + inputs + outputs,
        "the paper has batch norm and ReLU after the depthwise convolution too.": right - 2 * inputs,
        "the other way round: first look around, then mix.": right + 11 * (outputs - inputs),
    }
    diagnose("The number of parameters", sum(p.numel() for p in found.parameters()), right, usual, hint)
    look, gain, shift, mix, *last = [nn.init.normal_(parameter) for parameter in found.parameters()]
    x = torch.randn(2, inputs, 9, 11)

    def compute(padding: int, dilation: int, between: bool = True, end: bool = True) -> Tensor:
        y = F.conv2d(x, look, None, 1, padding, dilation, inputs)
        y = F.batch_norm(y, None, None, gain, shift, training=True)
        y = F.batch_norm(F.conv2d(y.relu() if between else y, mix), None, None, *last, training=True)
        return y.relu() if end else y

    usual = {
        "the depthwise convolution has no rate: dilation=rate, padding=rate.": compute(1, 1),
        "a dilated 3x3 keeps the size if its padding is its rate.": compute(1, rate),
        "without padding the map shrinks.": compute(0, rate),
        "a ReLU is missing between the two convolutions.": compute(rate, rate, between=False),
        "a ReLU is missing at the end.": compute(rate, rate, end=False),
    }
    diagnose("The result", found.train()(x), compute(rate, rate), usual, hint)
