"""Runs notebooks again and stores their outputs in one normal form; --check verifies that form without running.

    python tools/notebooks.py [--check | --no-run] [NOTEBOOK ...]

NOTEBOOK is a path or the name of a file in notebooks/; without one, all of them.
"""

import argparse
import asyncio
import base64
import getpass
import hashlib
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"

START_SECONDS = 120  # a kernel starts in 2 s, on a loaded machine in 30
CELL_SECONDS = 900
MAX_CELL_LINES = 30
MAX_IMAGE_BYTES = 150_000
MAX_NOTEBOOK_BYTES = 2_000_000

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SKIPPED_TAG = "nbval-skip"
RAISES_TAG = "raises-exception"  # the one name that nbval, nbclient and JupyterLab's "Run All" all know
HOME_PATH = re.compile(r"(?<![\w.~])(?:/(?:home|root|Users|tmp|work)/[\w.-]+|[A-Za-z]:\\+Users\\+\w+)")
ANY_PATH = re.compile(
    r"(?<![\w.~<])(?:/(?:home|root|Users|tmp|work|content|mnt|opt|private|usr|var)/[\w.-]+|[A-Z]:\\+\w+)"
)
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
IMAGE_WITHOUT_ALT = re.compile(r"!\[\s*\]\(|<img\b(?![^>]*\balt=[\"'][^\"']+)[^>]*>", re.IGNORECASE)


class KernelStartError(RuntimeError):
    """The kernel failed or hung before the first cell ran."""


def kernel_environment() -> dict[str, str]:
    """The environment variables a notebook's kernel gets, when outputs are stored and when nbval compares them.

    Without SEGLIB_DATA, so that outputs are those of the bundled data on every machine, and without MPLBACKEND, which
    would turn off the pictures.
    """
    return {name: value for name, value in os.environ.items() if name not in ("SEGLIB_DATA", "MPLBACKEND")}


def execute(nb: NotebookNode, folder: Path, cell_seconds: int = CELL_SECONDS) -> None:
    """Runs all cells of `nb` in place, in `folder`, on this interpreter; a kernel that does not start is tried twice.

    Raises:
        KernelStartError: both starts failed.
        CellExecutionError, CellTimeoutError: a cell raised (without the tag raises-exception) or took too long.
    """
    try:
        asyncio.run(_attempt(nb, folder, cell_seconds))
    except KernelStartError as error:
        print(f"  {error}; trying once more", file=sys.stderr)
        asyncio.run(_attempt(nb, folder, cell_seconds))


async def _attempt(nb: NotebookNode, folder: Path, cell_seconds: int) -> None:
    kernel = AsyncKernelManager(kernel_name=CURRENT_ENV_KERNEL_NAME, kernel_spec_manager=NbvalKernelspecManager())
    started = asyncio.Event()
    client = NotebookClient(
        nb,
        km=kernel,
        timeout=cell_seconds,
        startup_timeout=START_SECONDS,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda **_: started.set(),
    )
    run = asyncio.ensure_future(client.async_execute(env=kernel_environment()))
    begun = asyncio.ensure_future(started.wait())
    try:
        done, _ = await asyncio.wait({run, begun}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise KernelStartError(f"the kernel did not start in {START_SECONDS} s")
        if run in done and (error := run.exception()) and not started.is_set():
            raise KernelStartError(f"the kernel did not start ({error})") from error
        await run
    finally:
        begun.cancel()
        run.cancel()
        if kernel.has_kernel:
            await kernel.shutdown_kernel(now=True)


def normalise(nb: NotebookNode) -> NotebookNode:
    """`nb` in the form it is committed in, changed in place: what differs from run to run or from user to user is gone.

    Kernel name, metadata (tags and folded cells stay), missing ids, widget views (their text stays), and the folders in
    tracebacks. Wrong content, an order of execution for one, is not mended here: `problems` reports it.
    """
    nb.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    nb.nbformat, nb.nbformat_minor = 4, 5
    ids: set[str] = set()
    for cell in nb.cells:
        cell.metadata = NotebookNode({k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter") and v})
        if "nbval-raises-exception" in cell.metadata.get("tags", []):
            cell.metadata.tags = [RAISES_TAG if t == "nbval-raises-exception" else t for t in cell.metadata.tags]
        cell.id = _stable_id(cell, ids)
        if cell.cell_type == "code":
            for output in cell.outputs:
                _normalise_output(output, cell.execution_count)
    return nb


def _stable_id(cell: NotebookNode, taken: set[str]) -> str:
    """The cell's own id; for a cell without one, or with a copied one, an id made from its source."""
    name, copy = cell.get("id", ""), 0
    while not name or name in taken:
        name = hashlib.sha256(f"{copy}{cell.source}".encode()).hexdigest()[:8]
        copy += 1
    taken.add(name)
    return name


def _normalise_output(output: NotebookNode, execution_count: int | None) -> None:
    if output.output_type == "execute_result":
        output.execution_count = execution_count
    if output.output_type in ("execute_result", "display_data"):
        output.data.pop(WIDGET_VIEW, None)
        output.metadata.pop(WIDGET_VIEW, None)
    if output.output_type == "error":
        home = str(Path.home())
        for folder, short in ((str(ROOT) + os.sep, ""), (sys.prefix, "<python>"), (sys.base_prefix, "<python>")):
            for written in (folder, folder.replace(home, "~", 1)):
                output.traceback = [line.replace(written, short) for line in output.traceback]


def problems(nb: NotebookNode, user: str | None = None) -> list[str]:
    """What keeps `nb` from being committed, one line each; empty if all is well.

    Args:
        nb: a notebook in normal form.
        user: a login name that must not stand in an output.
    """
    found = []
    expected = 1
    for index, cell in enumerate(nb.cells):
        said = _source_problems(cell)
        if cell.cell_type == "code":
            if cell.execution_count != expected:
                said.append(f"execution count is {cell.execution_count}, expected {expected}: run the whole notebook")
            expected += 1
            tags = cell.metadata.get("tags", [])
            for output in cell.outputs:
                said += _output_problems(output, tags, user)
        found += [f"cell {index}: {line}" for line in said]
    size = len(serialise(nb))
    if size > MAX_NOTEBOOK_BYTES:
        found.append(f"{size / 1e6:.1f} MB, at most {MAX_NOTEBOOK_BYTES / 1e6:.0f} MB")
    return found


def _source_problems(cell: NotebookNode) -> list[str]:
    said = []
    if path := HOME_PATH.search(cell.source):
        said.append(f"absolute path {path.group()} in the source")
    if cell.cell_type == "markdown" and (image := IMAGE_WITHOUT_ALT.search(cell.source)):
        said.append(f"picture without alt text: {image.group()}")
    if cell.cell_type == "code":
        lines = len(cell.source.splitlines())
        if not cell.source.strip():
            said.append("empty code cell")
        if lines > MAX_CELL_LINES:
            said.append(f"{lines} lines, at most {MAX_CELL_LINES}: move code to seglib")
        if "NBVAL_RAISES_EXCEPTION" in cell.source:
            said.append(f"marked by a comment that only nbval reads: use the tag {RAISES_TAG}")
        if SKIPPED_TAG in cell.metadata.get("tags", []) or "NBVAL_SKIP" in cell.source:
            said.append("marked to be skipped: no test runs it")
    return said


def _output_problems(output: NotebookNode, tags: list[str], user: str | None) -> list[str]:
    if output.output_type == "error":
        said = [] if RAISES_TAG in tags else [f"raised {output.ename}: {output.evalue}"]
        texts = [output.evalue, *output.traceback]
    elif output.output_type == "stream":
        said = [f"printed to stderr: {output.text.strip()[:200]}"] if output.name == "stderr" else []
        texts = [output.text]
    else:
        said = []
        texts = [str(text) for kind, text in output.data.items() if kind.startswith("text/")]
        for kind, data in output.data.items():
            if kind in ("image/png", "image/jpeg") and (size := len(base64.b64decode(data))) > MAX_IMAGE_BYTES:
                said.append(f"picture of {size / 1000:.0f} KB, at most {MAX_IMAGE_BYTES // 1000} KB")
            if kind.startswith("image/") and not {**output.metadata, **output.metadata.get(kind, {})}.get("alt"):
                said.append("picture without alt text: show it with seglib.course.figures.png(figure, alt)")
    for text in texts:
        if path := ANY_PATH.search(text):
            said.append(f"absolute path {path.group()} in an output")
        if user and re.search(rf"\b{re.escape(user)}\b", text):
            said.append(f"user name {user} in an output")
        if address := ADDRESS.search(text):
            said.append(f"memory address {address.group()} in an output: it differs in every run")
    return said


def serialise(nb: NotebookNode) -> bytes:
    """The bytes of the notebook's file."""
    return (nbformat.writes(nb) + "\n").encode()


def check(path: Path) -> list[str]:
    """What is wrong with a stored notebook, without running it: `problems`, and whether it is in normal form."""
    stored = path.read_bytes()
    nb = normalise(nbformat.reads(stored.decode(), as_version=4))
    found = problems(nb)
    if serialise(nb) != stored:
        found.insert(0, "not in normal form: run make notebooks NB=" + path.stem)
    return found


def store(path: Path, run: bool = True) -> list[str]:
    """Runs the notebook at `path`, unless `run` is False, and stores it in normal form; what is wrong is returned.

    Nothing is written if anything is wrong.
    """
    nb = normalise(nbformat.read(path, as_version=4))
    if run:
        try:
            execute(nb, path.parent)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, KernelStartError) as error:
            return [str(error)]
        normalise(nb)
    login = getpass.getuser()
    # "root" and names of one or two letters stand in any text.
    found = problems(nb, user=login if login != "root" and len(login) > 2 else None)
    if not found:
        from seglib.files import write_atomic

        nbformat.validate(nb)
        write_atomic(path, lambda file: file.write(serialise(nb)))
    return found


def find(names: list[str]) -> list[Path]:
    """The notebooks that `names` name, all of notebooks/ if there are none.

    Raises:
        FileNotFoundError: a name fits no notebook; names it and those there are.
    """
    there = sorted(NOTEBOOKS.glob("*.ipynb"))
    found = []
    for name in names:
        tried = [Path(name), NOTEBOOKS / name, NOTEBOOKS / f"{name}.ipynb"]
        path = next((p for p in tried if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"{name}: no such notebook; there are: {', '.join(p.stem for p in there) or 'none'}"
            )
        found.append(path)
    return found if names else there


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="only verify that what is stored is in normal form")
    mode.add_argument("--no-run", action="store_true", help="bring into normal form without running (text was edited)")
    options = parser.parse_args(arguments)
    try:
        paths = find(options.notebooks)
    except FileNotFoundError as error:
        parser.error(str(error))
    failed = False
    for path in paths:
        begun = time.monotonic()
        found = check(path) if options.check else store(path, run=not options.no_run)
        print(f"{path.name}: {'FAILED' if found else 'ok'} ({time.monotonic() - begun:.0f} s)", flush=True)
        for line in found:
            print(f"  {line}", file=sys.stderr, flush=True)
        failed = failed or bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
