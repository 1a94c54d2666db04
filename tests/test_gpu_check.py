"""tools/gpu_check.py at small size on the CPU: the parts' rows, and what becomes of a part that fails."""

import argparse
import json
import sys
import time
from pathlib import Path

import pytest

from tools import gpu_check as tool

SMOKE = argparse.Namespace(device="cpu", smoke=True, batch=2, rounds=1, threads=1)
VALUES = {
    "machine": ("tflops", "gb_per_s"),
    "tests": ("summary",),
    "networks": ("images_per_s", "share_of_peak", "times_as_fast"),
    "loader": ("samples_per_s", "times_the_step"),
    "processes": ("largest_difference",),
    "precision": ("miou", "train_s"),
}


@pytest.mark.parametrize("part", VALUES)
def test_part(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGLIB_DATA", raising=False)
    if part == "tests":  # a file of its own, because the course's tests take seconds to import torch
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "test_a.py").write_text(f"def test_gpu():\n    {tool.NEEDS_GPU!r}\n")
        monkeypatch.setattr(tool, "ROOT", tmp_path)
    rows = list(tool.PARTS[part][0](SMOKE))
    assert [row for row in rows if row.get("error") or row.get("exit_code")] == []
    for value in VALUES[part]:
        assert any(value in row for row in rows), f"no row has {value}"
    if part == "tests":
        assert rows[0]["summary"].startswith("1 passed")
    if part == "processes":
        assert rows[0]["largest_difference"] < 1e-4, "two processes take the steps of one"


def test_parts_run_in_processes_and_leave_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier call found is kept; the cell that failed is named, the one that raises on purpose is not."""
    path = tmp_path / "found.json"
    earlier = {"ended": "whole", "seconds": 1.0, "python": "3", "torch": "2", "rows": [{"what": "earlier|before"}]}
    path.write_text(json.dumps({"parts": {"loader": earlier}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "--smoke", "--threads=1", "--parts", "notebooks", f"--output={path}"])
    tool.main()
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["parts"]["loader"] == earlier and result["versions"]["torch"] and result["settings"]["smoke"]
    found = result["parts"]["notebooks"]
    assert found["ended"] == "whole"
    assert [(row["what"], row["failed"]) for row in found["rows"]] == [("tiny", ["cell 1: ValueError: too small"])]
    table = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| cell 1: ValueError: too small |" in table and "| earlier/before |" in table


def test_a_part_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    found = tool.run_part("machine", 0.5, SMOKE)
    assert found["ended"].startswith("stopped after") and found["rows"] == []
    assert time.monotonic() - started < 20


def test_a_part_that_fails_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "__file__", str(tmp_path / "part.py"))
    (tmp_path / "part.py").write_text("print('done')\nraise MemoryError('of the GPU')\n")
    assert tool.run_part("machine", 60, SMOKE)["ended"] == "exit code 1: MemoryError: of the GPU"


def fail() -> dict:
    raise RuntimeError("\nCUDA error: no kernel image\nmore")


def test_an_error_is_a_row() -> None:
    assert tool.attempt("a step", fail) == {"what": "a step", "error": "RuntimeError: CUDA error: no kernel image"}
