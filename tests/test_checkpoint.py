"""Files survive a full disk, a kill between two renames, and damage; a checkpoint gives the network of its run."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from refusal import refused
from small_set import SMALL, make_trainer, weights

from seglib.files import write_json
from seglib.train.checkpoint import STATE, load_run, load_state, save_state

BLANK = dict.fromkeys(STATE) | {"recipe": SMALL.changes()}


def test_a_checkpoint_belongs_to_a_training(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_state(path, BLANK)
    assert load_state(path, SMALL.replace(eval_flip=True)), "recipes that differ in scoring share a training"
    refused(r"t\.pt: a run of another recipe \(lr: 0\.05 there, 0\.1 here\)", load_state, path, SMALL.replace(lr=0.1))
    other = SMALL.replace(seed=3, width=64)
    refused(r"\(seed: default there, 3 here, width: 8 there, default here\)", load_state, path, other)
    torch.save({"model": {}}, tmp_path / "weights.pth")
    refused(r"weights\.pth: holds no recipe; expected the checkpoint\.pt of a run", load_run, tmp_path / "weights.pth")


def test_json_without_a_value_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"miou": 0.5})
    refused("not JSON compliant", write_json, path, {"miou": float("nan")})
    assert path.read_text() == '{\n "miou": 0.5\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_leftover_of_a_killed_write_makes_room_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    leftovers = [tmp_path / f".checkpoint.pt.{name}.tmp" for name in ("a1b2", "c3d4")]
    others = [tmp_path / ".result.json.e5f6.tmp", tmp_path / "checkpoint.pt.tmp", tmp_path / "notes.tmp"]
    for file in (*leftovers, *others):
        file.write_bytes(b"half")
    save_state(path, {"step": 1})
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_file_is_on_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path / "checkpoint.pt", {"step": 1})
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append(("flushed", os.fstat(file).st_size)) or fsync(file))
    monkeypatch.setattr(
        os, "replace", lambda a, b: done.append((Path(b).name, Path(a).stat().st_size)) or replace(a, b)
    )
    save_state(tmp_path / "checkpoint.pt", {"step": 2, "more": list(range(1000))})
    assert [name for name, _ in done] == ["flushed", "checkpoint.previous.pt", "checkpoint.pt"]
    assert done[0][1] == done[2][1] == (tmp_path / "checkpoint.pt").stat().st_size


def test_an_early_stopped_run_gives_its_best_weights(tmp_path: Path, data: Path) -> None:
    run = make_trainer(SMALL.replace(eval_every=2, patience=3), tmp_path, data).fit(until=3)
    run.model.classifier.weight.data += 1
    torch.save(run.model.state_dict(), run.best)
    model, recipe, *_ = load_run(run.checkpoint)
    assert recipe == run.recipe and torch.equal(weights(model), weights(run.model)) and not model.training
    copied = load_run(shutil.copy(run.checkpoint, tmp_path / "copy.pt"))[0]  # best.pt may be another run's
    run.best.unlink()
    for last in (copied, load_run(run.checkpoint)[0]):
        torch.testing.assert_close(last.classifier.weight, run.model.classifier.weight - 1)


def test_a_run_resumes_where_losses_are_scaled(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of a CPU has no scaler's state; a GPU of the kind that computes in float16 begins with its own."""
    make_trainer(SMALL, tmp_path, data).fit(until=1)
    monkeypatch.setattr("seglib.train.trainer._autocast_dtype", lambda device: torch.float16)
    resumed = make_trainer(SMALL, tmp_path, data)
    assert resumed.iteration == 1 and resumed.scaler.is_enabled()


def test_until_0_trains_nothing(tmp_path: Path, data: Path) -> None:
    run = make_trainer(SMALL, tmp_path, data)
    before = weights(run.model)
    assert run.fit(until=0).iteration == 0 and torch.equal(weights(run.model), before)


def test_a_run_is_read_for_the_stride_that_it_is_scored_at(tmp_path: Path, data: Path) -> None:
    """Networks of other kinds are read in tests/test_practice.py."""
    run = make_trainer(SMALL.replace(model="deeplabv3", eval_output_stride=8), tmp_path, data).fit(until=1)
    run.best.write_bytes(b"only of a recipe with patience")
    before = torch.get_rng_state()
    loaded, recipe, *_ = load_run(run.checkpoint)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state is left as it is"
    assert recipe == run.recipe and loaded.num_classes == 9 and loaded.output_stride == 8
    assert torch.equal(weights(loaded), weights(run.model))
