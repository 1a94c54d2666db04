"""The quiz at the end of a notebook: three questions, a letter for each, and a reason for whatever was chosen."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from seglib.course.checks.verdict import Verdict

CHOICES = ("a", "b", "c")


@cache
def questions() -> dict[str, list[dict[str, Any]]]:
    """Returns the questions of each notebook, by its two digits."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Quiz:
    """A quiz with what has been answered; a notebook shows it as text.

    Attributes:
        notebook: its two digits.
        verdicts: one for each question.
    """

    notebook: str
    verdicts: tuple[Verdict, ...]

    def __repr__(self) -> str:
        right = sum(verdict.status == "correct" for verdict in self.verdicts)
        return f"Quiz {self.notebook}: {right} of {len(self.verdicts)} correct"

    def _repr_markdown_(self) -> str:
        said = {"not attempted": "Not answered yet.", "wrong": "Not right.", "correct": "Right."}
        parts = []
        for number, (asked, verdict) in enumerate(zip(questions()[self.notebook], self.verdicts, strict=True), start=1):
            choices = "\n".join(f"- **{letter}** {asked[letter][0]}" for letter in CHOICES)
            judged = f"*{said[verdict.status]}* {verdict.message}".rstrip()
            parts.append(f"**{number}.** {asked['question']}\n\n{choices}\n\n{judged}")
        return "\n\n".join(parts)


def quiz(notebook: str, answers: Sequence[str]) -> Quiz:
    """Marks answers to a notebook's quiz.

    Args:
        notebook: its two digits, "08".
        answers: a letter for each question; `...` for one that is not answered yet.

    Raises:
        ValueError: if there are more or fewer answers than questions, or one is no choice.
    """
    asked = questions()[notebook]
    if len(answers) != len(asked):
        raise ValueError(f"expected an answer to each of {len(asked)} questions, found {len(answers)}")
    verdicts = []
    for number, (question, answer) in enumerate(zip(asked, answers, strict=True), start=1):
        letter = answer if answer is ... else str(answer).strip().lower()
        if letter is ...:
            status, message = "not attempted", ""
        elif letter in CHOICES:
            status, message = "correct" if letter == question["answer"] else "wrong", question[letter][1]
        else:
            raise ValueError(f"question {number}: expected one of {', '.join(CHOICES)}, found {answer!r}")
        verdicts.append(Verdict(f"{int(notebook)}.q{number}", status, message))
    return Quiz(notebook, tuple(verdicts))
