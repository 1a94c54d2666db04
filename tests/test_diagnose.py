"""Every planted fault is found and named; healthy set-ups have only the notes that are listed here."""

from dataclasses import replace
from pathlib import Path

import pytest

from seglib.__main__ import main
from seglib.diagnose.faults import FAULTS, FILE_FAULTS, Setup, displaced_labels, healthy, write_folder
from seglib.files import PROJECT
from seglib.predict import Scoring, predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import load_run

TOY = Recipe.load("toy_voc").replace(width=8, channels=16, decoder_channels=8)
STREETS = Recipe.load("toy_streets")
PRETRAINED = TOY.replace(backbone="mobilenet_v2", weights="mobilenet_v2_imagenet.pth", normalisation="unit", lr=0.02)
CHECKPOINT = PROJECT / "data/checkpoints/toy_streets.pt"


@pytest.fixture(scope="module")
def toy() -> Setup:
    return healthy(TOY)


@pytest.fixture(scope="module")
def predicted(toy: Setup) -> Setup:
    return replace(toy, predictions=displaced_labels(toy.val_dataset), model=None)


@pytest.fixture(scope="module")
def pretrained() -> Setup:
    return healthy(PRETRAINED)


@pytest.fixture(scope="module")
def streets() -> Setup:
    return healthy(STREETS)


@pytest.fixture(scope="module")
def streets_predicted(streets: Setup) -> Setup:
    return replace(streets, predictions=displaced_labels(streets.val_dataset), model=None)


@pytest.fixture(scope="module")
def padded() -> Setup:
    return healthy(TOY.replace(crop_size=161))


@pytest.fixture(scope="module")
def trained(streets: Setup) -> Setup:
    run = load_run(CHECKPOINT)
    val, scoring = streets.val_dataset, Scoring.of(run.recipe)
    found = [predict_image(run.model, val.read(k)[0], run.normalisation, scoring) for k in range(len(val))]
    return replace(streets, model=run.model, run=str(CHECKPOINT), predictions=found)


def base_of(name: str, request: pytest.FixtureRequest) -> Setup:
    """Chooses the healthy set-up that a fault is planted in."""
    special = {
        "mapped_to_ids": "streets_predicted", "padded_with_0": "padded",
        "unconverged": "trained", "train_mode": "trained",
        **dict.fromkeys(("weights_not_loaded", "half_loaded", "other_convention", "blue_first"), "pretrained"),
    }  # fmt: skip
    return request.getfixturevalue(special.get(name, "predicted" if FAULTS[name].stage == "scores" else "toy"))


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_found_and_does_not_drown(name: str, request: pytest.FixtureRequest) -> None:
    fault, setup = FAULTS[name], base_of(name, request)
    if fault.stage == "data" and name not in ("last_batch_of_one", "squashed"):
        setup = replace(setup, model=None, loss=None, normalisation=None)
    report = fault.plant(setup).check(samples=40, steps=40 if fault.stage == "network" else 0)
    print(report)
    assert fault.finding in report.names()
    assert [error for error in report.names("error") if error != fault.finding] == [], report


NOTES = {  # of the healthy set-ups, beside no error and no warning
    "toy_voc": {"thin_structures", "random_weights"},
    "toy_mini": {"thin_structures"},
    "toy_streets": {"thin_structures", "classes_rare", "random_weights"},
    "folder": {"thin_structures", "classes_rare", "class_not_scored", "exif_turned", "rates_beyond_map"},
    "camvid": {"thin_structures", "classes_rare", "alike_frames", "rates_beyond_map"},
    "voc": {"thin_structures", "classes_rare", "class_absent", "class_not_scored", "rates_beyond_map"},
}


def test_healthy_toy_set(toy: Setup) -> None:
    report = toy.check()
    assert report.names("error") == report.names("warning") == [], report
    assert {*report.names()} == NOTES["toy_voc"]


def test_healthy_trained_streets(trained: Setup) -> None:
    report = trained.check()
    assert report.names("error") == [], report
    assert {*report.names("note")} == NOTES["toy_streets"] - {"random_weights"}


@pytest.fixture
def folder(toy: Setup, tmp_path: Path) -> Path:
    """Twenty-four toy scenes as a folder of one's own."""
    for split, part in (("train", toy.dataset), ("val", toy.val_dataset)):
        write_folder(part, tmp_path, split, 16 if split == "train" else 8)
    return tmp_path


@pytest.mark.parametrize("name", [None, *FILE_FAULTS])
def test_faults_of_files_are_found(name: str | None, folder: Path, capsys: pytest.CaptureFixture) -> None:
    if name is not None:
        FILE_FAULTS[name].plant(folder)
    status = main(["diagnose", str(folder), "--samples", "10"])
    lines = capsys.readouterr().out.splitlines()
    found = [line.split()[1].rstrip(":") for line in lines if line.startswith(("error", "warning"))]
    assert found == ([] if name is None else [FILE_FAULTS[name].finding]), lines
    assert status == int(any(line.startswith("error") for line in lines))
