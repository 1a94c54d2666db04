"""Writes the student edition, the notebooks without solutions, made from the same files.

python tools/student.py [FOLDER]      (default: student/, beside notebooks/, so that paths in cells hold)
"""

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
SOLUTION = re.compile(r"<details>\s*<summary>Solution</summary>.*?</details>\s*", re.DOTALL)


def without_solutions(nb: NotebookNode) -> NotebookNode:
    """`nb` without its folded solutions, changed in place; code cells and hints stay as they are."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source).strip()
    nb.cells = [cell for cell in nb.cells if cell.source]
    return nb


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]) if arguments else ROOT / "student"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        nbformat.write(without_solutions(nbformat.read(path, as_version=4)), folder / path.name)
    print(f"{folder}: the notebooks without solutions")


if __name__ == "__main__":
    main(sys.argv[1:])
