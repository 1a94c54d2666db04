"""Stored results run again: what is equal, what is within the spread, what is not."""

import json
import math
from pathlib import Path

import pytest
from small_set import SMALL, write_small_set

from seglib.files import write_json
from seglib.studies.rerun import Comparison, main, run_again, sample
from seglib.train.results import load_result, sealed
from seglib.train.trainer import Trainer

RECIPE = SMALL.replace(iterations=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("data"))


@pytest.fixture
def stored(root: Path, tmp_path: Path) -> Path:
    Trainer(RECIPE, tmp_path / "first", data_root=root, progress=False).fit()
    path = tmp_path / "results" / f"{RECIPE.name}.json"
    write_json(path, load_result(tmp_path / "first" / "result.json"))
    return path


def test_the_same_machine_gives_the_same_result(stored: Path, root: Path, tmp_path: Path) -> None:
    compared = run_again(stored, tmp_path / "again", root, progress=False)
    assert compared.same and compared.agrees and compared.sources == []
    assert str(compared).endswith("the same, pixel by pixel")


def test_a_forged_result_is_found(stored: Path, root: Path, tmp_path: Path) -> None:
    result = load_result(stored)
    result["scores"]["miou"] += 0.1
    write_json(stored, sealed({**result, "sources": {"metrics.py": "0"}}))
    compared = run_again(stored, tmp_path / "again", root, progress=False)  # the confusion matrix was left as it was
    assert not compared.same and not compared.agrees
    assert "BEYOND" in str(compared) and "metrics.py" in str(compared)


@pytest.mark.parametrize(("again", "agrees"), [(0.5, True), (0.519, True), (0.481, True), (0.521, False)])
def test_another_machine_may_differ_by_twice_the_spread(again: float, agrees: bool) -> None:
    assert Comparison("x", 0.5, again, False, 0.01, []).agrees == agrees
    assert not Comparison("x", 0.5, again, False, math.nan, []).agrees


def test_the_sample_is_random_and_can_be_repeated(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"toy-{number}.json").write_text("{}")
    (tmp_path / "voc.json").write_text("{}")
    assert sample(tmp_path, 5, 1, "toy*") == sample(tmp_path, 5, 1, "toy*") != sample(tmp_path, 5, 2, "toy*")
    assert len({*sample(tmp_path, 30, None, "toy*")}) == 20
    with pytest.raises(FileNotFoundError, match="no stored result"):
        sample(tmp_path, 5, 1, "camvid*")


def test_the_command_counts_what_does_not_agree(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    outcomes = iter([Comparison("x", 0.5, 0.5, True, 0.0, []), Comparison("x", 0.5, 0.7, False, 0.01, None)])
    monkeypatch.setattr("seglib.studies.rerun.run_again", lambda *_, **__: next(outcomes))
    (stored.parent / "toy_other.json").write_text(json.dumps({}))
    assert main(["2", "--folder", str(stored.parent)]) == 1
    assert "sources changed: unknown" in capsys.readouterr().out


def test_a_damaged_result_does_not_keep_the_others_from_being_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("toy_a", "toy_b"):
        (tmp_path / f"{name}.json").write_text("{")
    assert main(["2", "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().out.count("expected JSON") == 2
