"""The figures: what is drawn is read back from the rendered pixels."""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from seglib.course import figures as plots
from seglib.metrics import ConfusionMatrix

VOID = 255
CLASSES = ("sky", "road", "tree", "car", "person")
PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[:5] = [[0, 0, 0], [128, 64, 128], [107, 142, 35], [0, 0, 142], [220, 20, 60]]
PALETTE[VOID] = [224, 224, 192]


def scene(seed: int = 0, shape: tuple[int, int] = (60, 80)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy photograph, its label (classes 0, 1, 3 and void) and a prediction (0, 1, 2, 3) that errs in places."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[shape[0] // 2 :] = 1
    label[10:40, 20:60] = 3
    label[8:10, 18:62] = VOID
    prediction = np.roll(label, 3, axis=1)
    prediction[prediction == VOID] = 0
    prediction[50:55, 5:25] = 2
    image = np.clip(PALETTE[label] + rng.integers(0, 120, (*shape, 3)), 0, 255).astype(np.uint8)
    return image, label, prediction


def rendered(figure: Figure, dpi: int = 100) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return np.asarray(Image.open(buffer).convert("RGB"))


def panel_pixels(figure: Figure, ax: Axes) -> np.ndarray:
    """The rendered pixels of one panel, without the outermost ones, which share a pixel with the background."""
    pixels = rendered(figure, dpi=figure.dpi)
    box = ax.get_window_extent()
    height = pixels.shape[0]
    x0, x1, y0, y1 = int(box.x0) + 2, int(box.x1) - 2, int(height - box.y1) + 2, int(height - box.y0) - 2
    return pixels[y0:y1, x0:x1]


def colours_of(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, np.unique(pixels.reshape(-1, 3), axis=0).tolist()))


def legend_names(figure: Figure, which: int = 0) -> list[str]:
    return [text.get_text() for text in figure.legends[which].get_texts()]


def history(miou: bool = True) -> pd.DataFrame:
    iteration = np.arange(5, 405, 5)
    table = pd.DataFrame(
        {"iteration": iteration, "loss": 3 * np.exp(-iteration / 100), "lr": 0.01 * (1 - iteration / 400)}
    )
    if miou:
        table["miou"] = np.where(iteration % 100 == 0, iteration / 500, np.nan)
    return table


def scores(k: int = 5, absent: int | None = None):
    matrix = np.eye(k, dtype=np.int64) * 50 + 10
    if absent is not None:
        matrix[absent] = matrix[:, absent] = 0
    return ConfusionMatrix.from_matrix(matrix).compute()


def every_figure() -> dict[str, Figure]:
    image, label, prediction = scene()
    return {
        "samples": plots.show_samples([image], [label], [prediction], classes=CLASSES, palette=PALETTE),
        "curves": plots.training_curves(history()),
        "bars": plots.iou_bars(scores(), CLASSES, scores(absent=2)),
        "heat map": plots.confusion_heatmap(np.eye(5), CLASSES),
        "shares": plots.class_share_bars([1, 10, 0, 1000, 5], CLASSES),
    }


# --- all figures -----------------------------------------------------------------------------------------------------


def test_figures_are_small_white_closed_and_leave_the_style_alone():
    with matplotlib.rc_context({"figure.facecolor": "black", "text.color": "white", "axes.facecolor": "black"}):
        before, numbers = dict(matplotlib.rcParams), plt.get_fignums()
        figures = every_figure()
        assert dict(matplotlib.rcParams) == before and plt.get_fignums() == numbers
        pictures = {name: plots.png(figure, alt=name).data for name, figure in figures.items()}
    for name, data in pictures.items():
        assert isinstance(figures[name], Figure) and len(data) < 150_000, name
        assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((0, 0)) == (255, 255, 255), name


# --- label maps ------------------------------------------------------------------------------------------------------


def test_label_pixels_are_the_palette():
    label = np.arange(256, dtype=np.uint8).reshape(16, 16)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    figure = Figure(figsize=(1.28, 1.28), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    plots.show_label(ax, label, palette)
    expected = palette[label].repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(rendered(figure), expected)


def test_shrunk_label_maps_have_no_mixed_colours_and_void_is_its_own():
    image, label, prediction = scene(shape=(600, 800))
    label[300:320] = VOID
    figure = plots.show_samples([image], [label], [prediction], classes=CLASSES, palette=PALETTE, names=False)
    drawn = colours_of(panel_pixels(figure, figure.axes[1]))
    assert drawn == {tuple(PALETTE[i].tolist()) for i in np.unique(label)}
    assert tuple(PALETTE[VOID].tolist()) in drawn
    assert colours_of(panel_pixels(figure, figure.axes[2])) <= {tuple(c) for c in PALETTE[:5].tolist()}


def test_names_lie_on_their_classes():
    label = np.zeros((400, 700), np.uint8)
    label[:, 350:] = 2
    label[100:300, 400:600] = 3
    label[0, 0] = 4  # too small to carry a name
    label[390:] = VOID
    figure = Figure()
    ax = figure.add_subplot()
    plots.show_label(ax, label, PALETTE, CLASSES)
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert set(places) == {"sky", "tree", "car"}
    for name, (x, y) in places.items():
        around = label[round(y) - 30 : round(y) + 30, round(x) - 30 : round(x) + 30]
        assert {CLASSES[i] for i in np.unique(around)} == {name}


# --- samples ---------------------------------------------------------------------------------------------------------


def test_legend_lists_exactly_what_is_drawn():
    image, label, prediction = scene()
    options = {"classes": CLASSES, "palette": PALETTE}
    assert legend_names(plots.show_samples([image], [label], **options)) == ["sky", "road", "car", "void"]
    with_prediction = plots.show_samples([image], [label], [prediction], **options)
    assert legend_names(with_prediction) == ["sky", "road", "tree", "car", "void"]
    assert legend_names(with_prediction, 1) == ["correct", "wrong", "void, not counted"]
    faces = [np.round(255 * np.array(patch.get_facecolor()[:3])) for patch in with_prediction.legends[0].get_patches()]
    np.testing.assert_array_equal(faces, PALETTE[[0, 1, 2, 3, VOID]])
    without_void = np.where(label == VOID, 0, label)
    figure = plots.show_samples([image], [without_void], [prediction], **options)
    assert "void" not in legend_names(figure) and legend_names(figure, 1) == ["correct", "wrong"]


def test_error_map_marks_exactly_the_wrong_valid_pixels():
    """In the colours that the legend gives to correct, wrong and void."""
    image, label, prediction = scene()
    prediction[label == VOID] = 4
    figure = plots.show_samples([image], [label], [prediction], classes=CLASSES, palette=PALETTE)
    faces = [np.round(255 * np.array(patch.get_facecolor()[:3])) for patch in figure.legends[1].get_patches()]
    meaning = dict(zip(legend_names(figure, 1), faces, strict=True))
    assert len({tuple(face) for face in faces}) == 3
    errors = plots.error_map(label, prediction)
    for y, x in np.ndindex(label.shape):
        right = "correct" if label[y, x] == prediction[y, x] else "wrong"
        expected = meaning["void, not counted" if label[y, x] == VOID else right]
        assert (errors[y, x] == expected).all()


def test_the_error_panel_shows_the_error_map_and_its_share():
    image, label, prediction = scene()
    figure = plots.show_samples([image], [label], [prediction], classes=CLASSES, palette=PALETTE)
    panel = figure.axes[3]
    np.testing.assert_array_equal(panel.images[0].get_array(), plots.error_map(label, prediction))
    valid = label != VOID
    assert panel.get_title(loc="left") == f"errors: {np.mean(label[valid] != prediction[valid]):.1%}"
    all_void = np.full_like(label, VOID)
    figure = plots.show_samples([image], [all_void], [prediction], classes=CLASSES, palette=PALETTE)
    assert figure.axes[3].get_title(loc="left") == "errors: all void"


@pytest.mark.parametrize(
    ("count", "max_columns", "grid"), [(3, 4, (2, 4)), (1, 4, (1, 2)), (3, 6, (1, 6)), (2, 2, (2, 2))]
)
def test_grid_and_titles(count, max_columns, grid):
    samples = [scene(i, (60 + 10 * i, 80)) for i in range(count)]
    titles = [f"sample {i}" for i in range(count)]
    figure = plots.show_samples(
        [s[0] for s in samples],
        [s[1] for s in samples],
        classes=CLASSES,
        palette=PALETTE,
        titles=titles,
        max_columns=max_columns,
    )
    assert figure.axes[0].get_gridspec().get_geometry() == grid
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in shown[::2]] == titles
    for ax, sample in zip(shown[::2], samples, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), sample[0])


@pytest.mark.parametrize("count", [1, 2])
def test_a_long_legend_stays_inside_the_figure(count):
    k = 21
    names = [f"pottedplant {i}" for i in range(k)]
    palette = np.arange(768, dtype=np.int64).reshape(256, 3).astype(np.uint8)
    label = (np.arange(60 * 80).reshape(60, 80) % k).astype(np.uint8)
    image = palette[label]
    figure = plots.show_samples([image] * count, [label] * count, classes=names, palette=palette)
    rendered(figure)
    assert legend_names(figure) == names
    box, frame = figure.legends[0].get_window_extent(), figure.bbox
    assert box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0
    assert box.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)


def test_samples_that_do_not_fit_are_named():
    image, label, prediction = scene()
    options = {"classes": CLASSES, "palette": PALETTE}
    with pytest.raises(ValueError, match="images: expected at least one"):
        plots.show_samples([], [], **options)
    with pytest.raises(ValueError, match="labels: expected 2, one per image, found 1"):
        plots.show_samples([image, image], [label], **options)
    with pytest.raises(ValueError, match="titles: expected 1, one per image, found 2"):
        plots.show_samples([image], [label], titles=["a", "b"], **options)
    with pytest.raises(ValueError, match=r"predictions\[0\]: expected the image's size \(60, 80\), found \(59, 80\)"):
        plots.show_samples([image], [label], [prediction[1:]], **options)
    with pytest.raises(ValueError, match=r"expected 0\.\.4 or 255, found 9"):
        plots.show_samples([image], [np.full_like(label, 9)], **options)
    with pytest.raises(ValueError, match=r"max_columns: expected at least 4, .* found 3"):
        plots.show_samples([image], [label], [prediction], max_columns=3, **options)


# --- curves and bars -------------------------------------------------------------------------------------------------


def test_training_curves_draw_the_history():
    table = history()
    loss, rate, miou = plots.training_curves(table).axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), table.loss)
    window = len(table) // 20
    assert loss.get_legend().get_texts()[1].get_text() == f"moving mean of {window}"
    np.testing.assert_allclose(loss.lines[1].get_ydata()[5], table.loss[3:7].mean())
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), table.lr)
    np.testing.assert_array_equal(miou.lines[0].get_xdata(), [100, 200, 300, 400])
    assert miou.get_title(loc="left") == "validation mIoU, best 80.0% at 400"


def test_training_curves_without_an_evaluation():
    for table in (history(miou=False), history().assign(miou=np.nan)):
        figure = plots.training_curves(table)
        assert figure.axes[2].get_title(loc="left") == "validation mIoU: not evaluated" and not figure.axes[2].lines


def test_training_curves_name_what_is_missing():
    with pytest.raises(ValueError, match=r"history: expected a column 'lr', found \['iteration', 'loss'\]"):
        plots.training_curves(history()[["iteration", "loss"]])
    with pytest.raises(ValueError, match="at least one row"):
        plots.training_curves(history().iloc[:0])


def test_iou_bars_show_every_class_and_both_means():
    one, two = scores(), scores(absent=2)
    figure = plots.iou_bars(one, CLASSES, two, names=("ours", "theirs"))
    ax = figure.axes[0]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, [*one.iou, *np.nan_to_num(two.iou)])
    assert [t.get_text() for t in ax.texts].count("absent") == 1
    assert ax.texts[7].get_text() == "absent"
    assert [line.get_xdata()[0] for line in ax.lines] == [one.miou, two.miou]
    assert {"ours", "theirs", f"mIoU {one.miou:.1%}", f"mIoU {two.miou:.1%}"} == set(legend_names(figure))
    assert [t.get_text() for t in ax.get_yticklabels()] == list(CLASSES)
    with pytest.raises(ValueError, match="scores: expected 4 values, one per class, found 5"):
        plots.iou_bars(one, CLASSES[:4])


def test_the_first_class_is_on_top():
    for figure in (plots.iou_bars(scores(), CLASSES), plots.class_share_bars([1, 2, 3, 4, 5], CLASSES)):
        bottom, top = figure.axes[0].get_ylim()
        assert bottom > top


def test_class_shares():
    ax = plots.class_share_bars([900, 90, 0, 9, 1], CLASSES).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.9, 0.09, 0, 0.009, 0.001])
    assert [t.get_text() for t in ax.texts] == ["90%", "9%", "no pixel", "0.9%", "0.1%"]
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] < 0.001
    with pytest.raises(ValueError, match="pixel_counts: expected 5 values, one per class, found 6"):
        plots.class_share_bars([1] * 6, CLASSES)
    with pytest.raises(ValueError, match="at least one pixel"):
        plots.class_share_bars([0] * 5, CLASSES)


def test_confusion_heatmap_is_normalised_by_row():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    for counts in (matrix, ConfusionMatrix.from_matrix(matrix).matrix):
        ax = plots.confusion_heatmap(counts, CLASSES[:3]).axes[0]
        drawn = ax.images[0].get_array()
        np.testing.assert_allclose(drawn.filled(-1), [[0.75, 0.25, 0], [-1, -1, -1], [0.25, 0.25, 0.5]])
        assert [t.get_text() for t in ax.texts] == ["75", "25", "0", "25", "25", "50"]
        assert ax.get_ylabel() == "label"
    many = [str(i) for i in range(13)]
    assert not plots.confusion_heatmap(np.eye(13), many).axes[0].texts
    assert len(plots.confusion_heatmap(np.eye(12), many[:12]).axes[0].texts) == 144
    with pytest.raises(ValueError, match=r"matrix: expected \(5, 5\) for 5 classes, found \(3, 3\)"):
        plots.confusion_heatmap(matrix, CLASSES)


# --- into a notebook -------------------------------------------------------------------------------------------------


def test_png_holds_the_alt_text_and_prints_the_same_every_time():
    figure = plots.training_curves(history())
    picture = plots.png(figure, alt="Loss falls, mIoU rises.")
    data, metadata = picture._repr_mimebundle_()
    assert set(data) == {"image/png"} and metadata["image/png"]["alt"] == "Loss falls, mIoU rises."
    assert repr(picture) == "<IPython.core.display.Image object>"
    drawn = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))
    np.testing.assert_array_equal(drawn, rendered(plots.training_curves(history())))
    with pytest.raises(ValueError, match="alt: expected a sentence"):
        plots.png(figure, alt=" ")


def test_a_large_png_is_reduced_and_keeps_the_label_colours():
    rng = np.random.default_rng(0)
    label = scene(shape=(300, 400))[1]
    noise = rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    figure = plots.show_samples([noise] * 2, [label] * 2, classes=CLASSES, palette=PALETTE)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert len(buffer.getvalue()) > 150_000
    picture = plots.png(figure, alt="Two noisy photographs and their labels.")
    assert len(picture.data) < 150_000
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))
    assert pixels.shape[1] > 400
    drawn = colours_of(pixels)
    assert {tuple(PALETTE[i].tolist()) for i in np.unique(label)} <= drawn
    assert pixels[0, 0].tolist() == [255, 255, 255] and len(drawn) <= 256
