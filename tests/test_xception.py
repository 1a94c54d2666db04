"""Aligned Xception: layers, rates, and the Mult-Adds of v3+ Table 5."""

from functools import cache

import pytest
import torch
from networks import norm, randomise_norms
from torch import nn
from torch.nn import functional as F

from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, Xception
from seglib.models.build import build_model
from seglib.recipe import Recipe
from seglib.studies.cost import mult_adds

BILLION = 1e9
# Output stride, decoder, separable convolutions in ASPP and decoder, v3+ Table 5's billions.
TABLE_5 = [
    (16, False, False, 68.00),
    (8, False, False, 240.85),
    (16, True, False, 89.76),
    (8, True, False, 262.59),
    (16, True, True, 54.17),
    (8, True, True, 177.10),
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
    assert mult_adds(model, 513, 513) / BILLION == pytest.approx(billions, rel=0.003)


@pytest.mark.parametrize(("depth", "modules"), [(41, 13), (65, 21), (71, 23)])
def test_the_depth_counts_separable_convolutions_and_the_root(depth: int, modules: int) -> None:
    """Three per module and the root's two: 41, 65, 71."""
    network = meta_xception(depth)
    assert len(network.blocks) == modules
    assert sum(len(module.convs) for module in network.blocks) + 2 == depth


def rates(network: Xception) -> list[list[int]]:
    return [[conv.depthwise.dilation[0] for conv in module.convs] for module in network.blocks]


@pytest.mark.parametrize("depth", [41, 65, 71])
def test_rates_are_the_papers_codes(depth: int) -> None:
    """A module that loses its stride keeps the rate before it, its third convolution too; no multi-grid."""
    middle = 8 if depth == 41 else 16
    entry = 5 if depth == 71 else 3
    sixteen = rates(meta_xception(depth, 16))
    assert sixteen == [[1] * 3] * (entry + middle + 1) + [[2] * 3]
    eight = rates(meta_xception(depth, 8))
    assert eight == [[1] * 3] * entry + [[2] * 3] * (middle + 1) + [[4] * 3]
    strided = [name for name, stride, _ in meta_xception(depth, 32).dilations() if stride == 2]
    assert [name for name in strided if "blocks" in name] == [
        f"blocks.{index}.convs.2.depthwise" for index in ((0, 2, 4, 21) if depth == 71 else (0, 1, 2, 3 + middle))
    ]


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
    network = Xception(41, 16, width_mult=0.05).eval()
    kinds = ["conv" if m.shortcut is not None else "sum" if m.add_input else "none" for m in network.blocks]
    assert kinds == ["conv"] * 3 + ["sum"] * 8 + ["conv", "none"]
    for module, expected in ((network.blocks[0], network.blocks[0].shortcut), (network.blocks[4], nn.Identity())):
        x = torch.randn(1, module.convs[0].depthwise.in_channels, 9, 9)
        with torch.inference_mode():
            y = module.convs[2](module.convs[1](module.convs[0](x)))
            torch.testing.assert_close(module(x), y + expected(x))


def test_by_recipe_and_wrong_settings() -> None:
    with torch.device("meta"):
        model = build_model(Recipe(backbone="xception65", separable="paper"), 21)
    assert isinstance(model.backbone, Xception) and len(model.backbone.blocks) == 21
    with pytest.raises(ValueError, match=r"depth = 50; expected one of \(41, 65, 71\)"):
        Xception(50)
    with pytest.raises(ValueError, match="width_mult = 0"):
        Xception(41, width_mult=0)
