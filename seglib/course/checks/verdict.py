"""What a check says about an answer: not attempted, wrong with a reason and a hint, or correct."""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

Status = Literal["not attempted", "wrong", "correct"]

# All that is left of a function whose body is a docstring and `...`.
EMPTY_BODY = {"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "NOP", "COPY_FREE_VARS"}


@dataclass(frozen=True)
class Verdict:
    """What became of one exercise; a notebook shows its repr, one line.

    Attributes:
        exercise: its number, "2.1".
        status: "not attempted", "wrong" or "correct".
        message: what is wrong and a hint, or what a correct answer has shown; empty if not attempted.
    """

    exercise: str
    status: Status
    message: str

    def __repr__(self) -> str:
        said = {"not attempted": "not attempted yet.", "wrong": "not yet.", "correct": "correct."}[self.status]
        return f"Exercise {self.exercise}: {said} {self.message}".rstrip()


class Mistake(Exception):  # noqa: N818  of the learner, not of the program
    """An answer is wrong. Raised inside a check; `hint` says what the reason may be."""

    def __init__(self, wrong: str, hint: str = ""):
        super().__init__(f"{wrong} Hint: {hint}" if hint else wrong)


class NotAttempted(Exception):  # noqa: N818
    """The stub is as it was."""


def exercise(number: str, correct: str) -> Callable[[Callable[..., None]], Callable[..., Verdict]]:
    """Makes a check of a function that takes the answer and raises Mistake where it is wrong.

    Args:
        number: of the exercise, "2.1".
        correct: what a correct answer has shown, one or two sentences.

    The check takes the same arguments and returns a Verdict: "not attempted" if an answer is or holds `...`, or is
    None; "wrong" for a Mistake, and for any other exception, which it names; else "correct".
    """

    def decorate(examine: Callable[..., None]) -> Callable[..., Verdict]:
        @functools.wraps(examine)
        def check(*answers: Any) -> Verdict:
            if any(_is_blank(answer) for answer in answers):
                return Verdict(number, "not attempted", "")
            try:
                examine(*answers)
            except (NotAttempted, NotImplementedError):
                return Verdict(number, "not attempted", "")
            except Mistake as mistake:
                return Verdict(number, "wrong", str(mistake))
            except Exception as error:
                return Verdict(number, "wrong", f"The answer raises {type(error).__name__}: {error}")
            return Verdict(number, "correct", correct)

        check.exercise = number
        return check

    return decorate


def call(answer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the learner's function returns.

    Raises:
        NotAttempted: it returns `...`, or its body is still empty.
        Mistake: it computes something and returns None, or it is no function.
    """
    if not callable(answer):
        raise Mistake(f"A function is expected, found {_kind(answer)}.")
    result = answer(*args, **kwargs)
    if _is_blank(result) and (result is not None or _is_stub(answer)):
        raise NotAttempted
    if result is None:
        raise Mistake(f"{_name(answer)} returns None.", "does every way through it end in a return?")
    return result


def expect(condition: bool, wrong: str, hint: str = "") -> None:
    """Raises Mistake unless the condition holds."""
    if not condition:
        raise Mistake(wrong, hint)


def expect_tensor(found: Any, shape: Sequence[int], name: str = "The result", hint: str = "") -> None:
    """Raises Mistake unless `found` is a tensor of this shape."""
    expect(isinstance(found, Tensor), f"{name} should be a tensor, found {_kind(found)}.")
    expect(
        tuple(found.shape) == tuple(shape),
        f"{name} should have the shape {tuple(shape)}, found {tuple(found.shape)}.",
        hint,
    )


def _is_blank(answer: Any) -> bool:
    if isinstance(answer, dict):
        answer = tuple(answer.values())
    if isinstance(answer, tuple | list):
        return any(part is ... for part in answer)
    return answer is None or answer is ...


def _is_stub(answer: Callable[..., Any]) -> bool:
    code = getattr(answer, "__code__", None)
    return code is not None and {step.opname for step in dis.get_instructions(code)} <= EMPTY_BODY


def _name(answer: Callable[..., Any]) -> str:
    return getattr(answer, "__name__", type(answer).__name__)


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"
