"""Checks of notebook 13: reading dilations off a model, what a state dict holds, another order of concatenation."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.course.checks.verdict import call, exercise, expect, expect_tensor
from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, ResNet

FACTS = (
    "align_corners",
    "atrous rates",
    "decoder depth",
    "depth of the ResNet",
    "dilations",
    "dropout",
    "number of classes",
    "order of concatenation",
    "output stride",
)


@exercise("13.1", correct="The dilations sit in the modules, in the order in which they are applied.")
def block_dilations(answer: Callable[[nn.Module, int], Sequence[int]]) -> None:
    """block_dilations(model, block) -> dilation of every 3x3 convolution of layer<block>, in order."""
    with torch.device("meta"):
        models = [
            DeepLabV3(2, ResNet(50, width=4), channels=4),
            DeepLabV3Plus(2, ResNet(18, width=4), channels=4),
        ]
    generator = torch.Generator().manual_seed(13)
    for model in models:
        expected: dict[int, list[int]] = {3: [], 4: []}
        # Every module gets a dilation of its own, also those that are not asked for.
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                rate = int(torch.randint(2, 30, (), generator=generator))
                module.dilation, module.padding, module.stride = (rate, rate), (rate + 1,) * 2, (1, 1)
                block = next((b for b in expected if f".layer{b}." in name), None)
                if block is not None and module.kernel_size == (3, 3):
                    expected[block].append(rate)
        for block, rates in expected.items():
            _compare(list(call(answer, model, block)), rates, model, block)


def _compare(found: list, rates: list[int], model: nn.Module, block: int) -> None:
    if found == rates:
        return
    wrong = (
        f"For block {block} of {sum(1 for _ in model.backbone.layer4)}-unit block 4 there are {len(rates)} dilations"
    )
    wrong = f"block_dilations(model, {block}) is {found}, expected {rates}."
    expect(
        found != [(rate, rate) for rate in rates], wrong, "dilation is a pair; the first number of each is asked for."
    )
    expect(
        found != [rate + 1 for rate in rates],
        wrong,
        "that is the padding. The two agree only where somebody took care that they do.",
    )
    expect(set(found) != set(rates), wrong, "the right values, but sorted or without repetition: the order counts.")
    own = [m for m in getattr(model.backbone, f"layer{block}").modules() if isinstance(m, nn.Conv2d)]
    expect(len(found) != len(own), wrong, "the 1x1 convolutions are in it. Ask for kernel_size == (3, 3).")
    expect(len(found) <= len(own), wrong, f"convolutions from outside layer{block} are in it. Look at their names.")
    expect(
        False, wrong, "walk over model.named_modules() and ask three questions: which block, which type, which size?"
    )


@exercise(
    "13.2", correct="What has no parameter leaves no trace: load_state_dict is content, and the function is another."
)
def in_a_state_dict(answer: Iterable[str]) -> None:
    """in_a_state_dict({...}) -> those FACTS that keys and shapes tell."""
    expect(not isinstance(answer, str), "One string.", 'a set of strings is expected: {"dropout", ...}.')
    found = set(answer)
    expect(not found - set(FACTS), f"Unknown: {sorted(found - set(FACTS))}.", f"choose from {', '.join(FACTS)}.")
    told = {fact for fact in FACTS if _leaves_a_trace(fact)}
    extra, lacking = sorted(found - told), sorted(told - found)
    expect(
        not extra,
        f"Not told by keys and shapes: {', '.join(extra)}.",
        "build the two networks and compare their state dicts. Only parameters show, by their names and shapes.",
    )
    expect(
        not lacking,
        f"Told all the same: {', '.join(lacking)}.",
        "another number of layers is another number of keys, another number of channels another shape.",
    )


def _leaves_a_trace(fact: str) -> bool:
    """Whether two networks that differ in this alone have state dicts of other keys or shapes."""
    variant = HeadVariant()
    changed = {
        "align_corners": {"variant": replace(variant, align_corners=True)},
        "atrous rates": {"atrous_rates": (12, 24, 36)},
        "decoder depth": {"variant": replace(variant, decoder_depth=1)},
        "depth of the ResNet": {"depth": 101},
        "dilations": {"multi_grid": (1, 1, 1)},
        "dropout": {"variant": replace(variant, aspp_dropout=0.5, decoder_dropout=(0.5, 0.1))},
        "number of classes": {"num_classes": 19},
        "order of concatenation": {"variant": replace(variant, aspp_order="pool_first", decoder_order="low_first")},
        "output stride": {"output_stride": 8},
    }[fact]

    def shapes(
        depth: int = 50,
        output_stride: int = 16,
        multi_grid: tuple[int, ...] = (1, 2, 4),
        num_classes: int = 21,
        **head: object,
    ) -> dict[str, torch.Size]:
        with torch.device("meta"):
            backbone = ResNet(depth, output_stride, multi_grid, width=4)
            model = DeepLabV3Plus(num_classes, backbone, channels=4, decoder_channels=4, **head)
        return {key: value.shape for key, value in model.state_dict().items()}

    return shapes() != shapes(**changed)


@exercise("13.3", correct="The weights move with the channels that they multiply, a block of columns per branch.")
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
        if torch.allclose(F.conv2d(ours, found), theirs, atol=1e-9):
            continue
        wrong = "With the branches in our order, the projection gives something else."
        expect(not torch.equal(found, weight), wrong, "nothing was moved.")
        expect(
            not torch.equal(found, torch.cat([weight[:, -channels:], weight[:, :-channels]], dim=1)),
            wrong,
            "that is the other direction: the first branch goes to the end, not the last to the front.",
        )
        expect(
            not torch.equal(found, torch.roll(weight, -1, dims=1)),
            wrong,
            "a branch is not one channel but a fifth of them.",
        )
        expect(
            not torch.equal(found.sort(dim=0).values, weight.sort(dim=0).values),
            wrong,
            "the output channels were moved. The branches are along dimension 1.",
        )
        expect(False, wrong, "the other four branches keep their order.")
