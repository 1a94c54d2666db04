"""Pictures of the architecture's ablations, which weights meet the map, and the cascade explorer."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from seglib.course.fields import valid_weights
from seglib.course.figures.architecture import (
    COST_COLUMNS,
    Grid,
    gain_against_cost,
    gain_curves,
    score_grids,
    tap_chart,
    tap_use,
    untrained_use,
)
from seglib.course.figures.style import BLUE, ORANGE, VERMILION
from seglib.course.widgets.cascade import cascade_explorer, cascade_picture, cascade_rates
from seglib.models import ResNet

NAN = float("nan")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def frame(values: list[list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(values, pd.Index(["(1, 1, 1)", "(1, 2, 1)"], name="multi-grid"), ["4", "5", "6"])


# --- which weights meet the map ---------------------------------------------------------------------------------------


def met(rate: int, height: int, width: int) -> np.ndarray:
    """Brute force: for each weight the share of positions at which it lies on the map."""
    count = np.zeros((3, 3))
    for y, x in np.ndindex(height, width):
        for i, j in np.ndindex(3, 3):
            count[i, j] += 0 <= y + rate * (i - 1) < height and 0 <= x + rate * (j - 1) < width
    return count / (height * width)


@pytest.mark.parametrize(("rate", "height", "width"), [(1, 5, 5), (2, 7, 4), (4, 4, 9), (8, 8, 10), (16, 7, 7)])
def test_use_of_each_weight(rate: int, height: int, width: int) -> None:
    np.testing.assert_allclose(tap_use(rate, height, width), met(rate, height, width))


def test_use_agrees_with_the_convolution() -> None:
    for rate in (1, 6, 12, 18, 33):
        assert tap_use(rate, 33, 33).sum() == pytest.approx(float(valid_weights(33, rate).float().mean()))


@pytest.mark.parametrize(
    ("rate", "trained", "scored"), [(8, (7, 7), (8, 10)), (8, (7, 9), (9, 9)), (2, (7, 7), (9, 9)), (4, (4, 4), (8, 9))]
)
def test_untrained_products(rate: int, trained: tuple[int, int], scored: tuple[int, int]) -> None:
    before, after = met(rate, *trained), met(rate, *scored)
    strange = sum(after[place] for place in np.ndindex(3, 3) if before[place] == 0)
    assert untrained_use(rate, trained, scored) == pytest.approx(strange / after.sum())
    assert untrained_use(rate, trained, trained) == 0


def test_bars_frames_and_crosses() -> None:
    (ax,) = tap_chart([("a", 2), ("b", 8), ("c", 16)], (7, 7), (8, 10)).axes
    bars = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    trained, scored = bars[::2], bars[1::2]
    assert [bar.get_height() for bar in trained] == pytest.approx([met(r, 7, 7).mean() for r in (2, 8, 16)])
    assert [bar.get_height() for bar in scored] == pytest.approx([met(r, 8, 10).mean() for r in (2, 8, 16)])
    crosses = [line for line in ax.lines if line.get_marker() == "X"]
    assert [line.get_xdata()[0] for line in crosses] == [1] and crosses[0].get_color() == VERMILION
    assert {"2", "8", "16", "29%"} < {text.get_text() for text in ax.texts}


@pytest.mark.parametrize("multi_grid", [(1, 1, 1), (1, 2, 4)])
def test_rates_of_the_cascade_are_the_network_s(multi_grid: tuple[int, ...]) -> None:
    """A bottleneck has one 3x3 per unit; strides in the last unit, as in the papers."""
    backbone = ResNet(50, 16, multi_grid, width=4, cascade_blocks=2, stride_unit="last")
    built = [rate for name, _, rate in backbone.dilations() if int(name[5]) >= 4]
    assert [rate for _, rate in cascade_rates(multi_grid, 6)] == built
    assert cascade_rates(multi_grid, 6)[-1][0] == "block 6, unit 3"


# --- grids ------------------------------------------------------------------------------------------------------------


def test_grid_writes_scores_and_gains() -> None:
    scores, gains = [[0.5, 0.6, NAN], [0.45, NAN, 0.7]], [[0.0, 0.1, NAN], [-0.05, NAN, 0.2]]
    sure = frame([[False, True, False], [False, False, False]])
    grid = Grid(frame(scores), frame(gains), sure)
    figure = score_grids({"ours": grid, "paper": Grid(frame(scores), frame(gains), frame([[False] * 3] * 2))})
    left, right, _ = figure.axes
    assert [text.get_text() for text in left.texts] == ["50.0\nbase", "60.0\n+10.0", "45.0\n-5.0", "70.0\n+20.0"]
    assert [text.get_weight() for text in left.texts] == ["normal", "bold", "normal", "normal"]
    assert {text.get_weight() for text in right.texts} == {"normal"}
    hatched = [patch for patch in left.patches if patch.get_hatch()]
    assert [(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in hatched] == [(2, 0), (1, 1)]
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["ours", "paper"]
    limits = {(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in (left, right)}
    assert len(limits) == 1 and np.allclose(limits.pop(), (-20, 20))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["not run"]


def test_grid_without_a_run_is_drawn() -> None:
    empty = frame([[NAN] * 3] * 2)
    figure = score_grids({"ours": Grid(empty, empty, frame([[False] * 3] * 2))})
    assert not texts(figure) and len(figure.axes[0].patches) == 6
    FigureCanvasAgg(figure).draw()


# --- cost -------------------------------------------------------------------------------------------------------------


def test_marks_stand_at_cost_and_gain() -> None:
    lines = [("a", 2.0, 1.0, 0.5, 1.5, "deep"), ("b", 1.0, -1.0, NAN, NAN, ""), ("a", 4.0, 3.0, NAN, NAN, "")]
    table = pd.DataFrame(lines, columns=COST_COLUMNS)
    figure = gain_against_cost({"ours": table, "none": table.iloc[:0]})
    left, right = figure.axes
    marks = [line for line in left.lines if line.get_marker() not in ("None", "")]
    assert [tuple(line.get_xydata()[0]) for line in marks] == [(2, 1), (1, -1), (4, 3)]
    assert [line.get_color() for line in marks] == [BLUE, ORANGE, BLUE]
    intervals = [path.vertices[:, 1].tolist() for c in left.collections for path in c.get_paths()]
    assert intervals == [[0.5, 1.5]]
    assert [text.get_text() for text in left.texts] == ["deep"]
    assert [text.get_text() for text in right.texts] == ["not run"]
    assert left.get_xscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_gain_by_width() -> None:
    table = pd.DataFrame({"difference": [2.0, 4.0], "low": [1.0, 3.0], "high": [3.0, 5.0]}, index=[1, 20])
    figure = gain_curves({"ours": table}, {"theirs": 4.8})
    (ax,) = figure.axes
    curve = next(line for line in ax.lines if line.get_marker() == "o")
    assert curve.get_xydata().tolist() == [[1, 2], [20, 4]]
    band = ax.collections[0].get_paths()[0].vertices
    assert set(map(tuple, band.tolist())) >= {(1, 1), (1, 3), (20, 3), (20, 5)}
    assert ax.lines[-1].get_ydata()[0] == 4.8
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "theirs: +4.8"]


# --- input and widget -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: score_grids({}), "grids: expected at least one"),
        (lambda: gain_against_cost({}), "panels: expected at least one"),
        (lambda: gain_against_cost({"a": pd.DataFrame({"study": []})}), r"panels\['a'\].*found no \['ratio'"),
        (
            lambda: gain_against_cost(
                {"a": pd.DataFrame([(str(k), 1, 1, 1, 1, "") for k in range(7)], columns=COST_COLUMNS)}
            ),
            "at most 6 studies",
        ),
        (lambda: gain_curves({str(k): pd.DataFrame() for k in range(7)}, {}), "at most 6 names"),
        (lambda: tap_chart([], (7, 7), (7, 7)), "rates: expected at least one"),
        (lambda: tap_use(0, 7, 7), "rate = 0, map 7 x 7"),
        (lambda: cascade_rates((1, 1, 1), 8), "last_block = 8; expected 4 to 7"),
    ],
)
def test_bad_input_is_named(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()


def test_every_slider_changes_the_picture() -> None:
    box = cascade_explorer()
    moves = {"multi_grid": "1, 1, 1", "last_block": 5, "crop": 97, "image": 161}
    assert list(box.controls) == list(moves)
    seen = [box.picture.value]
    assert seen[0] == cascade_picture()
    for name, value in moves.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert len(set(seen)) == len(seen)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in seen)
