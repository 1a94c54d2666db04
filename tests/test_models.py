"""Dilations, sizes, settings, errors and export of the networks; the head computed a second time by hand."""

from itertools import accumulate
from operator import mul

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import CLASSES, NETWORKS, meta, randomise_norms, rates
from refusal import refused
from torch import nn
from torch.nn import functional as F

from seglib.models import (
    ASPP,
    FCN,
    VGG16,
    BilinearUpsampling,
    DeepLabV3,
    DeepLabV3Plus,
    HeadVariant,
    MobileNetV2,
    ResNet,
    UNet,
    Xception,
    atrous_plan,
)

CONV3 = HeadVariant(decoder_conv3=True)


def small(head: type[DeepLabV3] = DeepLabV3Plus, output_stride: int = 16, **settings: object) -> DeepLabV3:
    return head(4, backbone=ResNet(18, output_stride, width=8), channels=8, **settings)


@given(st.lists(st.sampled_from([1, 2]), max_size=12), st.sampled_from([2, 4]), st.sampled_from([8, 16, 32]))
def test_atrous_plan_keeps_the_distance_between_taps(strides: list[int], stem: int, output_stride: int) -> None:
    """Stride so far times rate is what the strides by themselves would have reached, before and after every unit."""
    nominal = list(accumulate([stem, *strides], mul))
    if nominal[-1] < output_stride:
        refused(f"output_stride = {output_stride}; expected one of", atrous_plan, strides, output_stride, stem)
        return
    plan = atrous_plan(strides, output_stride, stem)
    actual = list(accumulate([stem, *(step.stride for step in plan)], mul))
    assert actual[-1] == output_stride
    for i, step in enumerate(plan):
        assert actual[i] * step.rate == nominal[i]
        assert actual[i + 1] * step.next_rate == nominal[i + 1]


@pytest.mark.parametrize(
    ("arguments", "settings", "layer3", "layer4"),
    [
        # torchvision's: its first dilated unit keeps the rate before it; multi-grid multiplies what is there
        ((50, 16, (1, 1, 1)), {"stride_unit": "first"}, [1] * 6, [1, 2, 2]),
        ((50, 8, (1, 1, 1)), {"stride_unit": "first"}, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        ((50, 16), {"stride_unit": "first"}, [1] * 6, [1, 4, 8]),
        ((50, 8), {"stride_unit": "first", "dilate_first_unit": True}, [2] * 6, [4, 8, 16]),
        # both 3x3 convolutions of a basic unit; after a removed stride, the second one already has the next rate
        ((34, 16), {}, [1] * 11 + [2], [2, 2, 4, 4, 8, 8]),
        ((18, 16), {}, [1, 1, 1, 2], [2] * 4),
        ((18, 8), {}, [2, 2, 2, 4], [4] * 4),
        ((18, 16, (1, 1)), {"stride_unit": "first"}, [1] * 4, [1, 2, 2, 2]),
    ],
)
def test_dilations(arguments: tuple, settings: dict[str, object], layer3: list[int], layer4: list[int]) -> None:
    network = meta(ResNet, *arguments, **settings)
    assert (rates(network, "layer3"), rates(network, "layer4")) == (layer3, layer4)
    assert rates(MobileNetV2(16)) == [1] * 15 + [2] * 3 and rates(MobileNetV2(8)) == [1] * 8 + [2] * 7 + [4] * 3


@pytest.mark.parametrize("head", [DeepLabV3, DeepLabV3Plus])
@pytest.mark.parametrize(("start", "end"), [(16, 8), (8, 32), (32, 16)])
def test_set_output_stride_equals_a_new_network(head: type[DeepLabV3], start: int, end: int) -> None:
    moved, fresh = small(head, start).eval(), small(head, end).eval()
    before = {name: value.clone() for name, value in moved.state_dict().items()}
    moved.set_output_stride(end)
    assert all(torch.equal(value, before[name]) for name, value in moved.state_dict().items())
    fresh.load_state_dict(before)
    assert moved.output_stride == fresh.output_stride == end
    x = torch.randn(2, 3, 65, 49)
    with torch.inference_mode():
        assert torch.equal(moved(x), fresh(x))


def test_atrous_rates_follow_the_output_stride() -> None:
    for output_stride, expected in ((8, (12, 24, 36)), (32, (3, 6, 9)), (16, (6, 12, 18))):
        aspp = small(output_stride=output_stride).aspp
        assert aspp.atrous_rates == expected
        assert [branch[0].dilation for branch in aspp.atrous] == [(rate, rate) for rate in expected]
    given_at_8 = small(output_stride=8, atrous_rates=(2, 4, 6, 8))
    given_at_8.set_output_stride(16)
    assert given_at_8.aspp.atrous_rates == (1, 2, 3, 4)
    refused(r"\(2, 4, 6, 8\) at output stride 8 are no whole numbers at output", given_at_8.set_output_stride, 32)
    assert given_at_8.output_stride == 16 and given_at_8.aspp.atrous_rates == (1, 2, 3, 4), "nothing is changed"


@pytest.mark.parametrize("size", [(97, 97), (64, 80), (75, 50), (31, 33)])
@pytest.mark.parametrize("name", ["fcn16s of vgg16", "fcn8s of vgg16", "unet"])  # tests/test_geometry.py has the others
def test_any_size_comes_out_as_it_went_in(name: str, size: tuple[int, int]) -> None:
    build, stride = NETWORKS[name]
    model, x = build().eval(), torch.randn(1, 3, *size)
    with torch.inference_mode():
        assert model(x).shape == (1, CLASSES, *size)
        assert model(x, upsample=False).shape == (1, CLASSES, *(-(-side // stride) for side in size))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name: str) -> None:
    """At every output stride. An FCN's scores start at zero, so that only a second step reaches what is before them."""
    model = NETWORKS[name][0]().train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step, output_stride in enumerate((8, 16, 32) if name == "deeplabv3plus" else (model.output_stride,) * 2):
        model.set_output_stride(output_stride)
        optimiser.zero_grad()
        F.cross_entropy(model(torch.randn(2, 3, 65, 65)), torch.randint(0, CLASSES, (2, 65, 65))).backward()
        optimiser.step()
        for key, parameter in model.named_parameters():
            if parameter.requires_grad and (step or not name.startswith("fcn")):
                assert parameter.grad.isfinite().all()
                assert parameter.grad.any() or not key.endswith("weight"), key


@pytest.mark.parametrize("head", [DeepLabV3, DeepLabV3Plus])
def test_a_batch_of_one_cannot_train_image_pooling(head: type[DeepLabV3]) -> None:
    x = torch.randn(1, 3, 65, 65)
    refused(r"batch of one image.*drop_last=True", small(head).train(), x)
    small(head).eval()(x)
    small(head, image_pooling=False).train()(x)
    frozen = small(head).train()
    for module in frozen.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    frozen(x)


def test_wrong_settings_are_named() -> None:
    for build, message in (
        (lambda: ResNet(20), r"depth = 20; expected one of \(18, 34, 50, 101, 152\)"),
        (lambda: ResNet(18, stem="5x5"), "stem = '5x5'"),
        (lambda: ResNet(18, stride_unit="middle"), "stride_unit = 'middle'"),
        (lambda: ResNet(18, dilate_first_unit=True), 'expected stride_unit="first"'),
        (lambda: ResNet(18, multi_grid=(1, 2, 4)), r"multi_grid = \(1, 2, 4\); expected 2 factors"),
        (lambda: meta(ResNet, 50, multi_grid=(1, 0, 1)), "expected 3 factors of at least 1"),
        (lambda: small(atrous_rates=(6, 0)), r"atrous_rates = \(6, 0\); expected 2 rates of at least 1"),
        (lambda: DeepLabV3(4, "vgg16"), r"vgg16's output_stride = 16; expected one of \(32,\)"),
        (lambda: DeepLabV3(4, ResNet(18, 16, width=8), output_stride=8), "built with 16 and its own blocks: leave"),
        *(
            (lambda name=name: HeadVariant(**{name: "yes"}), f"{name} = 'yes'; expected one of")
            for name in ("separable", "post_aspp", "aspp_order", "decoder_order", "decoder_kernel")
        ),
        (lambda: HeadVariant(decoder_depth=0), "decoder_depth = 0; expected at least 1"),
        (lambda: HeadVariant(decoder_dropout=(0.5,)), r"decoder_dropout = \(0.5,\); expected \(\) or 2 values"),
        (lambda: DeepLabV3Plus(4, MobileNetV2(), variant=CONV3), r"takes maps at strides \[8\]; MobileNetV2 lacks"),
        (lambda: UNet(2, width=4, depth=2).set_output_stride(16), r"output_stride = 16; expected one of \(4,\)"),
        (lambda: Xception(50), r"depth = 50; expected one of \(41, 65, 71\)"),
        # cascades
        (lambda: ResNet(18, cascade_blocks=4), r"cascade_blocks = 4; expected one of \(0, 1, 2, 3\)"),
        (lambda: DeepLabV3(4, "mobilenet_v2", cascade_blocks=1), "only a ResNet has a block 4 to copy"),
        (lambda: DeepLabV3(4, ResNet(18, width=8), cascade_blocks=2), "cascade_blocks = 2; .* its own blocks: leave"),
        (lambda: DeepLabV3Plus(4, ResNet(18, width=8, cascade_blocks=1)), "the decoder refines ASPP's output"),
        # FCN
        (lambda: FCN(4, ResNet(18, 32, width=8), 4), r"stride = 4; expected one of \(32, 16, 8\)"),
        (lambda: FCN(4, "vgg19"), "backbone = 'vgg19'; expected one of .*vgg16"),
        (lambda: FCN(4, ResNet(18, 16, width=8)), "output_stride is 16; expected 32"),
        (lambda: FCN(4, ResNet(18, 32, width=8, stem="3x3", stem_stride=1)), "stem_stride is 1; an FCN's maps need"),
        (lambda: FCN(4, MobileNetV2(32, 0.25)), r"MobileNetV2 offers no map at strides \[16, 8\]; expected a VGG16"),
        (lambda: FCN(4, VGG16(width=4)).set_output_stride(16), r"output_stride = 16; expected one of \(32,\)"),
        (lambda: BilinearUpsampling(3, 3), "factor = 3; expected an even number"),
    ):
        refused(message, build)


def test_heads_start_as_the_papers() -> None:
    classifier = DeepLabV3(50, ResNet(18, width=8), channels=64).classifier
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not classifier.bias.any()
    paper = meta(DeepLabV3Plus, 21)
    assert paper.low_projection[0].out_channels == 48 and [conv.in_channels for conv, *_ in paper.decoder] == [304, 256]
    assert paper.aspp.dropout.p == 0.1 and paper.aspp.atrous_rates == (6, 12, 18)


@pytest.mark.parametrize("atrous_rates", [(), (3,), (1, 2, 3, 4)])
@pytest.mark.parametrize("image_pooling", [True, False])
@pytest.mark.parametrize("order", ["pool_last", "pool_first"])
def test_aspp_by_hand(atrous_rates: tuple[int, ...], image_pooling: bool, order: str) -> None:
    aspp = ASPP(6, atrous_rates, 5, image_pooling, HeadVariant(aspp_order=order)).eval()
    randomise_norms(aspp)
    x = torch.randn(2, 6, 9, 7)
    branches = [aspp.point[1](F.conv2d(x, aspp.point[0].weight)).relu()]
    for (conv, norm, _), rate in zip(aspp.atrous, atrous_rates, strict=True):
        branches.append(norm(F.conv2d(F.pad(x, [rate] * 4), conv.weight, dilation=rate)).relu())
    if image_pooling:
        mean = aspp.pool[1](F.conv2d(F.adaptive_avg_pool2d(x, 1), aspp.pool[0].weight)).relu()
        spread = F.interpolate(mean, size=(9, 7), mode="bilinear", align_corners=False)
        branches = [spread, *branches] if order == "pool_first" else [*branches, spread]
    expected = aspp.project[1](F.conv2d(torch.cat(branches, 1), aspp.project[0].weight)).relu()
    with torch.inference_mode():
        torch.testing.assert_close(aspp(x), expected)
    aspp.dropout.train().p = 1.0
    assert not aspp(x).any(), "dropout comes last"


@pytest.mark.parametrize("order", ["aspp_first", "low_first"])
@pytest.mark.parametrize(("resize", "align_corners"), [("aligned", True), ("centred", False), ("stretched", True)])
def test_decoder_by_hand(order: str, resize: str, align_corners: bool) -> None:
    """v3+ section 3.1, from the backbone's maps on. At sides of 16 k + 1 "aligned" is torch's align_corners=True."""
    model = small(variant=HeadVariant(decoder_order=order, resize=resize)).eval()
    randomise_norms(model)
    x = torch.randn(1, 3, 65, 49)
    with torch.inference_mode():
        (low,), high = model.backbone(x, taps=(4,))
        high = F.interpolate(model.aspp(high), size=low.shape[2:], mode="bilinear", align_corners=align_corners)
        low = model.low_projection[1](F.conv2d(low, model.low_projection[0].weight)).relu()
        y = torch.cat((high, low) if order == "aspp_first" else (low, high), 1)
        for conv, norm, _ in model.decoder:
            y = norm(F.conv2d(y, conv.weight, padding=1)).relu()
        y = F.conv2d(y, model.classifier.weight, model.classifier.bias)
        torch.testing.assert_close(model(x, upsample=False), y)
        upsampled = F.interpolate(y, size=(65, 49), mode="bilinear", align_corners=align_corners)
        torch.testing.assert_close(model(x), upsampled)


def test_separable_as_in_the_papers_code() -> None:
    """Batch norm and ReLU after the depthwise half too, in ASPP and decoder; the depthwise half carries the rate."""
    model = small(variant=HeadVariant(separable="paper")).eval()
    randomise_norms(model)
    (depthwise, norm, _), pointwise, outer_norm, _ = model.aspp.atrous[1]
    x = torch.randn(1, depthwise.in_channels, 9, 9)
    y = norm(F.conv2d(x, depthwise.weight, padding=12, dilation=12, groups=depthwise.in_channels)).relu()
    with torch.inference_mode():
        torch.testing.assert_close(model.aspp.atrous[1](x), outer_norm(F.conv2d(y, pointwise.weight)).relu())
    kinds = [type(layer) for layer in model.decoder[0].modules() if not isinstance(layer, nn.Sequential)]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2


def test_two_levels_of_a_u_net_by_hand() -> None:
    """Skip first, then the upsampled map, each level from the map of its own size."""
    model = UNet(3, width=4, depth=2).eval()
    x = torch.randn(1, 3, 12, 20)
    with torch.inference_mode():
        a = model.backbone.levels[0](x)
        b = model.backbone.levels[1](F.max_pool2d(a, 2))
        y = model.backbone.levels[2](F.max_pool2d(b, 2))
        for up, convs, skip in zip(model.up, model.expanding, (b, a), strict=True):
            y = convs(torch.cat((skip, F.conv_transpose2d(y, up.weight, up.bias, stride=2)), 1))
        torch.testing.assert_close(model(x), F.conv2d(y, model.classifier.weight, model.classifier.bias))
    paper = meta(UNet, 2)
    assert paper.backbone.channels == (64, 128, 256, 512, 1024) and paper.output_stride == 16
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in paper.modules()) == 18
