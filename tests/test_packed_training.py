"""A run from a packed copy of its data is the run from the files, bit for bit."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_set import SMALL, write_small_set

from seglib.data import PackedDataset
from seglib.data.open import build_dataset
from seglib.recipe import Recipe
from seglib.train.results import load_result
from seglib.train.trainer import Trainer, main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("data"))


def run(recipe: Recipe, folder: Path, data: Path, packed: Path | None, workers: int = 0) -> Trainer:
    options = {"data_root": data, "packed_root": packed, "num_workers": workers, "progress": False, "device": "cpu"}
    return Trainer(recipe, folder, **options).fit()


@pytest.mark.parametrize(
    ("changes", "workers"),
    [({}, 2), ({"label_noise": 2, "folds": 3, "fold": 1, "val_split": "fold"}, 0), ({"squash": (33, 33)}, 0)],
    ids=["workers", "noise and folds", "squashed"],
)
def test_run_from_the_packed_copy_is_the_same(tmp_path: Path, data: Path, changes: dict, workers: int) -> None:
    recipe = SMALL.replace(**changes)
    plain = run(recipe, tmp_path / "plain", data, None)
    packed = run(recipe, tmp_path / "packed", data, tmp_path / "copies", workers)
    states = plain.model.state_dict(), packed.model.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert plain.history.equals(packed.history)
    results = [load_result(each.run_dir / "result.json") for each in (plain, packed)]
    assert results[0]["scores"] == results[1]["scores"] and results[0]["data"] == results[1]["data"]
    lists = {"toy_voc-trainaug"} | (set() if "folds" in changes else {"toy_voc-val"})
    assert {path.name for path in (tmp_path / "copies").iterdir()} == lists, "a folder for each list"


def test_run_goes_on_from_either(tmp_path: Path, data: Path) -> None:
    whole = run(SMALL, tmp_path / "whole", data, None)
    options = {"data_root": data, "progress": False, "device": "cpu"}
    Trainer(SMALL, tmp_path / "run", **options).fit(until=5)
    rest = run(SMALL, tmp_path / "run", data, tmp_path / "copies")
    pairs = zip(whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_copy_is_read_and_kept_up_to_date(tmp_path: Path, data: Path) -> None:
    copies = write_small_set(tmp_path) / "copies"
    root = tmp_path
    first = build_dataset(SMALL, "val", root, packed_root=copies)
    assert isinstance(first, PackedDataset) and first.transform is None
    files = sorted((copies / "toy_voc-val" / "images").iterdir())
    times = [path.stat().st_mtime_ns for path in files]
    assert len(build_dataset(SMALL, "val", root, packed_root=copies)) == len(files) == 4
    assert [path.stat().st_mtime_ns for path in files] == times, "nothing is decoded twice"
    source = build_dataset(SMALL, "val", root).files[0][0]
    Image.fromarray(np.full((40, 48, 3), 9, np.uint8)).save(source)
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert build_dataset(SMALL, "val", root, packed_root=copies).read(0)[0].max() < 20


def test_augmentation_and_seed_are_the_recipes(tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(seed=3)
    plain = build_dataset(recipe, "trainaug", data, train=True)
    packed = build_dataset(recipe, "trainaug", data, True, tmp_path)
    for key in ((0, 1), (4, 2)):
        assert all(np.array_equal(one, other) for one, other in zip(plain[key], packed[key], strict=True))


def test_fine_and_coarse_labels_are_copies_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, suffix in (
        ("leftImg8bit", "leftImg8bit"),
        ("gtFine", "gtFine_labelIds"),
        ("gtCoarse", "gtCoarse_labelIds"),
    ):
        folder = tmp_path / kind / "train" / "town"
        folder.mkdir(parents=True)
        shape = (16, 32, 3) if kind == "leftImg8bit" else (16, 32)
        pixels = rng.choice(np.array([7, 11, 26], np.uint8), shape)
        Image.fromarray(pixels).save(folder / f"town_000000_000019_{suffix}.png")
    labels = {}
    for quality in ("fine", "coarse"):
        recipe = Recipe(data="cityscapes", train_split="train", quality=quality)
        plain = build_dataset(recipe, "train", tmp_path)
        packed = build_dataset(recipe, "train", tmp_path, packed_root=tmp_path / "copies")
        labels[quality] = packed.read(0)[1]
        assert np.array_equal(plain.read(0)[1], labels[quality])
    assert not np.array_equal(labels["fine"], labels["coarse"])
    assert len(list((tmp_path / "copies").iterdir())) == 2


def test_command_line(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "small.toml"
    text = {True: "true", False: "false"}
    lines = [
        f"{name} = {text.get(value, repr(value))}" for name, value in SMALL.replace(iterations=2).changes().items()
    ]
    recipe.write_text("\n".join(lines).replace("'", '"'))
    folders = ["--run-dir", str(tmp_path / "run"), "--data-root", str(data), "--packed-root", str(tmp_path / "copies")]
    main([str(recipe), *folders, "--workers", "1", "--eval-every", "1"])
    assert '"miou"' in capsys.readouterr().out
    assert (tmp_path / "copies" / "toy_voc-trainaug" / "packed.json").exists()
