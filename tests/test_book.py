"""The book: it builds from stored outputs, every link leads somewhere, its words are explained and found."""

import functools
import re
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("myst_nb", reason="the book's packages are not installed: pip install -e '.[book]'")

from tools.book import build, pages, slides

pytestmark = pytest.mark.filterwarnings("ignore:.*MystReferenceResolver")  # MyST's own, with the newest Sphinx
ENOUGH_TERMS = 60
SECONDS = 120
PHONE = {"width": 360, "height": 740}
NAMES = list(pages.notebooks())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book") / "site"
    begun = time.monotonic()
    assert build.build(folder) == []
    assert time.monotonic() - begun < SECONDS
    return folder


def text(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text(encoding="utf-8")


def test_faults_are_seen(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text('<a id="x" href="b.html#y">1</a><a href="#x">2</a><a href="sub/">3</a>')
    (tmp_path / "b.html").write_text(
        '<a name="z" href="a.html#x">1</a><script src="https://example.org/x.js"></script>'
        '<a href="https://example.org">2</a><img src="data:image/png;base64,AA">'
    )
    (tmp_path / "sub" / "index.html").write_text('<a href="../b.html#z">1</a><a href="../c.html">2</a>')
    assert sorted(build.faults(tmp_path)) == [
        "a.html: b.html#y: no such anchor",
        "b.html: loads https://example.org/x.js from another host",
        "sub/index.html: ../c.html: no such file",
    ]


@pytest.mark.parametrize("part", ["no-such-heading", "the"])
def test_links_to_headings_must_fit_one(part: str) -> None:
    with pytest.raises(ValueError, match=f"expected one heading of 00_start_here with {part}, found"):
        pages.LINK.sub(pages.point_to, f"[](../notebooks/00_start_here.ipynb#{part})")


def test_links_of_the_questions_have_their_headings_as_text() -> None:
    """Where the book is not built, as on GitHub, a link without text cannot be seen."""
    for link in pages.LINK.finditer((pages.DOCS / "questions.md").read_text(encoding="utf-8")):
        assert pages.point_to(link) == pages.LINK.sub(pages.point_to, link[0].replace(f"[{link[1]}]", "[]")), link[0]
    for path in pages.DOCS.glob("*.md"):
        assert "[](" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("name", NAMES)
def test_page_of_a_notebook(site: Path, name: str) -> None:
    """Opens elsewhere, offers an issue for each section, has its pictures with alt text, its formulas and answers."""
    page, nb = text(site, f"notebooks/{name}"), pages.notebooks()[name]
    place = f"{pages.repository()}/blob/main/notebooks/{name}.ipynb"
    for address in ("colab.research.google.com/github/", "kaggle.com/kernels/welcome?src=https://github.com/"):
        assert f"{address}{place}" in page
    headings = re.findall(r"^## ", pages.text(name), re.MULTILINE)
    assert page.count(f"{pages.ADDRESS}/issues/new?title=") == len(headings)
    outputs = [out for cell in nb.cells if cell.cell_type == "code" for out in cell.outputs]
    pictures = sum("image/png" in out.get("data", {}) for out in outputs)
    assert len(re.findall(r'<img alt="[^"]+[^>]*_images/', page)) == pictures
    shown = re.sub(r"<pre>.*?</pre>|<code.*?</code>", "", page, flags=re.DOTALL)
    assert page.count("<math") >= pages.text(name).count("$$") // 2
    assert "$$" not in shown and "\\frac" not in shown
    quizzes = sum("quiz" in cell.metadata.get("tags", []) for cell in nb.cells)
    assert page.count("<summary>Answer to ") == 3 * quizzes


def test_glossary(site: Path) -> None:
    """Its words have one meaning each, are linked where a notebook first uses them, and are used."""
    names = [name for names, _ in pages.glossary() for name in names]
    assert len(pages.glossary()) >= ENOUGH_TERMS and len(set(map(str.lower, names))) == len(names)
    linked = set()
    for name in NAMES:
        found = re.findall(r'glossary\.html#(term-[\w-]+)"', text(site, f"notebooks/{name}"))
        assert len(found) == len(set(found)), f"{name}: one link to a word"
        assert not re.search(r"<a [^>]*>(?:(?!</a>).)*<a ", text(site, f"notebooks/{name}"), re.DOTALL), (
            "a link in a link"
        )
        linked |= set(found)
    anchors = dict(map(reversed, re.findall(r'id="(term-[\w-]+)">([^<]+)<', text(site, "glossary"))))
    assert [names[0] for names, _ in pages.glossary() if anchors[names[0]] not in linked] == []


def test_what_is_generated_is_there(site: Path) -> None:
    wrong, paths = text(site, "wrong_answers"), text(site, "paths")
    for name in NAMES:
        for _, number in pages.EXERCISE.findall(pages.text(name)):
            assert f"Exercise {number} · " in wrong
        assert f'href="notebooks/{name}.html"' in paths
    assert wrong.count("<details>") > 200
    assert paths.count("minutes") > len(NAMES)
    for number in (1, 2, 3):
        page = (site / "slides" / f"{number}.html").read_text(encoding="utf-8")
        assert page.count("<section>") > 15 and page.count("data:image/png") > 3 and "<math" in page
        assert "Solution" not in page and f"slides/{number}.html" in text(site, "instructors")
    for name in ("instructors", "paths", "wrong_answers"):
        assert "page of the book" not in text(site, name) and "book on this page" not in text(site, name)


def test_lecturers_are_told_where_each_exercise_is_for() -> None:
    table = (pages.DOCS / "instructors.md").read_text(encoding="utf-8")
    told = []
    for cell in re.findall(r"^\| ([\d., to]+) \|", table, re.MULTILINE):
        for first, last in re.findall(r"(\d+\.\d)(?: to \d+\.(\d))?", cell):
            chapter, number = map(int, first.split("."))
            told += [f"{chapter}.{k}" for k in range(number, int(last or number) + 1)]
    assert sorted(told) == sorted(number for name in NAMES for _, number in pages.EXERCISE.findall(pages.text(name)))


def test_slides_refuse_a_section_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="00_start_here#nowhere: no section"):
        slides.section("00_start_here", "nowhere")


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_it_reads_on_a_telephone_and_in_the_dark(address: str, browser: Any) -> None:
    page = browser.new_page(viewport=PHONE, color_scheme="dark")
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in ("index", "questions", "glossary", "instructors", *(f"notebooks/{name}" for name in NAMES)):
        page.goto(f"{address}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        for part in ("body", "article p", "article pre", "article td"):
            seen = page.locator(part).first
            if seen.count():
                light, dark = (
                    sum(map(int, re.findall(r"\d+", seen.evaluate(f"e => getComputedStyle(e).{what}"))[:3]))
                    for what in ("color", "backgroundColor")
                )
                assert light > 3 * 128 > dark, f"{name}, {part}: light on dark"
    assert errors == []
    page.close()


def test_search_finds_every_word_of_the_glossary(address: str, browser: Any) -> None:
    page = browser.new_page()
    for names, _ in pages.glossary():
        page.goto(f"{address}/search.html?q={names[0]}")
        page.locator('#search-results a[href*="glossary.html"]').first.wait_for(timeout=20_000)
    page.close()
