"""The checks of notebook 11: every usual wrong answer gets the hint that is meant for it."""

import numpy as np
import pytest
import torch

from seglib.course.checks import losses_and_imbalance as checks
from tests.wrong_answers.losses_and_imbalance import WRONG

HINTS = {
    "11.1": [
        "`images_with`, not by all",
        "mean of the frequencies",
        "upside down",
        "do not count in the median",
        "middle two",
        "0/0 is nan",
        "Expected 5 weights",
    ],
    "11.2": [
        "number of valid pixels",
        "number of all pixels",
        "sum of the K weights",
        "missing in the sum above",
        "mean without weights",
        "was clipped",
        "batch of void",
        "shape ()",
    ],
    "11.3": [
        "Dice coefficient",
        "void pixels count",
        "constant 1",
        "class 2 is left out",
        "shape ()",
        "mean over the images",
        "the 2 above",
    ],
    "11.4": [
        "base minus the row",
        "seed 7",
        "divide by n - 1",
        "spread of the row itself",
        "standard error",
        "two independent samples",
        "paired by their place",
        "the sample's standard deviation",
    ],
}
CHECKS = {check.exercise: check for check in vars(checks).values() if hasattr(check, "exercise")}


@pytest.mark.parametrize(
    ("number", "place"), [(number, place) for number, hints in HINTS.items() for place in range(len(hints))]
)
def test_wrong_answer_gets_its_hint(number: str, place: int) -> None:
    names = {"np": np, "torch": torch}
    exec(WRONG[number][place], names)
    check = CHECKS[number]
    verdict = check(names[check.__name__])
    assert verdict.status == "wrong" and HINTS[number][place] in verdict.message, verdict


def test_every_wrong_answer_has_a_hint() -> None:
    assert {number: len(sources) for number, sources in WRONG.items()} == {n: len(hints) for n, hints in HINTS.items()}
