"""Exported networks against PyTorch, on sizes that were not traced."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from refusal import refused
from small_set import SMALL, make_trainer

from seglib import export
from seglib.__main__ import main
from seglib.data import TOY_VOC_CLASSES, voc_palette
from seglib.data.transforms import IMAGENET
from seglib.export import export_network
from seglib.predict import Scoring, predict_labels
from seglib.train.checkpoint import load_run

USER = Path(__file__).resolve().parent.parent / "tools" / "use_onnx.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a small run, whose recipe is scored at two scales."""
    trainer = make_trainer(SMALL.replace(eval_scales=(0.5, 1.0)), tmp_path_factory.mktemp("run"), None).fit(until=1)
    return trainer.checkpoint


@pytest.fixture(scope="module")
def onnx_file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "new" / "network.onnx"
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        assert not main(["export", str(run), str(file)])
    assert "differs from PyTorch by at most" in out.getvalue(), err.getvalue()
    assert "one view of a whole image; the recipe is scored by Scoring(scales=(0.5, 1.0)" in err.getvalue()
    assert [*file.parent.iterdir()] == [file], "one file, with its weights"
    return file


@pytest.mark.parametrize("size", [(1, 33, 49), (3, 32, 48), (2, 75, 34), (1, 1, 200), (1, 161, 193)])
def test_onnx_computes_the_logits_of_any_size(run: Path, onnx_file: Path, size: tuple[int, int, int]) -> None:
    batch, height, width = size
    images = np.random.default_rng(0).integers(0, 256, (batch, 3, height, width), dtype=np.uint8)
    (found,) = onnxruntime.InferenceSession(onnx_file).run(["logits"], {"images": images})
    margin = [(0, 0), (0, 0), (0, -(height - 1) % 16), (0, -(width - 1) % 16)]
    continued = torch.from_numpy(np.pad(images, margin, mode="edge"))
    with torch.inference_mode():
        expected = load_run(run).model(IMAGENET(continued))[..., :height, :width]
    assert found.dtype == np.float32 and float(expected.std()) > 1e-3
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-4)
    about = onnxruntime.InferenceSession(onnx_file).get_modelmeta().custom_metadata_map
    assert json.loads(about["mean"]) == [*IMAGENET.mean] and json.loads(about["std"]) == [*IMAGENET.std]
    assert "import seglib" not in USER.read_text() and "from seglib" not in USER.read_text()


def test_pt2_holds_labels_for_any_size(run: Path, tmp_path: Path) -> None:
    main(["export", str(run), str(tmp_path / "network.pt2"), "--labels"])
    about = {"classes": "", "mean": ""}
    program = torch.export.load(io.BytesIO((tmp_path / "network.pt2").read_bytes()), extra_files=about)
    images = torch.randint(0, 256, (3, 3, 50, 113), dtype=torch.uint8)
    found, expected = program.module()(images), predict_labels(load_run(run).model, images)
    assert found.dtype == torch.uint8 and found.shape == (3, 50, 113)
    assert (found == expected).float().mean() > 0.999 and len(found.unique()) > 1
    assert json.loads(about["classes"]) == [*TOY_VOC_CLASSES]


def _changed(network: torch.nn.Module, images: np.ndarray, change: float, labels: bool) -> np.ndarray:
    logits = network(torch.from_numpy(images)).numpy().copy()
    logits[-1, 3, -1, -1] += change
    return logits.argmax(1).astype(np.uint8) if labels else logits


def test_what_does_not_agree_is_not_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, file = load_run(run).model, tmp_path / "network.pt2"
    file.write_text("before")
    arguments = model, file, TOY_VOC_CLASSES, voc_palette()
    monkeypatch.setattr(export, "_to_pt2", lambda *_: (b"wrong", lambda images: np.full((1, 9, 70, 100), np.nan)))
    refused(r"returns \(1, 9, 70, 100\) for 1 images of 64 x 96", export_network, *arguments)
    right = export.Deployed(model, IMAGENET, Scoring(), False)
    for labels, change, least in ((False, np.nan, None), (False, 2e-4, 1.9), (True, 1, 2), (False, 0, 0), (True, 0, 0)):
        with torch.inference_mode():
            found = export._compare(right, lambda images, c=change: _changed(right, images, c, labels), 3, labels)  # noqa: B023
        assert np.isnan(found) if least is None else least <= found and (found > 0) == (change > 0), change
    monkeypatch.setattr(export, "_compare", lambda *_: float("nan"))
    refused("not written: its output is nan times", export_network, *arguments)
    refused("network.h5: expected a file NAME.onnx or", export_network, model, tmp_path / "network.h5", *arguments[2:])
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    missing = "needs onnxscript, not installed here: pip install onnx onnxscript onnxruntime"
    refused(missing, export_network, model, tmp_path / "n.onnx", *arguments[2:])
    assert [*tmp_path.iterdir()] == [file] and file.read_text() == "before"
