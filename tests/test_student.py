"""The student edition: every solution is gone, every cell that runs is the same."""

import re
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
    hints = [sum(name == "Hint" for name, _ in FOLDED.findall(text)) for text in texts]
    assert hints[0] == hints[1] and "Solution" not in texts[1] and len(texts[1]) > 0.6 * len(texts[0])
    solutions = [
        block for name, text in FOLDED.findall(texts[0]) if name == "Solution" for block in BLOCK.findall(text)
    ]
    lines = {line for block in solutions for line in block.splitlines() if re.match(r"    return .{20}", line)}
    assert [line for line in lines if line in texts[1]] == []
