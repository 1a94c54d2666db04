"""Checks of notebook 15: what a state dict holds, the first layer that differs, another order of concatenation."""

import copy
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Size, Tensor, nn

from seglib.course.checks.verdict import compare, exercise, expect
from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet
from seglib.models.layers import set_atrous

DEFAULTS = dict(depth=50, output_stride=16, multi_grid=(1, 2, 4), atrous_rates=(6, 12, 18), num_classes=21, variant={})
# Each fact, and how a network changes that differs only in it.
FACTS: dict[str, dict[str, Any]] = {
    "align_corners": {"variant": {"resize": "centred"}},
    "atrous rates": {"atrous_rates": (12, 24, 36)},
    "decoder depth": {"variant": {"decoder_depth": 1}},
    "depth of the ResNet": {"depth": 101},
    "dilations": {"multi_grid": (1, 1, 1)},
    "dropout rate": {"variant": {"aspp_dropout": 0.5, "decoder_dropout": (0.5, 0.1)}},
    "number of classes": {"num_classes": 19},
    "order of concatenation": {"variant": {"aspp_order": "pool_first", "decoder_order": "low_first"}},
    "output stride": {"output_stride": 8},
}


@exercise("15.1", "What has no parameter leaves no trace: load_state_dict is content, and the function is another.")
def in_a_state_dict(answer: Iterable[str]) -> None:
    """Expects those FACTS that the keys and shapes of a state dict tell."""
    expect(not isinstance(answer, str), "One string.", 'a set of strings is expected: {"dropout rate", ...}.')
    found = set(answer)
    expect(found <= FACTS.keys(), f"Unknown: {sorted(found - FACTS.keys())}.", f"choose from {', '.join(FACTS)}.")
    told = {fact for fact in FACTS if _shapes(fact) != _shapes()}
    hint = "build the two networks and compare their state dicts. Only parameters show, by their names and shapes."
    expect(found <= told, f"Not told by keys and shapes: {', '.join(sorted(found - told))}.", hint)
    hint = "another number of layers is another number of keys, another number of channels another shape."
    expect(found >= told, f"Told all the same: {', '.join(sorted(told - found))}.", hint)


@cache
def _shapes(fact: str = "") -> dict[str, Size]:
    """Keys and shapes of a small network's state dict; the network differs in a fact."""
    depth, stride, multi_grid, rates, classes, variant = (DEFAULTS | FACTS.get(fact, {})).values()
    with torch.device("meta"):
        backbone = ResNet(depth, stride, multi_grid, width=4)
        options = {"atrous_rates": rates, "variant": HeadVariant(**variant)}
        model = DeepLabV3Plus(classes, backbone, channels=4, decoder_channels=4, **options)
    return {key: value.shape for key, value in model.state_dict().items()}


@exercise("15.2", "One picture through both, layer by layer: the first layer that differs is where to look.")
def first_difference(answer: Callable[[nn.Module, nn.Module, Tensor], str]) -> None:
    """Takes pairs of networks of equal weights, of which one departs in one point, or by rounding only."""
    ours = DeepLabV3(2, ResNet(18, width=4), atrous_rates=(1, 2), channels=4)
    images = torch.randn(2, 3, 65, 65)
    ours(images)  # norms with statistics of their own
    nn.init.constant_(ours.eval().aspp.pool[1].bias, -1)  # so that its ReLU has something to cut off
    dilated, second, ordered, bare, rounded = (copy.deepcopy(ours) for _ in range(5))
    set_atrous(dilated.backbone.layer4[1].conv1, rate=5)
    set_atrous(second.backbone.layer4[1].conv2, rate=5)  # after the first call of the unit's one ReLU
    ordered.aspp.pool_first, bare.aspp.pool[2] = True, nn.Identity()
    for parameter in rounded.parameters():
        parameter.data *= 1 + 3e-7
    cases = {
        "With a dilation in block 4, the answer": (ours, dilated, images),
        "With a dilation in a unit's second convolution, the answer": (ours, second, images),
        "With another order in ASPP, the answer": (ours, ordered, images),
        "Without a ReLU in ASPP, the answer": (ours, bare, images),
        "With a difference in the seventh digit, the answer": (ours, rounded, images),
    }
    right = iter(("backbone.layer4.1.conv1", "backbone.layer4.1.conv2", "aspp.project.0", "aspp.pool.2", ""))

    def values(mine: nn.Module, other: nn.Module, images: Tensor) -> tuple[str, dict[str, str]]:
        return (name := next(right)), {
            "everything after the first layer differs too: stop at the first.": "classifier",
            "rounding is no difference: give allclose an atol that fits the output's largest value.": name
            or "backbone.conv1",
            "a layer may be called several times, as a unit's one ReLU is: keep every call.": "backbone.layer4.1.relu",
            "a module with children differs as soon as one of them does; ask the layers only.": "",
        }

    compare(answer, cases, values, "hooks are called in the order of computation; where all outputs agree, return ''.")


@exercise("15.3", "The weights move with the channels that they multiply, a block of columns per branch.")
def pool_last(answer: Callable[[Tensor], Tensor]) -> None:
    """Takes weights for [pooling, 1x1, r1, r2, r3] with branches of several widths."""

    def values(weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        channels = weight.shape[1] // 5
        return weight.roll(-channels, dims=1), {
            "nothing was moved.": weight,
            "the first branch goes to the end, not the last to the front.": weight.roll(channels, dims=1),
            "a branch is not one channel but a fifth of them.": weight.roll(-1, dims=1),
            "the output channels were moved.": weight.roll(-(len(weight) // 5), dims=0),
        }

    weights = [torch.randn(out, inputs, 1, 1) for out, inputs in ((5, 20), (35, 35))]
    cases = {f"The weight for branches of {weight.shape[1] // 5} channels": (weight,) for weight in weights}
    compare(answer, cases, values, "the other four branches keep their order.")
