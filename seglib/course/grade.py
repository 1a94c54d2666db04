"""Marking: runs the course's own checks on the answers in handed-in notebooks, into a CSV."""

import ast
import json
import os
import re
import secrets
import sys
import tempfile
from pathlib import Path

import nbformat
import pandas as pd
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from seglib.files import PROJECT, tell, write_atomic

COLUMNS = ("file", "notebook", "exercise", "status", "message")
OURS = "from seglib.course.quiz import quiz\n_ours = {'quiz': quiz, **vars(globals().get('checks', quiz))}"
Row = tuple[str, str, str, str]


class _ThisPython(KernelSpecManager):
    """Starts kernels on the interpreter that runs, whichever is registered under the name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
        return KernelSpec(argv=command)


def grade(folder: Path, /, *, output: Path = Path("grades.csv"), seconds: int = 120) -> None:
    """Mark handed-in notebooks by the course's own checks: a CSV with a line for each exercise.

    Their code runs with your rights, in a kernel and a temporary folder of its own.

    Args:
        folder: holds notebooks, in folders of any depth.
        output: the CSV, with columns file, notebook, exercise, status and message.
        seconds: time limit of a cell.
    """
    paths = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not paths:
        raise FileNotFoundError(f"{folder}: expected notebooks (*.ipynb) in this folder, found none")
    rows = []
    for path in paths:
        found = grade_notebook(path, seconds)
        rows += [(path.relative_to(folder), *row) for row in found]
        tell(f"{path.relative_to(folder)}: {sum(row[2] == 'correct' for row in found)} of {len(found)} correct")
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_atomic(output, lambda file: table.to_csv(file, index=False, lineterminator="\n"))


def grade_notebook(path: Path, seconds: int) -> list[Row]:
    """Marks one notebook; returns notebook, exercise, status and message for each of its exercises.

    The status is that of a `Verdict`, or "error" where none was reached. The course's imports and the exercises' cells
    are run; of other cells that differ from the course's, only what they import and define.
    """
    try:
        cells = [cell.source for cell in _code_cells(path)]
    except (ValueError, OSError, KeyError, AttributeError) as error:  # not JSON, or not a notebook
        return [("", "", "error", f"cannot be read: {error}"[:300])]
    names = sorted(p.stem for p in (PROJECT / "notebooks").glob("*.ipynb"))
    imported = re.findall(r"^from seglib\.course\.checks import (\w+)", "\n".join(cells), re.MULTILINE)
    name = next((n for n in names if n in path.stem), None) or next((n for n in names if n[3:] in imported), None)
    if name is None:
        return [("", "", "error", "neither its name nor its imports are those of a notebook of the course")]
    original = _code_cells(PROJECT / "notebooks" / f"{name}.ipynb")
    calls = [ast.parse(cell.source).body[-1].value for cell in original if _tagged(cell, "exercise", "quiz")]
    tasks = {f"{ast.unparse(call.func)}(": call for call in calls}
    # An answer is in the last cell that calls its check: Colab does not keep the cells' ids.
    homes = {begins: max((i for i, c in enumerate(cells) if begins in c), default=None) for begins in tasks}
    mark = secrets.token_hex(8)  # before each verdict, so that nothing that an answer prints is taken for one
    run = [*(cell.source for cell in original if _tagged(cell, "imports")), OURS]
    first = len(run)  # of the cells that are not the course's own
    judged: dict[str, int] = {}
    for index, source in enumerate(cells):
        mine = [begins for begins, home in homes.items() if home == index]
        if not mine and source.strip() not in {cell.source.strip() for cell in original}:
            called = tuple(begins for begins in tasks if begins in source)  # an answer that is judged further below
            lines = (line for line in source.splitlines() if not line.startswith(called))
            run.append("\n".join(lines) if called else _definitions(source))
        for begins in mine:
            judged[begins] = len(run) + 1
            answer = "\n".join(line for line in source.splitlines() if not line.startswith(begins))
            run += [answer, _judge(tasks[begins], mark)]
    done, ended = _execute(run, first, seconds)
    rows: list[Row] = []
    for number, begins in enumerate(tasks, start=1):
        label = f"{int(name[:2])}.{'quiz' if begins == 'quiz(' else number}"
        if begins not in judged:
            rows.append((name, label, "not attempted", f"no cell calls {begins}...)"))
            continue
        answer, verdict = done[judged[begins] - 1], done[judged[begins]]
        printed = "".join(output.text for output in verdict.outputs if output.output_type == "stream")
        lines = [line.removeprefix(mark) for line in printed.splitlines() if line.startswith(mark)]
        if lines:
            rows += [(name, *found) for found in json.loads(lines[-1])]
            continue
        ran = *done[:first], answer, verdict
        errors = [out for cell in ran for out in cell.outputs if out.output_type == "error"]
        said = f"{errors[0].ename}: {errors[0].evalue}" if errors else ended or "no verdict"
        said = f"takes longer than {seconds} s" if said.startswith("KeyboardInterrupt") else said
        rows.append((name, label, "error", said[:300]))
    return rows


def _code_cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def _tagged(cell: NotebookNode, *tags: str) -> bool:
    return not set(tags).isdisjoint(cell.metadata.get("tags", []))


def _definitions(source: str) -> str:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic command, or a mistake
        return ""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, kept))


def _judge(call: ast.Call, mark: str) -> str:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
    return (
        f"_found = _ours[{name!r}]({', '.join(map(ast.unparse, call.args))})\n"
        f"_rows = [[v.exercise, v.status, v.message] for v in getattr(_found, 'verdicts', [_found])]\n"
        f"print({mark!r} + __import__('json').dumps(_rows))"
    )


def _execute(sources: list[str], first: int, seconds: int) -> tuple[list[NotebookNode], str]:
    """Runs cells in a temporary folder; returns them with their outputs, and why they ended early, if they did.

    The limit is for the cells from `first` on: the course's own imports may be slow on a busy machine.
    """
    nb = new_notebook(cells=[new_code_cell(source) for source in sources])
    environment = {name: value for name, value in os.environ.items() if name not in ("SEGLIB_DATA", "MPLBACKEND")}
    with tempfile.TemporaryDirectory() as folder:
        environment |= {"PYTHONPATH": str(PROJECT), "SEGLIB_RUNS": folder}
        kernel = AsyncKernelManager(kernel_spec_manager=_ThisPython())
        where = {"metadata": {"path": folder}}
        client = NotebookClient(nb, km=kernel, resources=where, allow_errors=True, interrupt_on_timeout=True)
        client.timeout_func = lambda cell: None if any(cell is own for own in nb.cells[:first]) else seconds
        try:
            client.execute(env=environment)
        except (DeadKernelError, CellTimeoutError, RuntimeError) as error:
            return nb.cells, str(error).splitlines()[0]
    return nb.cells, ""
