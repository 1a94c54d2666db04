"""Sphinx's settings of the book; links to the glossary, formulas as MathML, and links to report a problem."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.book.pages import ADDRESS, glossary, pattern

project = html_title = "DeepLab, cell by cell"
project_copyright = "its authors; text and figures under CC BY 4.0, code under MIT"
extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_math_renderer = "mathml"
html_show_sourcelink = html_copy_source = False
suppress_warnings = ["myst.header"]  # notebooks go from a title to exercises two levels below

# Where a word is not text to read, and so gets no link.
NO_LINKS = (nodes.reference, pending_xref, nodes.title, nodes.literal, nodes.literal_block, nodes.raw)
NO_LINKS += (nodes.math, nodes.math_block)


def link_terms(app: Sphinx, doctree: nodes.document) -> None:
    """Links the first use of each of the glossary's words in a notebook."""
    names = {name.lower(): names[0] for names, _ in glossary() for name in names}
    words = pattern(list(names))
    linked: set[str] = set()
    for text in list(doctree.findall(nodes.Text)) if app.env.docname.startswith("notebooks/") else []:
        above: Any = text.parent
        while above is not None and not isinstance(above, NO_LINKS):
            above = above.parent
        pieces: list[nodes.Node] = []
        end = 0
        for match in words.finditer(text) if above is None else ():
            if (term := names[match[1].lower()]) not in linked:
                linked.add(term)
                word = nodes.inline(match[0], match[0], classes=["std-term"])
                target = {"refdomain": "std", "reftype": "term", "reftarget": term, "refdoc": app.env.docname}
                pieces += [nodes.Text(text[end : match.start()]), pending_xref("", word, refexplicit=True, **target)]
                end = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[end:])])


def add_issue_links(app: Sphinx, doctree: nodes.document) -> None:
    """Ends each section with a link that opens an issue about it."""
    for section in doctree.findall(nodes.section):
        if isinstance(section.parent, nodes.section) and isinstance(section.parent.parent, nodes.document):
            title = f"{app.env.docname}: {section.next_node(nodes.title).astext()}"
            link = nodes.reference("", "Report a problem", refuri=f"{ADDRESS}/issues/new?{urlencode({'title': title})}")
            section += nodes.paragraph("", "", link, classes=["report"])


def visit_math(self: Any, node: nodes.math | nodes.math_block) -> None:
    """Writes a formula as MathML, which browsers draw by themselves."""
    shown = isinstance(node, nodes.math_block)
    formula = convert(node.astext(), display="block" if shown else "inline")
    self.body.append(f'<div class="math">{formula}</div>' if shown else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("doctree-read", link_terms)
    app.connect("doctree-read", add_issue_links)
