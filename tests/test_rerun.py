"""Stored results run again: what is equal, what is within the spread, what is not, and which code is found equal."""

import copy
import dataclasses
import json
import math
import shutil
from functools import partial
from pathlib import Path

import pytest
from refusal import refused
from small_set import SMALL

from seglib.files import write_json
from seglib.recipe import Recipe
from seglib.studies.rerun import Comparison, rerun, run_again, sample
from seglib.studies.results import store_result
from seglib.studies.study import Study
from seglib.train.optim import learning_rate
from seglib.train.results import code_hashes, seal
from seglib.train.trainer import Trainer

RECIPE = SMALL.replace(iterations=2)


@pytest.fixture(scope="module")
def stored(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three results of code of which one definition has changed since; two of them are of one kind."""
    place = tmp_path_factory.mktemp("stored")
    rows = {"plain": RECIPE, "Dice": RECIPE.replace(loss="dice"), "slow": RECIPE.replace(lr=0.01)}
    study = Study("tiny", rows, seeds=(0,), folder=place / "results", runs=place / "runs", data_root=data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seglib.train.results.code_hashes", lambda: code_hashes() | {"0": "old_loss"})
        assert [study.run(row) for row in rows] == [1, 1, 1]
    return study


@pytest.fixture
def study(stored: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr("seglib.studies.rerun.Trainer", partial(Trainer, data_root=stored.data_root))
    return dataclasses.replace(stored, folder=shutil.copytree(stored.folder, tmp_path / "results"))


def compare(again: float, half: float, code: list[str] | None = None, again_on: str = "CPU, 1 threads") -> Comparison:
    stored, new = (
        {"name": "x", "scores": {"miou": miou}, "confusion": [[round(1000 * miou)]], "device": device}
        for miou, device in ((0.5, "CPU, 1 threads"), (again, again_on))
    )
    return Comparison(stored, new, (0.51 - half, 0.51 + half), code)


def test_the_same_machine_gives_the_same_result(study: Study) -> None:
    compared = run_again(study.folder / f"{RECIPE.name}.json")
    assert compared.same and compared.agrees and compared.code == ["old_loss"]
    assert str(compared).endswith("the same, pixel by pixel (code changed: old_loss)")
    forged = copy.deepcopy(compared.stored)
    forged["scores"]["iou"][0] += 1e-6  # the confusion matrix is left as it was
    assert not dataclasses.replace(compared, stored=forged).same


@pytest.mark.parametrize(
    ("again", "agrees"), [(0.5, True), (0.529, True), (0.491, True), (0.531, False), (0.48, False)]
)
def test_another_machine_may_differ_as_another_seed_does(again: float, agrees: bool) -> None:
    compared = compare(again, 0.02, [])
    assert compared.agrees == agrees and compare(again, math.nan).agrees == (again == 0.5)
    assert ("OUTSIDE the interval for one run more, 49.0 to 53.0" in str(compared)) == (not agrees)
    told = str(compare(0.52, 0.02, None, again_on="CPU, 2 threads"))
    assert "+2.00 points, inside" in told
    assert told.endswith("(on CPU, 1 threads, again on CPU, 2 threads) (code changed: unknown)")


def test_the_sample_is_random_and_can_be_repeated(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"toy-{number}.json").write_text("{}")
    (tmp_path / "voc.json").write_text("{}")
    assert sample(tmp_path, 5, 1, "toy*") == sample(tmp_path, 5, 1, "toy*") != sample(tmp_path, 5, 2, "toy*")
    assert len({*sample(tmp_path, 30, None, "toy*")}) == 20 and len(sample(tmp_path, None, None, "*")) == 3
    refused("no stored result", sample, tmp_path, 5, 1, "camvid*", error=FileNotFoundError)
    for count in (0, -1):
        refused(f"count = {count}; expected at least 1", sample, tmp_path, count, 1, "*")
    refused("with renew one result of each kind and code is run", rerun, 1, renew=True, folder=tmp_path)


def test_disagreements_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("toy_a", "toy_b"):
        (tmp_path / f"{name}.json").write_text("{")
    assert rerun(2, folder=tmp_path) == 2, "a damaged result does not keep the others from being compared"
    assert capsys.readouterr().out.count("expected JSON") == 2
    outcomes = iter([compare(0.5, math.nan), compare(0.7, 0.02)])
    monkeypatch.setattr("seglib.studies.rerun.run_again", lambda *_: next(outcomes))
    assert rerun(2, folder=tmp_path) == 1


def test_the_shortest_of_each_code_and_kind_is_renewed(study: Study) -> None:
    for row, seconds in (("plain", 2.0), ("slow", 1.0)):
        result = study.result(row, 0) | {"train_seconds": seconds}
        write_json(study.folder / f"{result['name']}.json", seal(result))
    other = study.recipe("plain", 1)
    changes = {"name": other.name, "recipe": other.changes(), "seed": 1, "code": {"1": "older_loss"}}
    store_result(study.result("plain", 0) | changes, study.folder)
    expected = sorted([other.name, study.recipe("slow", 0).name, study.recipe("Dice", 0).name])
    assert all(sorted(p.stem for p in sample(study.folder, None, s, "*", True)) == expected for s in range(5))


def test_code_that_gives_the_same_is_renewed(study: Study, capsys: pytest.CaptureFixture) -> None:
    old = study.result("plain", 0)["code"]
    assert set(study.table().sources) == {"earlier (1 definition changed)"}
    assert rerun(renew=True, seed=1, folder=study.folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("pixel by pixel (code changed: old_loss)") for line in lines] == [True, True, False]
    (path,) = [path for path in (study.folder / "code").glob("*.json") if path.stem != old]
    assert lines[-1] == f"renewed: {path}"
    found = json.loads(path.read_text())
    assert found["definitions"] == code_hashes() and found["equal_to"] == [old]
    assert found["proved_by"] == sorted(line.split(":")[0] for line in lines[:2]), "one of each loss"
    assert set(study.table().sources) == {""}
    assert rerun(renew=True, folder=study.folder) == 0
    assert "nothing to renew" in capsys.readouterr().out


def test_others_renew_nothing(study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def rate(recipe: Recipe, step: int) -> float:
        return learning_rate(recipe, step) * (9.0 if recipe.loss == "dice" else 1.0)

    monkeypatch.setattr("seglib.train.optim.learning_rate", rate)
    before = sorted((study.folder / "code").iterdir())
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("seglib.studies.rerun.device_name", lambda device: "CPU of another kind")
        assert rerun(renew=True, folder=study.folder) == 0, "what another processor measured proves nothing here"
    assert "nothing to renew" in capsys.readouterr().out
    assert rerun(renew=True, seed=1, folder=study.folder) == 1, "one of two kinds"
    dice = study.recipe("Dice", 0).name
    assert capsys.readouterr().out.splitlines()[-1] == f"nothing is renewed; not the same: {dice}"
    assert sorted((study.folder / "code").iterdir()) == before
    assert set(study.table().sources) == {"earlier (1 definition changed)"}
