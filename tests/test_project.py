"""The project as a whole: what its files may hold, who may import whom, and that its commands and documents agree."""

import ast
import graphlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from seglib.studies.papers import cite, load_papers, published
from tools import notebooks as tool

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "seglib").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Who may import whom; `course` and `__main__` may import anything, and only `__main__` imports `course`.
UNDER_ALL = {"recipe", "files", "geometry"}
FOUNDATIONS = {"models", "data", "losses", "metrics"}  # know nothing of each other
MAY_IMPORT = {
    **{name: set() for name in UNDER_ALL},
    **{name: UNDER_ALL for name in FOUNDATIONS},
    "crf": set(),
    "zoo": UNDER_ALL | {"models"},
    "predict": UNDER_ALL | FOUNDATIONS,
    "export": UNDER_ALL | FOUNDATIONS | {"predict", "train"},
    "predict_files": UNDER_ALL | FOUNDATIONS | {"predict", "crf"},
    "train": UNDER_ALL | FOUNDATIONS | {"zoo", "predict"},
    "studies": UNDER_ALL | FOUNDATIONS | {"predict", "train"},
    "diagnose": UNDER_ALL | FOUNDATIONS | {"zoo", "predict", "train"},
}
LABEL_TABLE = "seglib.metrics.cityscapes_labels"  # a leaf without torch, which data reads too
DRAWING = {"matplotlib", "ipywidgets"}  # only the course draws


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked_texts() -> Iterator[tuple[str, str]]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".pth", ".pt", ".npz"):
            yield name, path.read_text(encoding="utf-8")


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports: at its top, inside functions, and what only type checkers read."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name the whole package"
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def part_of(dotted: str) -> str | None:
    """seglib.models.deeplab -> models; None outside seglib and for the package itself."""
    pieces = dotted.split(".")
    return pieces[1] if pieces[0] == "seglib" and len(pieces) > 1 else None


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_file_has_an_absolute_path_or_is_large() -> None:
    found = [f"{name}: {match.group()}" for name, text in tracked_texts() for match in tool.HOME_PATH.finditer(text)]
    large = [name for name, _ in tracked_texts() if (ROOT / name).stat().st_size > 4_000_000]
    assert found == large == []


def test_imports_point_down() -> None:
    wrong = []
    for path in MODULES:
        own = part_of(module_of(path))
        if own not in ("course", "__main__", None):
            names = {name for name in imports(path) if name != LABEL_TABLE and not name.startswith(f"{LABEL_TABLE}.")}
            parts = {part for name in names if (part := part_of(name)) and part != own}
            known = {part for part in parts if part in MAY_IMPORT or part in ("course", "__main__")}
            if own == "data":  # `from seglib.metrics import cityscapes_labels` would be the same leaf
                known -= {"metrics"} if names.isdisjoint(n for n in names if n.startswith("seglib.metrics.")) else set()
            wrong += [f"{name_of(path)} imports {part}" for part in sorted(known - MAY_IMPORT[own])]
        if own not in ("course", "__main__"):
            wrong += [f"{name_of(path)} imports course" for name in imports(path) if part_of(name) == "course"]
    assert wrong == []


def test_no_circle_of_modules() -> None:
    modules = {module_of(path) for path in MODULES}
    graph = {module_of(path): {n for n in imports(path) if n in modules} - {module_of(path)} for path in MODULES}
    for name, found in graph.items():
        found -= {package for package in found if name.startswith(f"{package}.")}  # a package and what lies in it
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [path for path in MODULES if "course" not in path.parts], ids=name_of)
def test_only_the_course_draws(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} & DRAWING == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_as_make_notebooks_stores_it(path: Path) -> None:
    """In normal form, executed from top to bottom, silent on stderr, no cell or picture too large."""
    assert tool.check(path) == []


def code_cells(path: Path) -> Iterator[str]:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            yield "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!")))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_calls_for_published_numbers_find_one(path: Path) -> None:
    for source in code_cells(path):
        for node in ast.walk(ast.parse(source)):
            function = getattr(node, "func", None)
            called = getattr(function, "id", getattr(function, "attr", None))
            if called not in ("published", "cite"):
                continue
            try:
                arguments = [ast.literal_eval(argument) for argument in node.args]
                row = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            except ValueError:
                continue  # arguments computed in the cell: running the notebook checks them
            {"published": published, "cite": cite}[called](*arguments, **row)


CITED = re.compile(r"(\d+(?:\.\d+)?) \((DeepLab ?v[123]\+?|FCN), (?:Table )?(\d+(?:\([ab]\))?|Figure 5\(a\))\)")


def cited_but_not_published(text: str) -> list[str]:
    """Numbers that `text` cites in the form of `cite` and that the table named does not hold."""
    tables = {(p["name"], name): table for p in load_papers().values() for name, table in p["tables"].items()}
    found = []
    for match in CITED.finditer(text):
        number, paper, name = match.groups()
        rows = tables.get((paper, name), {"rows": []})["rows"]
        if number not in {str(entry) for row in rows for entry in row.values()}:
            found.append(match.group())
    return found


def test_numbers_cited_in_text_are_the_papers() -> None:
    for name, text in tracked_texts():
        if name.endswith((".ipynb", ".md")):
            assert cited_but_not_published(text) == [], name


def test_wrong_citations_are_seen() -> None:
    right = "77.21 (DeepLabv3, Table 9), 79.55 (DeepLabv3+, Table 7(a)), 4.8 (DeepLabv3+, Figure 5(a))"
    wrong = ["77.12 (DeepLabv3, Table 9)", "77.21 (DeepLabv3, Table 14)", "62.70 (FCN, Table 2)"]
    assert cited_but_not_published(right) == []
    assert cited_but_not_published(", ".join(wrong)) == wrong


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert not any(re.search(r"https?://|file:|--(extra-)?index-url|--find-links", line) for line in lines)
    found = [Requirement(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert all(len(r.specifier) == 1 and str(r.specifier).startswith("==") for r in found), "every version is pinned"
    return {r.name.lower().replace("_", "-"): str(r.specifier).removeprefix("==") for r in found}


def test_requirements_fit_pyproject() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = [*PYPROJECT["project"]["dependencies"], *extras["lab"], *extras["test"]]
    pinned = pins()
    for requirement in map(Requirement, wanted):
        version = pinned.get(requirement.name.lower().replace("_", "-"))
        assert version and requirement.specifier.contains(version), f"{requirement}: run make requirements"
    assert f"version: {PYPROJECT['project']['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    ranges = {r.name: r.specifier for r in map(Requirement, PYPROJECT["project"]["dependencies"])}
    for name, oldest in {"torch": "2.6.0", "torchvision": "0.21.0", "numpy": "2.0.2"}.items():
        assert ranges[name].contains(oldest), "a hosted runtime keeps what it ships"
    for constraint in map(Requirement, PYPROJECT["tool"]["uv"]["constraint-dependencies"]):
        assert constraint.specifier.contains(pinned[constraint.name]), f"{constraint}: run make requirements"


def test_readme_shows_both_commands_and_every_notebook() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("make lab", "make test"):
        assert re.search(rf"^\s*{command}\b", readme, re.MULTILINE), f"README.md: {command} is not shown"
    for path in NOTEBOOKS:
        assert name_of(path) in readme, f"README.md does not list {path.stem}"


def test_links_between_files_lead_somewhere() -> None:
    for name, text in tracked_texts():
        if name.endswith(".md"):
            for target in re.findall(r"\]\(([^)#\s]+)", text):
                if not re.match(r"\w+:", target):
                    assert ((ROOT / name).parent / target).exists(), f"{name}: link to {target}"
