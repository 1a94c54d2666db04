"""A trainer on data sets of one's own: what it takes, refuses, and keeps of them in its checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from refusal import refused
from small_set import SIZE, SMALL, VAL, make_trainer, weights, write_label, write_small_set

from seglib.data import SegmentationDataset, build_dataset, voc_palette
from seglib.data.transforms import RandomFlip
from seglib.train import Trainer
from seglib.train.checkpoint import load_run
from seglib.train.results import load_result

SHORT = SMALL.replace(iterations=2)
CLASSES = ("ground", *(f"thing {number}" for number in range(1, 9)))
PALETTE = np.where(np.arange(256)[:, None] == 200, 77, voc_palette()).astype(np.uint8)  # 200 is not in use


def own_sets(root: Path, recipe=SHORT, **options) -> dict[str, SegmentationDataset]:
    splits = {"train_set": "trainaug", "val_set": "val"}
    files = {name: build_dataset(recipe, split, root).files for name, split in splits.items()}
    return {name: SegmentationDataset(of_one, CLASSES, PALETTE, **options) for name, of_one in files.items()}


def leave_the_result(run_dir: Path) -> None:
    for path in run_dir.glob("*.pt"):
        path.unlink()


def test_own_sets_train_as_the_recipes_do_and_lend_classes_and_colours(tmp_path: Path, data: Path) -> None:
    sets = own_sets(data)
    own = Trainer(SHORT, tmp_path / "own", device="cpu", progress=False, **sets).fit()
    plain = make_trainer(SHORT, tmp_path / "plain", data).fit()
    assert torch.equal(weights(own.model), weights(plain.model)), "the recipe's augmentation and seed"
    assert sets["train_set"].transform is None, "the caller's data set is left as it is"
    run = load_run(own.checkpoint)
    assert run.classes == CLASSES and np.array_equal(run.palette, PALETTE) and run.log == own.log
    assert load_run(plain.checkpoint).classes[1] == "house"
    assert load_result(own.run_dir / "result.json")["classes"] == list(CLASSES)
    squashed = Trainer(SHORT.replace(eval_squash=(16, 20)), tmp_path / "squashed", device="cpu", **sets)
    assert squashed.val_set[0][1].shape == (16, 20) and sets["val_set"].transform is None
    flipped = {**sets, "train_set": own_sets(data, transform=RandomFlip(1.0))["train_set"]}
    assert Trainer(SHORT, tmp_path / "b", device="cpu", **flipped).train_set.transform == RandomFlip(1.0)


def test_wrong_sets_are_refused(tmp_path: Path, data: Path) -> None:
    for message, change, options in (
        ("val_set: expected a SegmentationDataset", lambda sets: sets.pop("val_set"), {}),
        ("train_set: expected a SegmentationDataset", lambda sets: sets.update(train_set=[1]), {}),
        (r"val_set: expected the train_set's classes; found 9 there .* 2 here \('a', 'b'\)",
         lambda sets: setattr(sets["val_set"], "classes", ("a", "b")), {}),
        ("val_set: has a transform", lambda sets: setattr(sets["val_set"], "transform", RandomFlip()), {}),
        ("data_root: of the recipe's own data", lambda sets: None, {"data_root": Path("x")}),
        (r"a picture \(40, 48\); expected \(height, width, 3\), .*: set in_channels",
         lambda sets: setattr(sets["val_set"], "read_image", lambda path: np.zeros(SIZE, np.uint8)), {}),
        ("folds: of the recipe's own data", lambda sets: None, {"recipe": SHORT.replace(folds=3)}),
    ):  # fmt: skip
        sets = own_sets(data)
        change(sets)
        refused(message, Trainer, **{"recipe": SHORT, "run_dir": tmp_path, **sets, **options})


def test_a_finished_run_says_so_and_is_not_that_of_other_data(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = (write_small_set(tmp_path / name) for name in "ab")
    make_trainer(SHORT, tmp_path / "run", first, progress=True).fit()
    assert "finished already" not in capsys.readouterr().err
    make_trainer(SHORT, tmp_path / "run", first, progress=True).fit()
    assert f"{tmp_path / 'run'}: finished already; delete the folder to train again" in capsys.readouterr().err
    leave_the_result(tmp_path / "run")
    other, result = SHORT.replace(lr=1.0), tmp_path / "run" / "result.json"
    message = rf"result\.json: a result of another recipe, {SHORT.name}\. Choose another run_dir"
    refused(message, make_trainer, other, tmp_path / "run", first)
    kept = result.read_bytes()
    make_trainer(SHORT, tmp_path / "run", first).fit()
    assert result.with_name("result.earlier.json").read_bytes() == kept and load_result(result)["name"] == SHORT.name
    assert "of a training whose checkpoint is gone; kept as result.earlier.json" in capsys.readouterr().err
    leave_the_result(tmp_path / "run")
    write_label(next(second.rglob(f"SegmentationClass/{VAL[0]}.png")), np.full(SIZE, 2, np.uint8))
    for recipe in (SHORT, SHORT.replace(eval_flip=True)):
        refused(r"result\.json: a run on other val data", make_trainer, recipe, tmp_path / "run", second)


@pytest.mark.parametrize("field", ["weights", "start_from"])
def test_a_run_belongs_to_its_initial_weights(tmp_path: Path, data: Path, field: str) -> None:
    model = make_trainer(SHORT, tmp_path / "first", data).model
    state = model.backbone.state_dict() if field == "weights" else model.state_dict()
    file = tmp_path / "initial.pth"
    torch.save(state, file)
    recipe, options = SHORT.replace(**{field: file.name}), {"weights_root": tmp_path}
    make_trainer(recipe, tmp_path / "run", data, **options).fit()
    make_trainer(recipe, tmp_path / "run", data, **options)
    torch.save({key: value + 1 for key, value in state.items()}, file)
    message = r"a run that began with another file initial\.pth than is there now. Choose another"
    refused(r"checkpoint\.pt: " + message, make_trainer, recipe, tmp_path / "run", data, **options)
    leave_the_result(tmp_path / "run")
    refused(r"result\.json: " + message, make_trainer, recipe, tmp_path / "run", data, **options)
    file.unlink()
    refused(None, make_trainer, recipe, tmp_path / "run", data, error=FileNotFoundError, **options)
