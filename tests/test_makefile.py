"""The Makefile, run with a stand-in for Python that writes down how it is called: nothing is installed."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FAKE_PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$1 $2" in "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;; esac
"""


class Make:
    """A copy of the project's build files and a fake Python in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "calls"
        for name in ("Makefile", "requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        self.python = folder / "fake-python"
        self.python.write_text(FAKE_PYTHON.format(log=self.log))
        self.python.chmod(self.python.stat().st_mode | stat.S_IXUSR)

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        self.log.write_text("")
        plain = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MAKEFLAGS", "TORCH")}
        how = {"cwd": self.folder, "env": {**plain, **environment}, "capture_output": True, "text": True}
        return subprocess.run(["make", f"PYTHON={self.python}", *arguments], timeout=60, **how)

    def calls(self) -> str:
        return self.log.read_text()

    def pins(self, file: str = "requirements.txt") -> list[str]:
        return [line for line in (self.folder / file).read_text().splitlines() if re.match(r"[\w.-]+==", line)]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Make(tmp_path)


def test_make_lab_installs_once_and_again_after_a_failure_or_a_change(make: Make) -> None:
    good = make.python.read_text()
    make.python.write_text(good.replace("case", '[ "$2 $3" = "pip install" ] && exit 1\ncase'))
    assert make("lab").returncode != 0
    make.python.write_text(good)
    assert make("lab").returncode == 0
    assert "pip install -r requirements.txt" in make.calls()
    assert "pip install --quiet --no-deps -e ." in make.calls()
    assert make("lab").returncode == 0
    assert "pip" not in make.calls()
    os.utime(make.folder / ".venv" / "installed", (0, 0))
    make("lab")
    assert "pip install -r requirements.txt" in make.calls()


def test_make_lab_serves_the_first_notebook_and_keeps_the_token(make: Make) -> None:
    run = make("lab", "LAB_ARGS=--port=9999")
    call = make.calls().splitlines()[-1]
    assert call.startswith("-m jupyter lab") and call.endswith("--port=9999")
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in call
    assert "ip=" not in call, "localhost is JupyterLab's default, and an option given twice is an error"
    assert "token" not in call and "password" not in call
    assert "--no-browser" in call and "No display here" in run.stdout
    command = make.folder / "bin" / "id"
    command.parent.mkdir()
    for user, display in (("0", {"DISPLAY": ":0"}), ("1000", {"WAYLAND_DISPLAY": "wayland-0"})):
        command.write_text(f"#!/bin/sh\necho {user}\n")
        command.chmod(0o755)
        assert make("lab", PATH=f"{command.parent}:{os.environ['PATH']}", **display).returncode == 0
        assert "--no-browser" not in make.calls()
        assert ("--allow-root" in make.calls()) == (user == "0")


def test_make_lab_for_a_small_torch(make: Make) -> None:
    assert make("lab", "TORCH=cpu", "TORCH_INDEX=https://cpu.example").returncode == 0
    pinned = [line for line in make.pins() if re.match("torch(vision)?==", line)]
    assert f"pip install --no-deps --index-url https://cpu.example {pinned[0]} {pinned[1]}\n" in make.calls()
    assert "pip install -r .venv/requirements-cpu.txt" in make.calls()
    left_out = set(make.pins()) - set(make.pins(".venv/requirements-cpu.txt"))
    names = {line.split("==")[0] for line in left_out}
    assert {"torch", "torchvision", "triton", "cuda-toolkit", "nvidia-cudnn-cu13"} <= names
    assert all(re.fullmatch(r"torch|torchvision|triton|cuda-.*|nvidia-.*", name) for name in names)
    assert make("lab").returncode == 0, "a later call keeps the choice"
    assert "pip" not in make.calls()
    other = make("lab", "TORCH=default")
    assert other.returncode != 0 and "run make clean first" in other.stderr


def test_make_says_what_is_wrong(make: Make) -> None:
    typo = make("lab", "TORCH=gpu")
    assert typo.returncode != 0 and "TORCH=gpu: expected cpu or default" in typo.stderr
    make.python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" && exit 0\nexit 1\n')
    old = make("lab")
    assert old.returncode != 0 and "needs Python 3.11, 3.12 or 3.13; found: Python 3.9.1" in old.stdout
    assert not (make.folder / ".venv").exists()


def test_make_test_runs_all_three_kinds_and_make_help_lists_every_command(make: Make) -> None:
    assert make("test").returncode == 0
    calls = make.calls().splitlines()[-3:]
    for call, begins in zip(calls, ("-m ruff check", "-m ruff format --check", "-m pytest"), strict=True):
        assert call.startswith(begins)
    assert calls[-1].endswith("notebooks tests") and "--nbval " in calls[-1] and "--nbval-lax" not in calls[-1]
    text = make().stdout
    for target in ("lab", "test", "notebooks", "lint", "bench", "requirements", "clean"):
        assert re.search(rf"^  make {target}\s+\w", text, re.MULTILINE)
