"""The networks against independent ones: torchvision, segmentation_models.pytorch, and themselves at other strides."""

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn

from seglib.models import DeepLabV3, DeepLabV3Plus, MobileNetV2, ResNet
from seglib.models.build import load_imagenet_weights
from seglib.zoo import load_checkpoint


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random batch-norm parameters and statistics, so that no norm is the identity; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.4, 1.0, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def images(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.01, "a constant output would compare equal to anything"
    scale = max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


def test_torchvision_deeplabv3() -> None:
    """With the auxiliary classifier, which its published weights have."""
    theirs = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=5, aux_loss=True
    )
    randomised(theirs)
    ours = load_checkpoint(theirs.state_dict(), source="torchvision")
    x = images(65, 97)
    with torch.inference_mode():
        expected = theirs(x)["out"]
        assert_same_logits(ours(x), expected)
        ours.set_output_stride(16)
        assert relative_error(ours(x), expected) > 0.01, "other dilations would show"


def test_a_file_and_the_depth_it_tells(tmp_path: Path) -> None:
    small = smp.DeepLabV3("resnet18", encoder_weights=None, classes=3)
    torch.save(small.state_dict(), tmp_path / "deeplab.pth")
    ours = load_checkpoint(tmp_path / "deeplab.pth", "smp")
    assert ours.output_stride == 8, "the library's default"
    assert torch.equal(ours.classifier.weight, small.segmentation_head[0].weight)
    with torch.device("meta"):
        large = torchvision.models.segmentation.deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=3)
    state = {key: torch.zeros(value.shape) for key, value in large.state_dict().items()}
    before = torch.get_rng_state()
    assert len(load_checkpoint(state).backbone.layer3) == 23
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("network", "encoder", "output_stride"),
    [
        ("DeepLabV3Plus", "resnet50", 16),
        ("DeepLabV3Plus", "resnet18", 8),
        ("DeepLabV3", "resnet18", 8),
        ("DeepLabV3", "resnet34", 16),
    ],
)
def test_segmentation_models_pytorch(network: str, encoder: str, output_stride: int) -> None:
    theirs = getattr(smp, network)(encoder, encoder_weights=None, encoder_output_stride=output_stride, classes=4)
    randomised(theirs)
    ours = load_checkpoint(theirs.state_dict(), source="smp", output_stride=output_stride)
    assert type(ours) is (DeepLabV3Plus if network == "DeepLabV3Plus" else DeepLabV3)
    x = images(96, 128)
    with torch.inference_mode():
        assert_same_logits(ours(x), theirs(x))


def test_load_checkpoint_refuses_other_networks(tmp_path: Path) -> None:
    with torch.device("meta"):
        fcn = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3)
        mobilenet = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None)
        full_aspp = smp.DeepLabV3Plus("resnet18", encoder_weights=None, decoder_aspp_separable=False)
    torch.save([1], tmp_path / "list.pth")
    for weights, source, message in (
        (
            fcn.state_dict(),
            "torchvision",
            r"torchvision weights do not fit DeepLabV3: \d+ missing: classifier\.0\.convs",
        ),
        (mobilenet.state_dict(), "smp", "expected a ResNet"),
        (full_aspp.state_dict(), "smp", r"6 missing: decoder\.aspp\.0\.convs\.1\.0\.0\..*3 unexpected: "),
        ({}, "caffe", "source = 'caffe'; expected one of"),
        ({"model_state": {}}, "torchvision", "model_state"),
        (tmp_path / "list.pth", "torchvision", r"list\.pth: .* found list"),
    ):
        with pytest.raises(ValueError, match=message):
            load_checkpoint(weights, source)


@pytest.mark.parametrize("stride_unit", ["last", "first"])
@pytest.mark.parametrize("depth", [18, 50])
def test_imagenet_weights_fit_either_stride_position(depth: int, stride_unit: str) -> None:
    theirs = randomised(getattr(torchvision.models, f"resnet{depth}")(weights=None)).state_dict()
    counters = {key for key in theirs if key.endswith("num_batches_tracked")}
    ours = ResNet(depth, stride_unit=stride_unit)
    load_imagenet_weights(ours, {key: value for key, value in theirs.items() if key not in counters})  # an old file
    loaded, used = ours.state_dict(), {key for key in theirs if not key.startswith("fc.")}
    assert loaded.keys() == used and all(torch.equal(loaded[key], theirs[key]) for key in used - counters)


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_features_equal_torchvision(depth: int) -> None:
    theirs = randomised(getattr(torchvision.models, f"resnet{depth}")(weights=None))
    ours = ResNet(depth, output_stride=32, multi_grid=(1,) * (2 if depth == 18 else 3), stride_unit="first").eval()
    load_imagenet_weights(ours, theirs.state_dict())
    x = images(97, 129)
    with torch.inference_mode():
        taps, high = ours(x, (4, 8, 16))
        y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for tap, block in zip((*taps, high), (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True):
            y = block(y)
            assert_same_logits(tap, y)


@pytest.mark.parametrize("classes", [1000, 1001])
def test_mobilenet_features_equal_torchvision(classes: int) -> None:
    theirs = randomised(torchvision.models.mobilenet_v2(weights=None, num_classes=classes))
    ours = MobileNetV2(output_stride=32).eval()
    load_imagenet_weights(ours, theirs.state_dict())
    x = images(97, 129)
    with torch.inference_mode():
        (low,), high = ours(x, (4,))
        assert_same_logits(low, theirs.features[:4](x))
        assert_same_logits(high, theirs.features[:18](x))


def test_imagenet_weights_leave_the_added_blocks_of_a_cascade() -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    cascade = ResNet(18, cascade_blocks=2)
    before = {key: value.clone() for key, value in cascade.state_dict().items()}
    load_imagenet_weights(cascade, state)
    for key, value in cascade.state_dict().items():
        assert torch.equal(value, before[key] if key.startswith(("layer5.", "layer6.")) else state[key]), key


def test_imagenet_weights_of_another_network_are_refused() -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    lacking = {key: value for key, value in state.items() if key != "layer4.1.conv2.weight"}
    with torch.device("meta"):
        cases = [
            (ResNet(50), state, r"ImageNet weights do not fit ResNet: .*missing.*layer1\.0\.conv3"),
            (ResNet(18, stem="3x3"), state, r"unexpected: .*bn1\.bias"),
            (MobileNetV2(), state, "do not fit MobileNetV2"),
            (ResNet(18, cascade_blocks=2), lacking, r"1 missing: layer4\.1\.conv2\.weight"),
            (
                ResNet(18),
                {**state, "layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)},
                r"layer2\.0\.conv1\.weight \(128, 64, 1, 1\), expected \(128, 64, 3, 3\)",
            ),
        ]
    for backbone, weights, message in cases:
        with pytest.raises(ValueError, match=message):
            load_imagenet_weights(backbone, weights)


def backbone(name: str, output_stride: int) -> nn.Module:
    if name == "mobilenet_v2":
        return MobileNetV2(output_stride)
    depth, stride_unit = name.split("-")
    multi_grid = (1,) * (2 if depth == "18" else 3)
    return ResNet(int(depth), output_stride, multi_grid=multi_grid, width=16, stride_unit=stride_unit)


@pytest.mark.parametrize(("output_stride", "size"), [(16, (97, 129)), (8, (97, 129)), (8, (96, 80))])
@pytest.mark.parametrize("name", ["18-last", "18-first", "50-last", "50-first", "mobilenet_v2"])
def test_strided_outputs_are_a_subset_of_the_dilated_ones(name: str, output_stride: int, size: tuple[int, int]) -> None:
    """The rule about the unit that loses its stride: the same weights compute the same, only on a denser grid."""
    network = randomised(backbone(name, 32))
    x = images(*size)
    step = 32 // output_stride
    with torch.inference_mode():
        strided = network(x, (4,))
        network.set_output_stride(output_stride)
        dilated = network(x, (4,))
    assert dilated.high.shape[2] > strided.high.shape[2]
    torch.testing.assert_close(dilated.taps[0], strided.taps[0])
    assert relative_error(dilated.high[..., ::step, ::step], strided.high) < 1e-5


@pytest.mark.parametrize("depth", [18, 50])
def test_dilating_the_first_unit_breaks_the_subset(depth: int) -> None:
    strided = randomised(backbone(f"{depth}-first", 32))
    wrong = ResNet(
        depth, 16, multi_grid=strided.multi_grid, width=16, stride_unit="first", dilate_first_unit=True
    ).eval()
    wrong.load_state_dict(strided.state_dict())
    x = images(97, 129)
    with torch.inference_mode():
        assert relative_error(wrong(x).high[..., ::2, ::2], strided(x).high) > 0.05


def test_the_published_mobilenet_needs_the_rule(seglib_data: Path) -> None:
    """With trained weights: the rule keeps the features, the block's own rate in its first unit does not."""
    path = seglib_data / "weights" / "mobilenet_v2_imagenet.pth"
    if not path.exists():
        pytest.skip(f"{path}: not there")
    network, state = MobileNetV2(32).eval(), torch.load(path, map_location="cpu", weights_only=True)
    load_imagenet_weights(network, state)
    assert torch.equal(network.features[17].conv[2].weight, state["features.17.conv.2.weight"])
    x = images(97, 129)
    with torch.inference_mode():
        strided = network(x).high
        network.set_output_stride(16)
        assert relative_error(network(x).high[..., ::2, ::2], strided) < 1e-5
        depthwise = network.features[14].conv[1][0]
        assert depthwise.dilation == (1, 1)
        depthwise.dilation = depthwise.padding = (2, 2)
        assert relative_error(network(x).high[..., ::2, ::2], strided) > 0.05
