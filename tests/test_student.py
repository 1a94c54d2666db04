"""The student edition: every solution is gone, every cell that runs is the same."""

from pathlib import Path

import nbformat
import pytest

from tests.test_exercises import BLOCK, FOLDED, NOTEBOOKS
from tools import student as tool


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    tool.main([str(folder)])
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_solution_and_the_same_code(edition: Path, path: Path) -> None:
    """A notebook runs with no exercise attempted, so equal code cells run as well."""
    full, student = (nbformat.read(folder / path.name, as_version=4) for folder in (path.parent, edition))
    codes = [[cell for cell in nb.cells if cell.cell_type == "code"] for nb in (full, student)]
    assert codes[0] == codes[1]
    texts = ["\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown") for nb in (full, student)]
    folded = [[name for name, _ in FOLDED.findall(text)] for text in texts]
    assert "Solution" not in texts[1]
    assert folded[0].count("Hint") == folded[1].count("Hint")
    for name, text in FOLDED.findall(texts[0]):
        for line in {line for block in BLOCK.findall(text) for line in block.splitlines() if name == "Solution"}:
            if line.startswith("    return ") and len(line) > 30:
                assert line not in texts[1]
    assert len(texts[1]) > 0.6 * len(texts[0])
