"""Every figure is drawn from small inputs; and what could be drawn wrong without a word is read back."""

import io
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from refusal import refused

from seglib.course import figures
from seglib.course.figures import (
    ablation_batch_size,
    ablation_context,
    aspp,
    atrous_convolution,
    cityscapes_evaluation,
    decoder,
    fcn_basics,
    losses_and_imbalance,
    networks,
    pictures,
    resnet_multigrid,
    start_here,
    what_others_build,
    why_is_my_miou_low,
)
from seglib.course.figures.losses_and_imbalance import one_pixel
from seglib.course.figures.style import MAX_PNG_BYTES
from seglib.data import VOID
from seglib.losses import cross_entropy, focal
from seglib.metrics import ConfusionMatrix
from seglib.models import DeepLabV3Plus, ResNet
from seglib.models.fields import Field
from seglib.models.resnet import PreActivationBasicUnit

CLASSES = ("sky", "road", "tree", "car", "person")
PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[:5] = [[0, 0, 0], [128, 64, 128], [107, 142, 35], [0, 0, 142], [220, 20, 60]]
PALETTE[VOID] = [224, 224, 192]
LOOK = {"classes": CLASSES, "palette": PALETTE}
NAN = np.nan
P = np.array([0.02, 0.1, 0.5, 0.9, 0.98])


def scene(shape: tuple[int, int] = (60, 80)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy photograph, its label (classes 0, 1, 3 and void) and a prediction (0 to 3) that errs in places."""
    rng = np.random.default_rng(0)
    label = np.zeros(shape, np.uint8)
    label[shape[0] // 2 :] = 1
    label[10:40, 20:60] = 3
    label[8:10, 18:62] = VOID
    prediction = np.where(label == VOID, 0, np.roll(label, 3, axis=1))
    prediction[50:55, 5:25] = 2
    image = np.clip(PALETTE[label] + rng.integers(0, 120, (*shape, 3)), 0, 255).astype(np.uint8)
    return image, label, prediction


IMAGE, LABEL, PREDICTION = scene()
HISTORY = pd.DataFrame(
    {"iteration": [10, 20, 20, 30], "loss": [3, 2, NAN, 1], "lr": [0.1, 0.1, NAN, 0], "miou": [NAN, NAN, 0.5, NAN]}
)
CLASS_HISTORY = pd.DataFrame(
    [[0.1, 0.2, NAN, 0.0], [0.5, 0.4, NAN, 0.2], [0.6, 0.61, NAN, 0.3]],
    pd.Index([10, 20, 40], name="iteration"),
    CLASSES[:4],
)
EFFECTS = pd.DataFrame.from_dict(
    {
        "4": (5, -0.02, -0.03, -0.01, -0.128, "confirmed"),
        "8": (5, 0.03, 0.01, 0.05, -0.014, "contradicted"),
        "9": (1, 0.004, NAN, NAN, NAN, "too few seeds"),
        "12": (0, NAN, NAN, NAN, -0.007, "not run"),
        "16": (5, NAN, NAN, NAN, NAN, "base"),
    },
    orient="index",
    columns=["n", "difference", "low", "high", "paper difference", "effect"],
)
GRID = pd.DataFrame([[0.5, 0.6], [NAN, 0.7]], ["a", "b"], ["4", "5"])
WORDS = GRID.map("{:.1%}\nmore".format)
GAINS = pd.DataFrame({"difference": [2.0, 4.0], "low": [1.0, NAN], "high": [3.0, NAN]}, index=[1, 20])
POINTS = pd.DataFrame({"size": [10.0, 20.0, 900.0], "ratio": [0.3, NAN, 0.9]}, ["lamp", "fence", "car"])
PROFILES = {"paper": {"a": (1, 2), "b": (4,)}, "same": {"a": (1, 2), "b": (4,)}, "other": {"a": (1, 1), "b": (8,)}}
FIELDS = {"one": np.random.default_rng(0).random((21, 31))}
IDS = np.where(LABEL == 3, 26, 7)

# name of each figure of the course -> how a notebook draws it, in small
FIGURES: dict[str, Callable[[], Figure]] = {
    "show_samples": lambda: figures.show_samples([IMAGE] * 3, [LABEL] * 3, max_columns=6, **LOOK),
    "show_samples with predictions": lambda: figures.show_samples([IMAGE], [LABEL], [PREDICTION], **LOOK),
    "show_overlays": lambda: figures.show_overlays({"a": (IMAGE, LABEL), "b": (IMAGE, PREDICTION)}, CLASSES, PALETTE),
    "show_panels": lambda: figures.show_panels(dict.fromkeys("abcd", IMAGE), legend={"sky": (0, 0, 9)}),
    "show_labels": lambda: figures.show_labels({"a": LABEL, "b": PREDICTION}, CLASSES, PALETTE),
    "show_fields": lambda: figures.show_fields(FIELDS, {"one": (Field(7, 2, -3), 2, 6)}),
    "show_influence": lambda: figures.show_influence({"a": np.eye(5), "b": np.eye(5) / 9}, 1, 1),
    "show_influence without a mark": lambda: figures.show_influence({"a": torch.eye(5, dtype=torch.float64)}),
    "training_curves": lambda: figures.training_curves({"a": HISTORY, "b": HISTORY.drop(columns="miou")}),
    "line_chart": lambda: figures.line_chart(
        (1, 20), {"": {"a": [0.2, 0.4], 8: [[0.2, 0.5]] * 2, "b": GAINS / 10}}, "x", "y", log="x"
    ),
    "line_chart in panels": lambda: figures.line_chart(
        (8, 16), {"s": {"toy": [4, 2]}, "B": {"toy": [40, 20], "paper": [900, NAN]}}, "x", log="xy", percent=False
    ),
    "share_bars": lambda: figures.share_bars(dict(zip(CLASSES, [0.001, 0.01, 0, 0.98, 0.009], strict=True)), "share"),
    "confusion_heatmap": lambda: figures.confusion_heatmap(np.eye(5), CLASSES),
    "seed_dots": lambda: figures.seed_dots({"a": CLASS_HISTORY, "b": CLASS_HISTORY[:1]}),
    "seed_dots of a study": lambda: figures.seed_dots({"": {"base": [0.5, 0.6], "no": [], "1": [0.4]}}, base="base"),
    "effects_figure": lambda: figures.effects_figure(EFFECTS),
    "difference_map": lambda: figures.difference_map({"": GRID - 0.55}),
    "difference_map with texts": lambda: figures.difference_map({"a": GRID - 0.5}, {"a": WORDS}),
    "scatter_named": lambda: figures.scatter_named({"ours": POINTS, "theirs": POINTS / 2, "none": POINTS[:0]}),
    "01 show_numbers": lambda: fcn_basics.show_numbers({"a": np.eye(3) - 0.5, "large": np.zeros((13, 13))}, digits=1),
    "01 show_label_pixels": lambda: fcn_basics.show_label_pixels({"a": LABEL[8:11, 59:62]}, *LOOK.values()),
    "02 show_removed_stride": atrous_convolution.show_removed_stride,
    "draw_resnet": lambda: networks.draw_resnet({"a": ResNet(101, 8, width=4), "b": ResNet(18, 32, (1, 1), width=4)}),
    "draw_aspp": networks.draw_aspp,
    "draw_deeplab": lambda: networks.draw_deeplab(DeepLabV3Plus),
    "draw_taps": lambda: networks.draw_taps(IMAGE, (1, 6), 8),
    "01 draw_fcn": fcn_basics.draw_fcn,
    "01 draw_positions": fcn_basics.draw_positions,
    "02 draw_family": atrous_convolution.draw_family,
    "03 draw_units": resnet_multigrid.draw_units,
    "05 draw_unet": decoder.draw_unet,
    "05 draw_separable": decoder.draw_separable,
    "04 show_taps": lambda: aspp.show_taps((2, 6), 9),
    "05 zoom": lambda: decoder.zoom(IMAGE, LABEL, PREDICTION, LABEL, **LOOK),
    "07 show_regions": lambda: cityscapes_evaluation.show_regions({"a": (IMAGE, IDS)}, {26: "car", 5: "dynamic"}),
    "07 show_at_one_scale": lambda: cityscapes_evaluation.show_at_one_scale({"a": IMAGE, "b": IMAGE[:30, :20]}),
    "08 batch_noise": lambda: ablation_batch_size.batch_noise({2: P, 8: P / 2}, {"early": {2: 0.4, 8: 0.2}}),
    "08 running_mean_figure": lambda: ablation_batch_size.running_mean_figure(4, 0.1, 2),
    "10 tap_chart": lambda: ablation_context.tap_chart([("a", 2), ("b", 8)], 7),
    "12 loss_curves": lambda: losses_and_imbalance.loss_curves(P, {"a": (P, -P), "b": (P**2, -P)}),
    "14 decision_tree": lambda: why_is_my_miou_low.decision_tree([("Is it?", "look", "a cause " * 12)] * 2, "sound"),
    "14 price_chart": lambda: why_is_my_miou_low.price_chart({"a": 0.3, "b": 0.5}, {"a": 0.05, "b": 0.502}, "IoU in %"),
    "15 dilation_table": lambda: what_others_build.dilation_table(PROFILES, "paper"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name: str) -> None:
    """Small, white on any theme, closed, with its alt text, no legend cut off; the reader's style stays as it was."""
    with plt.rc_context({"figure.facecolor": "black", "text.color": "white", "axes.facecolor": "black"}):
        before, numbers = dict(plt.rcParams), plt.get_fignums()
        figure = FIGURES[name]()
        assert dict(plt.rcParams) == before and plt.get_fignums() == numbers
        picture = figures.png(figure, alt="A sentence.")
    data, metadata = picture._repr_mimebundle_()
    assert set(data) == {"image/png"} and metadata["image/png"]["alt"] == "A sentence."
    assert len(picture.data) < MAX_PNG_BYTES
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))
    assert (pixels[0, 0] == 255).all() and pixels.min() < 128 and figure.get_figwidth() <= 14
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_a_large_png_is_reduced_and_keeps_the_label_colours() -> None:
    refused("alt: expected a sentence", figures.png, Figure(), alt=" ")
    label = scene((300, 400))[1]
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    figure = figures.show_samples([noise] * 2, [label] * 2, **LOOK)
    figure.savefig(buffer := io.BytesIO(), format="png")
    assert len(buffer.getvalue()) > MAX_PNG_BYTES
    picture = figures.png(figure, alt="Two noisy photographs and their labels.")
    assert len(picture.data) < MAX_PNG_BYTES
    pixels = np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB"))
    drawn = set(map(tuple, pixels.reshape(-1, 3).tolist()))
    assert {tuple(PALETTE[i].tolist()) for i in np.unique(label)} <= drawn and len(drawn) <= 256


def test_no_class_name_lies_on_another() -> None:
    label = np.full((60, 80), 2, np.uint8)
    label[:, :30] = 0
    label[27:33, 24:30] = 1  # where there is most room for the background's name, it would run into this one's
    look = {"classes": ("background", "boathouse", "sky"), "palette": PALETTE}
    texts = figures.show_samples([np.zeros((60, 80, 3), np.uint8)], [label], **look).axes[1].texts
    boxes = {text.get_text(): text.get_window_extent() for text in texts}
    assert boxes.keys() == set(look["classes"])
    assert not boxes["background"].overlaps(boxes["boathouse"])


def test_gains_are_blue_and_losses_red() -> None:
    ax = figures.difference_map({"": pd.DataFrame([[0.1, -0.1], [NAN, 0.004]])}).axes[0]
    gain, loss = ax.images[0].to_rgba(np.array([10.0, -10.0]))
    assert gain[2] > gain[0] and loss[0] > loss[2]
    assert [text.get_text() for text in ax.texts] == ["+10", "-10", "", "0"]


def test_drawings_say_what_the_modules_are() -> None:
    said = {text.get_text() for text in networks.draw_deeplab(DeepLabV3Plus, output_stride=8).axes[0].texts}
    assert {"rates 4, 8, 16", "3x3, rate 36", "bilinear\nx 2", "129 x 129\nx 304", "5 x 256\n= 1280"} <= said
    assert {"block 1\n65 x 65\nx 256", "block 4\n65 x 65\nx 2048"} <= said
    steps = resnet_multigrid.steps_of(PreActivationBasicUnit(8, 8, 1), 8)
    assert steps == [*["batch norm", "ReLU", "3x3, 8 to 8"] * 2, "+"]
    dots = [line.get_xdata()[0] for line in fcn_basics.draw_positions().axes[0].lines if line.get_marker() == "o"]
    pixels = np.array([*np.arange(0.5, 8, 2), 1.5, 5.5, 3.5]), np.array([0, 2, 4, 6, 0, 4, 0])  # of stride 2, 4, 8
    np.testing.assert_allclose(np.diff(dots), np.diff(np.concatenate([pixels[0] * 0.4 + 1, pixels[1] * 0.4 + 5.9])))


def test_errors_are_marked_in_the_legend_s_colours_and_void_does_not_count() -> None:
    prediction = np.where(LABEL == VOID, 4, PREDICTION)
    figure = figures.show_samples([IMAGE], [LABEL], [prediction], **LOOK)
    legend = zip(figure.legends[1].get_texts(), figure.legends[1].get_patches(), strict=True)
    colours = {text.get_text(): np.round(255 * np.array(patch.get_facecolor()[:3])) for text, patch in legend}
    right = np.where((prediction == LABEL)[..., None], colours["correct"], colours["wrong"])
    expected = np.where((LABEL == VOID)[..., None], colours["void, not counted"], right)
    np.testing.assert_array_equal(figures.error_map(LABEL, prediction), expected)
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), expected)
    valid = LABEL != VOID
    assert figure.axes[3].get_title(loc="left") == f"errors: {np.mean(LABEL[valid] != prediction[valid]):.1%}"


def test_an_overlay_leaves_background_alone_and_is_drawn_beside_a_single_picture() -> None:
    figure = figures.show_overlays({"a": (IMAGE, LABEL)}, CLASSES, PALETTE)
    plain, tinted = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    np.testing.assert_array_equal(plain, IMAGE)
    np.testing.assert_array_equal(tinted[LABEL == 0], IMAGE[LABEL == 0])
    np.testing.assert_allclose(tinted[LABEL > 0], (0.4 * IMAGE + 0.6 * PALETTE[LABEL])[LABEL > 0], atol=1)
    assert not {"sky", "background"} & {text.get_text() for text in figure.axes[1].texts}


def test_a_cut_out_is_the_largest_patch_of_its_class() -> None:
    label = np.zeros((9, 9), np.uint8)
    label[1, 1] = label[3:6, 4:8] = label[6, 4] = 3
    image = np.arange(243, dtype=np.uint8).reshape(9, 9, 3)
    found = start_here.cut_out(image, label, 3)
    np.testing.assert_array_equal(found[:3], image[3:6, 4:8])
    np.testing.assert_array_equal(found[3, 0], image[6, 4])
    assert found.shape == (4, 4, 3) and (found[3, 1:] == 190).all()


def test_a_camera_s_picture_is_turned_and_shrunk() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.new("RGB", (1026, 400)).save(buffer := io.BytesIO(), "JPEG", exif=exif)
    assert start_here.read_picture(buffer).shape == (513, 200, 3)


def test_samples_that_do_not_fit_are_refused() -> None:
    refused("shorter than", figures.show_samples, [IMAGE, IMAGE], [LABEL, LABEL], [PREDICTION], **LOOK)
    with pytest.raises(ValueError, match=r"image: expected an image and its label maps of one size, .*\(59, 80\)"):
        figures.show_samples([IMAGE], [LABEL], [PREDICTION[1:]], **LOOK)
    refused(r"expected 0\.\.4 or 255, found 9", figures.show_samples, [IMAGE], [np.full_like(LABEL, 9)], **LOOK)


@pytest.mark.parametrize(("kernel", "stride"), [("ones", 1), ("ones", 4), ("random", 4)])
def test_titles_over_a_small_kernel_stand_apart(kernel: str, stride: int) -> None:
    figure = fcn_basics.show_upsampling(1, stride, kernel)
    figure.draw_without_rendering()
    texts = [text for ax in figure.axes for text in ax.findobj(Text) if ax.get_title(loc="left") == text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 3 and all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_every_tap_is_in_view_on_a_small_map() -> None:
    for ax in aspp.show_taps((1, 12, 36), side=7, down=0, across=100).axes:
        places = np.concatenate([line.get_xydata() for line in ax.lines])
        assert len(places) == 9
        assert ((places > min(ax.get_xlim())) & (places < max(ax.get_xlim()))).all()


def test_zoom_shows_one_part_of_both_and_errors_in_the_band() -> None:
    label = np.zeros((80, 100), np.int64)
    label[5:15, 10:30] = VOID
    label[6:14, 11:29] = 1
    after = np.where(label == 1, 1, 0)
    place = {"down": 0, "across": 0, "width": 1}
    figure = decoder.zoom(np.zeros((80, 100, 3), np.uint8), label, after * 0, after, **LOOK, **place)
    image, without, errors, with_it, rest = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    assert {len(panel) for panel in (image, without, errors, with_it, rest)} == {decoder.SIDE}
    assert (without[10, 20] == PALETTE[0]).all() and (with_it[10, 20] == PALETTE[1]).all()
    assert (errors[10, 11] == pictures.WRONG_COLOUR).all() and (rest[10, 11] == pictures.CORRECT_COLOUR).all()
    # of the band's pixels that count, the ring around the void rim and the ring inside it, the inner one is wrong
    inner, outer = 2 * 18 + 2 * 6, 2 * 22 + 2 * 10
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[2::2] == [f"{inner / (inner + outer):.1%} wrong", "0.0% wrong"]


def test_confusions_are_shares_of_their_rows() -> None:
    matrix = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    for counts in (matrix, ConfusionMatrix.from_matrix(matrix).matrix):
        figure = figures.confusion_heatmap(counts, CLASSES[:3])
        drawn = figure.axes[0].images[0].get_array()
        np.testing.assert_allclose(drawn.filled(-1), [[0.75, 0.25, 0], [-1, -1, -1], [0.25, 0.25, 0.5]])
        assert figure.axes[0].get_ylabel() == "label"
    refused(r"matrix: expected \(5, 5\) for 5 classes, found \(3, 3\)", figures.confusion_heatmap, matrix, CLASSES)


def test_the_legend_tells_how_many_seeds_rows_have() -> None:
    figure = figures.seed_dots({"": {"base": [0.5, 0.6], "no": []}, "b": {"base": [0.5, 0.6], "no": [0.4]}})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [" (n = 2)", "b (n = 1 to 2)"]


def test_effects_are_drawn_in_points() -> None:
    (ax,) = figures.effects_figure(EFFECTS).axes
    marks: dict[str, list[float]] = {"o": [], "D": []}
    for line in ax.lines:
        if line.get_marker() in marks and np.isfinite(line.get_xdata()).any():
            marks[line.get_marker()].append(round(float(line.get_xdata()[0]), 6))
    assert marks == {"o": [-2.0, 3.0, 0.4], "D": [-12.8, -1.4, -0.7]}, "ours and the paper's"
    assert [text.get_text() for text in ax.texts] == list(EFFECTS.effect)
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first row is on top"


@pytest.mark.parametrize(("gamma", "num_classes"), [(0, 2), (0, 9), (0.5, 5), (2, 5)])
def test_focal_of_one_pixel(gamma: float, num_classes: int) -> None:
    """Lin et al. 2017, appendix B: dFL/dx = (1 - p)^g (g p log p + p - 1); gamma 0 is cross-entropy."""
    value, slope = one_pixel(partial(focal, gamma=gamma) if gamma else cross_entropy, P, num_classes)
    np.testing.assert_allclose(value, -((1 - P) ** gamma) * np.log(P), atol=2e-6)
    np.testing.assert_allclose(slope, (1 - P) ** gamma * (gamma * P * np.log(P) + P - 1), atol=2e-6)


@pytest.mark.parametrize("smoothed", ["pytorch", "report"])
def test_a_smoothed_target_is_where_the_pull_ends(smoothed: str) -> None:
    s, k = 0.2, 4
    rest = {"pytorch": 1 - s + s / k, "report": (1 - s) / (1 - s / k)}[smoothed]
    _, slope = one_pixel(partial(cross_entropy, smoothing=s, smoothed=smoothed), [rest - 0.01, rest, rest + 0.01], k)
    assert slope[0] < 0 < slope[2] and abs(slope[1]) < 1e-6


@pytest.mark.parametrize("momentum", [0.1, 0.0003])
def test_the_running_mean_is_batch_norms(momentum: float) -> None:
    means, truth, running = ablation_batch_size.running_mean(2, momentum, 1.0)
    layer = torch.nn.BatchNorm1d(1, momentum=momentum).double()
    for step, mean in enumerate(means.tolist()):
        layer(torch.tensor([[mean - 1], [mean + 1]], dtype=torch.float64))
        assert float(layer.running_mean) == pytest.approx(running[step], rel=1e-9, abs=1e-12)
    assert (means - truth).std() == pytest.approx(2**-0.5, rel=0.1)


@pytest.mark.parametrize(("batch_size", "shift"), [(1, 3.0), (1, 0.0), (4, 2.0)])
def test_every_batch_mean_is_in_view(batch_size: int, shift: float) -> None:
    (ax,) = ablation_batch_size.running_mean_figure(batch_size, 0.5, shift).axes
    means = ax.lines[0].get_ydata()
    low, high = ax.get_ylim()
    assert low < means.min() and means.max() < high
    assert (low, high) == (-2, 5) or batch_size == 1


def test_what_a_fault_costs() -> None:
    """Scores of the healthy weights are paired by seed, other trainings are not; one run has no interval."""
    rows = {"healthy": (0.5, 0.6), "paired": (0.4, 0.5), "trained": (0.4, 0.5), "once": (0.7,)}
    runs = {name: {str(seed): {"miou": miou} for seed, miou in enumerate(mious)} for name, mious in rows.items()}
    kinds = {"paired": "scoring", "trained": "training", "once": "training"}
    table = why_is_my_miou_low.cost_table(runs, kinds)
    assert list(table.index) == ["healthy", "once", "paired", "trained"]
    np.testing.assert_allclose(table.difference, [NAN, 0.15, -0.1, -0.1])
    assert table.effect.to_dict() == {
        "healthy": "base", "once": "one run", "paired": "lower", "trained": "within noise"
    }  # fmt: skip
