"""Networks leave PyTorch with the logits that they have in it: torch.export, and ONNX where its packages are there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from seglib.models import FCN, VGG16, DeepLabV3, DeepLabV3Plus, MobileNetV2, ResNet, UNet, Xception

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "deeplabv3plus": lambda: DeepLabV3Plus(5, ResNet(18, width=8), channels=16),
    "deeplabv3": lambda: DeepLabV3(5, ResNet(18, width=8), channels=16),
    "mobilenet_v2": lambda: DeepLabV3Plus(5, MobileNetV2(16, 0.25), channels=16),
    "xception": lambda: DeepLabV3Plus(5, Xception(41, 16, 0.05), channels=16),
    "fcn8s": lambda: FCN(5, ResNet(18, 32, width=8)),
    "fcn8s of vgg16": lambda: FCN(5, VGG16(width=4)),
    "unet": lambda: UNet(5, width=4, depth=2),
}


def random_network(name: str) -> nn.Module:
    """Makes a network whose layers all matter: an FCN's scores would start at zero."""
    model = NETWORKS[name]().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Conv2d) and module.out_channels == 5:
            nn.init.normal_(module.weight)
    return model


def logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(images)


def test_exported_program_computes_the_same_without_copies() -> None:
    """A copy into an empty tensor, as ASPP's image level once was, becomes an ONNX file that cannot be run."""
    model, images = random_network("deeplabv3plus"), torch.randn(1, 3, 65, 97)
    program = torch.export.export(model, (images,)).run_decompositions()
    torch.testing.assert_close(logits(program.module(), images), logits(model, images))
    operations = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.cat.default" in operations
    assert not {name for name in operations if "copy" in name or "empty" in name}


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_file_computes_the_same(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, images = random_network(name), torch.randn(1, 3, 65, 97)
    torch.onnx.export(model, (images,), dynamo=True, verbose=False).save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    expected = logits(model, images)
    assert expected.std() > 0.001
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
