"""Studies: what is run, what is not run again, the table's arithmetic, and the code that a result was measured with."""

import dataclasses
import hashlib
import json
import math
import platform
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from filelock import FileLock
from refusal import refused
from small_set import SMALL

from seglib.files import PROJECT, write_json
from seglib.models.build import build_model
from seglib.models.weights import load_imagenet_weights
from seglib.predict import Scoring, evaluate
from seglib.recipe import Recipe
from seglib.studies.files import STUDIES
from seglib.studies.gates import TWICE, add_twice_the_steps
from seglib.studies.listing import list_studies, plan_runs, read_times
from seglib.studies.results import RESULTS, find_changed_code, store_result, stored_results
from seglib.studies.run import compare_runs, run_study
from seglib.studies.study import Study, count_verdicts
from seglib.train.checkpoint import save_state
from seglib.train.results import code_hashes, device_name, load_result, seal
from seglib.train.trainer import Trainer


@pytest.fixture
def study(data: Path, tmp_path: Path) -> Study:
    rows = {"plain": SMALL.replace(iterations=2), "no decoder": SMALL.replace(iterations=2, model="deeplabv3")}
    (tmp_path / "results").mkdir()
    return Study("decoder", rows, (0, 1), folder=tmp_path / "results", runs=tmp_path / "runs", data_root=data)


def store(study: Study, more: dict[str, dict] | None = None, **scores: list[float]) -> None:
    """Stores results of rows, seed by seed; `_` stands for a space. `more`: row -> further entries of its results."""
    more = more or {}
    for row, values in scores.items():
        for seed, miou in enumerate(values):
            recipe = study.recipe(row.replace("_", " "), seed)
            result = {"name": recipe.name, "recipe": recipe.changes(), "seed": seed, "scores": {"miou": miou}}
            result |= {"code": code_hashes()} | more.get(row.replace("_", " "), {})
            if result["code"] is None:
                write_json(study.folder / f"{recipe.name}.json", seal(result))
            else:
                store_result(result, study.folder)


def with_row(study: Study, name: str, **changes: Any) -> Study:
    return dataclasses.replace(study, rows={**study.rows, name: study.rows[study.base].replace(**changes)})


def test_every_run_is_stored_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert study.run("no decoder") == 2
    assert [study.is_present(study.result(row, 1)) for row in study.rows] == [False, True]
    stored = study.result("no decoder", 1)
    assert stored["seed"] == 1 and stored["recipe"]["model"] == "deeplabv3"
    trainer = Trainer(study.recipe("no decoder", 1), study.runs / stored["name"], data_root=study.data_root)
    assert stored["scores"] == trainer.evaluate(progress=False).compute().to_dict()
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("a stored run is not repeated"))
    assert study.run("no decoder") == 0


def test_a_run_that_another_process_is_at_is_left_to_it(study: Study) -> None:
    run_dir = study.runs / study.recipe("plain", 0).name
    run_dir.mkdir(parents=True)
    with FileLock(run_dir / "lock"):
        assert study.run("plain", [0]) == 0
    assert study.run("plain", [0]) == 1


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_packages_studies_load_at_every_scale(path: Path) -> None:
    for scale in tomllib.loads(path.read_text(encoding="utf-8"))["scales"]:
        assert len(Study.load(path, scale).rows) > 1


@pytest.mark.parametrize("name", ["multi_grid", "output_stride"])
def test_cascades_start_from_public_weights(name: str) -> None:
    for recipe in {r.replace(multi_grid=None, output_stride=16) for r in Study.load(name, "paper").rows.values()}:
        with torch.device("meta"):
            theirs = getattr(torchvision.models, recipe.backbone)().state_dict()
            backbone = build_model(recipe.replace(weights=""), 21).backbone
        load_imagenet_weights(backbone, theirs)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    for text, said in (
        ("rows.small = { crop = 65 }", "unknown fields .*crop"),
        ("", "missing required field `rows`"),
        ("sedes = [0]\nrows.a = {}", "unknown field `sedes`"),
        ('seeds = ["0"]\nrows.a = {}', r"Expected `int`, got `str` - at `\$.seeds"),
        ("scales.toy = { recipe = 'toy_voc', seeds = 0 }\nrows.a = {}", r"Expected `array`, got `int` - at `\$.seeds"),
        ("seeds = [1, 1]\nrows.a = {}", "no seed twice"),
        ('base = "b"\nrows.a = {}', r"row 'b'; expected one of \['a'\]"),
        ('rows.a = { only = ["toyy"] }', "'toyy'"),
        ("rows.a = { gpu = { crop_size = 65 } }", "names .'gpu'"),
        ("rows.a = { published = { batch_size = 4 } }", "no paper ''"),
        ("scales.mini = {}\nrows.a = {}", "row 'a': expected a recipe"),
        ("[scales", "Invalid|Expected"),
    ):
        path = tmp_path / "wrong.toml"
        toy = "" if "scales" in text else 'scales.toy = { recipe = "toy_voc" }\n'
        path.write_text(f'title = "t"\n{toy}{text}\n')
        refused(rf"(?s)wrong\.toml: not a study .*({said})", Study.load, path)


def test_the_table_compares_seed_by_seed_beside_the_paper(study: Study) -> None:
    study = dataclasses.replace(study, source="DeepLabv3+, Table 9", published={"plain": 0.7885, "no decoder": 0.7721})
    store(study, plain=[0.50, 0.52], no_decoder=[0.40, 0.421])
    table = study.table()
    assert table["mean"].tolist() == pytest.approx([0.51, 0.4105]) and table.n.tolist() == [2, 2]
    assert table.sd.tolist() == pytest.approx([np.std([0.5, 0.52], ddof=1), np.std([0.4, 0.421], ddof=1)])
    assert table.difference["no decoder"] == pytest.approx(-0.0995) and math.isnan(table.difference["plain"])
    assert table["sd of difference"]["no decoder"] == pytest.approx(math.hypot(*table.sd)), "trainings of their own"
    assert table.low["no decoder"] < -0.0995 < table.high["no decoder"] < 0 and not table.paired.any()
    assert table["seeds needed"]["no decoder"] > 2
    assert table.paper.tolist() == [0.7885, 0.7721] and table.effect.tolist() == ["base", "confirmed"]
    assert table["paper difference"]["no decoder"] == pytest.approx(-0.0164)
    assert study.table(lambda result: result["scores"]["miou"]).paper.isna().all(), "published is mIoU"
    report = study.report()
    assert report.loc["plain"].tolist() == ["78.8", "51.0 ± 1.4 (2)", "", "", "", "base", "toy", ""]
    shown = ["DeepLabv3+, Table 9", "paper's difference", "our difference [95 %]"]
    assert report.loc["no decoder", shown].tolist() == ["77.2", "-1.6", "-10.0 [-16.2, -3.7]"]
    other_base = dataclasses.replace(study, base="no decoder").table()
    assert other_base.difference["plain"] == pytest.approx(0.0995) and other_base.effect["no decoder"] == "base"


def test_what_was_not_run_is_named(study: Study) -> None:
    store(study, no_decoder=[0.4])
    table = study.table()
    assert table.n.tolist() == [0, 1] and table.effect["no decoder"] == "no base"
    assert math.isnan(table["mean"]["plain"]) and table["mean"]["no decoder"] == 0.4
    assert study.report().ours.tolist() == ["not run", "40.0 (1)"]
    store(study, plain=[0.5, 0.6])
    table = study.table()
    assert table.remarks.tolist() == ["", "seeds 1 not run"] and table.effect["no decoder"] == "too few seeds"
    flipped = with_row(study, "mirrored", eval_flip=True)
    store(flipped, mirrored=[0.51])
    one = dataclasses.replace(flipped, base="mirrored").table()
    assert one.remarks["plain"] == "difference over 1 seeds, those of the base row" and one.paired["plain"]
    store(study, {"plain": {"history": [{"iteration": 10, "loss": 1.0}]}}, plain=[0.5, 0.6])  # on another machine
    assert not dataclasses.replace(flipped, base="mirrored").table().paired["plain"]
    assert study.values("plain", lambda r: None if r["seed"] == 0 else r["scores"]["miou"]) == {1: 0.6}
    assert study.table(lambda _: None).n["plain"] == 0, "a measure may have no value"


def test_a_row_whose_recipe_was_changed_is_stale(study: Study) -> None:
    store(study, plain=[0.5, 0.6], no_decoder=[0.4, 0.45])
    study.record()
    assert "stale" not in " ".join(study.table().remarks)
    rows = {**study.rows, "no decoder": study.rows["no decoder"].replace(crop_size=35)}
    changed = dataclasses.replace(study, rows=rows)
    table = changed.table()
    assert table.n["no decoder"] == 0 and math.isnan(table["mean"]["no decoder"])
    assert table.remarks.tolist() == ["", "stale: 40.0, 45.0 measured with crop_size 33 instead of 35"]
    assert "stale" not in " ".join(dataclasses.replace(changed, title="another").table().remarks)
    store(changed, no_decoder=[0.41])  # what is run again is no longer stale
    changed.record()
    assert "stale: 45.0 measured" in changed.table().remarks["no decoder"]


def test_an_interrupted_row_has_noted_what_it_stored(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: 1 / 0 if self.recipe.seed else fit(self))
    refused(None, study.run, "plain", error=ZeroDivisionError)
    changed = {**study.rows, "plain": study.rows["plain"].replace(crop_size=35)}
    assert "stale" in dataclasses.replace(study, rows=changed).table().remarks["plain"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"plain": ["x"]}', b"\xff"])
def test_a_damaged_note_of_rows_is_named(study: Study, content: bytes) -> None:
    (study.folder / "rows").mkdir()
    (study.folder / "rows" / "decoder_toy.json").write_bytes(content)
    refused(r"decoder_toy\.json: damaged \(.*\); take it back", study.table)


def present_code(patch: pytest.MonkeyPatch, code: dict[str, str]) -> None:
    patch.setattr("seglib.studies.results.code_hashes", lambda: code)


def test_a_result_knows_its_code(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.run("plain")
    assert study.table().sources.tolist() == ["", ""]
    stored = json.loads((study.folder / "code" / f"{study.result('plain', 0)['code']}.json").read_text())
    assert stored == {"definitions": code_hashes()}
    assert len(list((study.folder / "code").iterdir())) == 1, "written once for both seeds"
    assert [result["seed"] for result in stored_results(study.rows["plain"], study.folder)] == [0, 1]
    first, second, *others = code_hashes()
    present_code(monkeypatch, {code: code_hashes()[code] for code in others})
    assert study.changed_code("plain") == sorted(code_hashes()[code] for code in (first, second))
    assert study.table().sources.tolist() == ["earlier (2 definitions changed)", ""]
    present_code(monkeypatch, {code: name for code, name in code_hashes().items() if code != first})
    assert study.table().sources["plain"] == "earlier (1 definition changed)"
    present_code(monkeypatch, code_hashes() | {"0": "added"})
    assert study.changed_code("plain") == []


def test_a_result_without_its_code_is_earlier(study: Study) -> None:
    store(study, {"no decoder": {"code": None}}, no_decoder=[0.5])
    study.run("plain", [0])
    assert study.table().sources.tolist() == ["", "earlier"]
    code = study.folder / "code" / f"{study.result('plain', 0)['code']}.json"
    code.write_text("{")
    refused(rf"{code.name}: damaged", study.table)
    code.unlink()
    assert study.changed_code("plain") is None and study.table().sources["plain"] == "earlier"


def test_what_cannot_be_compared_has_no_difference(study: Study) -> None:
    lists = {part: {"names": part, "labels": part} for part in ("train", "val")}
    base, old = {"data": lists}, {"code": {"0": "removed"}}

    def compared(plain: dict, other: dict, study: Study = study) -> pd.Series:
        store(study, {"plain": plain, "no decoder": other}, plain=[0.5, 0.6], no_decoder=[0.4, 0.41])
        return study.table().loc["no decoder"]

    for more, remark in (
        ({"code": None}, "not comparable: measured with partly the present code"),
        ({"data": lists | {"val": {"names": "val", "labels": "other"}}}, "not comparable: other val images"),
        ({"data": lists | {"train": {"names": "other", "labels": "other"}}}, "not comparable: other train images"),
    ):
        line = compared(base, base | more)
        assert (line.n, line.effect, line.remarks) == (2, "not comparable", remark) and math.isnan(line.difference)
    rows = study.rows | {"no decoder": study.rows["plain"].replace(train_split="train")}
    half = dataclasses.replace(study, rows=rows)
    line = compared(base, {"data": lists | {"train": {"names": "half", "labels": "half"}}}, half)
    assert line.effect != "not comparable", "the recipes ask for other training images"
    assert compared(old, old).effect == "within noise", "both of one earlier code"
    remark = "not comparable: measured with more than one version of the code"
    assert compared(old, {"code": {"1": "removed"}}).remarks == remark
    first, second = ({"code": None, "sources": {"losses.py": digest}} for digest in "ab")
    assert compared(first, second).remarks == remark
    assert compared(first, first).effect == "within noise"


def test_a_row_of_the_gates_name_is_not_overwritten(study: Study) -> None:
    own = dataclasses.replace(study, rows=study.rows | {TWICE: study.rows["plain"]})
    refused("row 'twice the steps' is the base row trained for twice as long", add_twice_the_steps, own)


def test_an_earlier_result_is_run_again_and_replaced(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"code": {"0": "removed"}, "train_seconds": 60, "device": "CPU"}
    store(study, {"plain": old}, plain=[0.25, 0.75])
    assert not study.is_present(study.result("plain", 0)) and study.values("plain") == {0: 0.25, 1: 0.75}
    monkeypatch.setattr("seglib.train.results.code_hashes", lambda: {"0": "removed"})
    run_dir = study.runs / study.recipe("plain", 0).training_name
    Trainer(study.recipe("plain", 0), run_dir, data_root=study.data_root, progress=False).fit()
    monkeypatch.undo()
    before = (run_dir / "checkpoint.pt").read_bytes()
    assert not study.is_trained(study.recipe("plain", 0))
    assert study.run("plain", [0]) == 1 == len(study.values("plain")), "a present result counts alone"
    assert (run_dir / "earlier" / "checkpoint.pt").read_bytes() == before
    assert study.table().remarks["plain"] == "seeds 1 of earlier code, not counted"
    assert study.run("plain") == 1 and study.run("plain") == 0


def test_what_is_no_longer_read_is_set_aside(study: Study, capsys: pytest.CaptureFixture) -> None:
    run_dir = study.runs / study.recipe("plain", 0).training_name
    save_state(run_dir / "checkpoint.pt", {"recipe": study.recipe("plain", 0).changes()})
    before = (run_dir / "checkpoint.pt").read_bytes()
    assert study.run("plain", [0]) == 1
    assert (run_dir / "earlier" / "checkpoint.pt").read_bytes() == before
    assert "trained anew, and what was there is kept in its folder earlier" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused_and_stays(study: Study) -> None:
    path = study.runs / study.recipe("plain", 0).training_name / "checkpoint.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut off")
    refused(r"not a readable checkpoint.*Delete the run folder", study.run, "plain", [0])
    assert path.read_bytes() == b"cut off" and not study.values("plain")


def test_another_machine_is_named(study: Study) -> None:
    more = {"plain": {"device": "CPU A, 1 threads"}, "no decoder": {"device": "CPU B, 1 threads"}}
    store(study, more, plain=[0.5, 0.6], no_decoder=[0.4, 0.5])
    assert study.table().remarks.tolist() == ["", "on CPU B, 1 threads, the base row on CPU A, 1 threads"]


def test_the_processor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = "processor\t: 0\nmodel name\t: AMD EPYC 7B13 \nmodel name\t: second\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: known)
    threads = torch.get_num_threads()
    assert device_name(torch.device("cpu")) == f"CPU AMD EPYC 7B13, {threads} threads"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "")
    assert device_name(torch.device("cpu")).startswith(f"CPU {platform.processor() or platform.machine()}, ")


def test_a_row_that_cannot_show_anything(study: Study) -> None:
    blind = dataclasses.replace(study, cannot_show={"no decoder": "a reason"})
    assert blind.table().effect["no decoder"] == "cannot show", "before any run"
    store(blind, plain=[0.5, 0.51], no_decoder=[0.1, 0.11])
    line = blind.table().loc["no decoder"]
    assert (line.effect, line.remarks) == ("cannot show", "cannot show: a reason") and line.difference < -0.3


def test_a_mean_over_some_classes(study: Study) -> None:
    scores = {"classes": ["a", "b", "c"], "scores": {"miou": 0.1, "iou": [0.2, 0.6, None]}}
    store(study, {"plain": scores}, plain=[0, 0])
    assert dataclasses.replace(study, classes=("b", "a")).values("plain") == pytest.approx({0: 0.4, 1: 0.4})
    assert dataclasses.replace(study, classes=("a", "c")).values("plain") == {}


def test_the_spread_is_the_base_rows_or_that_of_the_nearest_row(study: Study) -> None:
    rows = {"longer": SMALL.replace(iterations=4, lr=1.0), "other backbone": SMALL.replace(iterations=2, width=4)}
    study = dataclasses.replace(study, rows=study.rows | rows, seeds=(0, 1, 2))
    store(study, plain=[0.5], longer=[0.0, 1.0], other_backbone=[0.0, 1.0])
    longer = np.std([0.0, 1.0], ddof=1)
    assert study.spread() == (pytest.approx(longer), 1)
    store(study, no_decoder=[0.3, 0.4, 0.8])
    assert study.spread() == (pytest.approx(np.std([0.3, 0.4, 0.8], ddof=1)), 2)
    store(study, plain=[0.5, 0.7])
    assert study.spread() == (pytest.approx(np.std([0.5, 0.7], ddof=1)), 1)
    for changes in ({"eval_flip": not SMALL.eval_flip}, {"eval_scales": (0.5, 1.0)}, {"eval_output_stride": 8}):
        again = with_row(study, "again", **changes)  # the same weights, scored in another way
        store(again, again=[0.1, 0.9])
        assert again.spread() == study.spread() == (pytest.approx(np.std([0.5, 0.7], ddof=1)), 1)
    assert math.isnan(dataclasses.replace(study, folder=study.folder / "none").spread()[0])


def test_a_network_of_several_tables_counts_once(study: Study) -> None:
    store(study, plain=[0.5, 0.51], no_decoder=[0.1, 0.11])
    small = with_row(study, "small", crop_size=31)
    rows = {"p": small.rows["plain"], "n": small.rows["no decoder"]}
    again = dataclasses.replace(small, title="another", rows=rows, base="p")
    counts = count_verdicts([small, again])
    assert counts.loc["lower"].tolist() == [1, 0, 1] and counts.loc["not run"].tolist() == [1, 0, 1]
    assert counts.loc[["intervals", "wrong by chance"], "all"].tolist() == [1, pytest.approx(0.05)]


def test_the_plan_counts_a_shared_training_once(study: Study) -> None:
    study = with_row(study, "mirrored", eval_flip=True)
    for seed, seconds in ((7, 60), (8, 120), (9, 600)):
        recipe = study.recipe("plain", seed)
        result = {"name": recipe.name, "recipe": recipe.changes(), "seed": seed, "scores": {"miou": 0.5}}
        store_result(result | {"train_seconds": seconds, "code": code_hashes()}, study.folder)
    store(study, plain=[0.5])
    plan = plan_runs(study, read_times(study.folder))
    assert plan["runs left"].tolist() == [1, 2, 2] and plan.present.tolist() == [1, 0, 0]
    minutes = plan["minutes left"]
    assert (minutes["plain"], minutes["mirrored"]) == (2, 2), "the mirrored row trains the seed that plain has not left"
    assert 0 < minutes["no decoder"] < 4, "in proportion to its Mult-Adds"


def test_every_study_is_listed(tmp_path: Path) -> None:
    listed = list_studies(tmp_path, tmp_path, gated=False).set_index(["study", "scale"])
    for path in STUDIES.glob("*.toml"):
        assert path.stem in listed.index.get_level_values(0)
    line = listed.loc[("multi_grid", "mini")]
    assert (line.table, line.rows, line["runs left"], line["minutes left"]) == ("DeepLabv3, Table 3", 20, 60, "?")
    assert "public" in listed.set_index("table")["cannot show"]["DeepLabv3, Table 7"]
    order = [table for table in dict.fromkeys(listed.table) if table.startswith("DeepLabv3,")]
    assert order == [f"DeepLabv3, Table {number}" for number in range(1, 14)]


def test_the_photographs_are_the_listed_ones() -> None:
    lists = PROJECT / "data" / "lists"
    names = {name: (lists / f"voc_part_{name}.txt").read_text().split() for name in ("trainaug", "train", "val")}
    assert set(names["train"]) < set(names["trainaug"]) and not set(names["val"]) & set(names["trainaug"])
    hashes = [hashlib.sha256(json.dumps(names[name]).encode()).hexdigest()[:16] for name in ("trainaug", "val")]
    found = [load_result(path)["data"] for path in RESULTS.glob("voc-*.json")]
    assert found and all([data[part]["names"] for part in ("train", "val")] == hashes for data in found)


def test_code_that_was_found_equal_counts_as_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, definitions, equal in [
        ("a", {"1": "f", "2": "g", "3": "h"}, []),
        ("b", {"2": "g", "4": "f"}, ["a"]),
        ("c", {"5": "f"}, ["b", "gone"]),
        ("other", {"8": "k"}, ["another"]),
    ]:
        write_json(tmp_path / "code" / f"{name}.json", {"definitions": definitions, "equal_to": equal})
    for present, changed in [("123", []), ("24", []), ("5", []), ("2", ["f"]), ("9", ["f"])]:
        present_code(monkeypatch, dict.fromkeys(present, "f"))
        assert all(find_changed_code({"code": name}, tmp_path) == changed for name in "abc")
        assert find_changed_code({"code": "other"}, tmp_path) == ["k"]
    assert find_changed_code({"code": "gone"}, tmp_path) is None
    assert find_changed_code({"sources": {"metrics.py": "1"}}, tmp_path) is None


def test_edited_and_exchanged_results_are_refused(study: Study) -> None:
    store(study, plain=[0.5, 0.6])
    first, second = (study.folder / f"{study.recipe('plain', seed).name}.json" for seed in (0, 1))
    second.write_text(second.read_text().replace("0.6", "0.7"))
    refused(f"{second.name}: edited", study.table)
    second.write_text(first.read_text())
    for use in (study.table, lambda: study.run("plain")):
        refused(f"{second.name}: holds the result of {first.stem}", use)


def test_rows_and_seeds_that_the_study_does_not_have_are_refused(study: Study) -> None:
    refused(r"seeds \[7\]; expected some of the study's, \[0, 1\]", study.run, "plain", [0, 7])
    for use in (lambda: study.run("plan"), lambda: study.recipe("plan", 0)):
        refused(r"row 'plan'; expected one of \['plain', 'no decoder'\]", use)


def test_notebooks_and_the_command_line_resume_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Study.load("batch_size").runs
    assert there.is_absolute()
    monkeypatch.chdir(tmp_path)
    assert Study.load("batch_size").runs == there
    monkeypatch.setenv("SEGLIB_RUNS", str(tmp_path))
    assert Study.load("batch_size").runs == Study("t", {"plain": SMALL}).runs == tmp_path


def test_rows_that_differ_in_scoring_share_one_training(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    base = SMALL.replace(iterations=2)
    rows = {"16": base, "8": base.replace(eval_output_stride=8, eval_flip=True, eval_window=(33, 49))}
    study = dataclasses.replace(study, rows=rows, base="16", seeds=(0,))
    assert study.run("16") == 1
    monkeypatch.setattr(Trainer, "_train", lambda *_: pytest.fail("trained again"))
    scored = []
    monkeypatch.setattr("seglib.train.trainer.evaluate", lambda *a, **more: scored.append(a[3]) or evaluate(*a, **more))
    (_, name), *others = code_hashes().items()
    newer = dict(others) | {"0": name}
    monkeypatch.setattr("seglib.train.results.code_hashes", lambda: newer)
    assert study.run("8") == 1
    present_code(monkeypatch, newer)
    assert study.changed_code("8") == [name], "scored by the present code, trained by an earlier one"
    finer, plain = study.result("8", 0), study.result("16", 0)
    assert finer["evaluation"] == plain["evaluation"] | {"output_stride": 8, "flip": True, "window": [33, 49]}
    assert scored == [Scoring(output_stride=8, flip=True, window=(33, 49))]


def test_runs_of_another_folder_are_held_against_the_stored_ones(study: Study, tmp_path: Path) -> None:
    store(study, plain=[0.5, 0.52])
    own = dataclasses.replace(study, folder=tmp_path / "mine")
    assert [*compare_runs(own, study)] == []
    store(own, plain=[0.74, 0.3], no_decoder=[0.4, 0.4])
    between = "the interval for one run more, 29.0 to 73.0 %"
    told = [f"plain, seed 0: 74.0 %, outside {between}", f"plain, seed 1: 30.0 %, inside {between}"]
    assert [*compare_runs(own, study)] == told


def test_a_file_offers_scales(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """title = "batch size"
base = "16"
table = ["deeplabv3", "9"]
[scales]
toy = { recipe = "toy_v3", lr = 0.05 }
mini = { recipe = "toy_v3", iterations = 2, seeds = [7] }
paper = { recipe = "voc_paper" }
[rows]
"4" = { batch_size = 4, published = { batch_size = 4 }, toy = { crop_size = 65 } }
"16" = { published = { batch_size = 16 } }
tiny = { only = ["mini"], batch_size = 1 }
"""
    )
    toy, mini, paper = (Study.load(path, scale) for scale in ("", "mini", "paper"))
    assert (toy.scale, toy.seeds, toy.base) == ("toy", (0, 1, 2), "16")
    assert toy.published == pytest.approx({"4": 0.6443, "16": 0.7721}) and toy.source == "DeepLabv3, Table 9"
    v3 = Recipe.load("toy_v3")
    assert toy.rows == {"4": v3.replace(lr=0.05, batch_size=4, crop_size=65), "16": v3.replace(lr=0.05)}
    assert mini.rows["4"] == v3.replace(iterations=2, batch_size=4) and mini.seeds == (7,)
    assert list(mini.rows) == ["4", "16", "tiny"] and list(paper.rows) == ["4", "16"]
    assert paper.rows["4"] == Recipe.load("voc_paper").replace(batch_size=4)
    refused(r"scale = 'gpu'; the file offers \['toy', 'mini', 'paper'\]", Study.load, path, "gpu")
    refused(r"nowhere\.toml: no such study", Study.load, "nowhere", error=FileNotFoundError)


def test_the_command(study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("seglib.studies.gates.cannot_show", lambda study: {"4": f"a reason of {study.scale}"})
    toy = dataclasses.replace(Study.load("batch_size", "toy"), folder=study.folder)
    store(toy, **{row: [0.4, 0.41, 0.42, 0.43, 0.44] for row in toy.rows})
    places = {"folder": study.folder, "runs": study.runs}
    assert run_study("batch_size", **places, csv=study.folder / "t.csv") == 0
    out = capsys.readouterr().out
    assert "DeepLabv3, Table 9" in out and "cannot show: a reason of toy" in out
    written = pd.read_csv(study.folder / "t.csv", index_col=0)
    assert written["mean"].tolist() == pytest.approx([0.42] * 5) and set(written.source) == {"DeepLabv3, Table 9"}
    assert "500 iterations of 16" in written.protocol.iloc[0]
    assert (study.folder / "rows" / "batch_size_toy.json").exists()
    for dry in (False, True):
        refused("row '44'", run_study, "batch_size", ("44",), dry_run=dry, **places)
    store(toy, {"16": {"code": {"0": "removed"}, "train_seconds": 90, "device": "CPU"}}, **{"16": [0.4] * 5})
    assert run_study("batch_size", ("4", "16"), dry_run=True, **places) == 0
    out = capsys.readouterr().out
    assert out.endswith("minutes: 8\n") and "a reason of toy" in out
    assert plan_runs(toy, {})["runs left"].tolist() == [5 * (row == "16") for row in toy.rows], "nothing is run"
    assert run_study("batch_size", ("4",), dry_run=True, seeds=(98, 99), **places) == 0
    out = capsys.readouterr().out
    assert "16 steps" in out and "passed" in out, "the gates"
    assert "seeds 98, 99" in out and out.splitlines()[-2].split()[1] == "2", "seeds of one's own"
    times = read_times(study.folder)
    monkeypatch.setattr("seglib.studies.run.read_times", lambda *folder: times)  # without the course's
    assert run_study("batch_size", (TWICE,), dry_run=True, **places) == 0
    assert capsys.readouterr().out.endswith(f"minutes: {5 * 3}\n"), "twice 90 s, five times"


def test_a_run_may_diverge(study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The command continues with the others."""
    fitted = []
    monkeypatch.setattr("seglib.studies.gates.cannot_show", lambda study: {})

    def fit(self: Trainer) -> None:
        fitted.append((self.recipe.batch_size, self.recipe.seed))
        if self.recipe.batch_size == 8:
            raise FloatingPointError("the loss is nan")
        result = {"name": self.recipe.name, "recipe": self.recipe.changes(), "scores": {"miou": 0.5}, "code": self.code}
        write_json(self.run_dir / "result.json", seal(result))

    monkeypatch.setattr(Trainer, "fit", fit)
    refused("row '44'", run_study, "batch_size", ("8", "44"), folder=study.folder, runs=study.runs)
    assert not fitted, "before anything is trained"
    assert run_study("batch_size", ("8", "16"), seeds=(1, 0), folder=study.folder, runs=study.runs) == 1
    assert fitted == [(8, 1), (16, 1), (8, 0), (16, 0)]
    assert capsys.readouterr().out.count("failed: the loss is nan") == 2
    assert len(list(study.folder.glob("*.json"))) == 2
