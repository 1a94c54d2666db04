"""The book's sources: notebooks and docs/ as Sphinx reads them, with what is generated from the notebooks filled in."""

import importlib
import re
import shutil
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
from myst_parser.mdit_to_docutils.base import default_slugify as slug
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.stamp import BADGE_LINE, MARK, repository

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ADDRESS = f"https://github.com/{repository()}"

TERM = re.compile(r"^- (\*\*.+?\*\*): (.+)$", re.MULTILINE)
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.MULTILINE)
EXERCISE = re.compile(r"^### (Exercise (\d+\.\d) · .+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(\.\./notebooks/(\w+)\.ipynb(?:#([\w-]+))?\)")
TAKES = re.compile(r"^> \*\*It takes\*\* (.+?)(?=^>\s*$|^[^>]|\Z)", re.MULTILINE | re.DOTALL)


@cache
def notebooks() -> dict[str, NotebookNode]:
    """The course's notebooks by name, in order."""
    return {path.stem: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


@cache
def text(name: str) -> str:
    """All markdown of a notebook, its title first."""
    return "\n\n".join(cell.source for cell in notebooks()[name].cells if cell.cell_type == "markdown")


@cache
def glossary() -> list[tuple[list[str], str]]:
    """Names of each term, and what it means."""
    listed = TERM.findall((DOCS / "glossary.md").read_text(encoding="utf-8"))
    return [(re.findall(r"\*\*(.+?)\*\*", names), meaning) for names, meaning in listed]


def pattern(names: list[str]) -> re.Pattern[str]:
    """Finds any of the names, or its plural, as a word of its own; of two that begin alike the longer."""
    listed = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.compile(rf"(?<![\w-])({listed})(?:e?s)?(?![\w-])", re.IGNORECASE)


def point_to(match: re.Match[str]) -> str:
    """A link of docs/ to a notebook, as the book has it: `#part` is a part of the anchor of exactly one heading.

    Raises:
        ValueError: if no heading's anchor has that part, or several have.
    """
    said, name, part = match.groups()
    titles = [title for _, title in HEADING.findall(text(name))]
    found = [title for title in titles if part in slug(title)] if part else titles[:1]
    if len(found) != 1:
        raise ValueError(f"docs: {match[0]}: expected one heading of {name} with {part}, found {found or titles}")
    said = said or f"{name[:2]} · {re.sub(r'^[0-9]+([.]| ·) ', '', found[0])}"
    return f"[{said}](notebooks/{name}.ipynb{f'#{slug(found[0])}' if part else ''})"


def times() -> str:
    """A table of what each notebook says of the time it takes."""
    rows = ["| notebook | it takes |", "|---|---|"]
    for name in notebooks():
        said = "".join(re.sub(r"\n> ?", " ", takes).strip() for takes in TAKES.findall(text(name)))
        rows.append(f"| [{HEADING.search(text(name))[2]}](notebooks/{name}.ipynb) | {said} |")
    return "\n".join(rows)


def fill(markdown: str, mark: str, make: Callable[[], str]) -> str:
    """Puts what is generated in the place of a mark's line, which says where to find it outside the book."""
    return re.sub(rf"^.*{mark}$", lambda _: make(), markdown, flags=re.MULTILINE)


def fold(title: str, body: str) -> str:
    """Text folded away under its title."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n\n"


def wrong_answers() -> str:
    """Every exercise with its usual wrong answers, from the files that the tests check the hints with."""
    parts = []
    for name in (name for name in notebooks() if EXERCISE.search(text(name))):
        parts.append(f"## {HEADING.search(text(name))[2]}\n\n")
        wrong = importlib.import_module(f"tests.wrong_answers.{name[3:]}").WRONG
        for title, number in EXERCISE.findall(text(name)):
            sources = wrong.get(number, {}).items()
            parts += [f"### {title}\n\n", *(fold(hint, f"```python\n{it.strip()}\n```") for hint, it in sources)]
    return "".join(parts)


def answers(number: str) -> str:
    """What a notebook's quiz says of each choice, folded away."""
    asked = tomllib.loads((ROOT / "seglib" / "course" / "quiz.toml").read_text(encoding="utf-8"))[number]
    reasons = ["\n".join(f"- **{letter}** {one[letter][1]}" for letter in "abc") for one in asked]
    right = [f"**{one['answer']}** is right." for one in asked]
    folds = enumerate(zip(right, reasons, strict=True), start=1)
    return "".join(fold(f"Answer to {index}", f"{letter}\n\n{reason}") for index, (letter, reason) in folds)


def terms() -> str:
    """The glossary's entries, each with the notebook that uses it first."""
    entries = []
    for names, meaning in glossary():
        first = next((name for name in notebooks() if pattern(names).search(text(name))), None)
        where = f" First in [{first[:2]}](notebooks/{first}.ipynb)." if first else ""
        entries.append("\n".join(names) + f"\n  {meaning}{where}\n")
    return "```{glossary}\n" + "\n".join(entries) + "```\n"


def page(path: Path) -> str:
    """A file of docs/ as the book has it."""
    found = LINK.sub(point_to, path.read_text(encoding="utf-8"))
    for mark, make in {"<!-- times -->": times, "<!-- wrong answers -->": wrong_answers}.items():
        found = fill(found, mark, make) if mark in found else found
    if path.stem == "glossary":
        found = found[: TERM.search(found).start()] + terms()
    return outside(found)


def outside(markdown: str) -> str:
    """Leads relative links to files of the project to the address where they are published."""
    return re.sub(r"\]\(\.\./", f"]({ADDRESS}/blob/main/", markdown)


def chapter(name: str, nb: NotebookNode) -> NotebookNode:
    """A notebook as the book has it: with links that open it elsewhere, and its set-up folded away."""
    nb = nbformat.from_dict(nb)
    place = f"{repository()}/blob/main/notebooks/{name}.ipynb"
    links = (
        f"[Open in Colab](https://colab.research.google.com/github/{place}) · "
        f"[on Kaggle](https://kaggle.com/kernels/welcome?src=https://github.com/{place}) · "
        f"[on Binder](https://mybinder.org/v2/gh/{repository()}/main?labpath=notebooks%2F{name}.ipynb) · "
        f"[the notebook](https://github.com/{place})"
    )
    for cell in list(nb.cells):
        if "quiz" in cell.metadata.get("tags", []):
            nb.cells.insert(nb.cells.index(cell) + 1, new_markdown_cell(answers(name[:2])))
        if cell.cell_type == "markdown":
            cell.source = outside(BADGE_LINE.sub(links, cell.source))
        elif cell.source.startswith(MARK) or cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    return nb


def write(folder: Path) -> None:
    """Writes all sources of the book into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder)
    (folder / "notebooks").mkdir()
    for name, nb in notebooks().items():
        nbformat.write(chapter(name, nb), folder / "notebooks" / f"{name}.ipynb")
    for path in DOCS.glob("*.md"):  # over their copies
        (folder / path.name).write_text(page(path), encoding="utf-8")
