"""What goes wrong on a learner's machine gives one clear error that names the file, and loses nothing."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from refusal import refused
from small_set import SIZE, SMALL, TRAIN, VAL, make_trainer, weights, write_label, write_small_set
from torch import Tensor

from seglib.data import EpochBatches
from seglib.files import make_folder, write_atomic, write_json
from seglib.train import Trainer
from seglib.train.checkpoint import load_state, previous_path
from seglib.train.results import load_result, seal
from seglib.zoo import load_checkpoint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The small set, in a folder of this test's own."""
    return write_small_set(tmp_path / "data")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """The weights at the end of a run in which nothing went wrong."""
    folder = tmp_path_factory.mktemp("whole")
    return weights(make_trainer(SMALL, folder / "run", write_small_set(folder / "data")).fit().model)


def path_of(data: Path, name: str, folder: str = "SegmentationClassAug") -> Path:
    return data / "VOCdevkit" / "VOC2012" / folder / f"{name}.{'jpg' if folder == 'JPEGImages' else 'png'}"


def image_path(data: Path, name: str) -> Path:
    return path_of(data, name, "JPEGImages")


def spoil(data: Path, name: str, fault: str) -> str:
    """Damages a sample of the small set, and returns what is to be said of it."""
    image, label = image_path(data, name), path_of(data, name)
    if fault == "wrong value":
        values = np.zeros(SIZE, dtype=np.uint8)
        values[3, 4], values[5, 6] = 9, 255  # the toy set has nine classes, 0 to 8
        write_label(label, values)
        return rf"{name}\.png: holds the label values \[9\]; expected 0 to 8 for 9 classes, or 255 for void"
    if fault == "other size":
        write_label(label, np.zeros((SIZE[0], SIZE[1] - 1), dtype=np.uint8))
        return rf"{name}\.png: a label \(40, 47\), its image {name}\.jpg is \(40, 48, 3\); expected equal sizes"
    if fault == "truncated":
        cut(image)
        return rf"{name}\.jpg: not an image that can be read; damaged or cut off\? \("
    if fault == "no image":
        image.write_bytes(b"<html>404 Not Found</html>")
        return rf"{name}\.jpg: not an image that can be read; .*cannot identify"
    label.unlink()
    return rf"{name}\.png: no such file"


@pytest.mark.parametrize(
    ("fault", "workers"),
    [(f, 0) for f in ("wrong value", "other size", "truncated", "no image", "gone")] + [("truncated", 1), ("gone", 1)],
)
def test_bad_sample_stops_the_run(data: Path, tmp_path: Path, fault: str, workers: int) -> None:
    run = make_trainer(SMALL, tmp_path / "run", data, num_workers=workers)
    expected = spoil(data, TRAIN[7], fault)
    kind = FileNotFoundError if fault == "gone" else ValueError
    with pytest.raises(kind, match=f"^{data}.*{expected}") as direct:
        pytest.fail(f"the data set took the sample: {run.train_set[7]}")
    with pytest.raises(kind) as raised:
        run.fit()
    assert str(raised.value).splitlines()[-1].endswith(str(direct.value))


@pytest.mark.parametrize(("workers", "same_process"), [(0, False), (1, True)])
def test_mended_sample(data: Path, tmp_path: Path, whole: Tensor, workers: int, same_process: bool) -> None:
    options = {"num_workers": workers, "checkpoint_seconds": 0.0}
    run = make_trainer(SMALL, tmp_path / "run", data, **options)
    run.fit(until=2)
    # a sample of the first epoch's fifth batch: the run gets past two good ones before it meets the file
    (_, index), *_ = list(EpochBatches(len(run.train_set), SMALL.batch_size, SMALL.iterations, SMALL.seed))[4]
    name = run.train_set.names[index]
    good = image_path(data, name).read_bytes()
    message = spoil(data, name, "truncated")
    refused(message, run.fit)
    state, _ = load_state(run.checkpoint, SMALL)
    assert state["iteration"] == 4 if workers == 0 else 2 <= state["iteration"] <= 4, "what was trained is kept"
    image_path(data, name).write_bytes(good)
    if not same_process:
        run = make_trainer(SMALL, tmp_path / "run", data, **options)
    assert torch.equal(weights(run.fit().model), whole)


def faulty_at(run: Trainer, iteration: int, fault: Callable[[Tensor], Tensor]) -> None:
    """Makes the network of a run fail when it has taken so many steps."""
    forward = run.model.forward
    run.model.forward = lambda images, upsample=True: (fault if run.iteration == iteration else torch.clone)(
        forward(images, upsample)
    )


def out_of_memory(_: Tensor) -> Tensor:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")


def nan_loss(logits: Tensor) -> Tensor:
    return logits * float("nan")


def nan_gradient(logits: Tensor) -> Tensor:
    return logits + (0 * logits).sqrt()  # the loss of this step is finite, the weights after it are not


MEMORY = (
    r"run: the GPU's memory does not hold iteration 7, with batch_size = 2 and crop_size = 33\. Lower one of them, "
    r'raise accumulate, or take loss = "upsampled_cross_entropy": .*The last checkpoint is kept.*resumes from it\. '
    r"\(CUDA out of memory\. Tried to allocate 2\.00 GiB\.\)$"
)
NAN = r"run: the loss is nan at iteration 7; expected a finite number\. The last checkpoint is from before\. A lower lr"
WEIGHTS = r"run: .*, .* and \d+ more not finite at iteration 7\. The last checkpoint is from before\. A lower lr"


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (out_of_memory, torch.cuda.OutOfMemoryError, MEMORY),
        (nan_loss, FloatingPointError, NAN),
        (nan_gradient, FloatingPointError, WEIGHTS),
    ],
)
def test_fault_of_a_step(data: Path, tmp_path: Path, whole: Tensor, fault: Callable, kind: type, message: str) -> None:
    run = make_trainer(SMALL, tmp_path / "run", data, checkpoint_seconds=0.0)
    faulty_at(run, 6, fault)
    with pytest.raises(kind, match=message) as raised:
        run.fit()
    assert "\n" not in str(raised.value)
    shutil.copytree(run.run_dir, tmp_path / "copy")
    fresh = make_trainer(SMALL, tmp_path / "copy", data)
    assert fresh.iteration == 6
    del run.model.forward
    for again in (fresh, run):
        assert torch.equal(weights(again.fit().model), whole)
    if fault is out_of_memory:  # does not recommend what is there
        run = make_trainer(SMALL.replace(loss="upsampled_cross_entropy"), tmp_path / "upsampled", data)
        faulty_at(run, 0, fault)
        refused(r"Lower one of them, raise accumulate: that is another recipe", run.fit, error=kind)


def test_what_is_missing_or_impossible_is_found_before_the_training(data: Path, tmp_path: Path) -> None:
    lists, run = data / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation", tmp_path / "run"
    missing = partial(refused, error=FileNotFoundError)
    path_of(data, VAL[1], "SegmentationClass").unlink()
    missing(rf"SegmentationClass: lacks 1 of the 4 files listed: {VAL[1]}\.png", make_trainer, SMALL, run, data)
    path_of(data, TRAIN[9]).unlink()
    missing(rf"SegmentationClassAug: lacks 1 of the 12 .*: {TRAIN[9]}\.png", make_trainer, SMALL, run, data)
    (lists / "val.txt").write_text("\n")
    refused(r"val\.txt: .*expected at least one", make_trainer, SMALL, run, data)
    (lists / "val.txt").unlink()
    missing(r"val\.txt: no such list of image ids", make_trainer, SMALL, run, data)
    missing("elsewhere: expected a folder that holds VOCdevkit", make_trainer, SMALL, run, tmp_path / "elsewhere")
    stride, batch = SMALL.replace(eval_output_stride=12), SMALL.replace(batch_size=13)
    refused("output_stride = 12; expected one of", make_trainer, stride, run, None)
    trainer = make_trainer(batch, run, write_small_set(tmp_path / "whole"))
    refused("batch_size: expected 1 to the data set's 12 samples, found 13", trainer.fit)
    assert not run.exists()


@pytest.fixture
def stopped(data: Path, tmp_path: Path) -> Path:
    """The folder of a run stopped half way, with checkpoints at iterations 5 and 6."""
    make_trainer(SMALL, tmp_path / "run", data).fit(until=5).fit(until=6)
    return tmp_path / "run"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """One bit of the last of the weights differs: every structure of the file is as it should be."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["model"]["classifier.weight"].numpy().tobytes()
    content[content.index(weight) + 5] ^= 64
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, emptied, flipped, Path.unlink])
def test_damaged_checkpoint(data: Path, stopped: Path, whole: Tensor, damage: Callable) -> None:
    damage(stopped / "checkpoint.pt")
    run = make_trainer(SMALL, stopped, data)
    assert run.iteration == 5
    assert run.fit(until=6).iteration == 6
    assert load_state(previous_path(run.checkpoint), SMALL)[0]["iteration"] == 5, "not what was damaged"
    assert torch.equal(weights(run.fit().model), whole)


def test_only_damaged_checkpoints_is_an_error_that_names_both(data: Path, stopped: Path) -> None:
    paths = [stopped / "checkpoint.pt", stopped / "checkpoint.previous.pt"]
    for damage, path in zip((cut, flipped), paths, strict=True):
        damage(path)
    before = [path.read_bytes() for path in paths]
    with pytest.raises(ValueError) as raised:
        make_trainer(SMALL, stopped, data)
    for path in paths:
        assert f"{path}: not a readable checkpoint; expected a whole file" in str(raised.value)
    assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)
    assert [path.read_bytes() for path in paths] == before, "nobody asked for them to be touched"


def test_checkpoint_of_something_else_is_refused(data: Path, stopped: Path) -> None:
    path = stopped / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    model = dict(state["model"])
    model["classifier.weight"] = torch.zeros(21, *model["classifier.weight"].shape[1:])
    del model["aspp.point.0.weight"]
    torch.save({**state, "model": model}, path)
    missing = r"checkpoint\.pt: the weights do not fit DeepLabV3Plus: 1 missing: aspp\.point\.0\.weight; "
    with pytest.raises(ValueError, match=missing + r"1 of another shape: classifier\.weight \(21, .*expected \(9, "):
        make_trainer(SMALL, stopped, data)
    optimizer = {**state["optimizer"], "param_groups": state["optimizer"]["param_groups"][:1]}
    torch.save({**state, "optimizer": optimizer}, path)
    refused(r"checkpoint\.pt: the optimiser's state does not fit", make_trainer, SMALL, stopped, data)
    for content in ({"classifier.weight": torch.zeros(3)}, [1, 2]):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"checkpoint\.pt: not a run's checkpoint: it lacks .*'generators', 'iter"):
            make_trainer(SMALL, stopped, data)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zipped", "legacy", "pickle", b"", bytes(range(256)) * 9, b"PK\x03\x04" + bytes(200)])
def test_code_and_damage_in_a_weights_file(data: Path, tmp_path: Path, kind: str | bytes) -> None:
    path = tmp_path / "weights.pth"
    state = {"conv1.weight": Bomb(tmp_path / "executed")}
    message = r"weights\.pth: .*found code \(\w+\.mkdir\), which was not executed"
    if isinstance(kind, bytes):
        path.write_bytes(kind)
        message = r"weights\.pth: not a readable checkpoint; expected a whole file .* found damage \(\w+\)"
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(state, protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zipped")
    refused(message, load_checkpoint, path)
    refused(message, make_trainer, SMALL.replace(weights=path.name), tmp_path / "run", data, weights_root=tmp_path)
    assert not (tmp_path / "executed").exists()
    missing = SMALL.replace(weights="absent.pth")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth: no such weights"):
        make_trainer(missing, tmp_path / "run", data, weights_root=tmp_path)


def test_code_in_a_runs_checkpoint_is_not_executed(data: Path, stopped: Path, tmp_path: Path) -> None:
    for path in (stopped / "checkpoint.pt", previous_path(stopped / "checkpoint.pt")):
        torch.save({**torch.load(path, weights_only=True), "log": Bomb(tmp_path / "executed")}, path)
    refused(r"checkpoint\.pt: .*found code \(\w+\.mkdir\), which was not executed", make_trainer, SMALL, stopped, data)
    assert not (tmp_path / "executed").exists()


def test_damaged_and_edited_results_are_named(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result = seal({"name": "x", "recipe": {}, "scores": {"miou": 0.5}})
    path.write_text(json.dumps(result))
    assert load_result(path) == result
    without = {name: value for name, value in result.items() if name != "digest"}
    for edited in ({**result, "scores": {"miou": 0.6}}, {**result, "more": 1}, without):
        path.write_text(json.dumps(edited))
        refused(r"result\.json: edited after the run wrote it", load_result, path)
    for content in ("", "[1]", '{"name": "x"}', "\x80\x02"):
        path.write_text(content, encoding="latin-1")
        refused(r"result\.json: not a result of a run", load_result, path)


def test_writes_of_one_file_do_not_end_each_other(tmp_path: Path) -> None:
    """What a kill left behind is removed, what another write holds is not; the last to end is what is there."""
    path, seen = tmp_path / "run.json", []
    (tmp_path / ".run.json.killed.tmp").write_bytes(b"half")

    def write(file: BinaryIO) -> None:
        seen.append(sorted(tmp_path.iterdir()))
        write_atomic(path, lambda other: other.write(b"first"))
        seen.append(path.read_bytes())
        file.write(b"last")

    write_atomic(path, write)
    assert len(seen[0]) == 1 and seen[1] == b"first" and path.read_bytes() == b"last"
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_is_filled_by_one_process_at_a_time(tmp_path: Path) -> None:
    target, left = tmp_path / "new", tmp_path / ".new.unfinished"
    left.mkdir()
    (left / "killed").touch()
    with make_folder(target) as work:
        (work / "first").touch()
        with pytest.raises(BlockingIOError, match="new: another process is writing this folder"), make_folder(target):
            pass
        assert [path.name for path in work.iterdir()] == ["first"]
    assert [path.name for path in target.iterdir()] == ["first"] and not left.exists()
    with pytest.raises(KeyboardInterrupt), make_folder(tmp_path / "other") as work:
        raise KeyboardInterrupt
    assert [*tmp_path.iterdir()] == [target]


@pytest.fixture
def at_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Lets another process act just before this one takes its next lock."""
    fcntl = pytest.importorskip("fcntl", reason="there are no locks on Windows")
    flock = fcntl.flock

    def act_first(act: Callable[[], None]) -> None:
        def acted(handle: int, how: int) -> None:
            monkeypatch.setattr(fcntl, "flock", flock)
            act()
            flock(handle, how)

        monkeypatch.setattr(fcntl, "flock", acted)

    return act_first


@pytest.mark.parametrize("removed", [False, True])
def test_new_file_that_is_taken_for_a_leftover(tmp_path: Path, at_lock: Callable, removed: bool) -> None:
    def clean_up() -> None:
        if not removed:
            raise BlockingIOError
        next(tmp_path.iterdir()).unlink()

    path = tmp_path / "run.json"
    at_lock(clean_up)
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("again", [False, True])
def test_folder_that_another_process_finishes_meanwhile(tmp_path: Path, at_lock: Callable, again: bool) -> None:
    """The other one may even have begun anew: what it fills is not the folder that this one has found."""
    target, left = tmp_path / "new", tmp_path / ".new.unfinished"
    left.mkdir()

    def finish() -> None:
        left.rename(target)
        if again:
            left.mkdir()
            (left / "kept").touch()

    at_lock(finish)
    with pytest.raises(BlockingIOError, match="new: another process is writing this folder"), make_folder(target):
        pass
    assert target.is_dir() and left.exists() == again == (left / "kept").exists()


def test_full_disk(data: Path, tmp_path: Path, limit: Callable, whole: Tensor) -> None:
    run = make_trainer(SMALL, tmp_path / "run", data, checkpoint_seconds=0.0).fit(until=5)
    shutil.copytree(run.run_dir, tmp_path / "before")
    limit(2**16)
    with pytest.raises(OSError, match=r"checkpoint\.pt: could not be written \(.*File too large.*is kept") as raised:
        run.fit()
    assert isinstance(raised.value.__cause__, OSError), "torch.save makes a RuntimeError of it"
    kept = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("run", "before")]
    assert kept[0] == kept[1]
    limit()
    for again in (run, make_trainer(SMALL, tmp_path / "before", data)):
        assert torch.equal(weights(again.fit().model), whole)
        assert (again.run_dir / "result.json").exists()


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("sample", ValueError, rf"{VAL[2]}\.jpg: "),
        ("interrupt", KeyboardInterrupt, None),
        ("full disk", OSError, r"result\.json: could not be written \(.*File too large"),
    ],
)
def test_fault_after_the_last_step(
    data: Path, tmp_path: Path, limit: Callable, whole: Tensor, fault: str, kind: type, message: str | None
) -> None:
    run, path = make_trainer(SMALL, tmp_path / "run", data), image_path(data, VAL[2])
    good, evaluate = path.read_bytes(), run.evaluate

    def scored(**options: object) -> object:
        if fault == "interrupt":
            raise KeyboardInterrupt
        matrix = evaluate(**options)
        limit(0)
        return matrix

    if fault == "sample":
        path.write_bytes(good[:300])
    else:
        run.evaluate = scored
    refused(message, run.fit, error=kind)
    limit()
    path.write_bytes(good)
    run.evaluate = evaluate
    assert not (run.run_dir / "result.json").exists()
    shutil.copytree(run.run_dir, tmp_path / "copy")
    fresh = make_trainer(SMALL, tmp_path / "copy", data)
    assert fresh.iteration == SMALL.iterations
    assert torch.equal(weights(fresh.fit().model), whole) and torch.equal(weights(run.fit().model), whole)
    results = [load_result(again.run_dir / "result.json") for again in (fresh, run)]
    assert results[0]["scores"] == results[1]["scores"] and results[0]["name"] == SMALL.name


def test_folder_that_goes_away_is_named(data: Path, tmp_path: Path) -> None:
    """A drive that is unmounted amid a run, as a Colab session's is: the run resumes where the folder comes back."""
    drive, away = tmp_path / "drive", tmp_path / "away"
    run = make_trainer(SMALL, drive / "run", data, checkpoint_seconds=0.0).fit(until=4)
    drive.rename(away)
    drive.write_text("not mounted")
    refused(r"checkpoint\.pt: could not be written", run.fit, error=OSError)
    fresh = make_trainer(SMALL, drive / "other", data)
    refused(r"checkpoint\.pt: could not be written", fresh.fit, error=OSError)
    assert fresh.iteration == 0, "found before the work"
    refused(r"result\.json: could not be written", write_json, drive / "result.json", {}, error=OSError)
    drive.unlink()
    away.rename(drive)
    assert make_trainer(SMALL, drive / "run", data).iteration == 4
    assert run.fit().iteration == SMALL.iterations
