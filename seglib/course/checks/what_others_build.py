"""Checks of notebook 15: reading dilations off a model, what a state dict holds, another order of concatenation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Size, Tensor, nn

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet

DEFAULTS = dict(depth=50, output_stride=16, multi_grid=(1, 2, 4), atrous_rates=(6, 12, 18), num_classes=21, variant={})
# Each fact, and how a network changes that differs only in it.
FACTS: dict[str, dict[str, Any]] = {
    "align_corners": {"variant": {"resize": "centred"}},
    "atrous rates": {"atrous_rates": (12, 24, 36)},
    "decoder depth": {"variant": {"decoder_depth": 1}},
    "depth of the ResNet": {"depth": 101},
    "dilations": {"multi_grid": (1, 1, 1)},
    "dropout": {"variant": {"aspp_dropout": 0.5, "decoder_dropout": (0.5, 0.1)}},
    "number of classes": {"num_classes": 19},
    "order of concatenation": {"variant": {"aspp_order": "pool_first", "decoder_order": "low_first"}},
    "output stride": {"output_stride": 8},
}


@exercise("15.1", "The dilations sit in the modules, in the order in which they are applied.")
def block_dilations(answer: Callable[[nn.Module, int], Sequence[int]]) -> None:
    """Takes networks in which every convolution has a dilation of its own, also those that are not asked for."""
    with torch.device("meta"):
        models = DeepLabV3(2, ResNet(50, width=4), channels=4), DeepLabV3Plus(2, ResNet(18, width=4), channels=4)
    generator = torch.Generator().manual_seed(13)
    for model, block in ((model, block) for model in models for block in (3, 4)):
        convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
        for module in convolutions.values():
            rate = int(torch.randint(2, 30, (), generator=generator))
            module.dilation, module.padding, module.stride = (rate, rate), (rate + 1,) * 2, (1, 1)
        own = [module for name, module in convolutions.items() if f"layer{block}." in name]
        asked = [module for module in own if module.kernel_size == (3, 3)]
        everywhere = [module for module in convolutions.values() if module.kernel_size == (3, 3)]
        found, right = list(call(answer, model, block)), [module.dilation[0] for module in asked]
        usual = {
            "dilation is a pair; the first number of each is asked for.": [module.dilation for module in asked],
            "that is the padding; the two agree only where somebody made them agree.": [m.padding[0] for m in asked],
            "the 1x1 convolutions are in it. Ask for kernel_size == (3, 3).": [module.dilation[0] for module in own],
            f"convolutions from outside layer{block} are in it.": [module.dilation[0] for module in everywhere],
            "the right values, but sorted or without repetition.": found if set(found) == set(right) else [],
        }
        diagnose(f"block_dilations(model, {block})", found, right, usual, "ask of every module: block, type, size?")


@exercise("15.2", "What has no parameter leaves no trace: load_state_dict is content, and the function is another.")
def in_a_state_dict(answer: Iterable[str]) -> None:
    """Expects those FACTS that the keys and shapes of a state dict tell."""
    expect(not isinstance(answer, str), "One string.", 'a set of strings is expected: {"dropout", ...}.')
    found = set(answer)
    expect(found <= FACTS.keys(), f"Unknown: {sorted(found - FACTS.keys())}.", f"choose from {', '.join(FACTS)}.")
    told = {fact for fact, changed in FACTS.items() if _shapes(changed) != _shapes({})}
    hint = "build the two networks and compare their state dicts. Only parameters show, by their names and shapes."
    expect(found <= told, f"Not told by keys and shapes: {', '.join(sorted(found - told))}.", hint)
    hint = "another number of layers is another number of keys, another number of channels another shape."
    expect(found >= told, f"Told all the same: {', '.join(sorted(told - found))}.", hint)


def _shapes(changed: dict[str, Any]) -> dict[str, Size]:
    """Keys and shapes of a small network's state dict."""
    depth, stride, multi_grid, rates, classes, variant = (DEFAULTS | changed).values()
    with torch.device("meta"):
        backbone = ResNet(depth, stride, multi_grid, width=4)
        options = {"atrous_rates": rates, "variant": HeadVariant(**variant)}
        model = DeepLabV3Plus(classes, backbone, channels=4, decoder_channels=4, **options)
    return {key: value.shape for key, value in model.state_dict().items()}


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

    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(out, inputs, 1, 1, generator=generator) for out, inputs in ((5, 20), (35, 35))]
    cases = {f"The weight for branches of {weight.shape[1] // 5} channels": (weight,) for weight in weights}
    compare(answer, cases, values, "the other four branches keep their order.")
