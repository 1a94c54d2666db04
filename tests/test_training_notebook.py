"""Notebook 06: its table, and its cells with two recipes for photographs, shrunk, on a made Pascal VOC."""

import os
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from small_set import write_small_set
from test_recipe import network
from torch._subclasses.fake_tensor import FakeTensorMode

from seglib.course import figures
from seglib.data import download
from seglib.models import build_model
from seglib.recipe import Recipe
from seglib.studies.cost import kept_bytes, mult_adds

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "06_training_voc_aug.ipynb"
CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
TABLE = re.findall(r"^\| `\"(\w+)\"` \|.* \| (.*) \| (.*) \| (.*) \|$", CELLS[3].source, re.MULTILINE)
NAMES = [f"2007_{number:06d}" for number in range(1, 31)]
PEAK = {"Colab's T4": 65e12, "an A100": 312e12}  # operations per second, in half precision


def saved_for_backward(recipe: Recipe) -> int:
    """Counts the bytes that a training step keeps for its backward pass, in float32, the parameters left out."""
    with FakeTensorMode():
        model = build_model(recipe.replace(weights=""), 21).train()
        images = torch.empty(recipe.batch_size, 3, recipe.crop_size, recipe.crop_size)
        return kept_bytes(model, images, upsample=False)


def shrink(recipe: Recipe) -> Recipe:
    """Returns what a CPU trains in a second: the same recipe on a small network, small crops and without weights."""
    width = {"width": 8} if recipe.backbone.startswith("resnet") else {}
    size = {"iterations": 8, "crop_size": 33, "batch_size": 2, "channels": 8, "decoder_channels": 4}
    return recipe.replace(weights="", partial=True, **width, **size)


def test_the_table_offers_the_recipes_for_one_gpu_and_for_a_laptop() -> None:
    assert {"toy_voc", "voc_laptop", "voc_laptop_tf", "voc_gpu", "voc_colab", "voc_paper"} < {row[0] for row in TABLE}
    for name, steps, *_ in TABLE:
        recipe = Recipe.load(name)
        assert steps == f"{recipe.iterations:,} x {recipe.batch_size}, {recipe.crop_size}"


@pytest.mark.parametrize("row", [row for row in TABLE if any(gpu in row[2] for gpu in PEAK)], ids=lambda row: row[0])
def test_time_and_memory_on_a_gpu_are_computed_as_the_text_says(row: tuple[str, ...]) -> None:
    name, _, time, memory = row
    recipe = Recipe.load(name)
    number, unit, gpu = re.fullmatch(r"([\d.]+) (minutes|hours) on (.*)", time).groups()
    seconds = float(number) * {"minutes": 60, "hours": 3600}[unit]
    crop = mult_adds(network(name, 21), recipe.crop_size, recipe.crop_size, space_to_batch=False)
    expected = 3 * 2 * crop * recipe.batch_size * recipe.iterations / (PEAK[gpu] / 4)
    assert seconds == pytest.approx(expected, rel=0.1)
    assert float(memory.removesuffix(" GB")) == pytest.approx(saved_for_backward(recipe) / 2 / 1e9, abs=0.05), (
        "to its last digit"
    )


def test_the_cell_that_fetches_voc_names_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(download, "download", lambda *arguments: called.append(arguments))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEGLIB_DATA", "")  # recorded, so that it is set back afterwards
    monkeypatch.delenv("SEGLIB_DATA")
    cell = next(cell.source for cell in CELLS if "FETCH_VOC" in cell.source)
    exec(cell.replace("FETCH_VOC = False", "FETCH_VOC = True"), {"os": os, "Path": Path})
    assert os.environ["SEGLIB_DATA"] == str(tmp_path / "seglib_data")
    assert called == [("all", tmp_path / "seglib_data" / "voc" / "VOCdevkit")]


@pytest.mark.parametrize("name", ["voc_laptop_tf", "voc_paper"])
def test_the_cells_run_with_photographs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    write_small_set(tmp_path / "voc", NAMES[:20], NAMES[20:])
    monkeypatch.setenv("SEGLIB_DATA", str(tmp_path))
    monkeypatch.setenv("SEGLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setattr(figures, "png", lambda figure, alt: plt.close(figure))
    load, asked = Recipe.load, []

    def load_shrunk(wanted: str) -> Recipe:  # the first is the run's, the others are looked up
        asked.append(wanted)
        return shrink(load(wanted)) if len(asked) == 1 else load(wanted)

    monkeypatch.setattr(Recipe, "load", load_shrunk)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in CELLS:
        if cell.cell_type == "code":
            exec(compile(cell.source.replace('RECIPE = "toy_quick"', f'RECIPE = "{name}"'), "cell", "exec"), names)
    assert asked[0] == name and names["val"].num_classes == 21
    assert names["trainer"].finished and len(list((tmp_path / "runs").glob("*/result.json"))) == 1
    assert "resumes at step 2 of 8" in capsys.readouterr().out
