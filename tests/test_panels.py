"""Panels keep their pictures; instances are told apart, stuff is not."""

import numpy as np
import pytest

from seglib.course.figures import class_colours, instance_colours, show_panels


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


def test_legend_lists_the_classes_that_occur() -> None:
    palette = np.arange(768, dtype=np.uint16).reshape(256, 3).astype(np.uint8)
    maps = [np.array([[0, 2]]), np.array([[255, 2]])]
    colours = class_colours(maps, ("a", "b", "c"), palette)
    assert {name: colour.tolist() for name, colour in colours.items()} == {
        "a": [0, 1, 2],
        "c": [6, 7, 8],
        "void": palette[255].tolist(),
    }
    with pytest.raises(ValueError, match="found 3"):
        class_colours([np.array([[3]])], ("a", "b", "c"), palette)
    pictures = {"one": palette[maps[0]], "two": palette[maps[1]]}
    figure = show_panels(pictures, legend=colours)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "c", "void"]
    assert [patch.get_facecolor()[:3] for patch in legend.get_patches()] == [tuple(c / 255) for c in colours.values()]
    assert not show_panels(pictures).legends
    assert figure.get_figheight() > show_panels(pictures).get_figheight(), "the legend takes nothing from the pictures"


def test_no_figure_is_wider_than_a_page() -> None:
    pictures = {str(i): np.zeros((4, 8, 3), np.uint8) for i in range(5)}
    names = {f"a rather long name {i}": (0, 0, 0) for i in range(12)}
    figure = show_panels(pictures, max_columns=5, legend=names)
    assert figure.get_figwidth() <= 11
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width, "the legend is not cut off"
