"""The networks against independent ones: torchvision, segmentation_models.pytorch, and themselves at other strides."""

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from networks import randomise_norms
from refusal import refused
from torch import Tensor, nn

from seglib.models import DeepLabV3, DeepLabV3Plus, MobileNetV2, ResNet, load_imagenet_weights
from seglib.zoo import load_checkpoint

PLAIN = {18: (1, 1), 50: (1, 1, 1)}  # multi-grid of torchvision's ResNets


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.01, "a constant output would compare equal to anything"
    scale = max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


def torchvision_resnet(depth: int) -> nn.Module:
    return getattr(torchvision.models, f"resnet{depth}")(weights=None)


@torch.inference_mode()
def test_torchvision_deeplabv3() -> None:
    """With the auxiliary classifier, which its published weights have."""
    build = torchvision.models.segmentation.deeplabv3_resnet50
    theirs = randomise_norms(build(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)).eval()
    ours = load_checkpoint(theirs.state_dict(), source="torchvision")
    x = torch.randn(1, 3, 65, 97)
    expected = theirs(x)["out"]
    assert_same_logits(ours(x), expected)
    ours.set_output_stride(16)
    assert (ours(x) - expected).norm() > 0.01 * expected.norm(), "other dilations would show"


@pytest.mark.parametrize(
    ("network", "encoder", "output_stride"),
    [
        *(("DeepLabV3Plus", "resnet50", 16), ("DeepLabV3Plus", "resnet18", 8)),
        *(("DeepLabV3", "resnet18", 8), ("DeepLabV3", "resnet34", 16)),
    ],
)
@torch.inference_mode()
def test_segmentation_models_pytorch(network: str, encoder: str, output_stride: int) -> None:
    theirs = getattr(smp, network)(encoder, encoder_weights=None, encoder_output_stride=output_stride, classes=4)
    state = randomise_norms(theirs).eval().state_dict()
    ours = load_checkpoint(state, source="smp", output_stride=output_stride)
    assert type(ours) is (DeepLabV3Plus if network == "DeepLabV3Plus" else DeepLabV3)
    x = torch.randn(1, 3, 96, 128)
    assert_same_logits(ours(x), theirs(x))
    assert load_checkpoint(state, "smp").output_stride == (16 if network == "DeepLabV3Plus" else 8), "the defaults"


def test_weights_tell_the_depth() -> None:
    with torch.device("meta"):
        large = torchvision.models.segmentation.deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=3)
    state = {key: torch.zeros(value.shape) for key, value in large.state_dict().items()}
    before = torch.get_rng_state()
    assert len(load_checkpoint(state).backbone.layer3) == 23
    assert torch.equal(torch.get_rng_state(), before)


def test_load_checkpoint_refuses_other_networks(tmp_path: Path) -> None:
    fcn = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3)
    mobilenet = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None)
    full_aspp = smp.DeepLabV3Plus("resnet18", encoder_weights=None, decoder_aspp_separable=False)
    torch.save([1], tmp_path / "list.pth")
    aspp = r"decoder\.aspp\.0\.convs\.1\.0"
    for checkpoint, source, message in (
        (fcn.state_dict(), "torchvision", r"torchvision weights do not fit DeepLabV3: \d+ missing: classifier\.0\.con"),
        (mobilenet.state_dict(), "smp", "expected a ResNet"),
        (full_aspp.state_dict(), "smp", rf"6 missing: {aspp}\.0\..*3 unexpected: {aspp}\.weight"),
        ({}, "caffe", "source = 'caffe'; expected one of"),
        ({"model_state": {}}, "torchvision", "model_state"),
        (tmp_path / "list.pth", "torchvision", r"list\.pth: .* found list"),
    ):
        refused(message, load_checkpoint, checkpoint, source)


@pytest.mark.parametrize("stride_unit", ["last", "first"])
@pytest.mark.parametrize("depth", [18, 50])
@torch.inference_mode()
def test_resnet_equals_torchvision(depth: int, stride_unit: str) -> None:
    """The weights fit either position of the stride; with the stride first the maps are equal too."""
    theirs = randomise_norms(torchvision_resnet(depth)).eval()
    ours = ResNet(depth, 32, PLAIN[depth], stride_unit=stride_unit).eval()
    # files from before batch norm counted its batches are taken too
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    load_imagenet_weights(ours, state)
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    x = torch.randn(1, 3, 97, 129)
    (low,), high = ours(x, taps=(4,))
    expected = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x)))))
    if stride_unit == "first":
        assert_same_logits(low, expected)
        assert_same_logits(high, theirs.layer4(theirs.layer3(theirs.layer2(expected))))


@pytest.mark.parametrize("classes", [1000, 1001])
@torch.inference_mode()
def test_mobilenet_equals_torchvision(classes: int) -> None:
    theirs = randomise_norms(torchvision.models.mobilenet_v2(weights=None, num_classes=classes)).eval()
    ours = MobileNetV2(output_stride=32).eval()
    load_imagenet_weights(ours, theirs.state_dict())
    x = torch.randn(1, 3, 97, 129)
    (low,), high = ours(x, taps=(4,))
    assert_same_logits(low, theirs.features[:4](x))
    assert_same_logits(high, theirs.features[:18](x))


def test_imagenet_weights_leave_the_added_blocks_of_a_cascade() -> None:
    state, cascade = torchvision_resnet(18).state_dict(), ResNet(18, cascade_blocks=2)
    before = {key: value.clone() for key, value in cascade.state_dict().items()}
    load_imagenet_weights(cascade, state)
    added = {key for key in before if key.startswith(("layer5.", "layer6."))}
    assert len(added) > 40 and all(torch.equal(cascade.state_dict()[key], before[key]) for key in added)
    assert torch.equal(cascade.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    del state["layer4.1.conv2.weight"]
    refused(r"1 missing: layer4\.1\.conv2\.weight", load_imagenet_weights, cascade, state)


def test_imagenet_weights_of_another_network() -> None:
    state = torchvision_resnet(18).state_dict()
    other = state | {"layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)}
    for backbone, weights, message in (
        (ResNet(50), state, r"ImageNet weights do not fit ResNet: .*missing.*layer1\.0\.conv3"),
        (ResNet(18, stem="3x3"), state, r"unexpected: .*bn1\.bias"),
        (MobileNetV2(), state, "do not fit MobileNetV2"),
        (ResNet(18), other, r"layer2\.0\.conv1\.weight \(128, 64, 1, 1\), expected \(128, 64, 3, 3\)"),
    ):
        refused(message, load_imagenet_weights, backbone, weights)
