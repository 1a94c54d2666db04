"""Networks leave PyTorch with the logits that they have in it: torch.export, and ONNX where its packages are there."""

from pathlib import Path

import pytest
import torch
from networks import CLASSES, NETWORKS, randomise_norms
from torch import Tensor, nn


def random_network(name: str) -> nn.Module:
    """Makes a network whose layers all matter: an FCN's scores would start at zero."""
    model = NETWORKS[name][0]().eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels == CLASSES:
            nn.init.normal_(module.weight, std=0.1)
    return randomise_norms(model)


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
