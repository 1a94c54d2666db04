"""The checks of notebooks 08 and 09: every usual wrong answer gets the hint that is meant for it."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from seglib.course.checks import ablation_batch_size, ablation_output_stride
from seglib.course.checks.ablation_batch_size import examine_row, only_scoring
from seglib.course.checks.verdict import Mistake
from seglib.recipe import Recipe
from seglib.studies.study import Study
from tests.wrong_answers.ablation_batch_size import WRONG as BATCH_SIZE
from tests.wrong_answers.ablation_output_stride import WRONG as OUTPUT_STRIDE

HINTS = {
    "8.1": [
        "weigh by `counts`",
        "how far the parts lie apart",
        "without their counts",
        "that is the mean square;",
        "variance of the means alone",
        "standard deviation",
        "unbiased",
        "mean square of all",
        "over all counts",
        "shape (3,)",
        "the pair",
    ],
    "8.2": ["number of batches", "value fades", "TensorFlow", "inverse is asked", "wrong side", "over the sum"],
    "8.3": [
        "the batch size is 16",
        "2000 images",
        "has to change with the batch size",
        "square root",
        "wrong way round",
        "new batch size over the old",
        "decay_steps is 800",
        "expected None",
        "['momentum']",
        "A Recipe is expected",
    ],
    "9.1": [
        "correlation of the values",
        "`argsort` of that",
        "share the mean",
        "sign is turned",
        "plus half",
        "no two values",
    ],
    "9.2": [
        "the square.",
        "keep their map",
        "early ones too",
        "only the last",
        "not less",
        "that is the sum at",
        ", squared",
    ],
    "9.3": [
        "exchanged",
        "signs are turned",
        "whole difference",
        "turned round",
        "seed by seed",
        "the pair",
        "whole rows",
        "do not add up",
    ],
}
WRONG = [(ablation_batch_size, BATCH_SIZE, n) for n in ("8.1", "8.2", "8.3")]
WRONG += [(ablation_output_stride, OUTPUT_STRIDE, n) for n in ("9.1", "9.2", "9.3")]


@pytest.mark.parametrize(
    ("module", "wrong", "number"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_wrong_answer_has_its_hint(module: ModuleType, wrong: dict[str, list[str]], number: str) -> None:
    check = next(value for value in vars(module).values() if getattr(value, "exercise", None) == number)
    assert len(wrong[number]) == len(HINTS[number])
    for source, hint in zip(wrong[number], HINTS[number], strict=True):
        names: dict[str, Any] = {"np": np, "torch": torch, "Recipe": Recipe}
        exec(source, names)
        verdict = check(names[check.__name__])
        assert verdict.status == "wrong" and hint in verdict.message, verdict


# --- a row of one's own ----------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path) -> Study:
    base = Recipe.load("toy_ablation")
    return Study("x", {"16": base, "8": base.replace(batch_size=8)}, seeds=(0, 1), folder=tmp_path, runs=tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 2}, "has no result"),
        ({"batch_size": 8}, "has this row already, as ['8']"),
        ({}, "differs from the base in nothing"),
        ({"batch_size": 8, "lr": 0.05, "iterations": 9}, "['batch_size', 'iterations', 'lr']"),
    ],
)
def test_a_row_that_cannot_be_read(study: Study, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Mistake) as mistake:
        examine_row(study.with_row("mine", **changes), study)
    assert said in str(mistake.value)


def test_what_is_no_study_with_one_row_more(study: Study) -> None:
    for found, said in ((study, "no row 'mine'"), (None, "A Study is expected")):
        with pytest.raises(Mistake, match=said):
            examine_row(found, study)
    other = study.with_row("mine", batch_size=2).with_row("yours", batch_size=4)
    with pytest.raises(Mistake, match="only add a row"):
        examine_row(other, study)


def test_only_scoring() -> None:
    base = Recipe.load("toy_ablation")
    assert only_scoring(base, base.replace(eval_flip=True, eval_output_stride=8, seed=3))
    assert not only_scoring(base, base.replace(eval_flip=True, lr=0.01))
