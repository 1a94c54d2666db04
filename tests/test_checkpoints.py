"""Checkpoints of other libraries: the same logits from their tensors, and a clear refusal of anything else."""

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from peer_networks import Weights, jfzhang95, jfzhang95_file, vainf
from refusal import refused
from torch import Tensor, nn

from seglib.data import VOCSegmentation
from seglib.data.transforms import UNIT
from seglib.models import DeepLabV3, DeepLabV3Plus, HeadVariant, MobileNetV2
from seglib.predict import Scoring, evaluate
from seglib.zoo import load_checkpoint
from seglib.zoo.checkpoints import LAYOUTS


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
        (True, "resnet50", 16, False),
        (False, "resnet50", 8, False),
        (True, "mobilenet", 8, False),
        (False, "mobilenet", 16, False),
        (True, "mobilenet", 16, True),
        (False, "mobilenet", 8, True),
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


@pytest.mark.parametrize(("backbone", "output_stride"), [("resnet50", 16), ("mobilenet", 16), ("mobilenet", 8)])
def test_jfzhang95(tmp_path: Path, backbone: str, output_stride: int) -> None:
    weights, x = Weights(), images()
    with torch.inference_mode():
        expected = jfzhang95(weights, x, 3, output_stride, backbone)
        torch.save(jfzhang95_file(weights), tmp_path / "model_best.pth.tar")
        ours = assert_loads(tmp_path / "model_best.pth.tar", "jfzhang95", output_stride, x, expected)
    assert [module.p for module in ours.modules() if isinstance(module, nn.Dropout)] == [0.5, 0.5, 0.1]


def test_torchvision() -> None:
    build, x = torchvision.models.segmentation.deeplabv3_resnet50, images()
    theirs = randomised(build(weights=None, weights_backbone=None, num_classes=3))
    with torch.inference_mode():
        assert_same_logits(load_checkpoint(theirs.state_dict(), "torchvision", 8)(x), theirs(x)["out"])


@pytest.fixture(scope="module")
def jfzhang95_state() -> dict[str, Tensor]:
    weights = Weights()
    with torch.inference_mode():
        jfzhang95(weights, torch.zeros(1, 3, 33, 33), 2, 16, "resnet50")
    return dict(weights)


def test_what_no_state_dict_says(jfzhang95_state: dict[str, Tensor]) -> None:
    """Dilations of blocks 3 and 4 and of ASPP at either output stride; rates of one's own."""
    model = load_checkpoint(jfzhang95_state, "jfzhang95", 8)
    rates = [dilation for name, _, dilation in model.backbone.dilations() if name.startswith(("layer3", "layer4"))]
    assert rates == [2] * 6 + [4, 8, 16]
    assert model.aspp.atrous_rates == (12, 24, 36)
    assert load_checkpoint(jfzhang95_state, "jfzhang95").aspp.atrous_rates == (6, 12, 18)
    assert load_checkpoint(jfzhang95_state, "jfzhang95", atrous_rates=(1, 2, 3)).aspp.atrous_rates == (1, 2, 3)
    refused(r"output_stride = 32; expected one of \(8, 16\)", load_checkpoint, jfzhang95_state, "jfzhang95", 32)


def test_a_parallel_wrapper_and_a_plain_container(jfzhang95_state: dict[str, Tensor]) -> None:
    wrapped = {"model": {f"module.{key}": value for key, value in jfzhang95_state.items()}, "epoch": 3}
    ours = load_checkpoint(wrapped, "jfzhang95").state_dict()
    assert torch.equal(ours["classifier.bias"], jfzhang95_state["decoder.last_conv.8.bias"])


def randomised(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return model.eval()


@pytest.mark.parametrize(("separable", "old"), [(True, False), (False, True)])
def test_other_layouts_of_smp(separable: bool, old: bool) -> None:
    """Separable convolutions in DeepLabV3's ASPP, and the names of older files."""
    theirs = randomised(smp.DeepLabV3("resnet18", encoder_weights=None, classes=3, decoder_aspp_separable=separable))
    state, x = theirs.state_dict(), images(64, 96)
    if old:
        names = {"decoder.aspp.": "decoder.0.", "decoder.conv.": "decoder.1.", "decoder.bn.": "decoder.2."}
        for new, before in names.items():
            state = {key.replace(new, before): value for key, value in state.items()}
    with torch.inference_mode():
        assert_same_logits(load_checkpoint(state, "smp")(x), theirs(x))


def folded_mobilenet(x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A random network laid out as the converted TensorFlow model, and its logits, computed from the tensors alone."""
    backbone = randomised(torchvision.models.mobilenet_v2(weights=None)).features[:18]
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
    """All 224 val photographs, padded with the mean colour to 513 as in training; both numbers were counted apart."""
    weights = seglib_data / "weights" / "deeplabv3_mobilenet_v2_voc.pth"
    if not weights.exists():
        pytest.skip(f"{weights}: not there")
    photographs = VOCSegmentation(seglib_data / "voc" / "VOCdevkit", "val", partial=True)
    if len(photographs) != 224:
        pytest.skip(f"{seglib_data}: {len(photographs)} photographs in val; the known score is that of 224")
    model = load_checkpoint(weights, "tf-mobilenet")
    scores = evaluate(model, photographs, UNIT, Scoring(pad_to=513)).compute()
    nine = [float(scores.iou[photographs.classes.index(name)]) for name in NINE]
    assert float(scores.pixel_accuracy) == pytest.approx(0.9438, abs=1e-3)
    assert sum(nine) / 9 == pytest.approx(0.6827, abs=1e-3)


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        ("aspp.aspp3.bn.running_mean", {}, r"1 missing: aspp\.aspp3\.bn\.running_mean$"),
        ("nothing", {"decoder.last_conv.9.weight": torch.zeros(2)}, r"1 unexpected: decoder\.last_conv\.9\.weight$"),
        (
            "nothing",
            {"aspp.conv1.weight": torch.zeros(256, 1024, 1, 1)},
            r"1 of another shape: aspp\.conv1\.weight \(256, 1024, 1, 1\), expected \(256, 1280, 1, 1\)$",
        ),
        ("decoder", {}, r"17 missing: decoder\.\S+(, decoder\.\S+){5} and 11 more$"),
    ],
)
def test_a_refusal_names_the_files_own_keys(
    jfzhang95_state: dict[str, Tensor], removed: str, added: dict[str, Tensor], message: str
) -> None:
    state = {key: value for key, value in jfzhang95_state.items() if not key.startswith(removed)} | added
    refused(message, load_checkpoint, state, "jfzhang95")


@pytest.mark.parametrize("wrong", [source for source in LAYOUTS if source != "jfzhang95"])
def test_the_right_source_is_suggested(jfzhang95_state: dict[str, Tensor], wrong: str) -> None:
    refused(r"\d+ .*look like the keys of source='jfzhang95'", load_checkpoint, jfzhang95_state, wrong)


def test_our_own_weights_need_no_loader() -> None:
    with torch.device("meta"):
        own = DeepLabV3Plus(2, MobileNetV2()).state_dict()
    refused(r"own keys: build the model and call model\.load_state_dict", load_checkpoint, own, "vainf")


def test_another_backbone_is_refused() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)
    with pytest.raises(
        ValueError, match=r"expected a ResNet .*backbone\.layer1\.0\.conv1.*found \d+ keys: backbone\.0"
    ):
        load_checkpoint(theirs.state_dict(), "torchvision")


def test_dropout_of_the_decoder_fits_its_depth() -> None:
    refused(r"decoder_dropout = \(0\.5,\); expected \(\) or 2 values", HeadVariant, decoder_dropout=(0.5,))
