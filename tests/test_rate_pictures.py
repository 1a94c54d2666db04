"""Pictures of dilations and of ASPP's rates, and the explorers that redraw them."""

import io
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from seglib.course.figures.dilations import cost_bars, dilation_chart
from seglib.course.figures.rates import influence_panels, seed_dots, tap_panels
from seglib.course.figures.style import BLUE, VERMILION
from seglib.course.widgets.aspp_rates import aspp_rate_explorer
from seglib.course.widgets.dilations import dilation_explorer
from seglib.models import ResNet


def test_bars_are_the_dilations() -> None:
    dilations = ResNet(50, 8, (1, 2, 4), width=4, cascade_blocks=1).dilations()
    figure = dilation_chart({"a": dilations, "b": dilations[:4]})
    first, second = figure.axes
    tops = [round(bar.get_y() + bar.get_height()) for bar in first.patches]
    assert tops == [dilation for _, _, dilation in dilations] and max(tops) == 32
    assert len(second.patches) == 4
    strided = [int(line.get_xdata()[0]) for line in first.lines]
    assert strided == [i for i, (_, stride, _) in enumerate(dilations) if stride == 2] != []
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["block 1", "block 2", "block 3", "block 4", "blocks 5 to 7", "stride 2"]


@pytest.mark.parametrize(("row", "column"), [(4, 4), (0, 8), (2, 5)])
def test_taps_stand_where_the_kernel_reads(row: int, column: int) -> None:
    side, rate = 9, 3
    (ax,) = tap_panels((rate,), side, row, column).axes
    drawn = {line.get_color(): {(int(y), int(x)) for x, y in line.get_xydata()} for line in ax.lines}
    taps = {(row + i, column + j) for i in (-rate, 0, rate) for j in (-rate, 0, rate)}
    inside = {(y, x) for y, x in taps if y in range(side) and x in range(side)}
    assert drawn[BLUE] == inside and drawn[VERMILION] == taps - inside
    assert ax.get_title(loc="left") == f"rate 3: {len(inside)} of 9 here"
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert all(left < x < right and top < y < bottom for y, x in taps)


def test_share_over_all_positions() -> None:
    steps, places = (-4, 0, 4), range(7)
    on_map = [y + i in places and x + j in places for y in places for x in places for i in steps for j in steps]
    seen = np.mean(on_map)
    assert tap_panels((4,), 7).axes[0].get_xlabel().startswith(f"{seen:.0%} on the map")


def test_unseen_pixels_are_left_out() -> None:
    values = np.zeros((5, 5))
    values[1, 2], values[4, 4] = 1, 1e-3
    ax = influence_panels({"a": values}, 1, 2).axes[0]
    assert int((~np.ma.getmaskarray(ax.images[0].get_array())).sum()) == 2
    assert ax.get_xlabel() == "2 of 25 pixels seen"
    assert ax.lines[0].get_xydata().tolist() == [[2, 1]]


def test_seeds_and_their_mean() -> None:
    runs = np.array([[0.2, 0.4], [0.4, 0.8]])
    (ax,) = seed_dots({"a": runs, "b": runs[:1]}, ("x", "y")).axes
    drawn = [line.get_xdata().tolist() for line in ax.lines if len(line.get_xdata()) == 3]
    expected = [[0.2, 0.4, 0.3], [0.4, 0.8, 0.6], [0.3, 0.6, 0.45], [0.2, 0.4, 0.3], [0.2, 0.4, 0.3]]
    assert np.allclose(drawn, expected)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["x", "y", "mIoU"]


def test_costs_are_the_bars() -> None:
    figure = cost_bars((32, 8), {"a": (1.0, 4.0), "b": (2.0, 3.0)})
    assert [[bar.get_height() for bar in ax.patches] for ax in figure.axes] == [[1, 4], [2, 3]]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: dilation_chart({}), "networks: expected at least one"),
        (lambda: cost_bars((32, 8), {"a": (1.0,)}), "expected 2 values"),
        (lambda: tap_panels((), 9), "rates = .*expected at least one"),
        (lambda: tap_panels((0,), 9), "each at least 1"),
        (lambda: tap_panels((2,), 9, 9, 0), "expected 0 to 8"),
        (lambda: influence_panels({"a": np.zeros((3, 3))}, 0, 0), "found only zeros"),
        (lambda: seed_dots({"a": np.zeros((2, 3))}, ("x",)), r"expected \(runs, 1\)"),
        (lambda: seed_dots({}, ("x",)), "expected one to 5 names"),
    ],
)
def test_bad_input_is_named(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize(
    ("build", "moves"),
    [
        (dilation_explorer, {"depth": 18, "output_stride": 8, "multi_grid": (2, 2, 2), "stride_unit": "first"}),
        (aspp_rate_explorer, {"rate_1": 1, "rate_2": 2, "rate_3": 36, "side": 7, "down": 0, "across": 100}),
    ],
)
def test_every_slider_changes_the_picture(build: Callable[[], ipywidgets.VBox], moves: dict[str, Any]) -> None:
    box = build()
    assert list(box.controls) == list(moves)
    seen = [box.picture.value]
    for name, value in moves.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert len(set(seen)) == len(seen)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in seen)
