"""Two processes that share a batch train what one process trains with the whole of it, and survive a kill.

Run as a program under torchrun, this file is one of the processes: it writes what it computed, and the tests compare it
with what a single process computes; then it is killed. All of that is one launch, since every process needs seconds to
import torch.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_set import SMALL, make_trainer, write_recipe, write_small_set
from torch import Tensor, nn

from seglib.geometry import Grid
from seglib.metrics import ConfusionMatrix
from seglib.recipe import Recipe
from seglib.train import Trainer, distributed
from seglib.train.optim import build_loss
from seglib.train.results import load_result

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")

WORLD = 2
SHARED = SMALL.replace(dropout=0.0, batch_size=4, iterations=5, lr=0.02, crop_size=49)
RUNS = {
    # At a higher rate the fourth step makes a thousandth of a rounding.
    "cross-entropy": SHARED.replace(lr=0.005),
    "weights": SHARED.replace(class_weights="median", label_smoothing=0.1, lr=0.005),
    "upsampled": SHARED.replace(loss="upsampled_cross_entropy", class_weights="median", lr=0.005),
    "small labels": SHARED.replace(downsample_labels=True, lr=0.005),
    "dice": SHARED.replace(loss="dice"),
    "in parts": SHARED.replace(accumulate=2, lr=0.005),
    "frozen": SHARED.replace(freeze_bn=True, iterations=2),
    "one image each": SHARED.replace(batch_size=2, iterations=2, reestimate_bn=2),
    "stopped": SHARED.replace(lr=0.0, bn_momentum=0.0, eval_every=2, patience=2, iterations=40),
}
LOSSES = {
    "cross_entropy": SHARED,
    "weighted": SHARED.replace(class_weights="median"),
    "smoothed": SHARED.replace(label_smoothing=0.1, smoothed="report"),
    "upsampled": SHARED.replace(loss="upsampled_cross_entropy", class_weights="enet"),
    "focal": SHARED.replace(loss="focal", class_weights="median"),
    "dice": SHARED.replace(loss="dice"),
    "combined": SHARED.replace(loss="combined", class_weights="median"),
    "hard_pixels": SHARED.replace(loss="hard_pixels", keep_pixels=0.3),
    "rmi": SHARED.replace(loss="rmi"),
}
VOID = ("uneven", "one side void", "all void")
KILLED = SMALL.replace(batch_size=4, iterations=6, eval_every=3)
KILL_AT = 4


def loss_input(void: str) -> tuple[Tensor, Tensor]:
    """Logits (4, 9, 24, 24) and labels of a global batch, of which the processes' parts differ in valid pixels."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(4, 9, 24, 24, generator=generator)
    labels = torch.randint(0, 9, (4, 24, 24), generator=generator, dtype=torch.uint8)
    labels[1, :12] = 3
    labels[2:, 2:] = 255
    if void != "uneven":
        labels[2:] = 255
    if void == "all void":
        labels[:] = 255
    return logits, labels


def train(recipe: Recipe, run_dir: Path, data: Path) -> tuple[Trainer, dict[str, Any]]:
    """Trains and records each step's loss and this process's share of valid pixels."""
    run = make_trainer(recipe, run_dir, data, progress=True, checkpoint_seconds=1e9)
    losses, valid, step = [], [], run._step

    def recorded(images: Tensor, labels: Tensor) -> Tensor:
        valid.append(int((labels != 255).sum()))
        losses.append(step(images, labels))
        return losses[-1]

    run._step = recorded
    run.fit()
    model = {name: value.clone() for name, value in run.model.state_dict().items()}
    return run, {"losses": torch.stack(losses), "valid": valid, "model": model, "iteration": run.iteration}


# --- in the processes ------------------------------------------------------------------------------------------------


def compute(folder: Path) -> None:
    """Writes rank0.pt and rank1.pt."""
    rank, data, found = distributed.rank(), folder / "data", {}
    half = slice(2 * rank, 2 * rank + 2)
    for name, recipe in RUNS.items():
        run, found[name] = train(recipe, folder / name, data)
    bands = {width: ConfusionMatrix(9) for width in (2, 5)}
    matrix = run.evaluate(progress=False, trimap=bands)
    found["confusion"] = [counted.matrix for counted in (matrix, *bands.values())]
    for name, recipe in LOSSES.items():
        loss = build_loss(recipe, run.train_set, run.device, Grid(1))
        for void in VOID:
            logits, labels = loss_input(void)
            logits = logits[half].to(memory_format=torch.channels_last).requires_grad_()
            value = loss(logits, labels[half])
            value.backward()
            found[f"{name}, {void}"] = value.detach(), logits.grad
    found["messages"] = messages(folder, data)
    found["broadcast"] = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    nn.init.constant_(found["broadcast"].weight, rank + 1)
    found["broadcast"].weight.data[0, 1, 2, 0] = 5 - rank
    distributed.broadcast_weights(found["broadcast"])
    found["broadcast"] = found["broadcast"].state_dict()
    make_trainer(KILLED, folder / "whole", data).fit()
    torch.save(found, folder / f"rank{rank}.pt")


def messages(folder: Path, data: Path) -> list[str]:
    told = []
    for refused in (
        lambda: distributed.check_alike("number", distributed.rank()),
        lambda: make_trainer(SHARED.replace(batch_size=3), folder / "refused", data).fit(),
        lambda: make_trainer(SHARED.replace(bn_batch=2), folder / "refused", data),
    ):
        try:
            refused()
        except ValueError as error:
            told.append(str(error))
    return told


def kill_one(folder: Path) -> None:
    """A run whose second process kills itself amid step KILL_AT, when a checkpoint has been written after each."""
    seconds = 0.0 if distributed.is_main() else 1e9  # by its own clock the other would not take part
    run = make_trainer(KILLED, folder / "killed", folder / "data", checkpoint_seconds=seconds)
    step = run._step

    def deadly(images: Tensor, labels: Tensor) -> Tensor:
        if run.iteration == KILL_AT:
            torch.distributed.barrier()  # the first process has written the checkpoint
            if distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        return step(images, labels)

    run._step = deadly
    run.fit()


# --- the tests -------------------------------------------------------------------------------------------------------


def torchrun(*program: str | Path) -> subprocess.CompletedProcess:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={WORLD}"]
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**os.environ, **threads, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [*run, *map(str, program)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            out, err = process.communicate(timeout=300)
        except BaseException:
            process.terminate()  # not kill: it then ends its processes, which lead sessions of their own
            process.communicate()  # until the last of them has closed the pipes
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote before the second killed itself."""
    folder = tmp_path_factory.mktemp("two")
    write_small_set(folder / "data")
    done = torchrun(__file__, folder)
    assert done.returncode != 0 and "SIGKILL" in done.stderr, done.stderr[-3000:]
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, dict[str, Any]]:
    return {name: train(recipe, folder / "alone" / name, folder / "data")[1] for name, recipe in RUNS.items()}


@functools.cache
def data_run(folder: Path) -> Trainer:
    return make_trainer(SHARED, folder / "unused", folder / "data")


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one_does(name: str, ranks: list[dict], alone: dict) -> None:
    expected = alone[name]
    for found in (rank[name] for rank in ranks):
        assert found["iteration"] == expected["iteration"]
        assert torch.allclose(found["losses"], expected["losses"], rtol=0, atol=1e-5), "the loss is the global one"
        assert found["model"].keys() == expected["model"].keys()
        for key, value in expected["model"].items():
            assert torch.allclose(found["model"][key], value, rtol=1e-5, atol=1e-5), key  # float32; variances reach 6
    ours, theirs = (rank[name]["model"] for rank in ranks)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours), "the processes do not drift apart"


def test_the_runs_can_tell_right_from_wrong(ranks: list[dict], alone: dict, folder: Path) -> None:
    shares = np.array([rank["cross-entropy"]["valid"] for rank in ranks])
    assert (shares.sum(axis=0) == alone["cross-entropy"]["valid"]).all()
    assert np.abs(shares[0] - shares[1]).max() > 0.2 * shares.mean(), "void is spread evenly"
    start = data_run(folder).model.state_dict()
    for name in ("cross-entropy", "weights", "upsampled", "dice"):
        end = alone[name]["model"]
        assert max(float((end[key] - start[key]).abs().max()) for key in start) > 0.005, "nothing was learned"
    assert alone["stopped"]["iteration"] == 6


@pytest.mark.parametrize("void", VOID)
@pytest.mark.parametrize("name", LOSSES)
def test_shares_of_a_loss_add_up_to_that_of_the_global_batch(name: str, void: str, ranks: list, folder: Path) -> None:
    run = data_run(folder)
    logits, labels = loss_input(void)
    logits.requires_grad_()
    loss = build_loss(LOSSES[name], run.train_set, run.device, Grid(1))
    expected = loss(logits, labels)
    expected.backward()
    shares = [rank[f"{name}, {void}"] for rank in ranks]
    assert float(sum(value for value, _ in shares)) == pytest.approx(float(expected.detach()), abs=1e-5)
    gradient = torch.cat([gradient for _, gradient in shares])
    assert torch.allclose(gradient, logits.grad, rtol=1e-4, atol=1e-7)
    if void == "uneven" and name != "rmi":  # which counts images
        mean_of_means = sum(loss(logits[part], labels[part]).detach() for part in (slice(0, 2), slice(2, 4))) / 2
        assert abs(float(mean_of_means - expected.detach())) > 1e-3, "the wrong way would pass"


def test_confusion_matrices_are_merged_exactly(ranks: list[dict], folder: Path) -> None:
    run = make_trainer(RUNS["stopped"], folder / "scored", folder / "data")
    run.model.load_state_dict(ranks[0]["stopped"]["model"])
    bands = {width: ConfusionMatrix(9) for width in (2, 5)}
    matrix = run.evaluate(trimap=bands)
    assert int(matrix.matrix.sum()) > 0
    for rank in ranks:
        for found, expected in zip(rank["confusion"], (matrix, *bands.values()), strict=True):
            assert torch.equal(found, expected.matrix)


def test_one_process_writes_and_draws(folder: Path) -> None:
    result = load_result(folder / "stopped" / "result.json")
    assert result["world_size"] == WORLD
    names = sorted(path.name for path in (folder / "stopped").iterdir())
    assert names == ["best.pt", "checkpoint.previous.pt", "checkpoint.pt", "result.json"]
    assert (folder / "stderr").read_text().count("train:   0%") == len(RUNS), "one bar for each run"


def test_weights_are_those_of_the_first_process(ranks: list[dict]) -> None:
    expected = torch.ones(3, 2, 3, 3)
    expected[0, 1, 2, 0] = 5
    assert all(torch.equal(rank["broadcast"]["weight"], expected) for rank in ranks)


def test_what_cannot_be_shared_is_refused(ranks: list[dict], folder: Path) -> None:
    for rank in ranks:
        *told, last = rank["messages"]
        assert told == [
            "number: [0, 1] in the 2 processes; expected the same. Do all see one run_dir?",
            "batch_size: 3, shared by 2 processes; expected a multiple of 2",
        ]
        assert last.startswith("recipe: bn_batch = 2 in 2 processes; expected one: ")
    assert not (folder / "refused").exists()


def test_processes_drop_out_different_units(folder: Path) -> None:
    state = torch.load(folder / "whole" / "checkpoint.pt", weights_only=True)
    (other,) = state["other_generators"]
    assert len(other) == len(state["generators"]) == 1
    assert not torch.equal(other[0], state["generators"][0])


def test_killed_process_ends_the_run_which_resumes_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    killed = torch.load(folder / "killed" / "checkpoint.pt", weights_only=True)
    assert killed["iteration"] == KILL_AT and not (folder / "killed" / "result.json").exists()
    shutil.copytree(folder / "killed", tmp_path / "one")

    recipe = write_recipe(tmp_path / "recipe.toml", KILLED)
    folders = ["--run-dir", folder / "killed", "--data-root", folder / "data"]
    done = torchrun("-m", "seglib", "train", recipe, *folders)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("mIoU ") == 1, "printed once"
    assert json.loads((folder / "killed" / "result.json").read_text())["world_size"] == WORLD
    found, whole = (torch.load(folder / name / "checkpoint.pt", weights_only=True) for name in ("killed", "whole"))
    assert found["iteration"] == whole["iteration"] == KILLED.iterations
    assert all(torch.equal(found["model"][key], value) for key, value in whole["model"].items())
    assert found["log"] == whole["log"]
    assert torch.equal(found["other_generators"][0][0], whole["other_generators"][0][0])

    with pytest.warns(UserWarning, match="2 processes before, 1 now: dropout draws other numbers"):
        run = make_trainer(KILLED, tmp_path / "one", folder / "data")
    assert run.iteration == KILL_AT and run.fit().finished


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.join():
        compute(Path(sys.argv[1]))
        kill_one(Path(sys.argv[1]))
