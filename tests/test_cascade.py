"""Blocks 5 to 7: base rates, strides, sizes, and the networks of v3 Tables 1 and 2; pre-activation units."""

from collections.abc import Callable

import pytest
import torch
from networks import meta_resnet, norm_relu, randomise_norms, rates, strided
from torch.nn import functional as F

from seglib.models import DeepLabV3, DeepLabV3Plus, ResNet, build_model
from seglib.recipe import Recipe


def small(cascade_blocks: int = 3, output_stride: int = 16) -> DeepLabV3:
    return DeepLabV3(4, ResNet(18, output_stride, width=8, cascade_blocks=cascade_blocks))


@pytest.mark.parametrize("multi_grid", [(1, 1, 1), (1, 2, 1), (1, 2, 4)])
@pytest.mark.parametrize(
    ("output_stride", "base"),
    [
        *((8, (4, 8, 16, 32)), (16, (2, 4, 8, 16)), (32, (1, 2, 4, 8))),
        *((64, (1, 1, 2, 4)), (128, (1, 1, 1, 2)), (256, (1, 1, 1, 1))),
    ],
)
def test_base_rates_double_from_block_to_block(
    output_stride: int, base: tuple[int, ...], multi_grid: tuple[int, ...]
) -> None:
    """v3 Figure 3(b) at 16; multi-grid multiplies the base rate in block 4 and in every block after it."""
    network = meta_resnet(50, output_stride, multi_grid, cascade_blocks=3)
    for block, rate in zip((4, 5, 6, 7), base, strict=True):
        assert rates(network, f"layer{block}") == [rate * grid for grid in multi_grid]
    assert {*rates(network, "layer2")} == {1}
    assert {*rates(network, "layer3")} == ({2} if output_stride == 8 else {1})


@pytest.mark.parametrize("cascade_blocks", [0, 1, 2, 3])
def test_every_block_but_the_last_strides(cascade_blocks: int) -> None:
    deepest = 32 * 2**cascade_blocks
    network = meta_resnet(50, deepest, (1, 1, 1), cascade_blocks=cascade_blocks)
    assert [name.split(".")[0] for name in strided(network)] == [f"layer{n}" for n in range(1, 4 + cascade_blocks)]
    assert {*rates(network)} == {1}
    with pytest.raises(ValueError, match=rf"output_stride = {2 * deepest}; expected one of"):
        network.set_output_stride(2 * deepest)


def test_an_added_block_is_a_copy_of_block_4() -> None:
    network = meta_resnet(50, cascade_blocks=2)
    shapes = [{n: p.shape for n, p in getattr(network, f"layer{b}").named_parameters()} for b in (4, 5, 6)]
    own = {n for n in shapes[0] if "downsample" not in n}
    assert shapes[1] == shapes[2] and {*shapes[1]} == own and network.high_channels == 2048
    assert [n for n in own if shapes[0][n] != shapes[1][n]] == ["0.conv1.weight"]
    first = meta_resnet(50, 16, (1, 1, 1), stride_unit="first", cascade_blocks=2)
    starts = [rates(first, f"layer{block}") for block in (4, 5, 6)]
    assert starts == [[1, 2, 2], [2, 4, 4], [4, 8, 8]], "each with the rate before it"


def test_the_cascade_has_no_aspp() -> None:
    """v3 section 3.2: the classifier follows the last block."""
    model = small(1).eval()
    assert model.aspp is None and model.classifier.in_channels == 64
    x = torch.randn(1, 3, 65, 65)
    with torch.inference_mode():
        expected = F.conv2d(model.backbone(x).high, model.classifier.weight, model.classifier.bias)
        torch.testing.assert_close(model(x, upsample=False), expected)
    small(1).train()(x[:, :, :33, :33])  # no image pooling: a batch of one trains


def test_by_name_and_by_recipe() -> None:
    with torch.device("meta"):
        model = DeepLabV3(21, "resnet50", 16, cascade_blocks=3)
        recipe = Recipe(model="deeplabv3", backbone="resnet50")
        built = build_model(recipe.replace(cascade_blocks=3, multi_grid=(1, 2, 1), output_stride=256), 21)
        block_4 = build_model(recipe.replace(aspp=False), 21)
        pre_activation = build_model(Recipe(backbone="resnet50", pre_activation=True), 21).backbone
    assert rates(model.backbone, "layer7") == [16, 32, 64]
    assert built.backbone.cascade_blocks == 3 and built.output_stride == 256 and built.aspp is None
    assert block_4.aspp is None and not any("aspp" in name for name, _ in block_4.named_modules())
    block_4.set_output_stride(8)
    assert block_4.output_stride == 8, "the first column of v3 Table 2"
    assert pre_activation.final_norm is not None and pre_activation.dilations() == meta_resnet(50).dilations()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResNet(18, cascade_blocks=4), r"cascade_blocks = 4; expected one of \(0, 1, 2, 3\)"),
        (lambda: DeepLabV3(4, "mobilenet_v2", cascade_blocks=1), "only a ResNet has a block 4 to copy"),
        (lambda: DeepLabV3(4, ResNet(18, width=8), cascade_blocks=2), "cascade_blocks = 2; .* its own blocks: leave"),
        (lambda: DeepLabV3Plus(4, ResNet(18, width=8, cascade_blocks=1)), "the decoder refines ASPP's output"),
        (lambda: small(1).set_output_stride(128), r"output_stride = 128; expected one of \(8, 16, 32, 64\)"),
    ],
)
def test_wrong_settings_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stem", ["7x7", "3x3"])
def test_pre_activation_by_hand(depth: int, stem: str) -> None:
    """He et al. 2016: norm, ReLU, convolution, three times; what is added was not activated, nor is the sum."""
    network = ResNet(depth, 16, width=8, pre_activation=True, stem=stem).eval()
    randomise_norms(network)
    for unit in (network.layer1[0], network.layer1[1], network.layer4[0]):
        x = torch.randn(1, unit.conv1.in_channels, 9, 9)
        y = unit.conv2(norm_relu(unit.conv1(norm_relu(x, unit.bn1)), unit.bn2))
        if depth == 50:
            y = unit.conv3(norm_relu(y, unit.bn3))
        shortcut = x[..., :: unit.stride, :: unit.stride]
        if unit.downsample is not None:
            shortcut = F.conv2d(norm_relu(x, unit.bn1), unit.downsample[0].weight, stride=unit.stride)
        with torch.inference_mode():
            torch.testing.assert_close(unit(x), y + shortcut)
    maps: list[torch.Tensor] = []
    network.layer4[-1].register_forward_hook(lambda unit, inputs, output: maps.append(output.clone()))
    with torch.inference_mode():
        high = network(torch.randn(1, 3, 65, 65)).high
        assert maps[0].min() < 0
        torch.testing.assert_close(high, norm_relu(maps[0], network.final_norm))
