"""The grids of notebook 01 and its explorer: what stands in the cells, and that sliders redraw."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from seglib.course.figures.grids import label_grids, number_grids
from seglib.course.widgets.upsampling import make_kernel, upsampling_explorer, upsampling_picture

PALETTE = np.arange(768, dtype=np.uint32).reshape(256, 3).astype(np.uint8)


def texts(figure: object, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_numbers_stand_in_their_cells() -> None:
    grid = np.array([[0.5, 2.0], [-1.0, 0.0]])
    figure = number_grids({"a": grid, "large": np.zeros((13, 13))}, digits=1)
    assert texts(figure, 0) == ["0.5", "2.0", "-1.0", "0.0"] and not texts(figure, 1)
    assert [ax.get_title("left") for ax in figure.axes] == ["a", "large"]
    assert [text.get_position() for text in figure.axes[0].texts][1] == (1, 0)


def test_what_differs_from_the_label_is_framed() -> None:
    label, guess = np.array([[0, 1], [255, 1]], np.uint8), np.array([[1, 1], [0, 0]], np.uint8)
    figure = label_grids({"label": label, "guess": guess}, ("sky", "tree"), PALETTE)
    assert texts(figure, 0) == ["sky", "tree", "void", "tree"]
    assert len(figure.axes[0].patches) == 0
    places = [(box.get_x() + 0.42, box.get_y() + 0.42) for box in figure.axes[1].patches]
    np.testing.assert_allclose(places, [(0, 0), (1, 1)])


@pytest.mark.parametrize("draw", [number_grids, lambda g: label_grids(g, ("a",), PALETTE)])
def test_what_is_no_grid_is_refused(draw: object) -> None:
    with pytest.raises(ValueError, match="at least one"):
        draw({})
    with pytest.raises(ValueError, match=r"grids\['x'\]: expected \(H, W\), found \(3,\)"):
        draw({"x": np.zeros(3, np.uint8)})


def test_label_grids_have_one_size() -> None:
    with pytest.raises(ValueError, match="expected one size"):
        label_grids({"a": np.zeros((2, 2), np.uint8), "b": np.zeros((2, 3), np.uint8)}, ("a",), PALETTE)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_bilinear_kernel_leaves_ones_alone(factor: int) -> None:
    """Even coverage inside, for odd and even kernels; ones of a size that the stride does not divide have none."""
    for size in (2 * factor, 2 * factor - 1):
        painted = F.conv_transpose2d(torch.ones(1, 1, 6, 6), make_kernel("bilinear", size)[None, None], stride=factor)
        torch.testing.assert_close(painted[0, 0, size:-size, size:-size].std(), torch.tensor(0.0))
    uneven = F.conv_transpose2d(torch.ones(1, 1, 6, 6), make_kernel("ones", factor + 1)[None, None], stride=factor)
    assert uneven[0, 0, factor + 1 : -factor - 1].unique().numel() > 1
    with pytest.raises(ValueError, match="kernel = 'box'"):
        make_kernel("box", 3)


def test_sliders_redraw_the_picture() -> None:
    box = upsampling_explorer()
    assert box.picture.value == upsampling_picture()
    pictures = {box.picture.value}
    for name, value in (("kernel_size", 4), ("stride", 3), ("kernel", "bilinear")):
        box.controls[name].value = value
        pictures.add(box.picture.value)
    assert len(pictures) == 4
    assert box.picture.value == upsampling_picture(4, 3, "bilinear")
    assert Image.open(io.BytesIO(box.picture.value)).format == "PNG"
