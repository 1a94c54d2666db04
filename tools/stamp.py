"""Writes the project's address, which lives in pyproject.toml, into every notebook; --check only says what differs.

    python tools/stamp.py [--check]

In each notebook of notebooks/: the Open-in-Colab badge of the first cell, and the set-up cell, which is the first code
cell and the same in all. Also the address in CITATION.cff, and in README.md's links to Colab and to the book.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
MARK = "# Set-up, the same in every notebook."
TAG = "nbval-ignore-output"  # it prints versions and the device

SETUP = (
    MARK
    + """ On Colab and Kaggle it fetches the course; elsewhere it only imports.
import os
import sys
from subprocess import check_call

if ("google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ) and not os.path.isdir("../seglib"):
    if not os.path.isdir("{folder}"):
        check_call(["git", "clone", "-q", "--depth=1", "{address}"])
    check_call([sys.executable, "-m", "pip", "install", "-q", "-e", "{folder}"])
    sys.path.insert(0, os.path.abspath("{folder}"))
    os.chdir("{folder}/notebooks")

from seglib.course import start

device = start(seed=0)"""
)
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{notebook})"
)
BADGE_LINE = re.compile(r"^\[!\[Open in Colab\].*$", re.MULTILINE)
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")


def repository(root: Path = ROOT) -> str:
    """OWNER/NAME on GitHub, from [project.urls] Repository of pyproject.toml.

    Raises:
        ValueError: the address is not one of GitHub, the only host that Colab's badge can open.
    """
    address = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    match = GITHUB.fullmatch(address)
    if match is None:
        raise ValueError(f"pyproject.toml, Repository: expected https://github.com/OWNER/NAME, found {address}")
    return match[1]


def book(repository: str) -> str:
    """The book's address, where GitHub Pages serves it; `repository` is OWNER/NAME."""
    owner, name = repository.split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def setup_cell(repository: str) -> str:
    """The source of the set-up cell; `repository` is OWNER/NAME."""
    return SETUP.format(address=f"https://github.com/{repository}", folder=repository.split("/")[1])


def stamp_notebook(nb: NotebookNode, notebook: str, repository: str) -> list[str]:
    """Gives `nb` its badge and its set-up cell, in place.

    Args:
        nb: a notebook; where badge or cell are missing they are inserted, below the title and after the first cell.
        notebook: its file name, for the badge.
        repository: OWNER/NAME.

    Returns:
        What was changed, one line each; empty if the notebook was as it should be.
    """
    changed = []
    if not nb.cells or nb.cells[0].cell_type != "markdown":
        nb.cells.insert(0, new_markdown_cell(f"# {Path(notebook).stem}"))
    title = nb.cells[0]
    badge = BADGE.format(repository=repository, notebook=notebook)
    text = _with_badge(title.source, badge)
    if text != title.source:
        title.source = text
        changed.append("the Open-in-Colab badge in the first cell")

    cell = next((cell for cell in nb.cells if cell.cell_type == "code"), None)
    if cell is None or not cell.source.startswith(MARK):
        cell = new_code_cell()
        nb.cells.insert(1, cell)
    tags = cell.metadata.get("tags", [])
    if cell.source != setup_cell(repository) or TAG not in tags:
        cell.source = setup_cell(repository)
        cell.metadata["tags"] = [*tags, *({TAG} - set(tags))]
        changed.append("the set-up cell, the first code cell")
    return changed


def _with_badge(text: str, badge: str) -> str:
    if BADGE_LINE.search(text):
        first, *others = BADGE_LINE.split(text)
        return first + badge + "".join(others)
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{badge}\n\n{rest.lstrip()}".rstrip()


def stamp_text(text: str, repository: str) -> str:
    """`text` with this repository in its links to Colab and to the book, and in a citation file's repository-code."""
    text = re.sub(r"(colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+", rf"\g<1>{repository}", text)
    text = re.sub(r"https://[\w-]+\.github\.io/[\w.-]+/", book(repository), text)
    return re.sub(r"(?m)^(repository-code: ).*$", rf'\g<1>"https://github.com/{repository}"', text)


def stamp(root: Path = ROOT, write: bool = True) -> list[str]:
    """Stamps all files below `root`, or with `write=False` only looks.

    Returns:
        "FILE: what differs" for each thing that was, or would be, written.
    """
    address = repository(root)
    found = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        changed = stamp_notebook(nb, path.name, address)
        found += [f"notebooks/{path.name}: {line}" for line in changed]
        if changed and write:
            path.write_bytes((nbformat.writes(nb) + "\n").encode())
    for path in (root / "CITATION.cff", root / "README.md"):
        text = path.read_text(encoding="utf-8")
        stamped = stamp_text(text, address)
        if stamped != text:
            found.append(f"{path.name}: the address")
            if write:
                path.write_bytes(stamped.encode())
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if anything differs")
    check = parser.parse_args(arguments).check
    try:
        found = stamp(write=not check)
    except ValueError as error:
        parser.error(str(error))
    for line in found:
        print(f"{line} {'differs: run make stamp' if check else 'written'}")
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
