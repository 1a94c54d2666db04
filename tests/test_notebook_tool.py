"""tools/notebooks.py on tiny notebooks, and the retry with which nbval starts kernels."""

import asyncio
import base64
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks as tool

ROOT = Path(__file__).resolve().parent.parent
HOME = "/" + "home"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def write(path: Path, *cells: nbformat.NotebookNode) -> Path:
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def code(source: str, *tags: str, outputs: tuple = (), count: int | None = 1) -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": list(tags)}, outputs=list(outputs), execution_count=count)


def picture(size: int, alt: str = "A street") -> nbformat.NotebookNode:
    data = {"image/png": base64.b64encode(bytes(size)).decode()}
    return new_output("display_data", data=data, metadata={"image/png": {"alt": alt}})


def found(*cells: nbformat.NotebookNode, user: str | None = None) -> str:
    return "\n".join(tool.problems(tool.normalise(new_notebook(cells=list(cells))), user))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with a result, a picture, a widget and an expected exception, stored by the tool."""
    path = write(
        tmp_path_factory.mktemp("nb") / "tiny.ipynb",
        new_markdown_cell("# Title", metadata={"editable": True}),
        code("import os\nimport matplotlib\nfrom IPython.display import Image, display", count=7),
        code("os.environ.get('SEGLIB_DATA', 'bundled')", count=None),
        code(f"display(Image(data=bytes.fromhex('{PNG.hex()}'), alt='One dot'))\nmatplotlib.get_backend()", count=3),
        code("import ipywidgets\ndisplay(ipywidgets.IntSlider(value=3))"),
        code("from seglib.studies.papers import published\npublished('fcn', 9)", "nbval-raises-exception"),
        code("print(1 + 1)"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGLIB_DATA", "elsewhere")
        patch.setenv("MPLBACKEND", "Agg")
        assert tool.store(path) == []
    return path


def test_execution_stores_outputs(executed: Path) -> None:
    cells = [c for c in nbformat.read(executed, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == [1, 2, 3, 4, 5, 6]
    assert cells[1].outputs[0].data["text/plain"] == "'bundled'"
    assert base64.b64decode(cells[2].outputs[0].data["image/png"]) == PNG
    assert "inline" in cells[2].outputs[1].data["text/plain"]
    assert cells[5].outputs[0].text == "2\n"


def test_normal_form(executed: Path) -> None:
    nb = nbformat.read(executed, as_version=4)
    assert nb.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert nb.cells[0].metadata == {}
    slider = nb.cells[4].outputs[0].data
    assert tool.WIDGET_VIEW not in slider
    assert slider["text/plain"].startswith("IntSlider(value=3")
    failing = nb.cells[5]
    assert failing.metadata.tags == ["raises-exception"]
    traceback = "\n".join(failing.outputs[0].traceback)
    assert "seglib" in traceback
    assert str(ROOT) not in traceback
    assert str(Path.home()) not in traceback


def test_tracebacks_name_no_folder_of_this_machine() -> None:
    lines = [f"File {ROOT}{os.sep}seglib{os.sep}papers.py:3", f"{sys.prefix}/lib/torch.py", f"{sys.base_prefix}/os.py"]
    error = new_output("error", ename="E", evalue="", traceback=lines)
    cell = code("f()", "raises-exception", outputs=(error,))
    assert found(cell) == ""
    assert cell.outputs[0].traceback[0] == f"File seglib{os.sep}papers.py:3"


def test_stored_notebook_passes_the_check(executed: Path) -> None:
    assert tool.check(executed) == []


def test_second_run_changes_nothing(executed: Path) -> None:
    before = executed.read_bytes()
    assert tool.store(executed) == []
    assert executed.read_bytes() == before


def test_nbval_accepts_what_the_tool_stores_and_no_other_output(executed: Path) -> None:
    """In a folder with the course's conftest: all cells pass, although SEGLIB_DATA is set; a changed number fails."""
    folder = executed.parent
    (folder / "conftest.py").write_bytes((ROOT / "notebooks" / "conftest.py").read_bytes())
    wrong = folder / "wrong.ipynb"
    nb = nbformat.read(executed, as_version=4)
    nb.cells = [nb.cells[-1]]
    nb.cells[0].outputs[0].text = "3\n"
    nbformat.write(nb, wrong)
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "--rootdir", str(folder), "-o", f"pythonpath={ROOT}", executed.name, wrong.name],
        cwd=folder,
        env={**os.environ, "SEGLIB_DATA": "elsewhere", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 failed, 6 passed" in run.stdout, run.stdout
    assert "wrong.ipynb::Cell 0" in run.stdout


def test_failing_cell_leaves_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path / "bad.ipynb", code("x = 1"), code("raise ValueError('too small')"))
    before = path.read_bytes()
    assert tool.main([str(path)]) == 1
    assert path.read_bytes() == before
    printed = capsys.readouterr()
    assert "bad.ipynb: FAILED" in printed.out
    assert "ValueError" in printed.err
    assert "too small" in printed.err
    assert os.listdir(tmp_path) == ["bad.ipynb"]


def test_slow_cell_is_stopped(tmp_path: Path) -> None:
    nb = new_notebook(cells=[code("import time; time.sleep(60)")])
    begun = time.monotonic()
    with pytest.raises(tool.CellTimeoutError):
        tool.execute(nb, tmp_path, cell_seconds=1)
    assert time.monotonic() - begun < 30


def test_kernel_that_hangs_at_start_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    start, calls = tool.AsyncKernelManager.start_kernel, []

    async def hang_once(self: tool.AsyncKernelManager, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            try:
                await asyncio.sleep(600)
            finally:
                monkeypatch.undo()  # the second start has the usual time
        await start(self, **kwargs)

    monkeypatch.setattr(tool.AsyncKernelManager, "start_kernel", hang_once)
    monkeypatch.setattr(tool, "START_SECONDS", 1)
    nb = new_notebook(cells=[code("2 + 2")])
    tool.execute(nb, tmp_path)
    assert nb.cells[0].outputs[0].data["text/plain"] == "4"
    assert calls == [1]
    assert "the kernel did not start in 1 s; trying once more" in capsys.readouterr().err


def test_kernel_that_never_starts_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: tool.AsyncKernelManager, **kwargs: object) -> None:
        raise RuntimeError("no ports")

    monkeypatch.setattr(tool.AsyncKernelManager, "start_kernel", fail)
    path = write(tmp_path / "n.ipynb", code("1"))
    assert tool.store(path) == ["the kernel did not start (no ports)"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (new_output("stream", name="stderr", text="Warning"), "printed to stderr: Warning"),
        (
            new_output("stream", name="stdout", text=f"saved to {HOME}/jane/x.pt"),
            f"absolute path {HOME}/jane in an out",
        ),
        (new_output("stream", name="stdout", text="D:\\data\\jane"), "absolute path D:\\data"),
        (new_output("execute_result", data={"text/html": f"<b>{HOME}/jane</b>"}), "absolute path"),
        (new_output("execute_result", data={"text/plain": "<A at 0x7f3a10e4>"}), "memory address 0x7f3a10e4"),
        (new_output("stream", name="stdout", text="made by jane."), "user name jane"),
        (new_output("error", ename="ValueError", evalue="no", traceback=[]), "raised ValueError: no"),
        (picture(150_001), "picture of 150 KB, at most 150 KB"),
        (picture(9, alt=""), "picture without alt text"),
    ],
)
def test_bad_output_is_reported(output: nbformat.NotebookNode, said: str) -> None:
    assert said in found(code("f()", outputs=(output,)), user="jane")


@pytest.mark.parametrize(
    "output",
    [
        new_output("stream", name="stdout", text="output stride 16/8, data/toy_voc, ~0.5, and/or, janes"),
        new_output("execute_result", data={"text/html": "<td>a</td>"}, execution_count=1),
        picture(150_000),
    ],
)
def test_good_output_is_not_reported(output: nbformat.NotebookNode) -> None:
    assert found(code("f()", outputs=(output,)), user="jane") == ""


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (code("\n".join(["x = 1"] * 31)), "31 lines, at most 30"),
        (code("x = 1", count=None), "execution count is None, expected 1"),
        (code("  "), "empty code cell"),
        (code("# NBVAL_RAISES_EXCEPTION\n1 / 0"), "use the tag raises-exception"),
        (code("x", "nbval-skip"), "marked to be skipped"),
        (code(f"open('{HOME}/jane/x')"), f"absolute path {HOME}/jane in the source"),
        (new_markdown_cell("![](a.png)"), "picture without alt text"),
        (new_markdown_cell("<img src='a.png'>"), "picture without alt text"),
        (new_markdown_cell("<img src='a.png' alt=''>"), "picture without alt text"),
    ],
)
def test_bad_source_is_reported(cell: nbformat.NotebookNode, said: str) -> None:
    assert said in found(cell)


def test_good_source_is_not_reported() -> None:
    cells = [
        new_markdown_cell("![A street](a.png) <img src='a.png' alt='A street'> https://a.org/" + "home/page"),
        code("\n".join(["x = 1"] * 30)),
    ]
    assert found(*cells) == ""


def test_large_notebook_is_reported() -> None:
    outputs = tuple(new_output("stream", name=name, text="x" * 1_000_000) for name in ("stdout", "stdout"))
    assert "2.0 MB, at most 2 MB" in found(code("f()", outputs=outputs))


def test_ids_are_stable() -> None:
    nb = new_notebook(cells=[code("a"), code("b")])
    own = nb.cells[1].id = nb.cells[0].id
    first, second = tool.normalise(nb).cells
    assert first.id == own != second.id
    without = [new_notebook(cells=[code("a"), code("a")]) for _ in range(2)]
    for nb in without:
        for cell in nb.cells:
            del cell["id"]
    ids = [[cell.id for cell in tool.normalise(nb).cells] for nb in without]
    assert ids[0] == ids[1]
    assert ids[0][0] != ids[0][1]


def test_check_sees_what_an_editor_left(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    nb = tool.normalise(new_notebook(cells=[new_markdown_cell("text")]))
    path.write_bytes(tool.serialise(nb))
    assert tool.check(path) == []
    nb.cells[0].metadata["scrolled"] = True
    nbformat.write(nb, path)
    assert tool.check(path) == ["not in normal form: run make notebooks NB=n"]
    assert tool.main(["--check", str(path)]) == 1
    assert tool.main(["--no-run", str(path)]) == 0
    assert tool.main(["--check", str(path)]) == 0


def test_what_is_wrong_is_not_stored(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path / "n.ipynb", new_markdown_cell("![](a.png)", metadata={"scrolled": True}))
    before = path.read_bytes()
    assert tool.main(["--no-run", str(path)]) == 1
    assert path.read_bytes() == before
    assert "cell 0: picture without alt text" in capsys.readouterr().err


def test_order_of_execution_is_kept_and_reported() -> None:
    said = found(code("a", count=1), code("b", count=3), code("c", count=2))
    assert said.splitlines() == [
        "cell 1: execution count is 3, expected 2: run the whole notebook",
        "cell 2: execution count is 2, expected 3: run the whole notebook",
    ]


def test_colab_accelerator_is_kept() -> None:
    nb = new_notebook(metadata={"accelerator": "GPU", "colab": {"name": "x"}})
    assert set(tool.normalise(nb).metadata) == {"accelerator", "kernelspec", "language_info"}


def test_unknown_notebook_is_an_error(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        tool.main(["99_nothing"])
    assert "99_nothing: no such notebook; there are:" in capsys.readouterr().err


@pytest.fixture
def nbval_conftest() -> object:
    spec = importlib.util.spec_from_file_location("notebooks_conftest", ROOT / "notebooks" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_nbval_kernel_is_started_twice_at_most(
    nbval_conftest: object, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "hangs" and sys.platform == "win32":
        pytest.skip("Windows has no SIGALRM: a hanging start is not interrupted there")
    starts = []

    def kernel(name: str) -> str:
        starts.append(name)
        if len(starts) == 1:
            if how == "fails":
                raise RuntimeError("Kernel died")
            time.sleep(20)
        return "kernel"

    monkeypatch.setattr(nbval_conftest, "RunningKernel", kernel)
    monkeypatch.setattr(nbval_conftest, "START_SECONDS", 1)
    with pytest.warns(UserWarning, match="trying once more"):
        assert nbval_conftest.start_kernel("python3") == "kernel"
    assert len(starts) == 2


def test_nbval_kernel_that_fails_twice_is_an_error(nbval_conftest: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel() -> None:
        raise RuntimeError("Kernel died")

    monkeypatch.setattr(nbval_conftest, "RunningKernel", kernel)
    with pytest.warns(UserWarning, match="trying once more"), pytest.raises(RuntimeError, match="Kernel died"):
        nbval_conftest.start_kernel()
