"""Folds in stages: who is averaged, what starts the next stage, and that an interruption changes nothing."""

import json
from pathlib import Path

import pytest
import torch
from refusal import refused
from small_set import SMALL
from torch import nn

from seglib.files import load_tensors
from seglib.metrics import ConfusionMatrix
from seglib.predict import Scoring
from seglib.recipe import Recipe
from seglib.studies.staged import Staged, choose_members, mean_weights, run_staged

FAST = SMALL.replace(iterations=3, batch_size=4, dropout=0.1, seed=3)


@pytest.fixture(scope="module")
def staged(data: Path) -> Staged:
    return Staged("two", {"first": FAST, "second": FAST.replace(iterations=2, lr=0.01, loss="dice")}, 3, data)


@pytest.fixture(scope="module")
def finished(staged: Staged, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return staged.run(folder), folder


def test_members_are_chosen_by_score_and_averaged() -> None:
    members = choose_members([0.3, 0.5, 0.1, 0.5, 0.4])
    assert members == {"best fold": [1], "mean of all": [1, 3, 4, 0, 2], "mean of the best 3": [1, 3, 4]}
    states = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict() for _ in range(3)]
    states[1]["1.num_batches_tracked"] += 5
    mean = mean_weights(states)
    expected = (states[0]["0.weight"] + states[1]["0.weight"] + states[2]["0.weight"]) / 3
    torch.testing.assert_close(mean["0.weight"], expected)
    assert mean["1.num_batches_tracked"] == 0


def test_every_stage_has_folds_aggregates_and_a_choice(finished: tuple[dict, Path]) -> None:
    result = finished[0]
    assert [stage["name"] for stage in result["stages"]] == ["first", "second"]
    for stage in result["stages"]:
        assert [fold["fold"] for fold in stage["folds"]] == [0, 1, 2]
        best = max(fold["miou"] for fold in stage["folds"])
        assert stage["aggregates"]["best fold"]["miou"] == pytest.approx(best)
        scores = {name: values["miou"] for name, values in stage["aggregates"].items()}
        assert scores[stage["chosen"]] == max(scores.values())


def test_everything_is_scored_by_the_recipes_protocol(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("seglib.studies.staged.evaluate", lambda *given: seen.append(given[3]) or ConfusionMatrix(9))
    how = {"scales": (0.5, 1.0), "flip": True, "output_stride": 8, "window": (24, 24)}
    staged._score(FAST.replace(**{f"eval_{name}": value for name, value in how.items()}), nn.Identity(), "val")
    assert seen == [Scoring(**how)]


def test_the_next_stage_starts_from_what_was_chosen(finished: tuple[dict, Path]) -> None:
    result, folder = finished
    chosen = load_tensors(folder / "stage1" / "best.pt")
    members = result["stages"][0]["aggregates"][result["stages"][0]["chosen"]]["members"]
    mean = mean_weights([load_tensors(folder / "stage1" / f"fold{member}" / "weights.pt") for member in members])
    weights = [key for key in mean if "running" not in key and "tracked" not in key]
    assert all(torch.equal(chosen[key], mean[key]) for key in weights)
    first, second = (load_tensors(folder / f"stage{n}" / "fold0" / "weights.pt")["classifier.weight"] for n in (1, 2))
    # two small steps from the mean, far less than from the random weights that stage 1 started from
    assert (second - chosen["classifier.weight"]).norm() < 0.2 * chosen["classifier.weight"].norm()
    assert not torch.equal(first, second)


def test_an_interrupted_training_ends_alike(staged: Staged, finished: tuple[dict, Path], tmp_path: Path) -> None:
    result, folder = finished
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Staged, "_aggregate", lambda *_: 1 / 0)
        refused(None, staged.run, tmp_path, error=ZeroDivisionError)
    again = staged.run(tmp_path)
    for mine, theirs in zip(again["stages"], result["stages"], strict=True):
        assert mine["aggregates"] == theirs["aggregates"] and mine["chosen"] == theirs["chosen"]
    states = [load_tensors(place / "stage2" / "best.pt") for place in (folder, tmp_path)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_folder_of_another_recipe_is_refused(staged: Staged, finished: tuple[dict, Path]) -> None:
    stages = {name: recipe.replace(lr=0.5) for name, recipe in staged.stages.items()}
    with pytest.raises(ValueError, match=r"stage\.json: a stage of another recipe"):
        Staged("two", stages, 3, staged.data_root).run(finished[1])
    more = Staged("two", staged.stages, 4, staged.data_root)
    refused(r"stage\.json: a stage of another .*number of folds", more.run, finished[1])


def test_stages_keep_the_code_that_trained_them(
    staged: Staged, finished: tuple[dict, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seglib.studies.staged.code_hashes", lambda: {"0": "changed since"})
    assert staged.run(finished[1])["code"] == finished[0]["code"]


def test_the_command(finished: tuple, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    result, folder = finished
    monkeypatch.setenv("SEGLIB_RUNS", str(folder))
    places = []
    monkeypatch.setattr(Staged, "run", lambda _, place: places.append(place) or result)
    run_staged("course_report", output=folder / "out.json")
    assert json.loads((folder / "out.json").read_text()) == result and places == [folder / "course_report"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["first", "second"]


def test_nonsense_is_refused(tmp_path: Path) -> None:
    refused("2 folds", Staged, "", {"a": Recipe()}, 2)
    refused("stage 'a': folds", Staged, "", {"a": Recipe(folds=3)})
    refused("course_report", run_staged, "nothing", error=FileNotFoundError)
    (tmp_path / "bad.toml").write_text("title = 'x'\nrecipe = 'toy_voc'\nstages = {}\nx = 1\n")
    refused(r"bad\.toml: not a staged training .*unknown field `x`", Staged.load, tmp_path / "bad.toml")
