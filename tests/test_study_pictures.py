"""Pictures of losses and of studies: what is drawn is read back from the figures; the loss explorer."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from seglib.course.figures import png
from seglib.course.figures.losses import loss_curves, one_pixel, weight_correlation, weight_scatter
from seglib.course.figures.studies import class_curves, compared_curves, difference_map, score_bars, study_dots
from seglib.course.figures.style import BLUE, INK
from seglib.course.widgets import losses as widget
from seglib.course.widgets.losses import loss_explorer, loss_picture
from seglib.losses import cross_entropy, focal

P = np.array([0.02, 0.1, 0.5, 0.9, 0.98])
CLASSES = ("sky", "road", "tree", "car")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def history() -> pd.DataFrame:
    """Four classes over three evaluations; two end close together, one never occurs."""
    rows = [[0.1, 0.2, np.nan, 0.0], [0.5, 0.4, np.nan, 0.2], [0.6, 0.61, np.nan, 0.3]]
    return pd.DataFrame(rows, pd.Index([10, 20, 40], name="iteration"), CLASSES)


# --- one pixel -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [2, 9])
def test_cross_entropy_of_one_pixel(num_classes: int) -> None:
    value, slope = one_pixel(cross_entropy, P, num_classes)
    np.testing.assert_allclose(value, -np.log(P), atol=2e-6)
    np.testing.assert_allclose(slope, P - 1, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_of_one_pixel(gamma: float) -> None:
    """Lin et al. 2017, appendix B: dFL/dx = (1 - p)^g (g p log p + p - 1)."""
    value, slope = one_pixel(partial(focal, gamma=gamma), P, 5)
    np.testing.assert_allclose(value, -((1 - P) ** gamma) * np.log(P), atol=2e-6)
    np.testing.assert_allclose(slope, (1 - P) ** gamma * (gamma * P * np.log(P) + P - 1), atol=2e-6)


@pytest.mark.parametrize("smoothed", ["pytorch", "report"])
def test_a_smoothed_target_is_where_the_pull_ends(smoothed: str) -> None:
    s, k = 0.2, 4
    rest = {"pytorch": 1 - s + s / k, "report": (1 - s) / (1 - s / k)}[smoothed]
    _, slope = one_pixel(partial(cross_entropy, smoothing=s, smoothed=smoothed), [rest - 0.01, rest, rest + 0.01], k)
    assert slope[0] < 0 < slope[2] and abs(slope[1]) < 1e-6


def test_curves_and_mark_are_drawn() -> None:
    curves = {"a": (P, -2 * P), "b": (P**2, -(P**3))}
    left, right = loss_curves(P, curves, mark=0.3).axes
    assert np.allclose([line.get_ydata() for line in left.lines[:2]], [P, P**2])
    assert np.allclose([line.get_ydata() for line in right.lines[:2]], [2 * P, P**3]), "minus the gradient"
    for ax in (left, right):
        assert [0.3, 0.3] in [list(line.get_xdata()) for line in ax.lines]
    (legend,) = left.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert len(loss_curves(P, curves).axes[0].lines) == len(left.lines) - 1


def test_every_slider_of_the_loss_explorer_changes_the_picture() -> None:
    box = loss_explorer()
    seen = [box.picture.value]
    for name, value in {"gamma": 5.0, "smoothing": 0.4, "num_classes": 2, "percent": 99}.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert len(set(seen)) == len(seen)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" and len(data) < 150_000 for data in seen)
    assert loss_picture() == loss_explorer().picture.value


def test_the_explorer_draws_what_its_sliders_say(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}

    def spy(probabilities: np.ndarray, curves: dict, mark: float) -> Figure:
        drawn.update(curves=curves, mark=mark)
        return loss_curves(probabilities, curves, mark)

    monkeypatch.setattr(widget, "loss_curves", spy)
    loss_picture(gamma=5.0, smoothing=0.4, num_classes=2, percent=80)
    expected = [
        cross_entropy,
        partial(focal, gamma=5.0),
        partial(cross_entropy, smoothing=0.4),
        partial(cross_entropy, smoothing=0.4, smoothed="report"),
    ]
    assert drawn["mark"] == 0.8
    for (name, curve), loss in zip(drawn["curves"].items(), expected, strict=True):
        assert np.allclose(curve, one_pixel(loss, widget.PROBABILITIES, 2))
        assert name.endswith(f": {-one_pixel(loss, [0.8], 2)[1][0]:+.3f} at 80%")


# --- weights ---------------------------------------------------------------------------------------------------------


def test_correlation_is_that_of_the_logarithm() -> None:
    weights = np.array([0.1, 1.0, 10.0, 100.0])
    assert weight_correlation(weights, [0.9, 0.6, 0.3, 0.0]) == pytest.approx(-1)
    x, y = np.log10(weights) - 0.5, np.array([0.9, 0.2, 0.5, 0.4]) - 0.5
    expected = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
    assert weight_correlation(weights, y + 0.5) == pytest.approx(expected)


def test_scatter_has_a_dot_and_a_name_per_class() -> None:
    ious = {"one": [0.9, 0.5, 0.4, 0.1], "two": [0.1, 0.2, 0.3, 0.4]}
    figure = weight_scatter([0.1, 1, 2, 10], ious, CLASSES)
    for ax, (name, values) in zip(figure.axes, ious.items(), strict=True):
        assert ax.lines[0].get_xydata().tolist() == [list(pair) for pair in zip([0.1, 1, 2, 10], values, strict=True)]
        assert {text.get_text(): text.xy for text in ax.texts} == {
            name: at for name, at in zip(CLASSES, zip([0.1, 1, 2, 10], values, strict=True), strict=True)
        }
        assert ax.get_title(loc="left") == f"{name}: r = {weight_correlation([0.1, 1, 2, 10], values):+.2f}"


def test_no_name_lies_on_another_or_on_a_dot() -> None:
    names = ("house", "kite", "tent", "car")
    figure = weight_scatter([0.68, 0.79, 1.08, 0.04], {"one": [0.525, 0.522, 0.519, 0.8]}, names)
    FigureCanvasAgg(figure).draw()
    ax = figure.axes[0]
    boxes = [text.get_window_extent() for text in ax.texts]
    dots = ax.transData.transform(ax.lines[0].get_xydata())
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    assert not any(box.contains(*dot) for box in boxes for dot in dots)
    assert ax.texts[-1].get_ha() == "left", "a dot alone has its name on the right"


# --- studies ---------------------------------------------------------------------------------------------------------


def test_seeds_mean_and_spread_of_each_row() -> None:
    figure = study_dots({"base": [0.5, 0.6], "new": [0.7, 0.8, 0.9], "later": [], "once": [0.4]}, "base")
    (ax,) = figure.axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dots] == [[0.5, 0.6], [0.7, 0.8, 0.9], [0.4]]
    assert [line.get_color() for line in dots] == [INK, BLUE, BLUE]
    means = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert means == pytest.approx([0.55, 0.8, 0.4])
    bars = [bar.get_segments()[0][:, 0] for bar in ax.collections]
    assert np.ptp(bars[1]) == pytest.approx(0.2) and np.ptp(bars[2]) == 0, "one sd (n - 1) to either side"
    assert texts(figure) == [" not run"] and ax.lines[0].get_xdata()[0] == pytest.approx(0.55)


def test_gains_are_blue_and_losses_red() -> None:
    table = pd.DataFrame([[0.1, -0.1], [np.nan, 0.004]], ["a", "b"], ["x", "y"])
    figure = difference_map(table)
    assert texts(figure) == ["+10", "-10", "0"]
    image = figure.axes[0].images[0]
    gain, loss = image.to_rgba(np.array([10.0, -10.0]))
    assert gain[2] > gain[0] and loss[0] > loss[2] and (image.norm.vmin, image.norm.vmax) == (-10, 10)


def test_class_curves_name_every_class_at_its_end() -> None:
    figure = class_curves(history())
    (ax,) = figure.axes
    assert [line.get_ydata().tolist() for line in ax.lines[:3]] == history().dropna(axis=1).T.to_numpy().tolist()
    assert ax.lines[3].get_ydata().tolist() == pytest.approx(history().mean(axis=1).tolist())
    places = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert set(places) == {"sky 60", "road 61", "car 30", "mean 50"}
    assert np.diff(sorted(places.values())).min() > 0.04, "no name on another"
    assert places["sky 60"] == pytest.approx(0.6) and places["car 30"] == pytest.approx(0.3)
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 4


def test_losses_and_scores_of_several_runs() -> None:
    runs = {
        name: pd.DataFrame(
            {
                "iteration": [10, 20, 20, 30],
                "loss": [3, 2, np.nan, factor],
                "miou": [np.nan, np.nan, factor / 10, np.nan],
            }
        )
        for name, factor in (("a", 1.0), ("b", 4.0))
    }
    figure = compared_curves(runs)
    left, right = figure.axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[3, 2, 1], [3, 2, 1], [3, 2, 4], [3, 2, 4]]
    assert [line.get_xydata().tolist() for line in right.lines] == [[[20, 0.1]], [[20, 0.4]]]
    assert [line.get_color() for line in right.lines] == [line.get_color() for line in left.lines[::2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_bars_stand_in_their_groups() -> None:
    figure = score_bars({"folds": {"fold 1": 0.5, "fold 2": 0.6}, "aggregates": {"mean": 0.65}})
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.6, 0.65]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in ax.patches]
    assert middles[1] - middles[0] == pytest.approx(1) and middles[2] - middles[1] == pytest.approx(1.5)
    first, second, third = (bar.get_facecolor() for bar in ax.patches)
    assert first == second != third
    assert [label.get_text() for label in ax.get_yticklabels()] == ["fold 1", "fold 2", "mean"]
    assert texts(figure) == ["50.0", "60.0", "65.0"]


def test_pictures_are_small() -> None:
    names = [f"class {i}" for i in range(21)]
    table = pd.DataFrame(np.linspace(-0.3, 0.3, 231).reshape(11, 21), columns=names)
    curves = pd.DataFrame(np.random.default_rng(0).random((20, 21)), range(20), names)
    for figure in (difference_map(table), class_curves(curves)):
        assert len(png(figure, alt="a").data) < 150_000


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: one_pixel(cross_entropy, [0.5, 1.0], 3), "each in 0..1"),
        (lambda: one_pixel(cross_entropy, [0.5], 1), "num_classes = 1"),
        (lambda: loss_curves(P, {}), "expected one to 5, found 0"),
        (lambda: loss_curves(P, {"a": (P[1:], P[1:])}), r"curves\['a'\]: expected 5 values, found 4"),
        (lambda: weight_scatter([1, 0], {"a": [1, 1]}, ("x", "y")), "weights above 0"),
        (lambda: weight_scatter([1, 2], {"a": [1]}, ("x", "y")), "expected 2 of each"),
        (lambda: weight_scatter([1, 2], {}, ("x", "y")), "expected 2 of each"),
        (lambda: study_dots({"a": [1.0], "b": []}, "b"), r"base = 'b'; expected a row with scores, one of \['a'\]"),
        (lambda: study_dots({"a": [1.0]}, "c"), "base = 'c'"),
        (lambda: difference_map(pd.DataFrame([[np.nan]])), "expected a table with numbers"),
        (lambda: class_curves(history().iloc[:1]), "at least two evaluations, found 1"),
        (lambda: compared_curves({}), "expected one to 5, found 0"),
        (
            lambda: compared_curves({"a": pd.DataFrame({"iteration": [1], "loss": [1], "miou": [np.nan]})}),
            "with a miou",
        ),
        (lambda: score_bars({"a": {}}), "at least one bar"),
    ],
)
def test_bad_input_is_named(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
