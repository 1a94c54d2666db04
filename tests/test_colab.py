"""The set-up cell as Colab and Kaggle run it: in a fresh environment, from an empty folder, without a network.

And where a run's folder is, so that a new runtime finds it again.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import types
import venv
from importlib import metadata
from pathlib import Path

import pytest
import torch

from seglib import course
from seglib.files import run_folder
from tools import stamp

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = stamp.repository()
NAME = REPOSITORY.split("/")[1]
CELL = stamp.setup_cell(REPOSITORY)  # tests/test_stamp.py has all notebooks hold it

# Runs the cell twice, as a kernel does, and says what it left behind.
RUNTIME = """
import json, os, sys, types
cell = sys.stdin.read()
if sys.argv[1] == "Kaggle":
    os.environ["KAGGLE_KERNEL_RUN_TYPE"] = "Interactive"
else:
    sys.modules |= {name: types.ModuleType(name) for name in ("google", "google.colab")}
for _ in range(2):
    names = {}
    exec(compile(cell, "cell", "exec"), names)
import seglib
print(json.dumps([os.getcwd(), seglib.__file__]))
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_set_up_cell_from_an_empty_folder_keeps_what_the_runtime_ships(tmp_path: Path) -> None:
    """The runtime ships this environment's packages, and the index offers a newer torch, which nobody asked for."""
    environment, index, content, origin = (tmp_path / name for name in ("env", "index", "content", "origin"))
    venv.create(environment, symlinks=os.name != "nt")
    places = {"base": str(environment), "platbase": str(environment)}
    python = Path(sysconfig.get_path("scripts", vars=places)) / Path(sys.executable).name
    site = Path(sysconfig.get_path("purelib", vars=places))
    (site / "shipped.pth").write_text(sysconfig.get_path("purelib"))
    for made in (index, content, origin):
        made.mkdir()
    (index / "torch-2.99.0-py3-none-any.whl").touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "GIT_"))}
    kept |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index.as_uri(), "PIP_CONFIG_FILE": os.devnull}
    kept |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 turns isolation off
    kept |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "2"}
    kept |= {"GIT_CONFIG_KEY_0": f"url.{origin.as_uri()}.insteadOf"}
    kept |= {"GIT_CONFIG_VALUE_0": f"https://github.com/{REPOSITORY}"}
    kept |= {"GIT_CONFIG_KEY_1": "protocol.https.allow", "GIT_CONFIG_VALUE_1": "never"}
    # The repository holds the files as they are now, committed or not.
    for name in ("seglib", "notebooks"):
        shutil.copytree(ROOT / name, origin / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-docs"):
        shutil.copy(ROOT / name, origin)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Snapshot"]):
        subprocess.run(["git", *identity, *command], cwd=origin, env=kept, check=True)

    for host in ("Colab", "Kaggle"):  # the second is a restart, which begins outside the course
        options = {"cwd": content, "env": kept, "capture_output": True, "text": True}
        done = subprocess.run([python, "-c", RUNTIME, host], input=CELL, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        folder = content / NAME
        left = [*map(Path, json.loads(done.stdout.splitlines()[-1]))]
        assert left == [folder / "notebooks", folder / "seglib" / "__init__.py"]
        assert done.stdout.count("Data: the bundled toy sets") == 2
        assert [path.name for path in content.iterdir()] == [NAME]
    installed = {package.metadata["Name"] for package in metadata.distributions(path=[str(site)])}
    assert installed == {"seglib"}, "nothing else is installed, and nothing again"


def test_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail(f"ran {args}"))
    path = list(sys.path)
    names: dict[str, object] = {}
    exec(compile(CELL, "cell", "exec"), names)
    assert isinstance(names["device"], torch.device)
    assert (Path.cwd(), sys.path) == (tmp_path, path)
    assert torch.initial_seed() == 0
    assert "Data: the bundled toy sets" in capsys.readouterr().out


def test_colab_is_not_asked_for_what_shows_notebooks_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in course.NOTEBOOK_TOOLS:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert set(course.environment().query("not fits").package) == set(course.NOTEBOOK_TOOLS)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert course.environment().fits.all()


def test_run_folder_is_where_it_outlives_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGLIB_RUNS", raising=False)
    monkeypatch.setattr("seglib.files.PROJECT", tmp_path / NAME)
    assert run_folder("a") == tmp_path / NAME / "runs" / "a"
    (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    assert run_folder("a") == tmp_path / NAME / "runs" / "a", "a folder of that name elsewhere is not a drive"
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    assert run_folder("a") == tmp_path / "drive" / "MyDrive" / "seglib" / "runs" / "a"
    for named, folder in ((str(tmp_path / "mine"), tmp_path / "mine"), ("~/mine", Path.home().resolve() / "mine")):
        monkeypatch.setenv("SEGLIB_RUNS", named)
        assert run_folder("a") == folder / "a"
    assert list(tmp_path.iterdir()) == [tmp_path / "drive"], "nothing is made"


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/a"])
def test_a_run_name_is_not_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of one folder"):
        run_folder(name)
