"""Studies: what is run, what is not run again, and the table's arithmetic."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from small_set import SMALL, write_small_set

from seglib.ablation import Study
from seglib.recipe import Recipe
from seglib.results import sealed
from seglib.training import Trainer


@pytest.fixture
def study(tmp_path: Path) -> Study:
    rows = {"plain": SMALL.replace(iterations=2), "no decoder": SMALL.replace(iterations=2, model="deeplabv3")}
    (tmp_path / "results").mkdir()
    return Study(
        "decoder",
        rows,
        seeds=(0, 1),
        folder=tmp_path / "results",
        runs=tmp_path / "runs",
        data_root=write_small_set(tmp_path / "data"),
    )


def store(study: Study, row: str, seed: int, miou: float) -> None:
    recipe = study.recipe(row, seed)
    result = sealed({"name": recipe.name, "recipe": recipe.changes(), "seed": seed, "scores": {"miou": miou}})
    (study.folder / f"{recipe.name}.json").write_text(json.dumps(result))


def test_every_run_is_stored_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert study.missing() == [("plain", 0), ("no decoder", 0), ("plain", 1), ("no decoder", 1)]
    assert study.run("no decoder", progress=False) == 2
    assert study.missing() == [("plain", 0), ("plain", 1)]
    stored = study.result("no decoder", 1)
    assert stored["seed"] == 1 and stored["recipe"]["model"] == "deeplabv3"
    assert (
        stored["scores"]
        == Trainer(study.recipe("no decoder", 1), study.runs / stored["name"], data_root=study.data_root)
        .evaluate(progress=False)
        .compute()
        .to_dict()
    )
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("a stored run is not repeated"))
    assert study.run("no decoder", progress=False) == 0


def test_a_run_that_another_process_is_at_is_left_to_it(study: Study) -> None:
    run_dir = study.runs / study.recipe("plain", 0).name
    run_dir.mkdir(parents=True)
    with FileLock(run_dir / "lock"):
        assert study.run("plain", [0], progress=False) == 0
    assert study.run("plain", [0], progress=False) == 1


def test_the_table_compares_seed_by_seed(study: Study) -> None:
    for seed, (plain, without) in enumerate([(0.5, 0.4), (0.7, 0.65)]):
        store(study, "plain", seed, plain)
        store(study, "no decoder", seed, without)
    table = study.table()
    assert table.n.tolist() == [2, 2]
    assert table["mean"].tolist() == pytest.approx([0.6, 0.525])
    assert table.sd.tolist() == pytest.approx([np.std([0.5, 0.7], ddof=1), np.std([0.4, 0.65], ddof=1)])
    assert table.difference["no decoder"] == pytest.approx(-0.075)
    assert table["sd of difference"]["no decoder"] == pytest.approx(np.std([-0.1, -0.05], ddof=1))
    assert math.isnan(table.difference["plain"])


def test_a_row_that_was_not_run_says_so(study: Study) -> None:
    store(study, "plain", 0, 0.5)
    table = study.table()
    assert table.n.tolist() == [1, 0]
    assert table["mean"]["plain"] == 0.5 and math.isnan(table.sd["plain"])
    assert math.isnan(table["mean"]["no decoder"]) and math.isnan(table.difference["no decoder"])


def test_studies_are_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "crop"\nrecipe = "toy_voc"\nseeds = [4]\n[rows]\nbase = {}\nsmall = { crop_size = 65 }\n')
    study = Study.load(path, folder=tmp_path)
    assert study.missing() == [("base", 4), ("small", 4)]
    assert study.recipe("base", 4) == Recipe.load("toy_voc").replace(seed=4)
    assert study.recipe("small", 4) == Recipe.load("toy_voc").replace(seed=4, crop_size=65)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "seglib/studies").glob("*.toml")), ids=lambda path: path.stem
)
def test_the_packages_studies_load(path: Path) -> None:
    assert len(Study.load(path).rows) > 1


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml: no such study"):
        Study.load("nowhere")
    path = tmp_path / "wrong.toml"
    path.write_text('title = "crop"\nrecipe = "toy_voc"\n[rows]\nsmall = { crop = 65 }\n')
    with pytest.raises(ValueError, match=r"wrong\.toml: not a study .*crop"):
        Study.load(path)
    with pytest.raises(ValueError, match="row 'plan'"):
        Study("t", {"plain": SMALL}).recipe("plan", 0)
    with pytest.raises(ValueError, match="no seed twice"):
        Study("t", {"plain": SMALL}, seeds=(1, 1))
