"""What goes wrong on a learner's machine gives one clear error that names the file, and loses nothing."""

import contextlib
import errno
import json
import os
import pickle
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_set import SIZE, SMALL, TRAIN, VAL, write_label, write_small_set

from seglib.data import EpochBatches
from seglib.files import write_json
from seglib.metrics import ConfusionMatrix
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_state, previous_path, save_state
from seglib.train.results import load_result, sealed
from seglib.train.trainer import Trainer, main
from seglib.zoo import load_checkpoint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The small set, in a folder of this test's own."""
    return write_small_set(tmp_path / "data")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps this small are slower with more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The weights at the end of a run in which nothing went wrong."""
    folder = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = trainer(folder / "run", write_small_set(folder / "data")).fit()
    torch.set_num_threads(threads)
    return weights(run)


def trainer(run_dir: Path, data: Path, recipe: Recipe = SMALL, **options) -> Trainer:
    return Trainer(recipe, run_dir, data_root=data, progress=False, device="cpu", **options)


def weights(run: Trainer) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in run.model.state_dict().values()])


def image_path(data: Path, name: str) -> Path:
    return data / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg"


def label_path(data: Path, name: str, folder: str = "SegmentationClassAug") -> Path:
    return data / "VOCdevkit" / "VOC2012" / folder / f"{name}.png"


def wrong_value(data: Path, name: str) -> str:
    label = np.zeros(SIZE, dtype=np.uint8)
    label[3, 4], label[5, 6] = 9, 255  # the toy set has nine classes, 0 to 8
    write_label(label_path(data, name), label)
    return rf"{name}\.png: holds the label values \[9\]; expected 0 to 8 for 9 classes, or 255 for void"


def other_size(data: Path, name: str) -> str:
    write_label(label_path(data, name), np.zeros((SIZE[0], SIZE[1] - 1), dtype=np.uint8))
    return rf"{name}\.png: the label is 47 x 40, its image {name}\.jpg is 48 x 40 .*; expected equal sizes"


def truncated_jpeg(data: Path, name: str) -> str:
    path = image_path(data, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return rf"{name}\.jpg: damaged or cut off \("


def no_image_at_all(data: Path, name: str) -> str:
    image_path(data, name).write_bytes(b"<html>404 Not Found</html>")
    return rf"{name}\.jpg: not an image that can be read \("


def label_gone(data: Path, name: str) -> str:
    label_path(data, name).unlink()
    return rf"{name}\.png: no such file, though the data set lists it"


FAULTS = (wrong_value, other_size, truncated_jpeg, no_image_at_all, label_gone)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_sample_stops_the_run_with_the_data_sets_own_message(
    data: Path, tmp_path: Path, fault: Callable[[Path, str], str], workers: int
) -> None:
    run = trainer(tmp_path / "run", data, num_workers=workers)
    expected = fault(data, TRAIN[7])
    kind = FileNotFoundError if fault is label_gone else ValueError
    with pytest.raises(kind, match=expected) as direct:
        run.train_set[7]
        pytest.fail("the data set took the sample")
    with pytest.raises(kind, match=expected) as raised:
        run.fit()
    assert str(raised.value) == str(direct.value), "without the traceback of a worker"
    assert str(data) in str(direct.value)


def test_bad_sample_of_the_val_list_keeps_the_trained_weights(data: Path, tmp_path: Path, whole: torch.Tensor) -> None:
    path = image_path(data, VAL[2])
    good = path.read_bytes()
    run = trainer(tmp_path / "run", data)
    path.write_bytes(good[:300])
    with pytest.raises(ValueError, match=rf"{VAL[2]}\.jpg: "):
        run.fit()
    path.write_bytes(good)
    again = trainer(tmp_path / "run", data)
    assert again.iteration == SMALL.iterations
    assert torch.equal(weights(again.fit()), whole)
    assert load_result(tmp_path / "run" / "result.json")["name"] == SMALL.name


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_run_goes_on_when_the_image_is_mended(
    data: Path, tmp_path: Path, whole: torch.Tensor, workers: int, same_process: bool
) -> None:
    options = {"num_workers": workers, "checkpoint_seconds": 0.0}
    run = trainer(tmp_path / "run", data, **options)
    run.fit(until=2)
    # a sample of the first epoch's fifth batch: the run gets past two good ones before it meets the file
    (_, index), *_ = list(EpochBatches(len(run.train_set), SMALL.batch_size, SMALL.iterations, SMALL.seed))[4]
    name = run.train_set.names[index]
    good = image_path(data, name).read_bytes()
    truncated_jpeg(data, name)
    with pytest.raises(ValueError, match=rf"{name}\.jpg: damaged or cut off"):
        run.fit()
    state, _ = load_state(run.checkpoint)
    assert 2 <= state["iteration"] <= 4, "what was trained before the bad sample is kept"
    if workers == 0:
        assert state["iteration"] == 4
    image_path(data, name).write_bytes(good)
    if not same_process:
        run = trainer(tmp_path / "run", data, **options)
    assert torch.equal(weights(run.fit()), whole)


def faulty_at(run: Trainer, iteration: int, fault: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Makes the network of a run fail when it has taken so many steps."""
    forward = run.model.forward

    def faulty(images: torch.Tensor, upsample: bool = True) -> torch.Tensor:
        logits = forward(images, upsample)
        return fault(logits) if run.iteration == iteration else logits

    run.model.forward = faulty


def out_of_memory(_: torch.Tensor) -> torch.Tensor:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")


def nan_loss(logits: torch.Tensor) -> torch.Tensor:
    return logits * float("nan")


MEMORY = (
    r"run: the GPU's memory does not hold iteration 7, with batch_size = 2 and crop_size = 33\. Lower one of them, or "
    r'take loss = "upsampled_cross_entropy": .*The last checkpoint is kept.*goes on from it\. \(CUDA out of memory\. '
    r"Tried to allocate 2\.00 GiB\.\)$"
)
NAN = r"run: the loss is nan at iteration 7; expected a finite number\. The last checkpoint is from before\."


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [(out_of_memory, torch.cuda.OutOfMemoryError, MEMORY), (nan_loss, FloatingPointError, NAN)],
)
def test_fault_of_a_step_is_one_message_and_the_run_goes_on(
    data: Path,
    tmp_path: Path,
    whole: torch.Tensor,
    fault: Callable[[torch.Tensor], torch.Tensor],
    kind: type[Exception],
    message: str,
    same_process: bool,
) -> None:
    run = trainer(tmp_path / "run", data, checkpoint_seconds=0.0)
    faulty_at(run, 6, fault)
    with pytest.raises(kind, match=message) as raised:
        run.fit()
    assert "\n" not in str(raised.value)
    state, _ = load_state(run.checkpoint)
    assert state["iteration"] == 6
    if same_process:
        del run.model.forward
    else:
        run = trainer(tmp_path / "run", data)
    assert torch.equal(weights(run.fit()), whole)


def test_lack_of_memory_does_not_recommend_what_is_there(data: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", data, SMALL.replace(loss="upsampled_cross_entropy"))
    faulty_at(run, 0, out_of_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"Lower one of them: that is another recipe"):
        run.fit()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_command_line_ends_with_the_message_alone(data: Path, tmp_path: Path, workers: str) -> None:
    message = truncated_jpeg(data, TRAIN[7])
    recipe = tmp_path / "small.toml"
    recipe.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in SMALL.changes().items()))
    folders = ["--run-dir", str(tmp_path / "run"), "--data-root", str(data), "--workers", workers]
    with pytest.raises(SystemExit, match=rf"^error: \S*{message}.*\)$"):
        main([str(recipe), *folders])


def test_what_is_missing_is_found_before_the_training(data: Path, tmp_path: Path) -> None:
    folder = data / "VOCdevkit" / "VOC2012"
    label_path(data, VAL[1], "SegmentationClass").unlink()
    with pytest.raises(FileNotFoundError, match=rf"SegmentationClass: lacks 1 of the 4 files listed: {VAL[1]}\.png"):
        trainer(tmp_path / "run", data)
    label_path(data, TRAIN[9]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"SegmentationClassAug: lacks 1 of the 12 .*: {TRAIN[9]}\.png"):
        trainer(tmp_path / "run", data)
    (folder / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt: no such list of image ids"):
        trainer(tmp_path / "run", data)
    with pytest.raises(FileNotFoundError, match="elsewhere: expected a folder that holds VOCdevkit"):
        trainer(tmp_path / "run", tmp_path / "elsewhere")
    assert not (tmp_path / "run").exists()


def test_a_list_that_is_empty_is_refused(data: Path, tmp_path: Path) -> None:
    lists = data / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val\.txt: .*expected at least one"):
        trainer(tmp_path / "run", data)


def test_recipe_that_could_not_be_scored_is_refused_before_the_training(data: Path, tmp_path: Path) -> None:
    wrong = {
        "iterations": 0,
        "batch_size": 0,
        "seed": -1,
        "crop_size": 0,
        "eval_scales": (),
        "eval_output_stride": 12,
        "model": "segformer",
        "backbone": "vgg16",
        "data": "ade20k",
        "normalisation": "none",
        "flip": 2.0,
    }
    names = {"eval_output_stride": "output_stride", "flip": "p: ", "batch_size": "batch_size"}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=names.get(name, name)) as raised:
            trainer(tmp_path / "run", data, SMALL.replace(**{name: value}))
        assert repr(value) in str(raised.value) or str(value) in str(raised.value)
    with pytest.raises(ValueError, match="batch_size: 13, but the data set holds 12 samples"):
        trainer(tmp_path / "run", data, SMALL.replace(batch_size=13)).fit()
    assert not (tmp_path / "run" / "result.json").exists()


def test_recipe_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00lr")
    with pytest.raises(ValueError, match=r"mine\.toml: "):
        Recipe.load(path)


# Checkpoints


@pytest.fixture
def stopped(data: Path, tmp_path: Path) -> Path:
    """The folder of a run stopped half way, with checkpoints at iterations 5 and 6."""
    trainer(tmp_path / "run", data).fit(until=5).fit(until=6)
    return tmp_path / "run"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """One bit of the last of the weights differs: every structure of the file is as it should be."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["model"]["classifier.weight"].numpy().tobytes()
    content[content.index(weight) + 5] ^= 64
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, emptied, flipped, Path.unlink])
def test_damaged_checkpoint_falls_back_to_its_predecessor(
    data: Path, stopped: Path, whole: torch.Tensor, damage: Callable[[Path], None]
) -> None:
    damage(stopped / "checkpoint.pt")
    run = trainer(stopped, data)
    assert run.iteration == 5
    assert torch.equal(weights(run.fit()), whole)


def test_cut_off_checkpoint_does_not_push_the_predecessor_out(data: Path, stopped: Path) -> None:
    cut(stopped / "checkpoint.pt")
    run = trainer(stopped, data)
    run.fit(until=6)
    (stopped / "checkpoint.pt").unlink()  # as if killed between the two renames of that save
    assert trainer(stopped, data).iteration == 5


@pytest.mark.parametrize("damage", [cut, emptied, flipped])
def test_only_damaged_checkpoints_is_an_error_that_names_both(
    data: Path, stopped: Path, damage: Callable[[Path], None]
) -> None:
    paths = [stopped / "checkpoint.pt", stopped / "checkpoint.previous.pt"]
    for path in paths:
        damage(path)
    before = [path.read_bytes() for path in paths]
    with pytest.raises(ValueError) as raised:
        trainer(stopped, data)
    for path in paths:
        assert f"{path}: not a readable checkpoint; expected a whole file" in str(raised.value)
    assert "\n" not in str(raised.value) and "weights_only" not in str(raised.value)
    assert [path.read_bytes() for path in paths] == before, "nobody asked for them to be touched"


def test_checkpoint_of_another_network_is_refused(data: Path, stopped: Path) -> None:
    path = stopped / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    model = dict(state["model"])
    model["classifier.weight"] = torch.zeros(21, *model["classifier.weight"].shape[1:])
    del model["aspp.point.0.weight"]
    torch.save({**state, "model": model}, path)
    with pytest.raises(
        ValueError,
        match=r"checkpoint\.pt: the weights do not fit DeepLabV3Plus: 1 missing: aspp\.point\.0\.weight; "
        r"1 of another shape: classifier\.weight \(21, .*expected \(9, ",
    ):
        trainer(stopped, data)
    optimizer = {**state["optimizer"], "param_groups": state["optimizer"]["param_groups"][:1]}
    torch.save({**state, "optimizer": optimizer}, path)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: the optimiser's state does not fit"):
        trainer(stopped, data)


@pytest.mark.parametrize("content", [{"classifier.weight": torch.zeros(3)}, [1, 2], torch.zeros(3)])
def test_file_that_is_no_runs_checkpoint_is_refused(data: Path, tmp_path: Path, content: object) -> None:
    (tmp_path / "run").mkdir()
    torch.save(content, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(
        ValueError, match=r"checkpoint\.pt: expected the checkpoint of a run.*'generators', 'iteration'"
    ):
        trainer(tmp_path / "run", data)


# Code in files


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_executed(data: Path, stopped: Path, tmp_path: Path) -> None:
    path = stopped / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    for bomb in (path, previous_path(path)):
        torch.save({**state, "log": Bomb(tmp_path / "executed")}, bomb)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: .*found code \(\w+\.mkdir\), which was not executed"):
        trainer(stopped, data)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_weights_file_is_not_executed(data: Path, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": Bomb(tmp_path / "executed")}, path, _use_new_zipfile_serialization=zipped)
    message = r"weights\.pth: .*found code \(\w+\.mkdir\), which was not executed"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path / "run", data, SMALL.replace(weights=path.name), weights_root=tmp_path)
    assert not (tmp_path / "executed").exists()


def test_bare_pickle_is_not_executed(tmp_path: Path) -> None:
    for name in ("weights.pth", "result.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "executed"), protocol=2))
    with pytest.raises(ValueError, match=r"weights\.pth: .*found code"):
        load_checkpoint(tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"result\.json: not a result of a run"):
        load_result(tmp_path / "result.json")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", "null", '{"name": "x"}', "__import__('os').abort()"])
def test_damaged_result_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"result\.json: not a result of a run"):
        load_result(path)


def test_edited_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result = sealed({"name": "x", "recipe": {}, "scores": {"miou": 0.5}})
    path.write_text(json.dumps(result))
    assert load_result(path) == result
    path.write_text(json.dumps({**result, "scores": {"miou": 0.6}}))
    with pytest.raises(ValueError, match=r"result\.json: edited after the run wrote it"):
        load_result(path)
    path.write_text(json.dumps({name: value for name, value in result.items() if name != "digest"}))
    with pytest.raises(ValueError, match="edited"):
        load_result(path)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", bytes(range(256)) * 9, b"PK\x03\x04" + bytes(200)])
def test_damaged_weights_are_named(data: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    message = r"weights\.pth: not a readable checkpoint; expected a whole file .* found damage \(\w+\)"
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path / "run", data, SMALL.replace(weights=path.name), weights_root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth: no such weights"):
        trainer(tmp_path / "run", data, SMALL.replace(weights="absent.pth"), weights_root=tmp_path)


def test_weights_of_another_backbone_are_refused(data: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth do not fit ResNet: .*missing: .*conv1\.weight \(64, 3, 7, 7\)"):
        trainer(tmp_path / "run", data, SMALL.replace(weights="weights.pth"), weights_root=tmp_path)


# Disks and folders


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A folder whose disk `fill(spare)` fills but for some bytes: a real one if we may mount it, else a limit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        filler = folder / "filler"

        def fill(spare: int) -> None:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(2**12))
            os.truncate(filler, filler.stat().st_size - spare)

        yield SimpleNamespace(folder=folder, fill=fill, free=filler.unlink, message="No space left on device")
        subprocess.run(["umount", str(folder)], check=True)
    else:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield SimpleNamespace(
            folder=folder,
            fill=lambda spare: resource.setrlimit(resource.RLIMIT_FSIZE, (spare, limits[1])),
            free=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
            message="File too large",
        )
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("same_process", [True, False])
def test_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on(
    data: Path, disk: SimpleNamespace, whole: torch.Tensor, same_process: bool
) -> None:
    run = trainer(disk.folder / "run", data, checkpoint_seconds=0.0)
    run.fit(until=5)
    before = {path.name: path.read_bytes() for path in run.run_dir.iterdir()}
    disk.fill(2**16)
    with pytest.raises(OSError, match=rf"checkpoint\.pt: could not be written \(.*{disk.message}.*is kept"):
        run.fit()
    assert {path.name: path.read_bytes() for path in run.run_dir.iterdir()} == before
    disk.free()
    if not same_process:
        run = trainer(disk.folder / "run", data)
    run.fit()
    assert torch.equal(weights(run), whole)
    assert (run.run_dir / "result.json").exists()


def test_full_disk_at_the_result_keeps_the_weights(data: Path, disk: SimpleNamespace, whole: torch.Tensor) -> None:
    run = trainer(disk.folder / "run", data)
    evaluate = run.evaluate

    def evaluate_while_the_disk_fills(**options: object) -> ConfusionMatrix:
        matrix = evaluate(**options)
        disk.fill(0)
        return matrix

    run.evaluate = evaluate_while_the_disk_fills
    with pytest.raises(OSError, match=rf"result\.json: could not be written \(.*{disk.message}"):
        run.fit()
    assert not (run.run_dir / "result.json").exists()
    disk.free()
    again = trainer(disk.folder / "run", data)
    assert again.iteration == SMALL.iterations and torch.equal(weights(again.fit()), whole)
    assert (run.run_dir / "result.json").exists()


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


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder that can be read and not written: by its mode, or, for root, whom modes do not stop, by its mount."""
    folder = tmp_path / "unwritable"
    folder.mkdir()
    mounted = False
    if os.geteuid() == 0:
        mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        folder.chmod(0o500)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o700)


def test_unwritable_folder_is_named_before_the_work(data: Path, unwritable: Path) -> None:
    run = trainer(unwritable / "run", data)
    with pytest.raises(OSError, match=r"run.checkpoint\.pt: could not be written \(.*(Read-only|Permission denied)"):
        run.fit()
    assert run.iteration == 0
    with pytest.raises(OSError, match=r"result\.json: could not be written"):
        write_json(unwritable / "result.json", {})


def test_folder_that_goes_away_is_named(data: Path, tmp_path: Path) -> None:
    """A drive that is unmounted amid a run, as a Colab session's is: the run goes on where the folder comes back."""
    run = trainer(tmp_path / "drive" / "run", data, checkpoint_seconds=0.0)
    run.fit(until=4)
    (tmp_path / "drive").rename(tmp_path / "away")
    (tmp_path / "drive").write_text("not mounted")
    with pytest.raises(OSError, match=r"checkpoint\.pt: could not be written"):
        run.fit()
    (tmp_path / "drive").unlink()
    (tmp_path / "away").rename(tmp_path / "drive")
    assert trainer(tmp_path / "drive" / "run", data).iteration == 4
    run.fit()
    assert run.iteration == SMALL.iterations


def test_error_of_the_disk_is_passed_on_as_the_cause(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))
    try:
        with pytest.raises(OSError, match=r"checkpoint\.pt: could not be written \(.*File too large") as raised:
            save_state(tmp_path / "checkpoint.pt", {"weights": torch.zeros(2**16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(raised.value.__cause__, OSError) and raised.value.__cause__.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
