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
from refusal import refused

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


def found(*cells: nbformat.NotebookNode, user: str | None = None) -> str:
    return "\n".join(tool.problems(tool.normalise(new_notebook(cells=list(cells))), user))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with a result, a picture, a widget and an expected exception, stored by the tool."""
    path = write(
        tmp_path_factory.mktemp("nb") / "tiny.ipynb",
        new_markdown_cell("# Title", metadata={"editable": True}),
        code("import os\nimport matplotlib\nfrom IPython.display import Image, display", count=7),
        code("os.environ.get('SEGLIB_DATA', 'bundled'), os.environ.get('OMP_NUM_THREADS')", count=None),
        code(f"display(Image(data=bytes.fromhex('{PNG.hex()}'), alt='One dot'))\nmatplotlib.get_backend()", count=3),
        code("import ipywidgets\ndisplay(ipywidgets.IntSlider(value=3))"),
        code("from seglib.metrics import cityscapes\ncityscapes.find_frames('a', 'b')", "nbval-raises-exception"),
        code("print(1 + 1)"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGLIB_DATA", "elsewhere")
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("OMP_NUM_THREADS", "1")
        assert tool.store(path) == []
    return path


def test_stored_notebook_is_in_normal_form_and_a_second_run_changes_nothing(executed: Path) -> None:
    nb = nbformat.read(executed, as_version=4)
    assert nb.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    title, *cells = nb.cells
    assert title.metadata == {}
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4, 5, 6]
    assert cells[1].outputs[0].data["text/plain"] == "('bundled', '1')"
    assert base64.b64decode(cells[2].outputs[0].data["image/png"]) == PNG
    assert "inline" in cells[2].outputs[1].data["text/plain"]
    slider = cells[3].outputs[0].data
    assert tool.WIDGET_VIEW not in slider and slider["text/plain"].startswith("IntSlider(value=3")
    assert cells[4].metadata.tags == ["raises-exception"]
    traceback = "\n".join(cells[4].outputs[0].traceback)
    assert "seglib" in traceback and str(ROOT) not in traceback and str(Path.home()) not in traceback
    assert cells[5].outputs[0].text == "2\n"
    assert tool.check(executed) == []
    before = executed.read_bytes()
    assert tool.store(executed) == []
    assert executed.read_bytes() == before


def test_tracebacks_name_no_folder_of_this_machine() -> None:
    lines = [f"File {ROOT}{os.sep}seglib{os.sep}papers.py:3", f"{sys.prefix}/lib/torch.py", f"{sys.base_prefix}/os.py"]
    error = new_output("error", ename="E", evalue="", traceback=lines)
    cell = code("f()", "raises-exception", outputs=(error,))
    assert found(cell) == ""
    assert cell.outputs[0].traceback[0] == f"File seglib{os.sep}papers.py:3"


def test_nbval_accepts_what_the_tool_stores_and_no_other_output(executed: Path) -> None:
    """With the course's conftest, cells have the tests' environment, less SEGLIB_DATA; a wrong number fails."""
    folder = executed.parent
    (folder / "conftest.py").write_bytes((ROOT / "notebooks" / "conftest.py").read_bytes())
    nb = nbformat.read(executed, as_version=4)
    nb.cells.append(code("print(1 + 1)", outputs=(new_output("stream", name="stdout", text="3\n"),)))
    nbformat.write(nb, folder / "wrong.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "nbval.plugin", "--nbval", "--nbval-current-env"]
    environment = {"SEGLIB_DATA": "elsewhere", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # of which nbval needs none
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--rootdir", str(folder), "-o", f"pythonpath={ROOT}", "wrong.ipynb"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 failed, 6 passed" in run.stdout and "wrong.ipynb::Cell 6" in run.stdout, run.stdout


def test_failing_cell_leaves_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path / "bad.ipynb", code("x = 1"), code("raise ValueError('too small')"))
    before = path.read_bytes()
    assert tool.main([str(path)]) == 1
    assert path.read_bytes() == before
    printed = capsys.readouterr()
    assert "bad.ipynb: FAILED" in printed.out and "ValueError" in printed.err and "too small" in printed.err
    assert os.listdir(tmp_path) == ["bad.ipynb"]


def test_slow_cell_is_stopped(tmp_path: Path) -> None:
    nb = new_notebook(cells=[code("import time; time.sleep(60)")])
    begun = time.monotonic()
    with pytest.raises(tool.CellTimeoutError):
        tool.execute(nb, tmp_path, cell_seconds=1)
    assert time.monotonic() - begun < 30


def test_failing_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    starts = []

    async def hang_and_fail(self: tool.AsyncKernelManager, **kwargs: object) -> None:
        starts.append(1)
        await asyncio.sleep(600 if len(starts) == 1 else 0)
        raise RuntimeError("no ports")

    monkeypatch.setattr(tool.AsyncKernelManager, "start_kernel", hang_and_fail)
    monkeypatch.setattr(tool, "START_SECONDS", 1)
    assert tool.store(write(tmp_path / "n.ipynb", code("1"))) == ["the kernel did not start (no ports)"]
    assert "the kernel did not start in 1 s; trying once more" in capsys.readouterr().err
    assert len(starts) == 2


def shows(kind: str, **content: object) -> nbformat.NotebookNode:
    return code("f()", outputs=(new_output(kind, **content),))


def prints(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return shows("stream", name=name, text=text)


def picture(size: int, alt: str = "A street") -> nbformat.NotebookNode:
    data = {"image/png": base64.b64encode(bytes(size)).decode()}
    return shows("display_data", data=data, metadata={"image/png": {"alt": alt}})


def test_bad_cell_is_reported() -> None:
    for cell, said in (
        (prints("Warning", "stderr"), "printed to stderr: Warning"),
        (prints(f"saved to {HOME}/jane/x.pt"), f"absolute path {HOME}/jane in an out"),
        (prints("D:\\data\\jane"), "absolute path D:\\data"),
        (shows("execute_result", data={"text/html": f"<b>{HOME}/jane</b>"}), "absolute path"),
        (shows("execute_result", data={"text/plain": "<A at 0x7f3a10e4>"}), "memory address 0x7f3a10e4"),
        (prints("made by jane."), "user name jane"),
        (shows("error", ename="ValueError", evalue="no", traceback=[]), "raised ValueError: no"),
        (prints("x" * 2_000_000), "2.0 MB, at most 2 MB"),
        (picture(150_001), "picture of 150 KB, at most 150 KB"),
        (picture(9, alt=""), "picture without alt text"),
        (new_markdown_cell("![](a.png)"), "picture without alt text"),
        (new_markdown_cell("<img src='a.png'>"), "picture without alt text"),
        (new_markdown_cell("<img src='a.png' alt=''>"), "picture without alt text"),
        (code("\n".join(["x = 1"] * 31)), "31 lines, at most 30"),
        (code("x = 1", count=2), "execution count is 2, expected 1: run the whole notebook"),
        (code("  "), "empty code cell"),
        (code("# NBVAL_RAISES_EXCEPTION\n1 / 0"), "use the tag raises-exception"),
        (code("x", "nbval-skip"), "marked to be skipped"),
        (code(f"open('{HOME}/jane/x')"), f"absolute path {HOME}/jane in the source"),
    ):
        assert said in found(cell, user="jane")


def test_good_cell_is_not_reported() -> None:
    for cell in (
        prints("output stride 16/8, data/toy_voc, ~0.5, and/or, janes"),
        shows("execute_result", data={"text/html": "<td>a</td>"}, execution_count=1),
        picture(150_000),
        new_markdown_cell("![A street](a.png) <img src='a.png' alt='A street'> https://a.org/" + "home/page"),
        code("\n".join(["x = 1"] * 30)),
    ):
        assert found(cell, user="jane") == ""


def test_ids_are_stable_and_an_editors_metadata_goes() -> None:
    nb = new_notebook(metadata={"accelerator": "GPU", "colab": {"name": "x"}})
    assert set(tool.normalise(nb).metadata) == {"kernelspec", "language_info"}
    nb = new_notebook(cells=[code("a"), code("b")])
    own = nb.cells[1].id = nb.cells[0].id
    first, second = tool.normalise(nb).cells
    assert first.id == own != second.id
    ids = []
    for _ in range(2):
        nb = new_notebook(cells=[code("a"), code("a")])
        for cell in nb.cells:
            del cell["id"]
        ids.append([cell.id for cell in tool.normalise(nb).cells])
    assert ids[0] == ids[1] and len(set(ids[0])) == 2


def test_check_sees_what_an_editor_left(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
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
    wrong = write(path, new_markdown_cell("![](a.png)", metadata={"scrolled": True})).read_bytes()
    assert tool.main(["--no-run", str(path)]) == 1
    assert path.read_bytes() == wrong, "what is wrong is not stored"
    assert "cell 0: picture without alt text" in capsys.readouterr().err


def test_unknown_notebook_is_an_error(capsys: pytest.CaptureFixture) -> None:
    refused(None, tool.main, ["99_nothing"], error=SystemExit)
    assert "99_nothing: no such notebook; there are:" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["fails", "hangs", "fails twice"])
def test_nbval_kernel_is_started_twice_at_most(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "hangs" and sys.platform == "win32":
        pytest.skip("Windows has no SIGALRM: a hanging start is not interrupted there")
    spec = importlib.util.spec_from_file_location("notebooks_conftest", ROOT / "notebooks" / "conftest.py")
    nbval_conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nbval_conftest)
    starts = []

    def kernel(name: str) -> str:
        starts.append(name)
        if how == "hangs" and len(starts) == 1:
            time.sleep(20)
        elif len(starts) == 1 or how == "fails twice":
            raise RuntimeError("Kernel died")
        return "kernel"

    monkeypatch.setattr(nbval_conftest, "RunningKernel", kernel)
    monkeypatch.setattr(nbval_conftest, "START_SECONDS", 1)
    with pytest.warns(UserWarning, match="trying once more"):
        if how == "fails twice":
            refused("Kernel died", nbval_conftest.start_kernel, "python3", error=RuntimeError)
        else:
            assert nbval_conftest.start_kernel("python3") == "kernel"
    assert len(starts) == 2
