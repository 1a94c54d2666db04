"""Aligned Xception: layers, rates, and the Mult-Adds of v3+ Table 5."""

from functools import cache

import pytest
import torch
from networks import norm, randomise_norms, strided
from torch import nn
from torch.nn import functional as F

from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, Xception, build_model
from seglib.recipe import Recipe
from seglib.studies.cost import mult_adds

# Output stride, decoder, separable convolutions in ASPP and decoder, v3+ Table 5's billions.
TABLE_5 = [
    *((16, False, False, 68.00), (8, False, False, 240.85), (16, True, False, 89.76)),
    *((8, True, False, 262.59), (16, True, True, 54.17), (8, True, True, 177.10)),
]


@cache
def meta_xception(depth: int = 65, output_stride: int = 16) -> Xception:
    with torch.device("meta"):
        return Xception(depth, output_stride)


@pytest.mark.parametrize(("output_stride", "decoder", "separable", "billions"), TABLE_5)
def test_mult_adds_of_table_5(output_stride: int, decoder: bool, separable: bool, billions: float) -> None:
    variant = HeadVariant(separable="paper" if separable else "none")
    with torch.device("meta"):
        model = (DeepLabV3Plus if decoder else DeepLabV3)(21, "xception65", output_stride, variant=variant).eval()
    assert mult_adds(model, 513, 513) / 1e9 == pytest.approx(billions, rel=0.003)


def rates_of_modules(network: Xception) -> list[list[int]]:
    return [[conv.depthwise.dilation[0] for conv in module.convs] for module in network.blocks]


@pytest.mark.parametrize(("depth", "entry", "middle"), [(41, 3, 8), (65, 3, 16), (71, 5, 16)])
def test_modules_and_rates_are_the_papers_codes(depth: int, entry: int, middle: int) -> None:
    """A module that loses its stride keeps the rate before it, its third convolution too; no multi-grid."""
    assert 3 * len(meta_xception(depth).blocks) + 2 == depth, "the root has two convolutions"
    assert rates_of_modules(meta_xception(depth, 16)) == [[1] * 3] * (entry + middle + 1) + [[2] * 3]
    assert rates_of_modules(meta_xception(depth, 8)) == [[1] * 3] * entry + [[2] * 3] * (middle + 1) + [[4] * 3]
    modules = (0, 2, 4, 21) if depth == 71 else (0, 1, 2, 3 + middle)
    assert strided(meta_xception(depth, 32))[1:] == [f"blocks.{index}.convs.2.depthwise" for index in modules]


def test_separable_convolutions_by_hand() -> None:
    """Norm after both halves everywhere; ReLU after both in the last module, in front of both elsewhere."""
    network = Xception(41, 8, width_mult=0.05).eval()
    randomise_norms(network)
    assert {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}
    for module, last in ((network.blocks[4], False), (network.blocks[-1], True)):
        for conv in module.convs:
            x = torch.randn(1, conv.depthwise.in_channels, 11, 11)
            rate = conv.depthwise.dilation[0]
            y = x if last else x.relu()
            y = F.conv2d(y, conv.depthwise.weight, padding=rate, dilation=rate, groups=x.shape[1])
            y = norm(y, conv.depthwise_norm)
            y = norm(F.conv2d(y.relu() if last else y, conv.pointwise.weight), conv.pointwise_norm)
            with torch.inference_mode():
                torch.testing.assert_close(conv(x), y.relu() if last else y)


def test_shortcuts() -> None:
    """1x1 convolution and norm where the channels or the size change, the input itself in the middle, none at last."""
    network = randomise_norms(Xception(41, 16, width_mult=0.05)).eval()
    assert [m.shortcut and type(m.shortcut) for m in network.blocks] == [
        *[nn.Sequential] * 3, *[nn.Identity] * 8, nn.Sequential, None
    ]  # fmt: skip
    for index in (0, 4, -1):
        module = network.blocks[index]
        x = torch.randn(1, module.convs[0].depthwise.in_channels, 9, 9)
        with torch.inference_mode():
            y = module.convs[2](module.convs[1](module.convs[0](x)))
            if index == 0:
                y = y + norm(F.conv2d(x, module.shortcut[0].weight, stride=2), module.shortcut[1])
            torch.testing.assert_close(module(x), y + x if index == 4 else y)


def test_by_recipe_and_wrong_depth() -> None:
    with torch.device("meta"):
        model = build_model(Recipe(backbone="xception65", separable="paper"), 21)
    assert isinstance(model.backbone, Xception) and len(model.backbone.blocks) == 21
    with pytest.raises(ValueError, match=r"depth = 50; expected one of \(41, 65, 71\)"):
        Xception(50)
