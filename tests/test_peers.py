"""The dilation table and the explorer of notebook 13."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.figures.profiles import departure_bars, dilation_table, field_panels
from seglib.course.figures.style import VERMILION
from seglib.course.widgets.peers import BY_NAME, peer_explorer, peers_picture


def frames(figure: Figure) -> int:
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return sum(not patch.get_fill() and patch.get_edgecolor() == to_rgba(VERMILION) for patch in patches)


def test_cells_that_differ_are_framed() -> None:
    profiles = {"paper": {"a": (1, 2), "b": (4,)}, "same": {"a": (1, 2), "b": (4,)}, "other": {"a": (1, 1), "b": (8,)}}
    figure = dilation_table(profiles, "paper")
    assert frames(figure) == 2
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in texts if text.isdigit()] == list("124124118")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(profiles)
    with pytest.raises(ValueError, match="reference = 'nobody'"):
        dilation_table(profiles, "nobody")
    with pytest.raises(ValueError, match=r"short: expected \{'a': 2, 'b': 1\} convolutions, found \{'a': 1, 'b': 1\}"):
        dilation_table({**profiles, "short": {"a": (1,), "b": (4,)}}, "paper")


def test_bars_are_sorted_and_in_per_cent() -> None:
    ax = departure_bars({"small": 0.1, "large": 0.5}, "change").axes[0]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([10, 50])
    with pytest.raises(ValueError, match="changes: expected at least one"):
        departure_bars({}, "change")


def test_fields_are_averaged_in_blocks() -> None:
    field = np.zeros((205, 210))
    field[:2, :2] = (0, 1), (2, 5)
    shown = field_panels({"one": field}).axes[0].images[0].get_array()
    assert shown.shape == (102, 105) and shown[0, 0] == 2
    with pytest.raises(ValueError, match="fields: expected at least one"):
        field_panels({})


def test_the_explorer_has_a_picture_of_every_choice_and_redraws_it() -> None:
    pictures = {(peer, stride): peers_picture(peer, stride) for peer in BY_NAME for stride in (16, 8)}
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    assert pictures["torchvision", 8] != pictures["jfzhang95/pytorch-deeplab-xception", 8]
    box = peer_explorer()
    assert box.picture.value == pictures["torchvision", 8]
    box.controls["output_stride"].value = 16
    assert box.picture.value == pictures["torchvision", 16] != pictures["torchvision", 8]
