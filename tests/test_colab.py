"""The set-up cell as Colab and Kaggle run it: in a fresh environment, from an empty folder, with stand-in packages.

Without a network. And where a run's folder is, so that a new runtime finds it again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from seglib import course
from seglib.files import run_folder
from tools import stamp

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = stamp.repository()
NAME = REPOSITORY.split("/")[1]
CELL = stamp.setup_cell(REPOSITORY)  # tests/test_stamp.py has all notebooks hold it
KEPT = {"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128", "numpy": "2.1.0"}  # what the runtime ships
NEWER = {"torch": "2.14.0", "torchvision": "0.29.0", "numpy": "2.4.0"}  # what the index offers
MISSING = "pandas"  # one that the course itself imports
SOURCES = {
    "torch": """
__version__ = "2.11.0+cu128"
def manual_seed(seed): print("seed", seed)
class device(str): type = "cpu"
def get_num_threads(): return 2
class cuda:
    is_available = staticmethod(lambda: False)
""",
    "pandas": "class DataFrame: pass\n",
}

# Runs the cell as a kernel does, as often as asked for, and says what it left behind.
RUNTIME = """
import json, os, sys, types
from importlib import metadata
cell, times = sys.stdin.read(), int(sys.argv[1])
if sys.argv[2] == "Kaggle":
    os.environ["KAGGLE_KERNEL_RUN_TYPE"] = "Interactive"
else:
    sys.modules |= {name: types.ModuleType(name) for name in ("google", "google.colab")}
for _ in range(times):
    names = {}
    exec(compile(cell, "cell", "exec"), names)
import pandas, seglib
print(json.dumps({"cwd": os.getcwd(), "seglib": seglib.__file__, "device": names["device"], "pandas": pandas.__file__}))
"""


def stub_wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> Path:
    """A wheel of one empty module that calls itself `name` and asks for `requires`."""
    module = re.sub(r"[-.]", "_", name).lower()
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": SOURCES.get(name, ""),
        f"{info}/METADATA": about + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: stub\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


def repacked_wheel(folder: Path, name: str) -> Path:
    """The wheel of a pure Python package that is installed here."""
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here, and there is no network to take it from")
    path = folder / f"{name}-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in package.files or ():
            if ".." not in file.parts and file.suffix != ".pyc" and Path(file.locate()).is_file():
                wheel.write(file.locate(), file.as_posix())
    return path


class Runtime:
    """A fresh environment as a hosted runtime ships it, a folder of wheels as index, and the project's repository."""

    def __init__(self, folder: Path) -> None:
        self.index, self.content, self.origin = folder / "index", folder / "content", folder / "origin"
        environment, shipped = folder / "env", folder / "shipped"
        for made in (self.index, self.content, self.origin, shipped):
            made.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        self.python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        where = [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        self.site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
        needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
        asks = {MISSING: ("torch", "numpy>=1.26")}
        wheels = [repacked_wheel(shipped, "pip")]
        for requirement in map(Requirement, needed):
            name = requirement.name
            lowest = next(part.version for part in requirement.specifier if part.operator == ">=")
            offered = stub_wheel(self.index, name, NEWER.get(name, lowest), asks.get(name, ()))
            if name != MISSING:
                wheels.append(stub_wheel(shipped, name, KEPT[name]) if name in KEPT else offered)
        repacked_wheel(self.index, "setuptools")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(self.site)
        # The repository holds the files as they are now, committed or not.
        skip = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        for name in ("seglib", "notebooks"):
            shutil.copytree(ROOT / name, self.origin / name, ignore=skip)
        for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-docs"):
            shutil.copy(ROOT / name, self.origin)
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Snapshot"]):
            subprocess.run(["git", *identity, *command], cwd=self.origin, env=self.environment(), check=True)

    def environment(self) -> dict[str, str]:
        """This process's variables without its settings of pip, Python and git, and with no way to a network."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "GIT_"))}
        return kept | {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.index.as_uri(),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": f"url.{self.origin.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{REPOSITORY}",
            "GIT_CONFIG_KEY_1": "protocol.https.allow",
            "GIT_CONFIG_VALUE_1": "never",
        }

    def start(self, times: int, host: str) -> dict[str, str]:
        """Runs the cell `times` times in one new process on Colab or Kaggle, begun in the folder `content`."""
        command = [self.python, "-c", RUNTIME, str(times), host]
        places = {"cwd": self.content, "env": self.environment()}
        done = subprocess.run(command, input=CELL, capture_output=True, text=True, **places)
        assert done.returncode == 0, done.stdout + done.stderr
        self.output = done.stdout
        return json.loads(done.stdout.splitlines()[-1])

    def versions(self) -> dict[str, str]:
        found = metadata.distributions(path=[str(self.site)])
        return {package.metadata["Name"]: package.version for package in found}

    def files(self) -> dict[str, tuple[int, int]]:
        """What changes when a package is installed again, in the same version too."""
        there = {name: (self.site / name / "__init__.py").stat() for name in KEPT}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in there.items()}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_set_up_cell_from_an_empty_folder_keeps_what_the_runtime_ships(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path)
    shipped, files = runtime.versions(), runtime.files()
    assert shipped.items() >= KEPT.items()
    assert MISSING not in shipped and "seglib" not in shipped

    course = runtime.content / NAME
    # Twice in one runtime, then once more after a restart, which begins outside the course.
    for times, host in ((2, "Colab"), (1, "Kaggle")):
        left = runtime.start(times, host)
        assert Path(left["cwd"]) == course / "notebooks"
        assert Path(left["seglib"]) == course / "seglib" / "__init__.py"
        assert Path(left["pandas"]).is_relative_to(runtime.site)
        assert left["device"] == "cpu"
        assert runtime.output.count("seed 0\n") == times

        found = runtime.versions()
        assert {name: found[name] for name in KEPT} == KEPT
        assert runtime.files() == files, "installed again"
        assert found.items() >= shipped.items(), "what was there stays as it was"
        assert found.keys() - shipped.keys() == {MISSING, "seglib"}, "and only what was missing is added"
    assert [path.name for path in runtime.content.iterdir()] == [NAME]


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
