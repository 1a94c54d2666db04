"""Pictures of the ablations: what is drawn is read back from the figures."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from seglib.course.figures.ablations import (
    against_stride,
    batch_noise,
    class_scatter,
    effects_figure,
    points_against_cost,
    survival_curves,
)
from seglib.course.figures.style import GREEN, GREY, INK, VERMILION
from seglib.recipe import Recipe
from seglib.studies.study import Study

NAN = np.nan
STRIDES = (8, 16, 32)


def effects() -> pd.DataFrame:
    """A row of each kind: confirmed, contradicted, one run, none, and the base."""
    columns = ("n", "difference", "low", "high", "paper difference", "effect")
    rows = {
        "4": (5, -0.02, -0.03, -0.01, -0.128, "confirmed"),
        "8": (5, 0.03, 0.01, 0.05, -0.014, "contradicted"),
        "9": (1, 0.004, NAN, NAN, NAN, "too few seeds"),
        "12": (0, NAN, NAN, NAN, -0.007, "not run"),
        "16": (5, NAN, NAN, NAN, NAN, "base"),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


# --- effects ---------------------------------------------------------------------------------------------------------


def test_effects_are_drawn_in_points() -> None:
    (ax,) = effects_figure(effects()).axes
    # without the zero line (vertical, hence over the whole height) and the two empty lines of the legend
    drawn = [line for line in ax.lines if len(line.get_xdata()) and list(line.get_xdata()) != [0, 0]]
    marks = {line.get_marker(): [] for line in drawn}
    for line in drawn:
        xs = [round(float(x), 6) for x in line.get_xdata()]
        marks[line.get_marker()].append((xs, round(float(line.get_ydata()[0]), 6)))
    assert marks["D"] == [([-12.8], 0.14), ([-1.4], 1.14), ([-0.7], 3.14)]
    assert marks["o"] == [([-2.0], -0.14), ([3.0], 0.86), ([0.4], 1.86)]
    assert marks["None"] == [([-3.0, -1.0], -0.14), ([1.0, 5.0], 0.86)], "no interval for a single run"
    assert all(line.get_markerfacecolor() == "white" for line in drawn if line.get_marker() == "D")
    assert all(line.get_markerfacecolor() != "white" for line in drawn if line.get_marker() == "o")


def test_verdicts_stand_beside_their_rows() -> None:
    figure = effects_figure(effects())
    (ax,) = figure.axes
    assert texts(figure) == ["confirmed", "contradicted", "too few seeds", "not run", "base"]
    assert [text.get_position()[1] for text in ax.texts] == [0, 1, 2, 3, 4]
    assert [text.get_color() for text in ax.texts] == [GREEN, VERMILION, INK, GREY, INK]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["4", "8", "9", "12", "16"]
    assert [to_hex(label.get_color()).upper() for label in ax.get_yticklabels()] == [INK, INK, INK, GREY, INK]
    assert ax.get_xlabel() == "difference to 16, points of mIoU"
    low, high = ax.get_ylim()
    assert low > 4 and high < 0, "the first row is on top"


def test_a_study_without_runs_is_drawn(tmp_path) -> None:
    base = Recipe.load("toy_ablation")
    study = Study("x", {"a": base, "b": base.replace(lr=0.2)}, folder=tmp_path)
    figure = effects_figure(study.table())
    assert texts(figure) == ["base, not run", "not run"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours, 95 % interval"], "nothing published"
    assert len(effects_figure(effects()).legends[0].get_texts()) == 2


def test_effects_refuse_another_table() -> None:
    with pytest.raises(ValueError, match="'low'"):
        effects_figure(effects().drop(columns="low"))
    with pytest.raises(ValueError, match="one row whose effect is 'base'"):
        effects_figure(effects().drop(index="16"))


# --- noise, stride, cost ---------------------------------------------------------------------------------------------


def test_noise_of_batches() -> None:
    rng = np.random.default_rng(0)
    samples = {size: rng.standard_normal(1000) / size**0.5 for size in (2, 8)}
    spreads = {"early": {2: 0.4, 8: 0.19}, "late": {2: 0.7, 8: 0.35}}
    left, right = batch_noise(samples, spreads).axes
    assert [text.get_text() for text in left.texts] == ["2", "8"]
    assert "1,000 batches" in left.get_title(loc="left")
    early, late, law = (line.get_ydata() for line in right.lines)
    assert np.allclose(early, [0.4, 0.19]) and np.allclose(late, [0.7, 0.35])
    assert law[0] == pytest.approx(2 * law[1]) and (law > late).all()
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["early", "late"]
    with pytest.raises(ValueError, match="0 batch sizes and 2 layers"):
        batch_noise({}, spreads)


def test_lines_over_the_output_stride() -> None:
    panels = {"seconds": {"toy": [4, 2, 1]}, "billions": {"toy": [40, 20, 10], "paper": [400, 200, 100]}}
    left, right = against_stride(STRIDES, panels).axes
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["seconds", "billions"]
    assert [list(line.get_ydata()) for line in right.lines] == list(panels["billions"].values())
    assert left.get_legend() is None and len(right.get_legend().get_texts()) == 2
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["8", "16", "32"]
    with pytest.raises(ValueError, match="seconds, toy: expected 3 values, found 2"):
        against_stride(STRIDES, {"seconds": {"toy": [4, 2]}})
    with pytest.raises(ValueError, match="at least one"):
        against_stride(STRIDES, {})


def test_survivors() -> None:
    figure = survival_curves([10, 100], {8: [0.5, 1.0], 32: [0.0, 0.6]})
    (ax,) = figure.axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.5, 1.0], [0.0, 0.6]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["8", "32"]


def test_a_dot_per_class() -> None:
    figure = class_scatter([10, 20, 40], [0.3, NAN, 0.9], ("lamp", "fence", "car"), "size", "ratio")
    assert texts(figure) == ["lamp", "car"]
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [10, 40]
    assert texts(class_scatter([1], [NAN], ["lamp"], "size", "ratio")) == ["not run"]
    with pytest.raises(ValueError, match="found 1, 2 for 1 classes"):
        class_scatter([1], [0.1, 0.2], ["lamp"], "size", "ratio")


def test_points_against_cost() -> None:
    rows = pd.DataFrame({"billions": [10.0, 20.0], "points": [70.0, NAN]}, ["cheap", "not run yet"])
    figure = points_against_cost({"paper": rows, "ours": rows / 2})
    assert texts(figure) == ["cheap", "cheap"]
    assert len(points_against_cost({str(n): rows for n in range(7)}).axes[0].lines) == 7
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[70.0], [35.0]]
