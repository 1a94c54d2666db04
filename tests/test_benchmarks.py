"""The benchmarks: each runs in a tiny size and leaves a table and valid JSON; ratios point the right way. No timing."""

import importlib
import json
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.measure import Times, take_turns, times_as_fast
from tools import toy_data

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
PARTS = {
    "training_step": ("contestants", "seglib_against_peer", "matrix_multiply_gflops"),
    "inference": ("contestants", "seglib_against_peer", "matrix_multiply_gflops"),
    "loader": ("source", "cases"),
    "confusion": ("frame", "planes"),
    "startup": ("imports",),
    "upsampled_loss": ("sizes", "contestants"),
    "packed": ("source", "crops"),
    "evaluation": ("cases",),
    "profile_steps": ("floors", "steps", "runs"),
    "cityscapes_scores": ("frames", "contestants"),
    "gpu_check": ("parts",),
    "growth": ("images", "classes", "samples", "processes"),
}


def find_numbers(value: Any, name: str) -> list[float]:
    """Lists every number under a key of this name, however deep."""
    if isinstance(value, dict):
        here = [value[name]] if name in value else []
        return here + find_numbers(list(value.values()), name)
    return [found for child in value for found in find_numbers(child, name)] if isinstance(value, list) else []


def assert_is_result(result: dict[str, Any]) -> None:
    assert {"benchmark", "device", "versions", "settings", "sources"} < result.keys()
    assert result["versions"]["torch"] and result["settings"]["threads"] >= 1
    assert set(PARTS[result["benchmark"]]) <= result.keys()
    medians = find_numbers(result, "median_s")
    assert len(medians) >= 2, "at least two contestants"
    assert all(seconds > 0 for seconds in medians)
    lows, highs = find_numbers(result, "quartile_low_s"), find_numbers(result, "quartile_high_s")
    assert all(low <= median <= high for low, median, high in zip(lows, medians, highs, strict=True))
    assert all(ratio > 0 for ratio in find_numbers(result, "times_the_floor"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_smoke(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, because most of a smoke run is the import of the libraries that are compared."""
    output, paint = tmp_path / "result.json", toy_data.voc_scene
    small = {(375, 500): (150, 200)}  # which takes half a second to paint
    monkeypatch.setattr(toy_data, "voc_scene", lambda rng, size: paint(rng, size=small.get(size, size)))
    monkeypatch.delenv("SEGLIB_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), "--smoke", "--threads=1", f"--output={output}"])
    runpy.run_path(str(path), run_name="__main__")
    assert re.search(r"^-+(  -+)+$", capsys.readouterr().out, re.MULTILINE), "the line below the table's header"
    result = json.loads(output.read_text(encoding="utf-8"))
    assert result["benchmark"] == path.stem
    assert_is_result(result)
    assert [child.name for child in tmp_path.iterdir()] == ["result.json"]
    if path.stem == "training_step":
        memory = [value for value in find_numbers(result, "peak_memory_mib") if value is not None]
        weights = find_numbers(result, "parameters")[0] * 4 / 2**20
        assert memory and all(value > weights for value in memory), "a network takes more memory than its weights"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_results_were_measured(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert_is_result(result)
    assert result["settings"]["smoke"] is False
    assert min(find_numbers(result, "rounds")) >= 3
    assert path.stem.startswith(result["benchmark"])


def test_the_page_of_growth_has_the_tables_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    growth = importlib.import_module("growth")
    before, page = growth.PAGE.read_text(encoding="utf-8"), tmp_path / "growth.md"
    page.write_text(before, encoding="utf-8")
    growth.write_page({name: [{"side": 129, "step, s": {"median_s": 0.5}}] for name in PARTS["growth"]}, page)
    assert page.read_text(encoding="utf-8").count("| side | step, s |\n| ---: | ---: |\n| 129 | 0.500 |\n<!-- end") == 4
    for path in RESULTS:
        if path.stem.startswith("growth"):
            result = json.loads(path.read_text(encoding="utf-8"))
            growth.write_page({name: result[name] for name in PARTS["growth"]}, page)
            assert page.read_text(encoding="utf-8") == before


def test_contestants_take_turns_and_get_their_own_times() -> None:
    """Sleeping takes time on the clock and none of the processor's, which a child process's work counts to."""
    calls: list[str] = []

    def work() -> None:
        calls.append("w")
        subprocess.run([sys.executable, "-S", "-c", "sum(range(10**6))"], check=True)

    times = take_turns({"sleep": lambda: calls.append("s") or time.sleep(0.05), "work": work}, rounds=3)
    assert "".join(calls) == "sw" + "sw" + "ws" + "sw", "one call each that is not counted, then turns"
    assert min(times["sleep"].wall) >= 0.05 > max(times["sleep"].cpu)
    assert min(times["work"].cpu) > max(times["sleep"].cpu)
    assert {name: (len(each.wall), len(each.cpu)) for name, each in times.items()} == dict.fromkeys(times, (3, 3))


def test_the_ratio_is_taken_within_a_round() -> None:
    """The second round is ten times as slow for both: the ratio stays 2, ours being the faster."""
    ours, theirs = Times((1.0, 10.0, 1.0), (1.0, 1.0, 1.0)), Times((2.0, 20.0, 2.0), (3.0, 3.0, 4.0))
    assert times_as_fast(ours, theirs) == {"ratio": 2.0, "quartile_low": 2.0, "quartile_high": 2.0, "ratio_cpu": 3.0}
    assert theirs.times_the(ours) == {"times_the_floor": 2.0, "times_the_floor_cpu": 3.0}
    assert theirs.times_the(ours, share=4)["times_the_floor"] == 0.5, "a contestant with four times the floor's work"
    wall = (5.0, 1.0, 3.0, 2.0, 4.0)
    expected = {"median_s": 3.0, "quartile_low_s": 2.0, "quartile_high_s": 4.0, "cpu_s": 1.0, "rounds": 5}
    assert Times(wall, (1.0,) * 5).summary() == expected
    assert Times(wall, wall).per(10).summary()["cpu_s"] == 0.3 and Times((2.0,), (1.0,)).summary()["cpu_s"] == 1.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can set the mark of the peak back")
def test_peak_memory_counts_what_is_built_and_run_but_not_the_building() -> None:
    """In a process of its own, as the benchmarks do: memory that other tests gave back would be used again unseen."""
    code = """
import torch
from benchmarks.harness.measure import peak_of
mib = 2**18  # float32 values
def build():
    kept = torch.ones(100 * mib)
    torch.ones(400 * mib)  # given back before the run
    return lambda: kept[: 60 * mib] + 1
print(peak_of(build))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 155 < float(done.stdout) < 200
