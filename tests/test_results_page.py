"""The results page: what it says of a study, and that the committed one knows every stored result."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seglib.data.open import build_dataset
from seglib.files import PROJECT, write_json
from seglib.predict import Scoring, evaluate
from seglib.recipe import Recipe
from seglib.studies import Study
from seglib.studies.listing import load_studies
from seglib.studies.results import RESULTS, store_result
from seglib.train import Trainer
from seglib.train.checkpoint import load_run
from seglib.train.results import code_hashes
from tools import results_page as tool

TOML = """title = "made"
base = "plain"
seeds = [0, 1, 2]
[scales]
toy = { recipe = "toy_v3", iterations = 1, width = 4, channels = 8, crop_size = 33, batch_size = 2 }
[rows.plain]
[rows.unmirrored]
eval_flip = false
[rows.other]
batch_size = 3
"""


def test_a_line_tells_what_the_study_tells(tmp_path: Path) -> None:
    (tmp_path / "made.toml").write_text(TOML)
    study = Study.load(tmp_path / "made.toml", folder=tmp_path / "results")
    for row, values in {"plain": (0.5, 0.52, 0.54), "unmirrored": (0.6, 0.63, 0.63)}.items():
        for seed, miou in enumerate(values):
            recipe = study.recipe(row, seed)
            result = {"name": recipe.name, "recipe": recipe.changes(), "seed": seed, "scores": {"miou": miou}}
            more = {"code": code_hashes(), "train_seconds": 60.0 * (seed + 1), "device": "CPU of mine"}
            store_result(result | more, study.folder)
    rows = tool.read_rows([study])
    assert rows["row"].tolist() == ["plain", "unmirrored", "other"]
    assert rows["verdict"].tolist() == ["base", "higher", "not run"]
    line, table = rows.iloc[1], study.table()
    assert line[["low", "high"]].tolist() == pytest.approx((100 * table.loc["unmirrored", ["low", "high"]]).tolist())
    assert (line["n"], line["minutes"], line["processor"], line["code"]) == (3, 2.0, "CPU of mine", "")
    tool.write_page(rows, tmp_path)
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "all 1 trainings with several runs, pooled over 2 degrees of freedom, is 2.00 points" in page
    assert f"[3](../data/results/{study.recipe('unmirrored', 2).name}.json)" in page
    assert pd.read_csv(tmp_path / "results.csv")["results"][1] == line["results"]
    assert "| unmirrored |  | 62.0 ± 1.7 (3) | 53.4 to 70.6 | +10.0 [" in page
    left = re.search(r"\| other \|  \| not run \|.* \| ([\d.]+) left \|", page)[1]
    assert 2 < float(left) < 12, "three trainings of about two minutes, of larger batches"
    assert "\n- Not run: 1 of 3 rows.\n" in page and list(pd.read_csv(tmp_path / "results.csv")) == [*tool.SCHEMA]
    more = dataclasses.replace(study, title="more", name="more", seeds=(0, 1))
    tool.write_page(tool.read_rows([more, study]), tmp_path)
    twin = "\n- `unmirrored` is also a row of made, with more seeds.\n"
    assert (tmp_path / "results.md").read_text(encoding="utf-8").count(twin) == 1
    assert "\n- DeepLabv3, Table 7: out of reach: the test labels are not public.\n" in page


def test_a_row_that_cannot_show_the_effect_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "made.toml").write_text(TOML)
    study = Study.load(tmp_path / "made.toml", folder=tmp_path / "results")
    rows = tool.read_rows([dataclasses.replace(study, cannot_show=dict.fromkeys(("other", "plain"), "dark"))])
    rows["scale"] = "mini"
    tool.write_page(rows, tmp_path)
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| other |  | not run |  |  |  | cannot show | ? left |" in page
    assert "\n- Cannot show the paper's effect: plain; other. Reason: dark.\n- Not run: 3 of 3 rows." in page
    rows["scale"] = "gpu"
    tool.write_page(rows, tmp_path)
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    command = "`python -m seglib study made --scale gpu`"
    assert f"\n- made, gpu: 3 rows, of which 2 cannot show the effect. {command}\n" in page


def test_pictures_name_the_study_of_their_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"name": "toy-1", "pictures": 3, "sd": 1.0, "low": 40.0, "high": 44.0}
    monkeypatch.setattr(tool, "RESULTS", tmp_path)
    write_json(tmp_path / "pictures" / "toy-1.json", named)
    rows = {"study": ["one", "one"], "scale": "toy", "row": ["16", "8"], "verdict": ["base", "higher"], "n": 1}
    (line,) = (
        line for line in tool.describe_spread(pd.DataFrame(rows | {"results": "toy-1 toy-2"})) if "3 val" in line
    )
    assert line.startswith("- `16` of one, toy, pictures: ")


def test_pictures_are_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.load("toy_v3").replace(iterations=1, width=4, channels=8, crop_size=33, batch_size=2)
    study = Study("made", {"plain": recipe}, (0,), folder=tmp_path / "results", runs=tmp_path / "runs")
    assert tool.measure_pictures(study, "plain", 0) is None
    monkeypatch.setattr(tool, "build_dataset", lambda *given: build_dataset(*given).subset(range(3)))
    monkeypatch.setattr(tool, "RESAMPLES", 300)
    folder = study.runs / recipe.training_name
    Trainer(recipe, folder, progress=False).fit()
    found = tool.measure_pictures(study, "plain", 0)
    run, data = load_run(folder / "checkpoint.pt"), build_dataset(recipe, "val").subset(range(3))
    whole = 100 * evaluate(run.model, data, run.normalisation, Scoring.of(recipe)).compute().miou
    assert found["pictures"] == 3 and found["low"] <= whole <= found["high"]


def test_two_pictures_give_three_draws() -> None:
    """Twice the one, one of each, twice the other: a quarter, a half and a quarter of the draws."""
    matrices = np.array([[[4, 0], [0, 4]], [[3, 1], [2, 2]]])
    values, counts = np.unique(tool.resample(matrices).round(9), return_counts=True)
    union = [(3 / 6 + 2 / 5) / 2, (7 / 10 + 6 / 9) / 2, 1.0]
    assert values.tolist() == pytest.approx([100 * value for value in union])
    assert (counts / counts.sum()).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.04)


def test_the_committed_page_knows_every_result() -> None:
    """`make results` writes it anew. All rows of all studies are there, in the order of the papers' tables."""
    page = pd.read_csv(PROJECT / "docs" / "results.csv", keep_default_na=False)
    rows = [[study.name, study.scale, row] for study in load_studies(gated=False) for row in study.rows]
    assert page[["study", "scale", "row"]].to_numpy().tolist() == rows, "run make results"
    tables = [table for table in dict.fromkeys(page["table"]) if table.startswith("DeepLabv3,")]
    assert tables == [f"DeepLabv3, Table {number}" for number in (1, 2, 3, 4, 5, 6, 8, 9, 10)]
    named = {name for names in page["results"] for name in names.split()}
    stored = {path.stem for path in RESULTS.glob("*.json")}
    assert named <= stored, "a result was taken away"
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS / "rows").glob("*.json")]
    noted = {name for of_study in rows for seeds in of_study.values() for name in seeds.values()}
    assert set(page.groupby(["study", "scale"]).groups) and named <= noted
