"""The checks of notebooks 08 and 09: a row of one's own."""

from pathlib import Path
from typing import Any

import pytest

from seglib.course.checks.ablation_batch_size import examine_row, only_scoring
from seglib.course.checks.verdict import Mistake
from seglib.recipe import Recipe
from seglib.studies.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    base = Recipe.load("toy_ablation")
    return Study("x", {"16": base, "8": base.replace(batch_size=8)}, seeds=(0, 1), folder=tmp_path, runs=tmp_path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({}, "no row 'mine'"),
        ({"mine": {"batch_size": 2}, "yours": {"batch_size": 4}}, "only add a row"),
        ({"mine": {"batch_size": 2}}, "has no result"),
        ({"mine": {"batch_size": 8}}, "has this row already, as ['8']"),
        ({"mine": {}}, "differs from the base in nothing"),
        ({"mine": {"batch_size": 8, "lr": 0.05, "iterations": 9}}, "['batch_size', 'iterations', 'lr']"),
    ],
)
def test_a_row_that_cannot_be_read(study: Study, rows: dict[str, dict[str, Any]], said: str) -> None:
    found = study
    for name, changes in rows.items():
        found = found.with_row(name, **changes)
    with pytest.raises(Mistake) as mistake:
        examine_row(found, study)
    assert said in str(mistake.value)


def test_only_scoring() -> None:
    base = Recipe.load("toy_ablation")
    assert only_scoring(base, base.replace(eval_flip=True, eval_output_stride=8, seed=3))
    assert not only_scoring(base, base.replace(eval_flip=True, lr=0.01))
