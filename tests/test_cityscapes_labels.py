"""The label table against the official package's."""

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official

from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS, train_ids_to_ids


def test_the_table_is_the_official_one_in_its_order() -> None:
    assert [tuple(row) for row in CITYSCAPES_LABELS] == [tuple(row) for row in official]


@pytest.mark.parametrize("wrong", [19, 33, 254, 256, -1])
def test_other_values_are_no_train_ids(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"expected trainIds, 0 to 18 or 255 for void; found \[{wrong}\]"):
        train_ids_to_ids(np.array([0, 18, wrong, 255], np.int64))
