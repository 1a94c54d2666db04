"""What must hold on a GPU: steps, losses and scores of the CPU, and a run that resumes there and elsewhere."""

from pathlib import Path

import pytest
import torch
from small_set import SMALL, weights

from seglib.geometry import Grid
from seglib.metrics import ConfusionMatrix
from seglib.train import Trainer
from seglib.train.optim import build_loss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = "cuda"
LOSSES = ("cross_entropy", "upsampled_cross_entropy", "focal", "dice", "combined", "hard_pixels", "rmi")


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def test_steps_and_scores(tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(dropout=0.0, mixed_precision=False, lr=0.005)
    runs = [
        Trainer(recipe, tmp_path / name, data_root=data, device=device, progress=False).fit(3)
        for name, device in {"there": "cpu", "here": GPU}.items()
    ]
    ours, theirs = (weights(run.model).cpu() for run in runs)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    runs[1].model.load_state_dict(runs[0].model.state_dict())
    counted = [run.evaluate().matrix.cpu() for run in runs]
    assert (counted[0] - counted[1]).abs().sum() <= 2e-3 * counted[0].sum(), "but where two classes are as likely"


@pytest.mark.parametrize("mixed", [False, True])
def test_resumes(mixed: bool, tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(mixed_precision=mixed, lr=0.005)

    def trainer(name: str, device: str = GPU) -> Trainer:
        return Trainer(recipe, tmp_path / name, data_root=data, device=device, progress=False)

    whole = trainer("whole").fit()
    stopped, parts = trainer("parts").fit(5), trainer("parts")
    assert parts.iteration == stopped.iteration == 5
    assert torch.equal(weights(parts.model), weights(stopped.model))
    states = (run.optimizer.state.values() for run in (stopped, parts))
    assert torch.equal(*(torch.cat([each["momentum_buffer"].flatten() for each in state]) for state in states))
    assert parts.fit().finished
    # Dropout drew as many numbers; the weights differ, because cuDNN adds up in an order of its own each time, and
    # bfloat16 makes more of it.
    assert all(map(torch.equal, parts._generators, whole._generators))
    assert torch.allclose(weights(parts.model), weights(whole.model), rtol=0.05, atol=0.05 if mixed else 5e-3)
    trainer("elsewhere").fit(5)
    assert trainer("elsewhere", "cpu").fit().finished


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, tmp_path: Path, data: Path) -> None:
    run = Trainer(SMALL, tmp_path / "run", data_root=data, device="cpu", progress=False)
    logits, labels = 2 * torch.randn(2, 9, 24, 24), torch.randint(0, 9, (2, 24, 24), dtype=torch.uint8)
    labels[0, 20:] = 255
    found = []
    for device in ("cpu", GPU):
        x = logits.to(device).requires_grad_()
        loss = build_loss(SMALL.replace(loss=name), run.train_set, torch.device(device), Grid(1))
        value = loss(x, labels.to(device))
        value.backward()
        found.append((float(value.detach()), x.grad.cpu()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("stride", [4, 16])
def test_labels_of_logits(stride: int) -> None:
    logits = torch.randn(2, 5, 9, 11)
    size = (8 * stride + 1, 10 * stride + 1)
    found = [Grid(stride).argmax(logits.to(device), size).cpu() for device in ("cpu", GPU)]
    matrix = ConfusionMatrix(5)
    matrix.update(*found)
    assert matrix.compute().pixel_accuracy > 0.999
