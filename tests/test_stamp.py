"""The project's address in badges, set-up cells and documents: one source, stamped everywhere."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import stamp as tool

ROOT = Path(__file__).resolve().parent.parent
OLD = "me/old"
FIRST = new_code_cell("print(1)", metadata={"tags": ["mine"]})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's documents beside two notebooks: one without badge and set-up, one stamped with another address."""
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    links = f"[try](https://colab.research.google.com/github/{OLD}/blob/main/a.ipynb) <https://me.github.io/old/>\n"
    (tmp_path / "README.md").write_text(links)
    (tmp_path / "notebooks").mkdir()
    bare = new_notebook(cells=[new_markdown_cell("# Title\n\n> A box"), FIRST])
    nbformat.write(bare, tmp_path / "notebooks" / "00_bare.ipynb")
    stale = new_notebook(cells=[new_markdown_cell("# Title\n\nText\n\n[![Open in Colab](a)](b)\n\n> A box"), FIRST])
    tool.stamp_notebook(stale, "01_stale.ipynb", OLD)
    nbformat.write(stale, tmp_path / "notebooks" / "01_stale.ipynb")
    return tmp_path


def cells(project: Path, name: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(project / "notebooks" / name, as_version=4).cells


def test_every_notebook_has_the_address_and_the_set_up_cell() -> None:
    assert tool.stamp(write=False) == [], "run make stamp"
    assert len(tool.setup_cell(tool.repository()).splitlines()) <= 15


def test_stamp(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(tool, "stamp", lambda write, stamp=tool.stamp: stamp(project, write))
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert tool.main(["--check"]) == 1
    found = [line for line in capsys.readouterr().out.splitlines() if "differs" in line]
    assert "notebooks/00_bare.ipynb: the set-up cell, the first code cell differs: run make stamp" in found
    bare, stale = "notebooks/00_bare.ipynb", "notebooks/01_stale.ipynb"
    assert [line.split(":")[0] for line in found] == [bare, bare, stale, stale, "README.md"]
    assert {path: path.read_bytes() for path in before} == before, "looking writes nothing"
    assert tool.main([]) == tool.main(["--check"]) == 0
    assert tool.repository(project) + "/blob" in (project / "README.md").read_text()
    for name in ("00_bare.ipynb", "01_stale.ipynb"):
        title, setup, first = cells(project, name)
        assert f"/{tool.repository(project)}/blob/main/notebooks/{name})" in title.source
        assert title.source.startswith("# Title\n\n") and title.source.endswith("\n\n> A box")
        assert title.source.count("Open in Colab") == 1
        assert setup.source == tool.setup_cell(tool.repository(project))
        assert setup.metadata.tags == ["nbval-ignore-output"]
        assert (first.source, first.metadata.tags) == ("print(1)", ["mine"]), "other cells stay as they are"


@pytest.mark.parametrize(
    "harm",
    [
        lambda cells: cells[1].update(source=cells[1].source.replace("seed=0", "seed=1")),
        lambda cells: cells[1].update(source=cells[1].source.replace('"-q", "-e"', '"-U", "-e"')),
        lambda cells: cells[1].metadata.pop("tags"),
        lambda cells: cells[0].update(source=cells[0].source.replace("00_bare", "01_stale")),
        lambda cells: cells.insert(1, new_code_cell("import torch")),
    ],
    ids=["seed", "pip option", "tag", "badge of another notebook", "a cell before it"],
)
def test_each_departure_is_found(project: Path, harm) -> None:
    tool.stamp(project)
    nb = nbformat.read(project / "notebooks" / "00_bare.ipynb", as_version=4)
    harm(nb.cells)
    nbformat.write(nb, project / "notebooks" / "00_bare.ipynb")
    assert [line.split(":")[0] for line in tool.stamp(project, write=False)] == ["notebooks/00_bare.ipynb"]


def test_another_address_reaches_everything_if_colab_can_open_it(project: Path) -> None:
    tool.stamp(project)
    config = project / "pyproject.toml"
    config.write_text(config.read_text().replace(tool.repository(), "someone/a-fork"))
    tool.stamp(project)
    for path in project.rglob("*"):
        assert path.is_dir() or tool.repository() not in path.read_text(), path.name
    assert "<https://someone.github.io/a-fork/>" in (project / "README.md").read_text()
    setup = cells(project, "00_bare.ipynb")[1].source
    assert '"https://github.com/someone/a-fork"' in setup and 'chdir("a-fork/notebooks")' in setup
    config.write_text(config.read_text().replace("https://github.com/", "https://gitlab.com/"))
    with pytest.raises(ValueError, match=r"expected https://github\.com/OWNER/NAME, found https://gitlab\.com/"):
        tool.stamp(project)
