"""Checks of notebook 13: reading dilations off a model, what a state dict holds, another order of concatenation."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, diagnose, exercise, expect, expect_tensor
from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet

# Each fact with two networks that differ only in it.
FACTS: dict[str, dict[str, Any]] = {
    "align_corners": {"variant": {"align_corners": True}},
    "atrous rates": {"atrous_rates": (12, 24, 36)},
    "decoder depth": {"variant": {"decoder_depth": 1}},
    "depth of the ResNet": {"depth": 101},
    "dilations": {"multi_grid": (1, 1, 1)},
    "dropout": {"variant": {"aspp_dropout": 0.5, "decoder_dropout": (0.5, 0.1)}},
    "number of classes": {"num_classes": 19},
    "order of concatenation": {"variant": {"aspp_order": "pool_first", "decoder_order": "low_first"}},
    "output stride": {"output_stride": 8},
}


@exercise("13.1", "The dilations sit in the modules, in the order in which they are applied.")
def block_dilations(answer: Callable[[nn.Module, int], Sequence[int]]) -> None:
    """block_dilations(model, block) -> dilation of every 3x3 convolution of layer<block>, in order."""
    with torch.device("meta"):
        models = DeepLabV3(2, ResNet(50, width=4), channels=4), DeepLabV3Plus(2, ResNet(18, width=4), channels=4)
    generator = torch.Generator().manual_seed(13)
    for model, block in ((model, block) for model in models for block in (3, 4)):
        convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
        for module in convolutions:  # each gets a dilation of its own, also those that are not asked for
            rate = int(torch.randint(2, 30, (), generator=generator))
            module.dilation, module.padding, module.stride = (rate, rate), (rate + 1,) * 2, (1, 1)
        own = [m for m in getattr(model.backbone, f"layer{block}").modules() if isinstance(m, nn.Conv2d)]
        asked = [module for module in own if module.kernel_size == (3, 3)]
        right = [module.dilation[0] for module in asked]
        found = list(call(answer, model, block))
        wrong = f"block_dilations(model, {block}) is {found}, expected {right}."
        moved = found != right and set(found) == set(right)
        expect(not moved, wrong, "the right values, but sorted or without repetition: the order counts.")
        everywhere = [module.dilation[0] for module in convolutions if module.kernel_size == (3, 3)]
        usual = {
            "dilation is a pair; the first number of each is asked for.": [module.dilation for module in asked],
            "that is the padding. The two agree only where somebody made them agree.": [m.padding[0] for m in asked],
            "the 1x1 convolutions are in it. Ask for kernel_size == (3, 3).": [module.dilation[0] for module in own],
            f"convolutions from outside layer{block} are in it. Look at their names.": everywhere,
        }
        hint = "walk over model.named_modules() and ask three questions: which block, which type, which size?"
        diagnose(found, right, usual, wrong, hint)


@exercise("13.2", "What has no parameter leaves no trace: load_state_dict is content, and the function is another.")
def in_a_state_dict(answer: Iterable[str]) -> None:
    """in_a_state_dict({...}) -> those FACTS that keys and shapes tell."""
    expect(not isinstance(answer, str), "One string.", 'a set of strings is expected: {"dropout", ...}.')
    found = set(answer)
    expect(found <= FACTS.keys(), f"Unknown: {sorted(found - FACTS.keys())}.", f"choose from {', '.join(FACTS)}.")
    told = {fact for fact, changed in FACTS.items() if _shapes(**changed) != _shapes()}
    hint = "build the two networks and compare their state dicts. Only parameters show, by their names and shapes."
    expect(found <= told, f"Not told by keys and shapes: {', '.join(sorted(found - told))}.", hint)
    hint = "another number of layers is another number of keys, another number of channels another shape."
    expect(found >= told, f"Told all the same: {', '.join(sorted(told - found))}.", hint)


def _shapes(
    depth: int = 50,
    output_stride: int = 16,
    multi_grid: tuple[int, ...] = (1, 2, 4),
    num_classes: int = 21,
    atrous_rates: tuple[int, ...] = (6, 12, 18),
    variant: dict[str, Any] | None = None,
) -> dict[str, torch.Size]:
    """Keys and shapes of a small network's state dict."""
    with torch.device("meta"):
        backbone = ResNet(depth, output_stride, multi_grid, width=4)
        options = {"atrous_rates": atrous_rates, "variant": replace(HeadVariant(), **variant or {})}
        model = DeepLabV3Plus(num_classes, backbone, channels=4, decoder_channels=4, **options)
    return {key: value.shape for key, value in model.state_dict().items()}


@exercise("13.3", "The weights move with the channels that they multiply, a block of columns per branch.")
def pool_last(answer: Callable[[Tensor], Tensor]) -> None:
    """pool_last(weight) -> the projection's weight for [1x1, r1, r2, r3, pooling] from that for [pooling, 1x1, ...]."""
    generator = torch.Generator().manual_seed(3)
    for channels, out in ((4, 5), (7, 35)):
        branches = list(torch.randn(5, 2, channels, 3, 3, generator=generator, dtype=torch.float64))
        weight = torch.randn(out, 5 * channels, 1, 1, generator=generator, dtype=torch.float64)
        theirs = F.conv2d(torch.cat(branches, dim=1), weight)
        found = call(answer, weight.clone())
        expect_tensor(found, weight.shape, hint="only the order changes.")
        ours = torch.cat([*branches[1:], branches[0]], dim=1)
        wrong = "With the branches in our order, the projection gives something else."
        same_inputs = torch.equal(found.sort(dim=0).values, weight.sort(dim=0).values) and not torch.equal(
            found, weight
        )
        expect(not same_inputs, wrong, "the output channels were moved. The branches are along dimension 1.")
        moved = {
            "nothing was moved.": 0,
            "that is the other direction: the first branch goes to the end, not the last to the front.": channels,
            "a branch is not one channel but a fifth of them.": -1,
        }
        usual = {hint: F.conv2d(ours, weight.roll(shift, dims=1)) for hint, shift in moved.items()}
        diagnose(F.conv2d(ours, found), theirs, usual, wrong, "the other four branches keep their order.")
