"""Panels keep their pictures; instances are told apart, stuff is not."""

import numpy as np
import pytest

from seglib.plots import instance_colours, show_panels


def test_every_picture_is_drawn_once_under_its_title() -> None:
    pictures = {
        name: np.full((4, 6, 3), value, np.uint8) for name, value in (("a", 10), ("b", 20), ("c", 30), ("d", 40))
    }
    figure = show_panels(pictures, max_columns=3)
    drawn = {ax.get_title(loc="left"): ax.images[0].get_array() for ax in figure.axes if ax.images}
    assert list(drawn) == list(pictures)
    assert all(np.array_equal(drawn[name], picture) for name, picture in pictures.items())
    with pytest.raises(ValueError, match="at least one picture"):
        show_panels({})


def test_each_instance_has_its_own_colour_and_stuff_is_grey() -> None:
    ids = np.array([[7, 26, 26001], [26002, 24001, 7]])
    colours = instance_colours(ids)
    assert np.array_equal(colours[0, 0], [190, 190, 190]) and np.array_equal(colours[0, 1], [190, 190, 190])
    things = [tuple(colours[place]) for place in ((0, 2), (1, 0), (1, 1))]
    assert len({*things, (190, 190, 190)}) == 4
