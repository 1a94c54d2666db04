"""The verdict on an answer: not attempted, wrong with a reason and a hint, or correct."""

import copy
import dis
import functools
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

# All that is left of a function whose body is a docstring and `...`.
EMPTY_BODY = {"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "NOP", "COPY_FREE_VARS"}


@dataclass(frozen=True)
class Verdict:
    """The outcome of one exercise; a notebook shows its repr, one line.

    Attributes:
        exercise: its number, "2.1".
        status: "not attempted", "wrong" or "correct".
        message: what is wrong and a hint, or what a correct answer has shown; empty if not attempted.
    """

    exercise: str
    status: Literal["not attempted", "wrong", "correct"]
    message: str

    def __repr__(self) -> str:
        said = {"not attempted": "not attempted yet.", "wrong": "not yet.", "correct": "correct."}[self.status]
        return f"Exercise {self.exercise}: {said} {self.message}".rstrip()


class Mistake(Exception):  # noqa: N818  of the learner, not of the program
    """Raised inside a check if the answer is wrong; `hint` says what the reason may be."""

    def __init__(self, wrong: str, hint: str = ""):
        super().__init__(f"{wrong} Hint: {hint}" if hint else wrong)


class NotAttempted(Exception):  # noqa: N818
    """Raised inside a check if the stub is unchanged."""


def exercise(number: str, correct: str) -> Callable[[Callable[..., None]], Callable[..., Verdict]]:
    """Makes a check of a function that takes the answer and raises Mistake if it is wrong.

    The check takes the same arguments and returns a Verdict: "not attempted" if an answer is or holds `...`, or is
    None; "wrong" for a Mistake, and for any other exception, which it names, of the answer or of a check that it
    does not fit; else "correct".

    Args:
        number: of the exercise, "2.1".
        correct: what a correct answer has shown, one or two sentences.
    """

    def decorate(examine: Callable[..., None]) -> Callable[..., Verdict]:
        @functools.wraps(examine)
        def check(*answers: Any) -> Verdict:
            if any(_is_blank(answer) for answer in answers):
                return Verdict(number, "not attempted", "")
            try:
                with torch.random.fork_rng(devices=[]):  # the learner's own draws stay as they are
                    torch.default_generator.manual_seed(0)
                    examine(*answers)
            except (NotAttempted, NotImplementedError):
                return Verdict(number, "not attempted", "")
            except Mistake as mistake:
                return Verdict(number, "wrong", str(mistake))
            except Exception as error:
                named = f"{type(error).__name__}: {error}"
                if any(frame.f_code is call.__code__ for frame, _ in traceback.walk_tb(error.__traceback__)):
                    return Verdict(number, "wrong", f"The answer raises {named}")
                hint = "Hint: is it of the type that the exercise asks for?"
                return Verdict(number, "wrong", f"What the answer gives cannot be checked ({named}). {hint}")
            return Verdict(number, "correct", correct)

        check.exercise = number
        return check

    return decorate


def call(answer: Callable[..., Any], *args: Any) -> Any:
    """Returns what the learner's function returns.

    Raises:
        NotAttempted: if it returns `...`, or its body is still empty.
        Mistake: if it computes something and returns None, or is not a function.
    """
    if not callable(answer):
        raise Mistake(f"A function is expected, found {kind(answer)}.")
    result = answer(*args)
    if _is_blank(result) and (result is not None or _is_stub(answer)):
        raise NotAttempted
    if result is None:
        raise Mistake(f"{_name(answer)} returns None.", "does every way through it end in a return?")
    return result


def expect(condition: bool, wrong: str, hint: str = "") -> None:
    """Raises Mistake unless the condition holds."""
    if not condition:
        raise Mistake(wrong, hint)


def diagnose(name: str, found: Any, right: Any, usual: Mapping[str, Any], hint: str = "") -> None:
    """Raises Mistake unless `found` is right; its hint is the first whose usual mistake gives what was found.

    Args:
        name: of what was found, for the message.
        usual: hint -> the value that a usual mistake gives, or the torch.Size of the tensor that it gives.
        hint: for any other mistake.
    """
    if not agree(found, right):
        likely = next((its_hint for its_hint, value in usual.items() if agree(found, value)), hint)
        raise Mistake(_difference(name, found, right), likely)


def compare(
    answer: Callable[..., Any],
    cases: Iterable[tuple[Any, ...]] | Mapping[str, tuple[Any, ...]],
    values: Callable[..., tuple[Any, Mapping[str, Any]]],
    hint: str,
    read: Callable[[Any], Any] = lambda found: found,
) -> None:
    """Calls the learner's function on every case; raises Mistake unless everything it returns is right.

    Args:
        cases: arguments of each call; a mapping names the cases whose arguments are too long for a message.
        values: gives, for a case, the right value, and as for `diagnose` those of usual mistakes. The Mistake has the
            hint that explains the most wrong values, if that is more than half of them.
        hint: for any other mistake.
        read: applied to what the learner's function returns.
    """
    if not isinstance(cases, Mapping):
        cases = {f"{_name(answer)}({', '.join(map(_show, case))})": case for case in cases}
    rows = [(name, read(call(answer, *copy.deepcopy(case))), *values(*case)) for name, case in cases.items()]
    wrong = [row for row in rows if not agree(row[1], row[2])]
    if wrong:
        explained = Counter(h for _, found, _, usual in wrong for h, value in usual.items() if agree(found, value))
        likely, count = explained.most_common(1)[0] if explained else (hint, 0)
        raise Mistake(_difference(*wrong[0][:3]), likely if 2 * count > len(wrong) else hint)


def agree(found: Any, value: Any) -> bool:
    """Compares two values, item by item if they are sequences; of floats, five digits count."""
    if isinstance(value, torch.Size):
        return isinstance(found, Tensor) and found.shape == value
    if isinstance(value, tuple | list):
        pairs = isinstance(found, tuple | list) and len(found) == len(value)
        return pairs and all(agree(one, other) for one, other in zip(found, value, strict=True))
    if isinstance(value, Tensor):
        return isinstance(found, Tensor) and agree(found.detach().numpy(), value.detach().numpy())
    if isinstance(value, np.ndarray | np.floating | float):
        return np.shape(found) == np.shape(value) and np.allclose(found, value, rtol=1e-5, atol=1e-6)
    return bool(found == value)


def _difference(name: str, found: Any, right: Any) -> str:
    if isinstance(right, Tensor) and not isinstance(found, Tensor):
        return f"{name} should be a tensor, found {kind(found)}."
    if isinstance(right, Tensor):
        found, right = found.detach().numpy(), right.detach().numpy()
    if isinstance(right, np.ndarray):
        if np.shape(found) != right.shape:
            return f"{name} should have the shape {right.shape}, found {np.shape(found)}."
        if right.size > 9:
            place = tuple(np.argwhere(~np.isclose(found, right))[0].tolist())
            name, found, right = f"{name} at {place}", np.asarray(found)[place], right[place]
    return f"{name} is {_show(found)}, expected {_show(right)}."


def _show(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | set):
        text = ", ".join(map(_show, sorted(value) if isinstance(value, set) else value))
        opening, closing = {list: "[]", tuple: "()", set: "{}"}[type(value)]
        return f"{opening}{text}{',' if type(value) is tuple and len(value) == 1 else ''}{closing}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:_}" if type(value) is int and value > 9999 else repr(value)


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


def kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"
