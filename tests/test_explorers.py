"""The explorers: each has its first picture, every control redraws it, and its repr names no object."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from seglib.course import figures
from seglib.course.explorer import Explorer, slider
from seglib.course.figures import (
    ablation_batch_size,
    ablation_context,
    aspp,
    atrous_convolution,
    cityscapes_evaluation,
    decoder,
    fcn_basics,
    losses_and_imbalance,
    resnet_multigrid,
    start_here,
    what_others_build,
)
from seglib.course.figures.style import MAX_PNG_BYTES
from seglib.data import voc_palette
from seglib.models import ResNet

LOOK = {"classes": ("background", "tree", "boat"), "palette": voc_palette()}
SHAPE = (20, 40)
IMAGES = [np.full((*SHAPE, 3), value, np.uint8) for value in (100, 200)]
ONES, PIXEL = (1, 1, 1), {"down": 0, "across": 90}


def label_maps(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 3, (count, *SHAPE), dtype=np.uint8))


@pytest.fixture
def street() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A road (7), one car (26001), a row of cars (26), the bonnet (1)."""
    ids = np.full(SHAPE, 7, np.uint8)
    ids[4:8, 10:16] = ids[4:8, 20:30] = 26
    ids[18:] = 1
    instances = ids.astype(np.int32)
    instances[4:8, 10:16] = 26001
    return np.full((*SHAPE, 3), 100, np.uint8), ids, instances


def build_street_explorer() -> Explorer:
    return cityscapes_evaluation.street_explorer(IMAGES, label_maps(2), label_maps(2), (10, 20))


def upload(colour: str) -> dict[str, Any]:
    """A file as ipywidgets 8 has it."""
    Image.new("RGB", (60, 30), colour).save(buffer := io.BytesIO(), "PNG")
    about = {"name": "a.png", "type": "image/png", "size": len(buffer.getvalue()), "last_modified": datetime.now(UTC)}
    return about | {"content": memoryview(buffer.getvalue())}


def build_picture_explorer() -> Explorer:
    """Bright pixels are trees."""
    return start_here.picture_explorer(lambda x: (x[..., 0] > 150).astype(np.uint8), SimpleNamespace(**LOOK), IMAGES[0])


def build_decoder_explorer() -> Explorer:
    labels = [np.tile(label, (4, 2)) for label in label_maps(2)]
    for label in labels:
        label[5, 5:30] = 255
    images = [np.tile(image, (4, 2, 1)) for image in IMAGES]
    return decoder.decoder_explorer(images, labels, [label * 0 for label in labels], labels, **LOOK)


# explorer -> a move of each of its controls
EXPLORERS: dict[Callable[[], Explorer], dict[str, Any]] = {
    build_picture_explorer: {"picture": (upload("red"),)},
    fcn_basics.upsampling_explorer: {"kernel_size": 4, "stride": 3, "kernel": "bilinear"},
    atrous_convolution.receptive_field_explorer: PIXEL | {"rate": 9, "output_stride": 8, "multi_grid": (1, 2, 4)},
    resnet_multigrid.rate_explorer: {"depth": 18, "output_stride": 8, "multi_grid": ONES, "stride_unit": "first"},
    aspp.aspp_rate_explorer: {"rate_1": 1, "rate_2": 2, "rate_3": 36, "side": 7} | PIXEL,
    build_decoder_explorer: {"image": 1, "band": 8} | PIXEL,
    build_street_explorer: {"frame": 1, "zoom": 2, "column": 39, "row": 0, "opacity": 100},
    ablation_batch_size.running_mean_explorer: {"batch_size": 16, "momentum": 0.0003, "shift": 0.0},
    losses_and_imbalance.loss_explorer: {"gamma": 5.0, "smoothing": 0.4, "num_classes": 2, "percent": 99},
    what_others_build.peer_explorer: {"peer": "jfzhang95/pytorch-deeplab-xception", "output_stride": 16},
}


@pytest.mark.parametrize("build", EXPLORERS, ids=lambda build: build.__name__)
def test_every_control_changes_the_picture(build: Callable[[], Explorer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atrous_convolution, "SIDE", 65)
    state = torch.get_rng_state()
    box, moves = build(), EXPLORERS[build]
    first, values = repr(box), {name: control.value for name, control in box.controls.items()}
    assert "object at" not in first and "\\x" not in first
    assert set(box.controls) == set(moves)
    seen = [box.picture.value]
    for name, value in moves.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert len(set(seen)) == len(seen)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" and len(data) < MAX_PNG_BYTES for data in seen)
    for name, value in values.items():
        box.controls[name].value = value
    assert box.picture.value == seen[0] and repr(box) == first
    assert torch.equal(torch.get_rng_state(), state) or build is resnet_multigrid.rate_explorer


def test_an_explorer_draws_what_its_controls_say() -> None:
    drawn = []

    def draw(size: int, colour: str) -> Figure:
        drawn.append((size, colour))
        return Figure(figsize=(size, 1), facecolor=colour)

    box = Explorer(draw, "A square.", size=slider("size", (1, 2), 1, " in"), colour=slider("colour", ("r", "b"), "b"))
    box.controls["size"].value = 2
    box.controls["colour"].value = "r"
    assert drawn == [(1, "b"), (2, "b"), (2, "r")] and repr(box) == "Explorer(size=2, colour=r)"
    assert [label for label, _ in box.controls["size"]._options_full] == ["1 in", "2 in"]


@pytest.mark.parametrize("kept", [0, 60])
def test_an_explorer_says_why_it_cannot_draw(kept: int) -> None:
    box, broken = build_picture_explorer(), upload("blue")
    before, said = box.picture.value, box.sentence.value
    broken["content"] = broken["content"][:kept]
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        box.controls["picture"].value = (broken,)
    assert box.picture.value == before
    assert (
        box.sentence.value == "<b>The picture stays as it was: this file cannot be read as a picture; save it as "
        "JPEG or PNG</b>"
    )
    box.controls["picture"].value = (upload("red"),)
    assert box.picture.value != before and box.sentence.value == said


def test_a_picture_may_come_as_ipywidgets_7_has_it() -> None:
    box = build_picture_explorer()
    box.controls["picture"].value = (upload("blue"),)
    old = box._draw(picture={"a.png": upload("blue")})
    assert figures.png(old, "A sentence.").data == box.picture.value


@pytest.mark.parametrize("multi_grid", [(1, 1, 1), (1, 2, 4)])
def test_rates_of_the_cascade_are_the_network_s(multi_grid: tuple[int, ...]) -> None:
    """A bottleneck has one 3x3 per unit; strides in the last unit, as in the papers."""
    backbone = ResNet(50, 16, multi_grid, width=4, cascade_blocks=2, stride_unit="last")
    built = [rate for name, _, rate in backbone.dilations() if int(name[5]) >= 4]
    assert [rate for _, rate in ablation_context.cascade_rates(multi_grid, 6)] == built


def test_description_of_a_pixel(street: tuple[np.ndarray, ...]) -> None:
    for row, column, said in (
        (0, 0, "row 0, column 0: road (id 7, trainId 0); category flat"),
        (5, 12, "row 5, column 12: car (id 26, trainId 13); category vehicle; instance 26001, 24 pixels"),
        (5, 25, "car (id 26, trainId 13); category vehicle; a group: its members are not told apart"),
        (19, 39, "ego vehicle (id 1, ignored); category void"),
    ):
        assert cityscapes_evaluation.describe_pixel(*street[1:], row, column).endswith(said)


def test_the_window_holds_the_pixel() -> None:
    for zoom, pixel, window in [
        (1, (3, 39), (0, 20, 0, 40)),
        (4, (10, 20), (8, 13, 15, 25)),
        (64, (7, 9), (7, 8, 9, 10)),
    ]:
        rows, columns = cityscapes_evaluation.zoom_window(SHAPE, zoom, *pixel)
        assert (rows.start, rows.stop, columns.start, columns.stop) == window
