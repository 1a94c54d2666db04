"""Pictures of boundaries: trimap curves, bands, label panels, the wipe and its explorer."""

import io

import numpy as np
import pytest
from PIL import Image

from seglib.course.figures.boundaries import label_panels, tint_band, trimap_curves, wipe
from seglib.course.figures.samples import CORRECT_COLOUR, UNCOUNTED_COLOUR, WRONG_COLOUR
from seglib.course.widgets.decoder import decoder_explorer, wipe_picture
from seglib.data import voc_palette

CLASSES = ("background", "object")
PALETTE = voc_palette()
SHAPE = (20, 40)


@pytest.fixture
def scene() -> dict[str, np.ndarray]:
    """An object with a void rim; `before` misses it, `after` finds it."""
    label = np.zeros(SHAPE, np.int64)
    label[5:15, 10:30] = 255
    label[6:14, 11:29] = 1
    return {
        "image": np.full((*SHAPE, 3), 128, np.uint8),
        "label": label,
        "before": np.zeros(SHAPE, np.int64),
        "after": np.where(label == 1, 1, 0),
    }


def drawn(scene: dict[str, np.ndarray], position: float, band: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The prediction and the error panel, and the title of the figure."""
    figure = wipe(**scene, band=band, position=position, titles=("without", "with"), classes=CLASSES, palette=PALETTE)
    _, prediction, errors = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    return prediction, errors, figure.get_suptitle()


def test_before_is_left_of_the_line_and_after_right(scene: dict[str, np.ndarray]) -> None:
    prediction, errors, _ = drawn(scene, 0.5, np.ones(SHAPE, bool))
    row = errors[10]
    assert (prediction[10, 15] == PALETTE[0]).all() and (row[15] == WRONG_COLOUR).all()
    assert (prediction[10, 25] == PALETTE[1]).all() and (row[25] == CORRECT_COLOUR).all()
    assert (prediction[10, 19] == PALETTE[0]).all() and (prediction[10, 20] == PALETTE[1]).all()
    assert (row[10] == UNCOUNTED_COLOUR).all() and (prediction[5, 15] == PALETTE[255]).all()


@pytest.mark.parametrize(("position", "wrong"), [(0.0, 0), (1.0, 8 * 18)])
def test_the_ends_show_one_prediction(scene: dict[str, np.ndarray], position: float, wrong: int) -> None:
    _, errors, _ = drawn(scene, position, np.ones(SHAPE, bool))
    assert int((errors == WRONG_COLOUR).all(axis=2).sum()) == wrong


def test_only_the_band_counts(scene: dict[str, np.ndarray]) -> None:
    band = np.zeros(SHAPE, bool)
    band[10] = True
    _, errors, title = drawn(scene, 1.0, band)
    assert int((errors == WRONG_COLOUR).all(axis=2).sum()) == 18
    # Row 10 has 38 labelled pixels, 18 of them on the object.
    assert title == f"wrong in the band: without {18 / 38:.1%}, with 0.0%"
    assert drawn(scene, 1.0, np.zeros(SHAPE, bool))[2].count("(no pixel)") == 2


def test_wipe_refuses(scene: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"position: expected 0\.\.1, found 1\.5"):
        drawn(scene, 1.5, np.ones(SHAPE, bool))
    with pytest.raises(ValueError, match=r"band: expected the image's size \(20, 40\), found \(20, 20\)"):
        drawn(scene, 0.5, np.ones((20, 20), bool))


def test_trimap_curves() -> None:
    (ax,) = trimap_curves((1, 5), {"one": [[0.2, 0.4]], "two": [[0.5, 0.7], [0.7, 0.7]]}).axes
    lines = [line.get_ydata().tolist() for line in ax.lines]
    assert lines == [[0.2, 0.4], pytest.approx([0.6, 0.7]), [0.5, 0.7], [0.7, 0.7]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two, mean of 2"]
    assert ax.lines[0].get_xdata().tolist() == [1, 5]


@pytest.mark.parametrize("curves", [{}, {"a": [[0.1]]}, {"a": []}, {str(i): [[0.1, 0.2]] for i in range(5)}])
def test_trimap_curves_refuse(curves: dict) -> None:
    with pytest.raises(ValueError, match="curves"):
        trimap_curves((1, 5), curves)


def test_band_is_tinted_and_the_rest_pale() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    tinted = tint_band(image, np.array([[True, False]]))
    assert tinted.dtype == np.uint8
    assert tinted[0, 0, 0] > tinted[0, 0, 1] > tinted[0, 0, 2] and tinted[0, 1].tolist() == [191, 191, 191]


def test_label_panels(scene: dict[str, np.ndarray]) -> None:
    figure = label_panels({"label": scene["label"], "none": scene["before"]}, CLASSES, PALETTE)
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["label", "none"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["background", "object", "void"]
    with pytest.raises(ValueError, match="at least one"):
        label_panels({}, CLASSES, PALETTE)


def test_explorer_follows_its_sliders(scene: dict[str, np.ndarray]) -> None:
    box = decoder_explorer(*([values, values] for values in scene.values()), classes=CLASSES, palette=PALETTE)
    seen = [box.picture.value]
    for name, value in (("line", 0), ("band", 8)):
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert len(set(seen)) == 3
    assert seen[0] == wipe_picture(**scene, classes=CLASSES, palette=PALETTE)
    assert seen[2] == wipe_picture(**scene, classes=CLASSES, palette=PALETTE, position=0, width=8)
    assert Image.open(io.BytesIO(seen[0])).format == "PNG"


def test_explorer_refuses_unequal_numbers(scene: dict[str, np.ndarray]) -> None:
    arrays = [[values] for values in scene.values()]
    with pytest.raises(ValueError, match="one number of each"):
        decoder_explorer(*arrays[:3], [], classes=CLASSES, palette=PALETTE)


def test_the_legend_has_what_is_drawn() -> None:
    figure = label_panels({"a": np.array([[0, 2]]), "b": np.array([[2, 255]])}, ("sky", "tree", "bird"), PALETTE)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "bird", "void"]
