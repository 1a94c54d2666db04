"""Pictures of receptive fields, and the explorer that redraws them."""

import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from seglib.course.fields import Field, Layer, path_counts, valid_weight_fractions
from seglib.course.figures.fields import show_fields, show_maps, show_path_counts, valid_weight_curves
from seglib.course.figures.style import VERMILION
from seglib.course.widgets import receptive_field
from seglib.course.widgets.explorer import explorer, slider


def test_frame_and_heat_stand_where_they_belong() -> None:
    effective = np.zeros((21, 31))
    effective[4, 9] = 1
    figure = show_fields({"one": effective}, {"one": (Field(7, 2, -3), 2, 6)})
    (ax,) = figure.axes
    frame = next(patch for patch in ax.patches if patch.get_edgecolor()[:3] == pytest.approx(hex_to_rgb(VERMILION)))
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (8.5, 0.5, 7, 7)
    assert ax.images[0].get_array()[4, 9] == 1
    assert ax.lines[0].get_xydata().tolist() == [[12, 4]]
    assert ax.get_xlim()[1] > 31 and ax.yaxis_inverted()


def hex_to_rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_large_inputs_are_averaged_in_blocks() -> None:
    effective = np.zeros((301, 301))
    effective[300, 0] = 8
    image = show_fields({"a": effective}, {"a": (Field(3, 1, -1), 5, 5)}).axes[0].images[0]
    assert image.get_array().shape == (76, 76)
    assert image.get_extent() == [-0.5, 303.5, 303.5, -0.5]
    assert image.get_array()[75, 0] == 2  # one row of four real pixels, the others repeat the edge


def test_titles_must_agree() -> None:
    with pytest.raises(ValueError, match="expected the same in both"):
        show_fields({"a": np.zeros((3, 3))}, {"b": (Field(1, 1, 0), 0, 0)})
    for draw in (lambda: show_path_counts({}), lambda: valid_weight_curves({}, 65), lambda: show_maps({})):
        with pytest.raises(ValueError, match="at least one"):
            draw()


def test_gaps_are_left_out() -> None:
    counts = {"2, 2": path_counts([Layer(3, 1, 2), Layer(3, 1, 2)])}
    (ax,) = show_path_counts(counts).axes
    drawn = ax.collections[0].get_array()
    assert int((~np.ma.getmaskarray(drawn)).sum()) == 25
    assert ax.get_xlabel() == "31% of 9 x 9 pixels seen"


def test_curves_are_the_shares() -> None:
    shares = {rate: valid_weight_fractions(9, rate) for rate in (1, 4, 9)}
    (ax,) = valid_weight_curves(shares, 9).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert lines["9 valid weights"] == [[1, (7 / 9) ** 2], [4, 1 / 81], [9, 0]]
    assert lines["1 valid weight"][-1] == [9, 1]


def test_maps_share_one_scale() -> None:
    figure = show_maps({"a": np.array([[-1.0, 0.5]]), "b": np.array([[3.0]])})
    assert {ax.images[0].get_clim() for ax in figure.axes} == {(-3, 3)}


def test_shared_pixels_are_ringed() -> None:
    figure = show_maps({"coarse": np.ones((2, 3)), "fine": np.ones((5, 9))})
    rings = [ax.lines[0].get_xydata().tolist() for ax in figure.axes]
    assert rings[0] == [[x, y] for y in (0, 1) for x in (0, 1, 2)]
    assert rings[1] == [[x, y] for y in (0, 4) for x in (0, 4, 8)]


def test_explorer_redraws() -> None:
    def draw(size: int, colour: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (size, size), colour).save(buffer, "png")
        return buffer.getvalue()

    box = explorer(draw, "A square.", size=slider("size", (4, 8), 4, " px"), colour=slider("colour", range(9), 3))
    assert box.picture.value == draw(4, 3)
    assert [label for label, _ in box.controls["size"]._options_full] == ["4 px", "8 px"]
    box.controls["size"].value = 8
    box.controls["colour"].value = 5
    assert box.picture.value == draw(8, 5)
    assert repr(box) == "Explorer(size=8, colour=5)"
    with pytest.raises(ValueError, match="size: expected a start among"):
        slider("size", (4, 8), 5)


def test_receptive_field_explorer(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small input: every slider changes the picture, and the generator stays as it was."""
    monkeypatch.setattr(receptive_field, "SIDE", 65)
    receptive_field._probe.cache_clear()
    state = torch.get_rng_state()
    box = receptive_field.receptive_field_explorer()
    assert isinstance(box, ipywidgets.VBox)
    seen = [box.picture.value]
    for name, value in {"down": 0, "across": 100, "rate": 12, "output_stride": 8, "multi_grid": (1, 1, 1)}.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    receptive_field._probe.cache_clear()
    assert len(set(seen)) == 6
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in seen)
    assert torch.equal(torch.get_rng_state(), state)
