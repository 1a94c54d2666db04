"""Every exercise of every notebook: the stub is not attempted, the solution correct, wrong answers told apart."""

import ast
import importlib
import re
import textwrap
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from seglib.course.checks.verdict import Mistake, Verdict, agree, call, compare, diagnose, exercise, expect
from tests import wrong_answers

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FOLDER = ROOT / "seglib" / "course" / "checks"
CHECKS = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "verdict"))
WITH_EXERCISES = re.compile(r"(?!00_)\d\d_")  # all but the first
PER_NOTEBOOK = range(2, 6)

TITLE = re.compile(r"^### Exercise (\d+\.\d) · .+ \(\d+ minutes\)$", re.MULTILINE)
FOLDED = re.compile(r"<details>\s*<summary>(\w+)</summary>(.*?)</details>", re.DOTALL)
DOTS = re.compile(r"\.\.\.  #.*")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def module_of(path: Path) -> str:
    """notebooks/02_atrous_convolution.ipynb -> atrous_convolution."""
    return path.stem.split("_", 1)[1]


@cache
def cells_of(path: Path) -> list[nbformat.NotebookNode]:
    return nbformat.read(path, as_version=4).cells


def tagged(path: Path, tag: str) -> list[int]:
    return [i for i, cell in enumerate(cells_of(path)) if tag in cell.metadata.get("tags", [])]


EXERCISES = [
    pytest.param(path, index, id=f"{path.stem[:2]}.{number}")
    for path in NOTEBOOKS
    for number, index in enumerate(tagged(path, "exercise"), start=1)
]


@dataclass(frozen=True)
class Exercise:
    """One exercise as its notebook has it; `name` is that of its check."""

    number: str
    stub: str
    check: str
    name: str
    solution: str


def parse(path: Path, index: int) -> Exercise:
    """The exercise whose code cell is the `index`-th; asserts that all its parts are there."""
    cells = cells_of(path)
    above, cell = cells[index - 1], cells[index]
    titles = TITLE.findall(above.source)
    assert above.cell_type == "markdown" and len(titles) == 1, f"above {index}: {TITLE.pattern}, once"
    check = ast.parse(cell.source).body[-1]
    assert isinstance(check, ast.Expr) and isinstance(check.value, ast.Call), "the last line calls the check"
    assert ast.unparse(check.value.func).startswith("checks."), "the last line is checks.<name>(...)"
    folded: dict[str, str] = {}
    for below in cells[index + 1 :]:
        if below.cell_type != "markdown" or TITLE.search(below.source):
            break
        folded |= dict(FOLDED.findall(below.source))
    assert folded.keys() >= {"Hint", "Solution"}, f"folded below it are {list(folded)}, expected Hint and Solution"
    blocks = BLOCK.findall(folded["Solution"])
    assert len(blocks) == 1, "one ```python block in the solution"
    stub = "\n".join(cell.source.splitlines()[: check.lineno - 1])
    return Exercise(titles[0], stub, ast.unparse(check), check.value.func.attr, blocks[0])


@cache
def prepared(path: Path) -> dict[str, Any]:
    """What the notebook's cells tagged `imports` define."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for index in tagged(path, "imports"):
        exec(cells_of(path)[index].source, names)
    return names


def judge(path: Path, one: Exercise, source: str) -> Verdict:
    """The verdict of the exercise's own check on `source` in the place of its stub."""
    names = dict(prepared(path))
    exec(source, names)
    verdict = eval(one.check, names)
    assert isinstance(verdict, Verdict)
    assert verdict.exercise == one.number
    return verdict


def wrong_answers_to(path: Path) -> dict[str, dict[str, str]]:
    return importlib.import_module(f"{wrong_answers.__name__}.{module_of(path)}").WRONG


def checks_in(module: types.ModuleType) -> dict[str, str]:
    """Name of each check a module defines -> number of its exercise."""
    return {name: value.exercise for name, value in vars(module).items() if hasattr(value, "exercise")}


# --- the exercises ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _where_a_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.delenv("SEGLIB_DATA", raising=False)


@pytest.mark.parametrize(("path", "index"), EXERCISES)
def test_stub_is_not_attempted_and_solution_is_correct(path: Path, index: int) -> None:
    one = parse(path, index)
    state = torch.get_rng_state()
    stub, solution = judge(path, one, one.stub), judge(path, one, one.solution)
    assert torch.equal(torch.get_rng_state(), state), "a check leaves the reader's random numbers alone"
    assert stub.status == "not attempted", stub
    shown = [output.data["text/plain"] for output in cells_of(path)[index].outputs]
    assert shown == [repr(stub)], "what the notebook shows"
    assert solution.status == "correct" and solution.message, solution


@pytest.mark.parametrize(("path", "index"), EXERCISES)
def test_each_wrong_answer_has_its_hint(path: Path, index: int) -> None:
    one = parse(path, index)
    sources = wrong_answers_to(path)[one.number]
    assert len(sources) >= 2, f"exercise {one.number}: expected two wrong answers or more, found {len(sources)}"
    messages = set()
    for hint, source in sources.items():
        body = textwrap.indent(source.strip(), "    ").strip()
        verdict = judge(path, one, DOTS.sub(lambda _, body=body: body, one.stub))
        assert verdict.status == "wrong" and hint in verdict.message, verdict
        assert not verdict.message.startswith(("The answer raises", "What the answer gives cannot")), verdict
        messages.add(verdict.message)
    assert len(messages) == len(sources), messages


@pytest.mark.parametrize(
    ("number", "parts", "status", "said"),
    [
        ("3.2", ("2, 4, 10", "np.array([2, 4, 10])"), "correct", ""),
        ("13.4", ('"images"', "session.get_inputs()[0].name"), "correct", ""),
        ("13.4", ("None, {", "output_names=None, input_feed={"), "correct", ""),
        ("15.2", ("rtol=1e-3, atol=1e-3 * float(output.abs().max())", "atol=1e-4"), "correct", ""),
        ("14.1", ("max(1, round(length * scale))", "round(length * scale)"), "wrong", "The answer raises ValueError"),
    ],
)
def test_other_right_answers_and_one_that_fails_on_a_thin_picture(
    number: str, parts: tuple[str, str], status: str, said: str
) -> None:
    (path,) = (path for path in NOTEBOOKS if int(path.stem[:2]) == int(number.split(".")[0]))
    one = next(one for one in (parse(path, index) for index in tagged(path, "exercise")) if one.number == number)
    assert parts[0] in one.solution
    verdict = judge(path, one, one.solution.replace(*parts))
    assert (verdict.status, said in verdict.message) == (status, True), verdict


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if WITH_EXERCISES.match(p.stem)], ids=lambda p: p.stem)
def test_notebook_has_its_exercises(path: Path) -> None:
    indices = tagged(path, "exercise")
    assert len(indices) in PER_NOTEBOOK
    notebook = int(path.stem[:2])
    assert [parse(path, i).number for i in indices] == [f"{notebook}.{n}" for n in range(1, len(indices) + 1)]


@pytest.mark.parametrize("name", CHECKS)
def test_checks_and_wrong_answers_have_their_exercise(name: str) -> None:
    paths = [path for path in NOTEBOOKS if module_of(path) == name and tagged(path, "exercise")]
    assert paths, f"no notebook {name} has exercises"
    numbers = {one.name: one.number for one in (parse(paths[0], i) for i in tagged(paths[0], "exercise"))}
    assert checks_in(importlib.import_module(f"seglib.course.checks.{name}")) == numbers
    assert wrong_answers_to(paths[0]).keys() == set(numbers.values())


# --- the machinery ---------------------------------------------------------------------------------------------------


@exercise("9.1", correct="Doubling doubles.")
def double(answer: Any) -> None:
    """Twice its argument."""
    found = call(answer, 3)
    if found == 9:
        raise Mistake("double(3) is 9.", "that is a square.")
    expect(found == 6, f"double(3) is {found}.")


def nothing(x: int) -> int:
    """As it stands in the notebook."""
    ...


def raising(x: int) -> int:
    raise NotImplementedError


def forgotten(x: int) -> int:
    2 * x


def test_verdicts() -> None:
    assert repr(double(lambda x: 2 * x)) == "Exercise 9.1: correct. Doubling doubles."
    assert repr(double(lambda x: x * x)) == "Exercise 9.1: not yet. double(3) is 9. Hint: that is a square."
    assert repr(double(lambda x: x)) == "Exercise 9.1: not yet. double(3) is 3."
    assert double.exercise == "9.1" and double.__doc__ == "Twice its argument."


@pytest.mark.parametrize("answer", [None, ..., (1, ...), {"a": ...}, nothing, raising, lambda x: ...])
def test_not_attempted(answer: Any) -> None:
    assert double(answer) == Verdict("9.1", "not attempted", "")
    assert repr(double(answer)) == "Exercise 9.1: not attempted yet."


def test_an_answer_that_gives_no_value_is_a_mistake() -> None:
    for answer, said in (
        (forgotten, "forgotten returns None"),
        (lambda x: x / 0, "The answer raises ZeroDivisionError: division by zero"),
        (lambda: 0, "The answer raises TypeError"),
        (lambda x: torch.zeros(2), "What the answer gives cannot be checked (RuntimeError: Boolean value"),
        (6, "A function is expected, found a value of type int"),
    ):
        verdict = double(answer)
        assert verdict.status == "wrong" and said in verdict.message


def test_a_kernel_interrupt_is_not_swallowed() -> None:
    def interrupted(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        double(interrupted)


def test_diagnose() -> None:
    """Names the first difference; a usual mistake is a value, or any tensor of a shape."""
    map_ = torch.arange(12.0).view(3, 4)
    usual = {"turned?": map_.flip(0), "transposed?": torch.Size([4, 3])}
    diagnose("The map", map_ + 1e-6, map_, usual)
    for found, said in (
        (torch.zeros(4, 3), r"The map should have the shape \(3, 4\), found \(4, 3\). Hint: transposed\?"),
        (torch.zeros(3), r"The map should have the shape \(3, 4\), found \(3,\). Hint: unknown."),
        (map_.flip(0), r"The map at \(0, 0\) is 8, expected 0. Hint: turned\?"),
        ([1], "The map should be a tensor, found a value of type list. Hint: unknown."),
    ):
        with pytest.raises(Mistake, match=said):
            diagnose("The map", found, map_, usual, "unknown.")


def test_agree() -> None:
    for found, value, same in (
        (3, 3, True),
        (123_456_789, 123_456_788, False),
        (0.300001, 0.3, True),
        (0.30001, 0.3, False),
        (float("nan"), 0.3, False),
        ([1, 2.0], (1, 2.00001), True),
        ([1], (1, 2), False),
        ({1, 2}, {2, 1}, True),
        (torch.ones(2), torch.ones(2), True),
        (torch.ones(2, 1), torch.ones(2), False),
        (np.array([1, 2]), np.array([1, 3]), False),
        (1.0, np.ones(2), False),
        (np.ones(2), 1.0, False),
    ):
        assert agree(found, value) is same, (found, value)


def test_what_explains_half_of_the_wrong_values_is_not_the_hint() -> None:
    found = {1: 3, 2: 16, 3: 0}  # right, a power, something else
    with pytest.raises(Mistake, match=r"Hint: multiply\."):
        compare(lambda x, y: found[x], [(1, 3), (2, 4), (3, 5)], lambda x, y: (x * y, {"a power.": x**y}), "multiply.")


def test_compare_names_cases_reads_answers_and_keeps_the_arguments() -> None:
    def spoil(values: np.ndarray) -> str:
        values[:] = 0
        return "12345"

    with pytest.raises(Mistake, match=r"^The sum of two values is 12_345, expected 3. Hint: add them."):
        compare(spoil, {"The sum of two values": (np.array([1, 2]),)}, lambda v: (v.sum(), {"!": 0}), "add them.", int)
