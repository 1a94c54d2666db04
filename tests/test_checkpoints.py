"""Other libraries' networks and ImageNet weights: the same logits from their tensors, or a clear refusal."""

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from networks import meta, randomise_norms
from peer_networks import Weights, jfzhang95, jfzhang95_file, vainf
from refusal import refused
from torch import Tensor, nn

from seglib.data import VOCSegmentation
from seglib.data.transforms import UNIT
from seglib.models import DeepLabV3, DeepLabV3Plus, MobileNetV2, ResNet, load_imagenet_weights
from seglib.predict import Scoring, evaluate
from seglib.zoo import load_checkpoint
from seglib.zoo.checkpoints import LAYOUTS

PLAIN = {18: (1, 1), 50: (1, 1, 1)}  # multi-grid of torchvision's ResNets
segmentation = torchvision.models.segmentation


def torchvision_resnet(depth: int) -> nn.Module:
    return getattr(torchvision.models, f"resnet{depth}")(weights=None)


def images(height: int = 70, width: int = 101) -> Tensor:
    """On such sides no two rules of resizing agree."""
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.01, "a constant output would compare equal to anything"
    scale = max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


def assert_loads(path: Path, source: str, output_stride: int, x: Tensor, expected: Tensor) -> DeepLabV3:
    """Loads a file for this output stride, and for the other one with a change afterwards: the same logits."""
    ours = load_checkpoint(path, source, output_stride)
    moved = load_checkpoint(path, source, 24 - output_stride)
    moved.set_output_stride(output_stride)
    for model in (ours, moved):
        assert_same_logits(model(x), expected)
    return ours


@pytest.mark.parametrize(
    ("plus", "backbone", "output_stride", "separable"),
    [
        *((True, "resnet50", 16, False), (False, "resnet50", 8, False)),
        *((True, "mobilenet", 8, True), (False, "mobilenet", 16, True)),
    ],
)
def test_vainf(tmp_path: Path, plus: bool, backbone: str, output_stride: int, separable: bool) -> None:
    weights, x = Weights(), images()
    with torch.inference_mode():
        expected = vainf(weights, x, 3, output_stride, plus, backbone, separable)
        state = {"cur_itrs": 30000, "model_state": dict(weights), "best_score": np.float64(0.783)}
        torch.save(state, tmp_path / "best.pth")
        ours = assert_loads(tmp_path / "best.pth", "vainf", output_stride, x, expected)
    assert type(ours) is (DeepLabV3Plus if plus else DeepLabV3)


@pytest.mark.parametrize(("backbone", "output_stride"), [("resnet50", 16), ("mobilenet", 8)])
def test_jfzhang95(tmp_path: Path, backbone: str, output_stride: int) -> None:
    weights, x = Weights(), images()
    with torch.inference_mode():
        expected = jfzhang95(weights, x, 3, output_stride, backbone)
        torch.save(jfzhang95_file(weights), tmp_path / "model_best.pth.tar")
        ours = assert_loads(tmp_path / "model_best.pth.tar", "jfzhang95", output_stride, x, expected)
    assert [module.p for module in ours.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.5, 0.1]


@pytest.fixture(scope="module")
def jfzhang95_state() -> dict[str, Tensor]:
    weights = Weights()
    with torch.inference_mode():
        jfzhang95(weights, torch.zeros(1, 3, 33, 33), 2, 16, "resnet50")
    return dict(weights)


def test_what_no_state_dict_says(jfzhang95_state: dict[str, Tensor]) -> None:
    """Dilations of blocks 3 and 4 and of ASPP at either output stride; rates of one's own."""
    before = torch.get_rng_state()
    model = load_checkpoint(jfzhang95_state, "jfzhang95", 8)
    assert torch.equal(torch.get_rng_state(), before)
    rates = [dilation for name, _, dilation in model.backbone.dilations() if name.startswith(("layer3", "layer4"))]
    assert rates == [2] * 6 + [4, 8, 16]
    assert model.aspp.atrous_rates == (12, 24, 36)
    assert load_checkpoint(jfzhang95_state, "jfzhang95").aspp.atrous_rates == (6, 12, 18)
    assert load_checkpoint(jfzhang95_state, "jfzhang95", atrous_rates=(1, 2, 3)).aspp.atrous_rates == (1, 2, 3)
    refused(r"output_stride = 32; expected one of \(8, 16\)", load_checkpoint, jfzhang95_state, "jfzhang95", 32)


@pytest.mark.parametrize(("separable", "old"), [(True, False), (False, True)])
def test_other_layouts_of_smp(separable: bool, old: bool) -> None:
    """Separable convolutions in DeepLabV3's ASPP, and the names of older files."""
    theirs = smp.DeepLabV3("resnet18", encoder_weights=None, classes=3, decoder_aspp_separable=separable)
    state, x = randomise_norms(theirs).eval().state_dict(), images(64, 96)
    if old:
        names = {"decoder.aspp.": "decoder.0.", "decoder.conv.": "decoder.1.", "decoder.bn.": "decoder.2."}
        for new, before in names.items():
            state = {key.replace(new, before): value for key, value in state.items()}
    with torch.inference_mode():
        assert_same_logits(load_checkpoint(state, "smp")(x), theirs(x))


def folded_mobilenet(x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A random network laid out as the converted TensorFlow model, and its logits, computed from the tensors alone."""
    backbone = randomise_norms(torchvision.models.mobilenet_v2(weights=None)).eval().features[:18]
    state = {f"features.{key}": value for key, value in backbone.state_dict().items()}
    shapes = {"aspp0": (256, 320), "image_pooling": (256, 320), "concat_projection": (256, 512), "logits": (4, 256)}
    for name, (rows, columns) in shapes.items():
        state[f"{name}.weight"] = torch.randn(rows, columns, 1, 1) * (2 / columns) ** 0.5
        state[f"{name}.bias"] = torch.randn(rows) * 0.3
    backbone[14].conv[1][0].stride = (1, 1)
    for unit in (15, 16, 17):
        backbone[unit].conv[1][0].dilation = backbone[unit].conv[1][0].padding = (2, 2)

    def convolved(y: Tensor, name: str) -> Tensor:
        return F.conv2d(y, state[f"{name}.weight"], state[f"{name}.bias"])

    high = backbone(x)
    pooled = F.relu(convolved(high.mean((2, 3), keepdim=True), "image_pooling")).expand(-1, -1, *high.shape[2:])
    y = F.relu(convolved(torch.cat([pooled, F.relu(convolved(high, "aspp0"))], 1), "concat_projection"))
    logits = convolved(y, "logits")
    return state, F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=True)


def test_tf_mobilenet() -> None:
    x = images()
    with torch.inference_mode():
        state, expected = folded_mobilenet(x)
        assert_same_logits(load_checkpoint(state, "tf-mobilenet")(x), expected)


NINE = ("background", "person", "cat", "dog", "horse", "sheep", "cow", "chair", "sofa")


def test_the_published_model_scores_what_it_should(seglib_data: Path) -> None:
    """Every seventh val photograph, padded with the mean colour to 513 as in training.

    Both numbers were counted apart, with torchvision's network and NumPy; those of all 224 are 0.9438 and 0.6827.
    """
    weights = seglib_data / "weights" / "deeplabv3_mobilenet_v2_voc.pth"
    if not weights.exists():
        pytest.skip(f"{weights}: not there")
    photographs = VOCSegmentation(seglib_data / "voc" / "VOCdevkit", "val", partial=True)
    if len(photographs) != 224:
        pytest.skip(f"{seglib_data}: {len(photographs)} photographs in val; the known score is that of 224")
    model = load_checkpoint(weights, "tf-mobilenet")
    scores = evaluate(model, photographs.subset(range(0, 224, 7)), UNIT, Scoring(pad_to=513)).compute()
    nine = [float(scores.iou[photographs.classes.index(name)]) for name in NINE]
    assert float(scores.pixel_accuracy) == pytest.approx(0.9451, abs=1e-3)
    assert sum(nine) / 9 == pytest.approx(0.6982, abs=1e-3)


def test_a_refusal_names_the_files_own_keys_and_the_right_source(jfzhang95_state: dict[str, Tensor]) -> None:
    other = {"aspp.conv1.weight": torch.zeros(256, 1024, 1, 1)}
    shapes = r"aspp\.conv1\.weight \(256, 1024, 1, 1\), expected \(256, 1280, 1, 1\)$"
    for removed, added, message in (
        ("aspp.aspp3.bn.running_mean", {}, r"1 missing: aspp\.aspp3\.bn\.running_mean$"),
        ("nothing", {"decoder.last_conv.9.weight": torch.zeros(2)}, r"1 unexpected: decoder\.last_conv\.9\.weight$"),
        ("nothing", other, rf"1 of another shape: {shapes}"),
        ("decoder", {}, r"17 missing: decoder\.\S+(, decoder\.\S+){5} and 11 more$"),
    ):
        state = {key: value for key, value in jfzhang95_state.items() if not key.startswith(removed)} | added
        refused(message, load_checkpoint, state, "jfzhang95")
    for source in {*LAYOUTS} - {"jfzhang95"}:
        refused(r"\d+ .*look like the keys of source='jfzhang95'", load_checkpoint, jfzhang95_state, source)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    fcn = segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3)
    mobilenet = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None)
    full_aspp = smp.DeepLabV3Plus("resnet18", encoder_weights=None, decoder_aspp_separable=False)
    own = meta(DeepLabV3Plus, 2, MobileNetV2())
    large = meta(segmentation.deeplabv3_mobilenet_v3_large, weights=None, weights_backbone=None)
    torch.save([1], tmp_path / "list.pth")
    aspp = r"decoder\.aspp\.0\.convs\.1\.0"
    for checkpoint, source, message in (
        (fcn.state_dict(), "torchvision", r"torchvision weights do not fit DeepLabV3: \d+ missing: classifier\.0\.con"),
        (large.state_dict(), "torchvision", r"expected a ResNet .*layer1\.0\.conv1.*found \d+ keys: backbone\.0"),
        (mobilenet.state_dict(), "smp", "expected a ResNet"),
        (full_aspp.state_dict(), "smp", rf"6 missing: {aspp}\.0\..*3 unexpected: {aspp}\.weight"),
        (own.state_dict(), "vainf", r"own keys: build the model and call model\.load_state_dict"),
        ({}, "caffe", "source = 'caffe'; expected one of"),
        ({"model_state": {}}, "torchvision", "model_state"),
        (tmp_path / "list.pth", "torchvision", r"list\.pth: .* found list"),
    ):
        refused(message, load_checkpoint, checkpoint, source)


@torch.inference_mode()
def test_torchvision_deeplabv3() -> None:
    """With the auxiliary classifier, which its published weights have."""
    theirs = segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=True)
    ours, x = load_checkpoint(randomise_norms(theirs).eval().state_dict(), source="torchvision"), images()
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
