"""Builds the book, a static site of notebooks and docs/, without running a cell, and checks every link in it.

python -m tools.book.build [FOLDER]
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.book import pages, slides

LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href"}


class Page(HTMLParser):
    """What a page offers and asks for: its anchors, its links, and what it loads from other hosts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: set[str] = set()
        self.foreign: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {name for name in (given.get("id"), given.get("name")) if name}
        for key in ("href", "src"):
            if target := given.get(key):
                if not urlsplit(target).scheme and not target.startswith("//"):
                    self.links.add(target)
                elif key == LOADS.get(tag) and not target.startswith("data:"):
                    self.foreign.add(target)


def faults(site: Path) -> list[str]:
    """Every link that leads nowhere, and everything that a page loads from another host, one line each."""
    read = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in read.items():
        name = path.relative_to(site)
        found += [f"{name}: loads {target} from another host" for target in sorted(page.foreign)]
        for link in sorted(page.links):
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            other = read.get(target)
            if not target.is_file():
                found.append(f"{name}: {link}: no such file")
            elif other and parts.fragment and unquote(parts.fragment) not in other.anchors:
                found.append(f"{name}: {link}: no such anchor")
    return found


def build(folder: Path) -> list[str]:
    """Builds the site in `folder`; returns what is wrong with it."""
    from sphinx.cmd.build import build_main

    folder = folder.resolve()
    source = folder.with_name(f"{folder.name}-source")
    pages.write(source)
    kit = source / "instructors.md"
    page = pages.fill(kit.read_text(encoding="utf-8"), "<!-- slides -->", lambda: slides.write(folder / "slides"))
    kit.write_text(page, encoding="utf-8")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--fresh-env", "--conf-dir", str(Path(__file__).parent)]
    options += ["--doctree-dir", str(folder.with_name(f"{folder.name}-doctrees"))]
    if build_main([*options, str(source), str(folder)]):
        return ["Sphinx reported the warnings above"]
    return faults(folder)


if __name__ == "__main__":
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else pages.ROOT / "build" / "book"
    if wrong := build(site):
        sys.exit("\n".join(wrong))
    print(f"{site / 'index.html'}: built, every link leads somewhere")
