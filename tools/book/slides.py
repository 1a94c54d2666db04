"""Slides for lectures, made of the notebooks' sections: predictions, formulas, pictures, what was seen, exercises."""

import html
import re
import tomllib
from pathlib import Path
from string import Template

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

from tools.book.pages import DOCS, EXERCISE, HEADING, notebooks, slug

FIGURE = re.compile(r"^\*(Figure \d+\..+?)\*$", re.MULTILINE | re.DOTALL)
ASIDE = re.compile(r"<details>.*?</details>|^```.*?^```", re.MULTILINE | re.DOTALL)
SHOWN = ("**Predict", "**Seen:**")  # a paragraph with one of these is a slide, and so is a displayed formula


def render(text: str) -> str:
    """Markdown with formulas, as HTML; links stay as their words."""

    def formula(content: str, options: dict[str, bool]) -> str:
        return convert(content, display="block" if options["display_mode"] else "inline")

    parser = MarkdownIt("commonmark").use(dollarmath_plugin, renderer=formula).enable("table")
    return parser.render(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text))


def section(name: str, part: str) -> list[str | NotebookNode]:
    """Texts and code cells of a notebook, from the `##` heading whose anchor holds `part` to the next."""
    kept: list[str | NotebookNode] = []
    for cell in notebooks()[name].cells:
        for piece in re.split(r"(?m)^(?=## )", cell.source) if cell.cell_type == "markdown" else [cell]:
            begins = isinstance(piece, str) and piece.startswith("## ")
            if begins and kept:
                return kept
            if kept or (begins and part in slug(HEADING.match(piece)[2])):
                kept.append(piece)
    if not kept:
        raise ValueError(f"docs/lectures.toml: {name}#{part}: no section of this name")
    return kept


def slides(pieces: list[str | NotebookNode]) -> list[str]:
    """One slide for the section's title, and one for each picture, prediction, displayed formula and exercise."""
    made = [f"<h1>{render(HEADING.match(pieces[0])[2])}</h1>"]
    for piece in pieces:
        if not isinstance(piece, str):
            found = [output["data"]["image/png"] for output in piece.outputs if "image/png" in output.get("data", {})]
            made += [f'<img alt="" src="data:image/png;base64,{png.strip()}">' for png in found]
            continue
        paragraphs = ASIDE.sub("", piece).split("\n\n")
        for before, paragraph in zip(["", *paragraphs], paragraphs, strict=False):
            if caption := FIGURE.search(paragraph):
                made[-1] += f'<div class="note">{render(caption[1])}</div>'
            elif title := EXERCISE.search(paragraph):
                made.append(f"<h2>{html.escape(title[1])}</h2>")
            elif "$$" in paragraph:
                made.append(render(f"{before}\n\n{paragraph}"))
            elif any(mark in paragraph for mark in SHOWN):
                made.append(render(paragraph))
            elif made[-1].startswith("<h2>"):
                made[-1] += render(paragraph)
    return made


def write(folder: Path) -> str:
    """Writes a page of slides for each lecture; returns links to them."""
    page = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    lectures = tomllib.loads((DOCS / "lectures.toml").read_text(encoding="utf-8"))["lecture"]
    for number, lecture in enumerate(lectures, start=1):
        title = html.escape(lecture["title"])
        made = [f"<h1>{title}</h1><p>{html.escape(lecture['about'])}</p>"]
        for place in lecture["sections"]:
            made += slides(section(*place.split("#")))
        body = "".join(f"<section>{slide}</section>" for slide in made)
        (folder / f"{number}.html").write_text(page.substitute(title=title, slides=body), encoding="utf-8")
        links.append(f'<a href="slides/{number}.html">{number}. {title}</a> ({len(made)} slides)')
    return "Slides, made from the notebooks; arrow keys move, and a browser prints them: " + ", ".join(links) + "."
