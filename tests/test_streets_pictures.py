"""Pictures of streets: what is drawn is read back from the figures; the viewer and what it says of a pixel."""

import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from seglib.course.figures import png
from seglib.course.figures.streets import aspect_arrows, coverage_panels, region_panels, same_scale_panels, width_curves
from seglib.course.widgets.street_viewer import pixel_text, street_picture, street_viewer, zoom_window

SHAPE = (20, 40)


@pytest.fixture
def street() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A road (7), one car (26001), a row of cars (26), the bonnet (1)."""
    ids = np.full(SHAPE, 7, np.uint8)
    ids[4:8, 10:16] = 26
    ids[4:8, 20:30] = 26
    ids[18:] = 1
    instances = ids.astype(np.int32)
    instances[4:8, 10:16] = 26001
    return np.full((*SHAPE, 3), 100, np.uint8), ids, instances


def test_regions_are_coloured_and_named(street: tuple[np.ndarray, ...]) -> None:
    image, ids, _ = street
    figure = region_panels({"a": (image, ids), "b": (image, np.full(SHAPE, 7))}, {1: "ego", 4: "static"})
    first, second = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    assert (second == second[0, 0]).all() and (second[0, 0] == 216).all(), "255 - (255 - 100) / 4"
    assert (first[:18] == second[0, 0]).all() and (first[18:] == first[18, 0]).all()
    assert not (first[18, 0] == second[0, 0]).all()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ego (1)"], "only what occurs"
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a", "b"]
    handle = legend.get_patches()[0].get_facecolor()
    assert np.allclose(np.array(handle[:3]) * 255, first[18, 0])


def test_regions_without_any_have_no_legend(street: tuple[np.ndarray, ...]) -> None:
    assert region_panels({"a": street[:2]}, {5: "dynamic"}).legends == []
    many = region_panels({str(i): street[:2] for i in range(4)}, {1: "ego"}, max_columns=3)
    assert len(many.axes) == 6 and [bool(ax.images) for ax in many.axes] == [True] * 4 + [False] * 2


def test_two_regions_have_two_colours(street: tuple[np.ndarray, ...]) -> None:
    image, ids, _ = street
    (ax,) = region_panels({"a": (image, ids)}, {1: "ego", 26: "car"}).axes
    picture = np.asarray(ax.images[0].get_array())
    assert len({tuple(picture[place]) for place in ((0, 0), (5, 12), (19, 0))}) == 3


def test_regions_refuse(street: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        region_panels({}, {1: "ego"})
    with pytest.raises(ValueError, match=r"frames\['a'\]: expected ids of size \(20, 40\), found \(40, 20\)"):
        region_panels({"a": (street[0], street[1].T)}, {1: "ego"})


def test_coverage_has_one_scale_and_the_first_window() -> None:
    counts = {"none": np.ones(SHAPE, int), "half": np.arange(1, 801).reshape(SHAPE) % 4 + 1}
    figure = coverage_panels(counts, (10, 12))
    left, right, bar = figure.axes
    for ax, (title, count) in zip((left, right), counts.items(), strict=True):
        assert ax.get_title(loc="left") == title
        (drawn,) = ax.images
        assert np.array_equal(drawn.get_array(), count) and drawn.get_clim() == (0.5, 4.5)
        (outline,) = (patch for patch in ax.patches if isinstance(patch, Rectangle))
        assert (outline.get_xy(), outline.get_width(), outline.get_height()) == ((0, 0), 11, 9)
    assert bar.get_xlabel() == "windows that see a pixel" and set(bar.get_xticks()) == {1, 2, 3, 4}
    assert coverage_panels({"one": np.ones(SHAPE, int)}, (20, 40)).axes
    with pytest.raises(ValueError, match="every pixel is seen"):
        coverage_panels({"hole": np.zeros(SHAPE, int)}, (10, 10))
    with pytest.raises(ValueError, match="at least one map"):
        coverage_panels({}, (10, 10))


def test_a_pixel_has_one_size() -> None:
    pictures = {"large": np.zeros((48, 24, 3), np.uint8), "small": np.zeros((12, 12, 3), np.uint8)}
    figure = same_scale_panels(pictures, pixels_per_inch=24)
    width, height = figure.get_size_inches()
    for ax, picture in zip(figure.axes, pictures.values(), strict=True):
        box = ax.get_position()
        assert (box.width * width * 24, box.height * height * 24) == pytest.approx((picture.shape[1], picture.shape[0]))
        assert min(box.x0, box.y0) >= 0 and max(box.x1, box.y1) <= 1
    first, second = (ax.get_position() for ax in figure.axes)
    assert first.x1 < second.x0 and first.y1 == pytest.approx(second.y1), "beside each other, level at the top"
    with pytest.raises(ValueError, match="at least one"):
        same_scale_panels({})


def is_title(artist: Artist) -> bool:
    return isinstance(artist, Text) and artist.get_text().endswith("label")


def test_titles_of_narrow_pictures_do_not_overlap() -> None:
    narrow = np.zeros((40, 5, 3), np.uint8)
    figure = same_scale_panels({"squashed: label": narrow, "halved: label": narrow, "stored: label": narrow})
    figure.draw_without_rendering()
    extents = [title.get_window_extent() for title in figure.findobj(match=is_title)]
    assert all(left.x1 < right.x0 for left, right in pairwise(extents))
    assert extents[-1].x1 <= figure.bbox.x1


def test_arrows_go_from_before_to_after() -> None:
    figure = aspect_arrows({"person": 0.4, "bus": 2.0}, {"person": 0.2, "bus": 1.0}, ("stored", "squashed"))
    (ax,) = figure.axes
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    assert [(arrow.xyann, arrow.xy) for arrow in arrows] == [((0.4, 0), (0.2, 0)), ((2.0, 1), (1.0, 1))]
    assert [line.get_xdata()[0] for line in ax.lines[:2]] == [0.4, 2.0]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["0.40", "0.20", "2.00", "1.00"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["person", "bus"]
    assert "dot stored, arrow head squashed" in ax.get_xlabel()
    for wrong in ({}, {"car": 1.0}):
        with pytest.raises(ValueError, match="the same classes"):
            aspect_arrows(wrong, {"bus": 1.0}, ("a", "b"))


def test_width_curves_count_pixels_not_runs() -> None:
    (ax,) = width_curves({"stored": [1, 1, 2, 4], "squashed": [1]}, mark=3, mark_name="three", longest=5).axes
    stored, squashed, mark = ax.lines
    assert list(stored.get_xdata()) == [0, 1, 2, 3, 4, 5]
    assert stored.get_ydata().tolist() == [0, 2 / 8, 4 / 8, 4 / 8, 1, 1]
    assert squashed.get_ydata().tolist() == [0, 1, 1, 1, 1, 1]
    assert list(mark.get_xdata()) == [3, 3] and ax.texts[0].get_text() == " three"
    for wrong in ({}, {"a": []}, {str(i): [1] for i in range(6)}):
        with pytest.raises(ValueError, match="1 to 5 names with runs"):
            width_curves(wrong, 1, "one")


# --- the viewer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        (0, 0, "row 0, column 0: road (id 7, trainId 0); category flat"),
        (5, 12, "row 5, column 12: car (id 26, trainId 13); category vehicle; instance 26001, 24 pixels"),
        (5, 25, "car (id 26, trainId 13); category vehicle; a group: its members are not told apart"),
        (19, 39, "ego vehicle (id 1, ignored); category void"),
    ],
)
def test_what_is_said_of_a_pixel(street: tuple[np.ndarray, ...], row: int, column: int, said: str) -> None:
    assert pixel_text(*street[1:], row, column).endswith(said)


@pytest.mark.parametrize(("row", "column"), [(20, 0), (0, 40), (-1, 0), (0, -1)])
def test_a_pixel_outside_is_refused(street: tuple[np.ndarray, ...], row: int, column: int) -> None:
    with pytest.raises(IndexError, match="expected a pixel of 20 x 40"):
        street_picture(*street, row=row, column=column)


@pytest.mark.parametrize(
    ("zoom", "pixel", "rows", "columns"),
    [
        (1, (3, 39), (0, 20), (0, 40)),
        (4, (10, 20), (8, 13), (15, 25)),
        (4, (0, 0), (0, 5), (0, 10)),
        (4, (19, 39), (15, 20), (30, 40)),
        (64, (7, 9), (7, 8), (9, 10)),
    ],
)
def test_the_window_holds_the_pixel_and_stays_inside(zoom, pixel, rows, columns) -> None:
    found = zoom_window(SHAPE, zoom, *pixel)
    assert [(part.start, part.stop) for part in found] == [rows, columns]


def test_opacity_mixes_frame_and_label(street: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("seglib.course.widgets.street_viewer._draw", lambda *arguments: drawn.append(arguments))
    monkeypatch.setattr("seglib.course.widgets.street_viewer.png", lambda figure, alt: type("Shown", (), {"data": alt}))
    for opacity in (0, 0.5, 1):
        assert street_picture(*street, opacity=opacity, row=5, column=12, zoom=2).startswith("row 5, column 12: car")
    pictures = [arguments[0] for arguments in drawn]
    assert np.array_equal(pictures[0], street[0])
    assert pictures[2][0, 0].tolist() == [128, 64, 128] and pictures[2][5, 12].tolist() == [0, 0, 142]
    assert pictures[1][5, 12].tolist() == [50, 50, 121]
    assert drawn[0][1:3] == (zoom_window(SHAPE, 2, 5, 12), (5, 12))


@pytest.mark.parametrize("wrong", [{"zoom": 0}, {"opacity": 1.1}, {"opacity": -0.1}])
def test_the_viewer_refuses(street: tuple[np.ndarray, ...], wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected at least 1, and"):
        street_picture(*street, **wrong)


def test_the_viewer_marks_window_and_pixel(street: tuple[np.ndarray, ...]) -> None:
    from seglib.course.widgets.street_viewer import _draw

    whole, part = _draw(street[0], zoom_window(SHAPE, 4, 10, 20), (10, 20), "text").axes
    assert np.asarray(part.images[0].get_array()).shape == (5, 10, 3)
    (outline,), (around,) = whole.patches, part.patches
    assert (outline.get_xy(), outline.get_width(), outline.get_height()) == ((14.5, 7.5), 10, 5)
    assert around.get_xy() == (4.5, 1.5), "row 10 is row 2 of a window that begins at 8, column 20 is column 5"
    assert whole.figure.get_suptitle() == "text"


def test_every_slider_of_the_viewer_changes_the_picture(street: tuple[np.ndarray, ...]) -> None:
    image, ids, instances = street
    other = np.where(ids == 7, 8, ids)
    box = street_viewer([image, image], [ids, other], [instances, instances])
    seen = [box.picture.value]
    assert seen[0] == street_picture(*street, row=10, column=20)
    for name, value in {"zoom": 2, "column": 39, "row": 0, "opacity": 100, "frame": 1}.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert len(set(seen)) == len(seen)
    assert seen[-1] == street_picture(image, other, instances, zoom=2, column=39, row=0, opacity=1)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" and len(data) < 150_000 for data in seen)
    assert box.controls["column"].max == 39 and box.controls["row"].max == 19
    with pytest.raises(ValueError, match="as many images"):
        street_viewer([image], [ids, other], [instances])
    with pytest.raises(ValueError, match="of one size"):
        street_viewer([image], [ids], [instances[:10]])


def test_figures_fit_a_notebook(street: tuple[np.ndarray, ...]) -> None:
    assert len(png(region_panels({"a": street[:2]}, {1: "ego"}), alt="one").data) < 150_000
