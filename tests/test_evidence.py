"""The evidence: rows in sentences, the map of the papers' tables and README's copy, the interval for one run more."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from small_set import SMALL
from test_study import store, with_row

from seglib.__main__ import main
from seglib.course.figures import draw_effects
from seglib.recipe import Recipe
from seglib.studies.cost import read_times
from seglib.studies.evidence import (
    WITHOUT_GPU,
    compare_rows,
    find_told,
    list_confirmed,
    load_published,
    map_evidence,
    tabulate,
    tell_counts,
    tell_outcomes,
)  # fmt: skip
from seglib.studies.files import read_files
from seglib.studies.listing import by_number, list_out_of_reach, plan_runs, tell_gates
from seglib.studies.papers import load_papers
from seglib.studies.report import prediction_interval
from seglib.studies.study import Study
from tools import evidence as tool


@pytest.fixture
def study(tmp_path: Path) -> Study:
    rows = {"base": SMALL, "wide": SMALL.replace(channels=16), "8": SMALL.replace(eval_output_stride=8)}
    (tmp_path / "results").mkdir()
    published = {"base": 0.7, "wide": 0.75, "8": 0.705}
    kept = {"folder": tmp_path / "results", "runs": tmp_path / "runs"}
    return Study("width", rows, (0, 1, 2), published=published, source="Nobody, Table 1", name="width", **kept)


def test_a_row_is_told_in_one_sentence(study: Study) -> None:
    not_run = (
        'wide: not run; the paper has +5.0. To run it (3 runs, {}): python -m seglib study width "wide" --scale toy'
    )
    assert tell_outcomes(study)[0] == not_run.format("no stored run tells how long they take")
    failing = dataclasses.replace(study, cannot_show={"wide": "no headroom"})
    assert "the paper has +5.0. Cannot show the paper's effect: no headroom. To run" in tell_outcomes(failing)[0]
    store(study, {"wide": {"train_seconds": 300}}, wide=[0.6])
    assert tell_outcomes(study, ["wide"]) == ["wide: 60.0 % in 1 run; the paper has +5.0. No base."]
    store(study, {"base": {"train_seconds": 600}}, base=[0.5, 0.52, 0.51])
    one, scored = tell_outcomes(study)
    assert one == "wide: 9.0 points above base, one run, no interval; the paper has +5.0. Too few seeds."
    assert scored.startswith("8: not run; the paper has +0.5. To run it (3 runs, about 30 minutes): ")
    store(study, wide=[0.56, 0.57, 0.58])
    told = "wide: 6.0 points above base, 95 % interval +3.7 to +8.3; the paper has +5.0. Confirmed."
    assert tell_outcomes(study, ["wide"]) == [told]
    assert tell_outcomes(failing)[0] == told.replace("Confirmed", "Cannot show the paper's effect: no headroom")
    assert tell_outcomes(study, ["base"], "wide")[0].startswith(
        "base: 6.0 points below wide, 95 % interval -8.3 to -3.7"
    )
    store(study, wide=[0.50, 0.56, 0.53])
    assert "Within noise. To show the paper's difference would take 6 seeds." in tell_outcomes(study)[0]
    store(study, wide=[0.512, 0.515, 0.511])
    assert tell_outcomes(study)[0].endswith("Within noise. The interval leaves out the paper's difference.")
    store(study, wide=[0.600, 0.601, 0.599])
    assert tell_outcomes(study)[0].endswith("Confirmed. The interval leaves out the paper's difference.")


def test_rows_are_tabulated_drawn_and_compared(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    draw_effects(study, "caption", "alt")
    assert capsys.readouterr().out == "No picture yet. To run the table: python -m seglib study width --scale toy\n"
    store(study, {"base": {"train_seconds": 600}}, base=[0.5, 0.52, 0.51], wide=[0.56, 0.57, 0.58])
    draw_effects(study, "caption", "alt")
    assert "Image" in capsys.readouterr().out
    written = tabulate(study)
    assert written.loc["wide", ["our difference [95 %]", "minutes left", "code"]].tolist() == [
        "+6.0 [+3.7, +8.3]",
        "",
        "",
    ]
    assert written.loc["8", ["ours", "minutes left"]].tolist() == ["not run", "30"]
    asked = compare_rows(study, {"wider": ("wide", "base"), "narrower": ("base", "wide")})
    assert asked.difference.round(6).tolist() == [0.06, -0.06] and asked.against.tolist() == ["base", "wide"]
    assert asked["paper difference"].round(6).tolist() == [0.05, -0.05] and asked.effect.eq("confirmed").all()
    failing = dataclasses.replace(study, cannot_show={"wide": "no headroom"})
    assert compare_rows(failing, {"wider": ("wide", "base")}).effect.item() == "cannot show"
    ours = dataclasses.replace(
        failing, published={"wide": 0.55}
    )  # what the paper does not compare, a gate does not hide
    assert compare_rows(ours, {"wider": ("wide", "base")}).effect.item() == "higher"
    store(study, {row: {"code": None} for row in ("base", "wide")}, base=[0.5, 0.52, 0.51], wide=[0.56, 0.57, 0.58])
    assert tell_outcomes(study, ["wide"])[0].endswith("Confirmed. Measured with earlier code.")
    assert tabulate(study).code.tolist() == ["earlier", "earlier", ""]
    assert tell_counts([study]).startswith("Distinct confirmations: 1 (0 measured with the present code, 1 with ear")


def test_remarks_have_a_column_where_there_are_any(study: Study) -> None:
    failing = dataclasses.replace(study, cannot_show={"wide": "no headroom; no steps"})
    devices = {"base": {"device": "CPU a"}, "wide": {"device": "CPU b"}}
    store(failing, devices, base=[0.5, 0.52, 0.51], wide=[0.56, 0.57])
    assert tabulate(failing).loc["wide", "remarks"] == "on CPU b, the base row on CPU a; seeds 2 not run"
    real = Study.load("batch_size", "gpu")
    assert "remarks" not in tabulate(real)
    assert tell_gates(real) == "not measured: steps, seeds", "nothing is stored of the scale gpu"


def test_a_row_that_shares_its_training_pays_for_it_when_it_is_asked_for_by_itself(study: Study) -> None:
    store(study, {"wide": {"train_seconds": 300}}, wide=[0.6])
    both, known = with_row(study, "mirrored", eval_flip=True), read_times(study.folder)
    shared = plan_runs(both, known, ["base", "mirrored"])["minutes left"]
    assert shared["base"] > 5 and shared["mirrored"] == 0
    alone = plan_runs(both, known, ["mirrored"])["minutes left"]
    assert alone.tolist() == [shared["base"]]
    assert f"(3 runs, about {alone['mirrored']:.0f} minutes)" in tell_outcomes(both, ["mirrored"])[0]


def test_confirmed_rows_are_listed_and_the_size_is_told(study: Study) -> None:
    store(study, base=[0.5, 0.52, 0.51], wide=[0.600, 0.601, 0.599])
    [line] = list_confirmed([study, study]).to_dict("records")
    assert (line["row"], line["against"], line["paper"], line["seeds"]) == ("wide", "base", "+5.0", 3)
    assert line["ours [95 %]"].startswith("+9.0 [+6.5") and line["code"] == ""
    assert "of the 1 intervals beside a published difference of at least 0.8 points, 1 leave" in tell_counts([study])
    assert "| wide | base | +9.0 [" in tool.write_evidence([study])


def test_the_map_counts_each_training_once(study: Study) -> None:
    store(study, {"base": {"train_seconds": 600}}, base=[0.5, 0.52, 0.51], wide=[0.56, 0.57, 0.58])
    line = map_evidence([study]).loc["Nobody, Table 1"]
    assert (line.rows, line.run, line["what came out"]) == (3, 2, "1 confirmed, 1 not run")
    assert 60 < int(line.minutes) < 90, "three seeds of ten minutes, and the wider ones in proportion"
    written = tool.write_evidence([study])
    assert "| Nobody, Table 1 |  | `python -m seglib study width --scale toy` | 3 | 2 |" in written
    assert "\nDistinct confirmations: 1 (1 measured with the present code, 0 with earlier code); " in written
    assert "not run: the test labels are not public" in written


def test_sections_are_found_by_the_tables_in_their_headings(tmp_path: Path) -> None:
    texts = [
        "# 08\n## 1. Batch: DeepLabv3+, Tables 1, 2 and 4\n### v3, Table 9 again",
        "## 2. Of v3\n### Tables 6 and 4",
    ]
    for number, text in enumerate(texts, start=8):
        cells = [{"cell_type": kind, "source": [text]} for kind in ("markdown", "code")]
        (tmp_path / f"{number:02}_a.ipynb").write_text(json.dumps({"cells": cells}))
    plus = dict.fromkeys((f"DeepLabv3+, Table {number}" for number in (1, 2, 4)), "08, section 1")
    v3 = {"9": "08, section 1", "6": "09, section 2", "4": "09, section 2"}
    again = [{"cell_type": "markdown", "source": ["## 3. DeepLabv3+, Table 2\n### DeepLabv3+, Table 2, once more"]}]
    (tmp_path / "10_a.ipynb").write_text(json.dumps({"cells": again}))
    plus["DeepLabv3+, Table 2"] = "10, section 3; 08, section 1"
    assert find_told(tmp_path) == plus | {f"DeepLabv3, Table {number}": place for number, place in v3.items()}


def test_every_table_of_a_study_is_named_in_a_heading() -> None:
    assert not {study.source for study in load_published()} - {*find_told()}, "no heading names these tables"


def test_every_table_of_the_two_papers_is_measured_or_out_of_reach() -> None:
    found = {file.table for file in read_files().values()}
    papers = {key: paper for key, paper in load_papers().items() if key.startswith("deeplabv3")}
    for key, paper in papers.items():
        for table, entry in paper["tables"].items():
            assert (key, table) in found or "out_of_reach" in entry or table.startswith("Figure"), (key, table)
    for _, _, command in list_out_of_reach():
        if "study" in (words := shlex.split(command)):
            assert Study.load(words[4], words[6]).published
        elif words:
            assert words[:4] == ["python", "-m", "seglib", "train"] and Recipe.load(words[4])
    numbers = ["1", "6", "7(a)", "7(b)", "10"]
    assert sorted(reversed(numbers), key=lambda number: by_number(f"DeepLabv3+, Table {number}")) == numbers


def test_the_map_has_every_published_table_and_readme_shows_it() -> None:
    """`make results` writes README's copy anew; until then it may know fewer results, and no table less."""
    studies = load_published()
    assert len({study.source for study in studies}) == 12 and {study.scale for study in studies} == {*WITHOUT_GPU}
    shown = tool.MARKED.search(tool.README.read_text(encoding="utf-8"))
    assert shown and "Distinct confirmations: " in shown.group()
    tables = [
        [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
        for text in (shown.group(), tool.write_evidence(studies))
    ]
    of_readme, of_now = ([cells[:4] + cells[6:7] for cells in table] for table in tables)
    assert of_readme == of_now, "run make results"
    assert all(shown[4].strip() <= now[4].strip() for shown, now in zip(*tables, strict=True)), (
        "a result was taken away"
    )


def test_the_command_runs_the_row(capsys: pytest.CaptureFixture) -> None:
    study = Study.load("decoders")
    words = shlex.split(study.command("U-Net"))
    assert words[:3] == ["python", "-m", "seglib"] and not main([*words[3:], "--dry-run"])
    assert "U-Net" in (out := capsys.readouterr().out) and "DeepLabv3+" not in out


@pytest.mark.parametrize("n", [3, 5])
def test_one_run_more_lies_in_its_interval_in_19_of_20_cases(n: int) -> None:
    drawn = np.random.default_rng(n).normal(0.5, 0.02, (4000, n + 1))
    inside = [low < more < high for *row, more in drawn for low, high in [prediction_interval(row)]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    assert np.isnan(prediction_interval([0.5])).all()
