"""Backbones: the contract of all (`Features`), v3's cascades, pre-activation units, and aligned Xception."""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from networks import meta, randomise_norms, rates, strided
from refusal import refused
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models import VGG16, DeepLabV3, MobileNetV2, ResNet, Xception, build_model
from seglib.models.backbones import build_backbone
from seglib.recipe import Recipe

BACKBONES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda stride: ResNet(18, stride, width=8),
    "resnet18, stride first": lambda stride: ResNet(18, stride, width=8, stride_unit="first"),
    "resnet50": lambda stride: ResNet(50, stride, width=8),
    "resnet50, stride first": lambda stride: ResNet(50, stride, width=8, stride_unit="first"),
    "pre-activation": lambda stride: ResNet(18, stride, width=8, pre_activation=True, stem="3x3"),
    "cascade": lambda stride: ResNet(18, stride, width=8, cascade_blocks=2),
    "mobilenet_v2": lambda stride: MobileNetV2(stride, width_mult=0.25),
    "xception41": lambda stride: Xception(41, stride, width_mult=0.05),
    "xception71": lambda stride: Xception(71, stride, width_mult=0.05),
    "vgg16": lambda stride: VGG16(width=4),
}
OFFERED = [(name, stride) for name in BACKBONES for stride in (8, 32) if name != "vgg16" or stride == 32]
ONE_TAP = ("mobilenet_v2", "xception41", "xception71")


@pytest.mark.parametrize(("name", "output_stride"), OFFERED)
def test_maps_are_what_was_asked_for_and_do_not_depend_on_it(name: str, output_stride: int) -> None:
    backbone = BACKBONES[name](output_stride).eval()
    x = torch.randn(1, 3, 49, 65)

    def size(stride: int) -> tuple[int, int]:
        return -(-49 // stride), -(-65 // stride)

    with torch.inference_mode():
        taps, high = backbone(x)
        assert backbone.output_stride == output_stride
        assert taps == [] and high.shape == (1, backbone.high_channels, *size(output_stride))
        assert {*backbone.tap_channels} == ({4} if name in ONE_TAP else {4, 8, 16})
        single: dict[int, Tensor] = {}
        for stride, channels in backbone.tap_channels.items():
            ([single[stride]], same_high) = backbone(x, taps=(stride,))
            assert single[stride].shape == (1, channels, *size(min(stride, output_stride)))
            assert backbone.grid(stride).stride == min(stride, output_stride)
            assert torch.equal(same_high, high)
        for order in permutations(single) if len(single) > 1 else ():
            features = backbone(x, taps=order)
            assert torch.equal(features.high, high)
            assert all(torch.equal(tap, single[s]) for tap, s in zip(features.taps, order, strict=True))
        for wrong in (2, 32, *({8, 16} - {*single})):
            offered = r"\(4,\)" if name in ONE_TAP else r"\(4, 8, 16\)"
            refused(rf"taps = \(4, {wrong}\); \w+ offers maps at strides {offered}$", backbone, x, taps=(4, wrong))


@pytest.mark.parametrize("name", BACKBONES)
def test_cell_centred_says_for_which_pixels_a_value_stands(name: str) -> None:
    """With mirrored kernels, a mirrored image gives mirrored maps, of a side that fits the alignment."""
    backbone = BACKBONES[name](32).eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data += module.weight.data.flip(3)
    for side, fits in ((64, backbone.cell_centred), (65, not backbone.cell_centred)):
        x = torch.randn(1, 3, side, side)
        with torch.inference_mode():
            maps, mirrored = (backbone(images, taps=tuple(backbone.tap_channels)) for images in (x, x.flip(3)))
        for a, b in zip((*maps.taps, maps.high), (*mirrored.taps, mirrored.high), strict=True):
            assert torch.allclose(a.flip(3), b, rtol=1e-3, atol=1e-3 * float(a.abs().max())) == fits


@pytest.mark.parametrize("size", [(97, 129), (96, 80)])
@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "vgg16"])
def test_removing_strides_keeps_the_weights_valid(name: str, size: tuple[int, int]) -> None:
    """Outputs of the strided network are a subset of the dilated network's: the same weights on a denser grid."""
    backbone = randomise_norms(BACKBONES[name](32)).eval()
    x = torch.randn(1, 3, *size)
    with torch.inference_mode():
        (low,), coarse = backbone(x, taps=(4,))
        for output_stride, step in ((16, 2), (8, 4)):
            backbone.set_output_stride(output_stride)
            (same_low,), dense = backbone(x, taps=(4,))
            assert dense.shape[2] > coarse.shape[2]
            torch.testing.assert_close(same_low, low)
            assert (dense[..., ::step, ::step] - coarse).abs().max() < 1e-4 * coarse.abs().max()


@pytest.mark.parametrize("name", BACKBONES)
def test_output_strides_that_are_not_offered_are_refused(name: str) -> None:
    backbone = BACKBONES[name](32)
    before = [(m.stride, m.dilation, m.padding) for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    for wrong in (0, 4, 12, 512) + ((8, 16) if name == "vgg16" else ()):
        refused(rf"output_stride = {wrong}; expected one of \(.*32", backbone.set_output_stride, wrong)
    assert before == [(m.stride, m.dilation, m.padding) for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    backbone.set_output_stride(32)


def test_backbones_by_name() -> None:
    with torch.device("meta"):
        for name, kind, high in (("resnet34", ResNet, 512), ("mobilenet_v2", MobileNetV2, 320), ("vgg16", VGG16, 4096)):
            backbone = build_backbone(name, 32)
            assert type(backbone) is kind and (backbone.output_stride, backbone.high_channels) == (32, high)
        assert build_backbone("resnet50", 8).tap_channels == {4: 256, 8: 512, 16: 1024}
        assert build_backbone("xception71", 8).tap_channels == {4: 256}
        assert build_backbone("vgg16", 32, width=8).high_channels == 512
        resnet = build_backbone("resnet50", 64, multi_grid=(1, 2, 1), stem="3x3", stride_unit="first", cascade_blocks=1)
        built = build_model(Recipe(model="deeplabv3", backbone="resnet50", cascade_blocks=3, output_stride=256), 21)
        block_4 = build_model(Recipe(model="deeplabv3", backbone="resnet50", aspp=False), 21)
    assert (resnet.multi_grid, resnet.stride_unit, resnet.cascade_blocks) == ((1, 2, 1), "first", 1)
    assert (built.backbone.cascade_blocks, built.output_stride, built.aspp, block_4.aspp) == (3, 256, None, None)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *(("resnet50", "layer1.1"), ("resnet50, stride first", "layer1"), ("mobilenet_v2", "features.3")),
        *(("xception41", "blocks.1.convs.1"), ("xception71", "blocks.2.convs.1"), ("vgg16", "features.9")),
    ],
)
def test_the_tap_at_stride_4_is_the_map_before_the_next_stride(name: str, unit: str) -> None:
    backbone, maps = BACKBONES[name](32).eval(), []
    backbone.get_submodule(unit).register_forward_hook(lambda module, inputs, output: maps.append(output.clone()))
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, 65, 65), taps=(4,))
    assert torch.equal(features.taps[0], maps[0])


@pytest.mark.parametrize("multi_grid", [(1, 1, 1), (1, 2, 1), (1, 2, 4)])
@pytest.mark.parametrize(
    ("output_stride", "base"),
    [
        *((8, (4, 8, 16, 32)), (16, (2, 4, 8, 16)), (32, (1, 2, 4, 8))),
        *((64, (1, 1, 2, 4)), (128, (1, 1, 1, 2)), (256, (1, 1, 1, 1))),
    ],
)
def test_base_rates_double(output_stride: int, base: tuple[int, ...], multi_grid: tuple[int, ...]) -> None:
    """v3 Figure 3(b) at 16; multi-grid multiplies the base rate in block 4 and in every block after it."""
    network = meta(ResNet, 50, output_stride, multi_grid, cascade_blocks=3)
    for block, rate in zip((4, 5, 6, 7), base, strict=True):
        assert rates(network, f"layer{block}") == [rate * grid for grid in multi_grid]
    assert {*rates(network, "layer2")} == {1}
    assert {*rates(network, "layer3")} == ({2} if output_stride == 8 else {1})


@pytest.mark.parametrize("cascade_blocks", [0, 1, 2, 3])
def test_every_block_but_the_last_strides(cascade_blocks: int) -> None:
    deepest = 32 * 2**cascade_blocks
    network = meta(ResNet, 50, deepest, (1, 1, 1), cascade_blocks=cascade_blocks)
    assert [name.split(".")[0] for name in strided(network)] == [f"layer{n}" for n in range(1, 4 + cascade_blocks)]
    assert {*rates(network)} == {1}
    refused(rf"output_stride = {2 * deepest}; expected one of", network.set_output_stride, 2 * deepest)


def test_an_added_block_is_a_copy_of_block_4() -> None:
    network = meta(ResNet, 50, cascade_blocks=2)
    shapes = [{n: p.shape for n, p in getattr(network, f"layer{b}").named_parameters()} for b in (4, 5, 6)]
    own = {n for n in shapes[0] if "downsample" not in n}
    assert shapes[1] == shapes[2] and {*shapes[1]} == own and network.high_channels == 2048
    assert [n for n in own if shapes[0][n] != shapes[1][n]] == ["0.conv1.weight"]
    first = meta(ResNet, 50, 16, (1, 1, 1), stride_unit="first", cascade_blocks=2)
    starts = [rates(first, f"layer{block}") for block in (4, 5, 6)]
    assert starts == [[1, 2, 2], [4, 4, 4], [8, 8, 8]], "only block 4 strides in its first unit"
    recipe = Recipe(model="deeplabv3", backbone="resnet50", width=2, cascade_blocks=2)
    built = build_model(recipe, 3).backbone
    for block in (built.layer5, built.layer6):
        for unit, copied in ((0, 1), (1, 1), (2, 2)):
            assert torch.equal(block[unit].conv2.weight, built.layer4[copied].conv2.weight), "and starts as one"


def test_the_cascade_has_no_aspp() -> None:
    """v3 section 3.2: the classifier follows the last block."""
    model = DeepLabV3(4, ResNet(18, width=8, cascade_blocks=1)).eval()
    assert model.aspp is None and model.classifier.in_channels == 64
    x = torch.randn(1, 3, 65, 65)
    with torch.inference_mode():
        expected = F.conv2d(model.backbone(x).high, model.classifier.weight, model.classifier.bias)
        torch.testing.assert_close(model(x, upsample=False), expected)
    model.train()(x[:, :, :33, :33])  # no image pooling: a batch of one trains


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stem", ["7x7", "3x3"])
def test_pre_activation_by_hand(depth: int, stem: str) -> None:
    """He et al. 2016: norm, ReLU, convolution, three times; what is added was not activated, nor is the sum."""
    network = ResNet(depth, 16, width=8, pre_activation=True, stem=stem).eval()
    randomise_norms(network)
    for unit in (network.layer1[0], network.layer1[1], network.layer4[0]):
        x = torch.randn(1, unit.conv1.in_channels, 9, 9)
        y = unit.conv2(unit.bn2(unit.conv1(unit.bn1(x).relu())).relu())
        if depth == 50:
            y = unit.conv3(unit.bn3(y).relu())
        shortcut = x[..., :: unit.stride, :: unit.stride]
        if unit.downsample is not None:
            shortcut = F.conv2d(unit.bn1(x).relu(), unit.downsample[0].weight, stride=unit.stride)
        with torch.inference_mode():
            torch.testing.assert_close(unit(x), y + shortcut)
    maps: list[torch.Tensor] = []
    network.layer4[-1].register_forward_hook(lambda unit, inputs, output: maps.append(output.clone()))
    with torch.inference_mode():
        high = network(torch.randn(1, 3, 65, 65)).high
        assert maps[0].min() < 0
        torch.testing.assert_close(high, network.final_norm(maps[0]).relu())


@pytest.mark.parametrize(("depth", "entry", "middle"), [(41, 3, 8), (65, 3, 16), (71, 5, 16)])
def test_modules_and_rates_are_the_papers_codes(depth: int, entry: int, middle: int) -> None:
    """A module that loses its stride keeps the rate before it, its third convolution too; no multi-grid."""
    expected = {
        16: [[1] * 3] * (entry + middle + 1) + [[2] * 3],
        8: [[1] * 3] * entry + [[2] * 3] * (middle + 1) + [[4] * 3],
        32: [[1] * 3] * (entry + middle + 2),
    }
    for output_stride, rates_of_modules in expected.items():
        network = meta(Xception, depth, output_stride)
        assert 3 * len(network.blocks) + 2 == depth, "the root has two convolutions"
        assert [[c.depthwise.dilation[0] for c in module.convs] for module in network.blocks] == rates_of_modules
    modules = (0, 2, 4, 21) if depth == 71 else (0, 1, 2, 3 + middle)
    assert strided(network)[1:] == [f"blocks.{index}.convs.2.depthwise" for index in modules]


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
            y = conv.depthwise_norm(y)
            y = conv.pointwise_norm(F.conv2d(y.relu() if last else y, conv.pointwise.weight))
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
                y = y + module.shortcut[1](F.conv2d(x, module.shortcut[0].weight, stride=2))
            torch.testing.assert_close(module(x), y + x if index == 4 else y)
