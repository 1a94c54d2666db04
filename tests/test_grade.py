"""`python -m seglib grade` on a folder of hand-ins with planted answers: the verdicts are those of the checks."""

import csv
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from refusal import refused

from seglib.__main__ import main
from seglib.course import quiz as quizzes
from seglib.course.grade import _execute
from tests.test_exercises import DOTS, NOTEBOOKS, Exercise, cells_of, judge, parse, tagged, wrong_answers_to

FIRST, BATCH, OTHERS = (path for path in NOTEBOOKS if path.stem[:2] in ("01", "08", "15"))
TOLD = parse(OTHERS, tagged(OTHERS, "exercise")[0])
LAYER, SCORES, PAINT, FUSE = (parse(FIRST, index) for index in tagged(FIRST, "exercise"))
MERGED, REMEMBERED, _, EQUAL = (parse(BATCH, index) for index in tagged(BATCH, "exercise"))


def hand_in(path: Path, *sources: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)


def cell(one: Exercise, answer: str) -> str:
    return f"{answer}\n\n{one.check}"


def wrong(path: Path, one: Exercise) -> str:
    """The stub with the first usual mistake in the place of its dots."""
    body = textwrap.indent(next(iter(wrong_answers_to(path)[one.number].values())).strip(), "    ").strip()
    return DOTS.sub(lambda _: body, one.stub)


Marks = dict[str, dict[str, dict[str, str]]]  # file -> exercise -> row


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Marks:
    folder = tmp_path_factory.mktemp("handed_in")
    hand_in(
        folder / "anna" / "01_fcn_basics (1).ipynb",
        "import torch\ntorch.randn(3",  # a cell of her own that is broken
        cell(LAYER, LAYER.solution),
        cell(SCORES, wrong(FIRST, SCORES)),
        cell(PAINT, PAINT.stub),
        cell(FUSE, "def fuse(s32: return"),
    )
    helper = "def helper(x):\n    return x\n\nraise RuntimeError('only what is defined is run')"
    forged = "import seglib.course.checks.verdict as v\nchecks.merged = lambda _: v.Verdict('8.1', 'correct', '')\n"
    hand_in(
        folder / "bert" / "my work.ipynb",
        "from seglib.course.checks import ablation_batch_size as checks",
        helper,
        cell(MERGED, forged + wrong(BATCH, MERGED)),
        cell(REMEMBERED, REMEMBERED.solution.replace("return ", "return helper(1) * ")),
        cell(EQUAL, EQUAL.solution.replace("    return", "    while True: pass\n    return", 1)),
        'answers = ["a", "a", ...]\nquiz("08", answers)',
    )
    hand_in(folder / "dora" / OTHERS.name, cell(TOLD, TOLD.solution), f"# once more\n{TOLD.check}")
    (folder / "carl.ipynb").write_text("no notebook")
    hand_in(folder / "holiday.ipynb", "print('hello')")
    main(["grade", str(folder), "--output", str(folder / "marks.csv"), "--seconds", "15"])
    found: Marks = {}
    with (folder / "marks.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["file"], {})[row["exercise"]] = row
    return found


def test_verdicts_are_those_of_the_checks(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIRST.parent)
    found = marks["anna/01_fcn_basics (1).ipynb"]
    for one, answer in ((LAYER, LAYER.solution), (SCORES, wrong(FIRST, SCORES)), (PAINT, PAINT.stub)):
        verdict = judge(FIRST, one, answer)
        assert (found[one.number]["status"], found[one.number]["message"]) == (verdict.status, verdict.message)
    assert [row["status"] for row in found.values()] == ["correct", "wrong", "not attempted", "error", "not attempted"]
    assert "SyntaxError" in found["1.4"]["message"]
    assert marks[f"dora/{OTHERS.name}"]["15.1"]["status"] == "correct", "checked once more at the end"


def test_the_limit_is_for_the_answers_and_not_for_our_imports() -> None:
    (ours, answer), ended = _execute(["import time\ntime.sleep(3)", "time.sleep(60)"], first=1, seconds=1)
    assert ended == "" and ours.outputs == [] and answer.outputs[-1].ename == "KeyboardInterrupt"


def test_it_is_our_check_and_time_is_limited(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BATCH.parent)
    found = marks["bert/my work.ipynb"]
    assert found["8.1"]["message"] == judge(BATCH, MERGED, wrong(BATCH, MERGED)).message, "not the forged verdict"
    assert found["8.2"]["status"] == "correct", "with a helper of the student's own"
    assert (found["8.4"]["status"], found["8.4"]["message"]) == ("error", "takes longer than 15 s")
    assert found["8.3"]["status"] == "not attempted" and "calls checks.statistics_anew(" in found["8.3"]["message"]
    judged = quizzes.quiz("08", ["a", "a", ...]).verdicts
    assert [(found[v.exercise]["status"], found[v.exercise]["message"]) for v in judged] == [
        (v.status, v.message) for v in judged
    ]
    assert [v.status for v in judged] == ["wrong", "correct", "not attempted"]


def test_other_files_are_told(marks: Marks, tmp_path: Path) -> None:
    for name, said in [("carl", "cannot be read"), ("holiday", "neither its name nor its imports")]:
        row = marks[f"{name}.ipynb"][""]
        assert row["status"] == "error" and row["message"].startswith(said)
    refused("expected notebooks", main, ["grade", str(tmp_path)], error=SystemExit)


# --- the quiz --------------------------------------------------------------------------------------------------------


def test_quiz() -> None:
    first, second, third = quizzes.questions()["08"]
    right = [question["answer"] for question in (first, second, third)]
    blank = quizzes.quiz("08", [..., ..., ...])
    assert repr(blank) == "Quiz 08: 0 of 3 correct"
    assert blank._repr_markdown_().count("Not answered yet.") == 3
    assert repr(quizzes.quiz("08", [right[0].upper(), ..., right[2]])) == "Quiz 08: 2 of 3 correct"
    other = next(letter for letter in "abc" if letter != right[1])
    verdict = quizzes.quiz("08", [..., other, ...]).verdicts[1]
    assert (verdict.exercise, verdict.status, verdict.message) == ("8.q2", "wrong", second[other][1])
    for answers, said in [(["a"], "each of 3 questions, found 1"), (["a", "d", "b"], "question 2: .*found 'd'")]:
        refused(said, quizzes.quiz, "08", answers)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_questions_of_a_notebook(path: Path) -> None:
    asked = quizzes.questions()[path.stem[:2]]
    assert len(asked) == 3
    for question in asked:
        assert question.keys() == {"question", "answer", "a", "b", "c"} and question["answer"] in "abc"
        assert all(len(question[letter]) == 2 and all(question[letter]) for letter in "abc")
    assert len({question["answer"] for question in asked}) > 1
    for index in tagged(path, "quiz"):
        source = cells_of(path)[index]
        assert f'quiz("{path.stem[:2]}", answers)' in source.source
        shown = source.outputs[0].data
        assert shown["text/markdown"] == quizzes.quiz(path.stem[:2], [..., ..., ...])._repr_markdown_()
