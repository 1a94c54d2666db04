"""The contract of every backbone (`Features`): taps, last map, alignment, output strides."""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from networks import randomise_norms
from torch import Tensor, nn

from seglib.models import VGG16, MobileNetV2, ResNet, Xception
from seglib.models.backbones import build_backbone

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
OFFERED = [(name, stride) for name in BACKBONES for stride in (8, 16, 32) if name != "vgg16" or stride == 32]
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
            assert torch.equal(same_high, high)
        for number in range(2, 1 + len(single)):
            for order in permutations(single, number):
                features = backbone(x, taps=order)
                assert torch.equal(features.high, high) and len(features.taps) == number
                assert all(torch.equal(tap, single[s]) for tap, s in zip(features.taps, order, strict=True))
        for wrong in (2, 32, *({8, 16} - {*single})):
            offered = r"\(4,\)" if name in ONE_TAP else r"\(4, 8, 16\)"
            with pytest.raises(ValueError, match=rf"taps = \(4, {wrong}\); \w+ offers maps at strides {offered}$"):
                backbone(x, taps=(4, wrong))


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
        with pytest.raises(ValueError, match=rf"output_stride = {wrong}; expected one of \(.*32"):
            backbone.set_output_stride(wrong)
    assert before == [(m.stride, m.dilation, m.padding) for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    backbone.set_output_stride(32)


@pytest.mark.parametrize(
    ("name", "kind", "high", "taps"),
    [
        ("resnet34", ResNet, 512, {4: 64, 8: 128, 16: 256}),
        ("resnet50", ResNet, 2048, {4: 256, 8: 512, 16: 1024}),
        ("mobilenet_v2", MobileNetV2, 320, {4: 24}),
        ("xception71", Xception, 2048, {4: 256}),
        ("vgg16", VGG16, 4096, {4: 128, 8: 256, 16: 512}),
    ],
)
def test_backbones_by_name(name: str, kind: type, high: int, taps: dict[int, int]) -> None:
    stride = 32 if name == "vgg16" else 8
    with torch.device("meta"):
        backbone = build_backbone(name, stride)
    assert type(backbone) is kind and (backbone.output_stride, backbone.high_channels) == (stride, high)
    assert backbone.tap_channels == taps


def test_settings_of_a_backbone_by_name() -> None:
    with torch.device("meta"):
        assert build_backbone("vgg16", 32, width=8).high_channels == 512
        resnet = build_backbone("resnet50", 64, multi_grid=(1, 2, 1), stem="3x3", stride_unit="first", cascade_blocks=1)
    assert (resnet.multi_grid, resnet.stride_unit, resnet.cascade_blocks) == ((1, 2, 1), "first", 1)


@pytest.mark.parametrize(
    ("build", "unit"),
    [
        (lambda: ResNet(50, width=8), "layer1.1"),
        (lambda: ResNet(50, width=8, stride_unit="first"), "layer1"),
        (lambda: Xception(65, width_mult=0.05), "blocks.1.convs.1"),
        (lambda: Xception(71, width_mult=0.05), "blocks.2.convs.1"),
        (lambda: MobileNetV2(width_mult=0.25), "features.3"),
        (lambda: VGG16(width=4), "features.9"),
    ],
)
def test_the_tap_at_stride_4_is_the_map_before_the_next_stride(build: Callable[[], nn.Module], unit: str) -> None:
    backbone, maps = build().eval(), []
    backbone.get_submodule(unit).register_forward_hook(lambda module, inputs, output: maps.append(output.clone()))
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, 65, 65), taps=(4,))
    assert torch.equal(features.taps[0], maps[0])
