"""Notebooks as a learner runs them: `make lab`, a real browser, every cell, every slider; nothing may go wrong.

Needs make, Chromium and playwright (`pip install -e '.[browser]'`). The longer notebooks run with SEGLIB_BROWSER_ALL=1.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICK = ("00_start_here", "02_atrous_convolution")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

START_SECONDS = 300  # JupyterLab and a kernel start in 10 s, on a loaded machine in minutes
RUN_SECONDS = 1800

ELSEWHERE = re.compile(r"https?://(?!localhost[:/])")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"  # the one picture a notebook may fetch
NOTEBOOK = "window.jupyterapp.shell.currentWidget"
BUSY = f"{NOTEBOOK}.sessionContext.session?.kernel?.status !== 'idle' || window.running"
# Notes how wide the progress bars in the page get, however briefly.
OBSERVE = """() => {
    window.widths = [];
    const note = () => document.querySelectorAll('.jupyter-widgets .progress-bar').forEach(bar => {
        const seen = bar.checkVisibility() && bar.parentElement.getBoundingClientRect().width > 0;
        if (seen && !window.widths.includes(bar.style.width)) window.widths.push(bar.style.width);
    });
    new MutationObserver(note).observe(
        document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ['style']});
}"""
# The cell that computes is scrolled to, as a reader would.
FOLLOW = """() => {
    const busy = [...document.querySelectorAll('.jp-CodeCell')].find(
        cell => cell.querySelector('.jp-InputPrompt')?.textContent.includes('[*]'));
    (busy?.querySelector('.jp-OutputArea-output') ?? busy)?.scrollIntoView({block: 'center'});
}"""
PICTURES = """async () => {
    let seen = 0;
    for (const picture of document.querySelectorAll('.jp-Notebook .jp-OutputArea-output img:not(.widget-image)')) {
        picture.scrollIntoView({block: 'center'});
        await picture.decode().catch(() => {});
        await new Promise(resolve => setTimeout(resolve, 50));
        seen += picture.checkVisibility() && picture.naturalWidth > 1 && picture.getBoundingClientRect().width > 1;
    }
    return seen;
}"""
# What the kernel says outside of cells: errors in the functions that widgets call.
LISTEN = f"""() => {{
    window.said = [];
    {NOTEBOOK}.sessionContext.iopubMessage.connect((_, message) => {{
        const content = message.content;
        if (message.header.msg_type === 'error') window.said.push(`${{content.ename}}: ${{content.evalue}}`);
        if (message.header.msg_type === 'stream' && content.name === 'stderr') window.said.push(content.text);
    }});
}}"""
EXPLORER = ".jp-Notebook .jp-OutputArea-output .jupyter-widgets:has(> img.widget-image)"
UPLOAD, PICTURE = ".widget-upload", next(ROOT.glob("data/toy_voc/**/*.jpg"))
CONTROLS = {  # what takes the keyboard's focus, and the key that changes it
    ".noUi-handle": "ArrowRight",
    ".widget-toggle-buttons > button:not(.mod-active):nth-child(-n + 2)": "Enter",
}
DIGEST = """async picture => {
    const bytes = await (await fetch(picture.src)).arrayBuffer();
    return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)).join();
}"""
REDRAW_SECONDS = 60  # one second, on a loaded machine many


@dataclass
class Visit:
    """What was seen of one notebook: outputs, pictures in view, widths of progress bars, what went wrong.

    redrawn: whether the picture changed, for each control of each explorer that was moved.
    """

    outputs: list[dict[str, Any]] = field(default_factory=list)
    pictures: int = 0
    progress: list[str] = field(default_factory=list)
    redrawn: list[bool] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def with_data(self, kind: str) -> list[dict[str, Any]]:
        return [output for output in self.outputs if any(name.startswith(kind) for name in output.get("data", {}))]

    @property
    def bars(self) -> list[dict[str, Any]]:
        """Outputs that are progress bars, which tqdm describes as 100%|...|."""
        widgets = self.with_data("application/vnd.jupyter.widget-view")
        return [output for output in widgets if "%|" in "".join(output["data"].get("text/plain", ""))]

    @property
    def faults(self) -> list[str]:
        """Errors and what was printed on stderr, in the cells' order."""
        errors = [f"{o['ename']}: {o['evalue']}" for o in self.outputs if o["output_type"] == "error"]
        return [str(o["text"]) for o in self.outputs if o.get("name") == "stderr"] + errors


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """`make lab` on a copy of the notebooks, so that saving changes nothing; its folder, address and token."""
    folder = tmp_path_factory.mktemp("lab")
    lab = SimpleNamespace(project=folder / "project", url="", token="")
    log, runtime = folder / "server.log", folder / "runtime"
    shutil.copytree(ROOT / "notebooks", lab.project / "notebooks", ignore=shutil.ignore_patterns(".ipynb_*"))
    for name in ("Makefile", "README.md", "data", "seglib"):
        (lab.project / name).symlink_to(ROOT / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name not in ("SEGLIB_DATA", "MPLBACKEND")}
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    environment |= {name: str(folder / name.lower()) for name in (*own, "IPYTHONDIR")}
    environment["JUPYTER_RUNTIME_DIR"] = str(runtime)
    # -o: this environment is taken as it is, and nothing is installed.
    command = ["make", "lab", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/installed"]
    command += [f"LAB_ARGS=--no-browser --port={port} --expose-app-in-browser"]
    with log.open("w") as out:
        options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": subprocess.STDOUT, "start_new_session": True}
        server = subprocess.Popen(command, cwd=lab.project, env=environment, **options)
    end = time.monotonic() + START_SECONDS
    try:
        while not lab.url:  # the server writes its address and its token down once it listens
            assert time.monotonic() < end and server.poll() is None, f"make lab: {log.read_text()[-2000:]}"
            time.sleep(0.5)
            for info in runtime.glob("jpserver-*.json"):
                with contextlib.suppress(json.JSONDecodeError):  # it is being written
                    found = json.loads(info.read_text())
                    lab.url, lab.token = found["url"], found["token"]
        yield lab
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def explore(page: Any) -> list[bool]:
    """Moves each control of each explorer by keyboard, or uploads a picture; tells whether the picture changed."""

    def is_redrawn(before: str) -> bool:
        end = time.monotonic() + REDRAW_SECONDS
        while (same := picture.evaluate(DIGEST) == before) and time.monotonic() < end:
            if page.evaluate("() => window.said.length"):
                break
            time.sleep(0.2)
        return not same

    redrawn = []
    for box in page.locator(EXPLORER).all():
        picture = box.locator("> img.widget-image")
        for selector, key in CONTROLS.items():
            for control in box.locator(selector).all():
                before = picture.evaluate(DIGEST)
                control.focus()
                page.keyboard.press(key)
                redrawn.append(is_redrawn(before))
        for button in box.locator(UPLOAD).all():
            before = picture.evaluate(DIGEST)
            with page.expect_file_chooser() as chosen:
                button.click()
            chosen.value.set_files(PICTURE)
            redrawn.append(is_redrawn(before))
    return redrawn


def visit(lab: SimpleNamespace, browser: Any, name: str) -> Visit:
    """Opens notebook `name`, runs all its cells and looks at them."""
    seen = Visit()

    def answer(route: Any) -> None:
        if route.request.url == BADGE:
            route.fulfill(content_type="image/svg+xml", body="<svg xmlns='http://www.w3.org/2000/svg'/>")
        else:
            seen.console.append(f"asks another host for {route.request.url}")
            route.abort()

    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.route(ELSEWHERE, answer)
    page = context.new_page()
    page.set_default_timeout(START_SECONDS * 1000)
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on(
        "console", lambda line: seen.console.append(f"{line.text} {line.location}") if line.type == "error" else None
    )
    try:
        page.goto(f"{lab.url}lab/tree/notebooks/{name}.ipynb?token={lab.token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(f"() => {NOTEBOOK}?.sessionContext?.session?.kernel?.status === 'idle'")
        page.evaluate(OBSERVE)
        page.evaluate(
            "() => { window.running = true;"
            " window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.running = false; }) }"
        )
        end = time.monotonic() + RUN_SECONDS
        while page.evaluate(f"() => {BUSY}"):
            assert time.monotonic() < end, f"{name} still runs after {RUN_SECONDS} s"
            page.evaluate(FOLLOW)
            time.sleep(0.5)
        seen.progress = page.evaluate("() => window.widths")
        cells = page.evaluate(f"() => {NOTEBOOK}.content.model.toJSON().cells")
        seen.outputs = [output for cell in cells for output in cell.get("outputs", [])]
        seen.pictures = page.evaluate(PICTURES)
        page.evaluate(LISTEN)
        seen.redrawn = explore(page)
        seen.said = page.evaluate("() => window.said")
    finally:
        context.close()
    return seen


def test_faults_are_seen(lab: SimpleNamespace, browser: Any) -> None:
    """The check itself, on a notebook with a fault of each kind."""
    page = "<script>console.error('in the console')</script><script>throw Error('in the page')</script>"
    page += '<b style="background: url(https://example.org/a.png)">planted</b>'
    sources = [
        "import sys, time\nprint('on stderr', file=sys.stderr)",
        f"from IPython.display import HTML, Image, display\ndisplay(HTML({page!r}))",
        "display(Image(data=b'no picture', format='png'))",
        "from matplotlib.figure import Figure\nfrom seglib.course.explorer import Explorer, slider\n"
        "def draw(fail, size, same):\n    if fail > 1: raise ValueError('in a widget')\n"
        "    return Figure(figsize=(size, size))",
        "Explorer(draw, 'A square.', size=slider('size', (4, 8), 4), fail=slider('fail', (1, 2), 1), "
        "same=slider('same', (1, 2), 1))",
        "from tqdm.auto import tqdm\nfor _ in tqdm(range(40)):\n    time.sleep(0.2)",
        "raise ValueError('in a cell')",
    ]
    nb = new_notebook(cells=[*map(new_code_cell, sources)])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, lab.project / "notebooks" / "faults.ipynb")
    seen = visit(lab, browser, "faults")
    assert seen.faults == ["on stderr\n", "ValueError: in a cell"]
    said = "".join(seen.console)
    assert all(text in said for text in ("in the console", "in the page", "another host for https://example.org/a.png"))
    assert (len(seen.with_data("image/")), seen.pictures) == (1, 0)
    assert len(seen.progress) >= 2, "a bar that grows"
    assert seen.redrawn == [True, False, False] and any("in a widget" in text for text in seen.said)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_a_browser(lab: SimpleNamespace, browser: Any, path: Path) -> None:
    if path.stem not in QUICK and os.environ.get("SEGLIB_BROWSER_ALL") != "1":
        pytest.skip("takes minutes: set SEGLIB_BROWSER_ALL=1 to run every notebook in a browser")
    seen = visit(lab, browser, path.stem)
    assert seen.faults == seen.console == seen.said == []
    assert seen.pictures == len(seen.with_data("image/")) > 0
    if seen.bars:
        assert len(seen.progress) >= 2, "a bar that grows"
    assert all(seen.redrawn)
    if "xplorer(" in path.read_text(encoding="utf-8"):
        assert seen.redrawn, "an explorer whose controls move"
