"""The widgets of the ablation notebooks: what they compute, and that every slider changes the picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from seglib.course.widgets.running_mean import (
    STEPS,
    error_at_end,
    running_mean,
    running_mean_explorer,
    running_mean_picture,
)
from seglib.course.widgets.stride_viewer import stride_viewer
from seglib.data import voc_palette


@pytest.mark.parametrize("momentum", [0.1, 0.0003])
def test_the_running_mean_is_batch_norms(momentum: float) -> None:
    means, _, running = running_mean(2, momentum, 1.0)
    layer = torch.nn.BatchNorm1d(1, momentum=momentum).double()
    for step, mean in enumerate(means.tolist()):
        layer(torch.tensor([[mean - 1], [mean + 1]], dtype=torch.float64))
        assert float(layer.running_mean) == pytest.approx(running[step], rel=1e-9, abs=1e-12)


def test_batch_means_scatter_as_they_should() -> None:
    for batch_size in (1, 16):
        means, truth, _ = running_mean(batch_size, 0.1, 2.0)
        assert len(means) == len(truth) == STEPS and truth[0] == 1 and truth[-1] == 3
        assert (means - truth).std() == pytest.approx(batch_size**-0.5, rel=0.1)


def test_noise_and_staleness_pull_the_momentum_to_both_sides() -> None:
    def error(momentum: float) -> float:
        _, truth, running = running_mean(4, momentum, 2.0)
        return error_at_end(truth, running)

    assert error(0.03) < error(0.5) and error(0.03) < error(0.003)


def pictures(box: object, moves: dict[str, object]) -> list[bytes]:
    assert list(box.controls) == list(moves)
    seen = [box.picture.value]
    for name, value in moves.items():
        box.controls[name].value = value
        seen.append(box.picture.value)
    assert all(Image.open(io.BytesIO(data)).format == "PNG" for data in seen)
    return seen


def test_every_slider_of_the_running_mean_changes_the_picture() -> None:
    seen = pictures(running_mean_explorer(), {"batch_size": 16, "momentum": 0.0003, "shift": 0.0})
    assert seen[0] == running_mean_picture() and len(set(seen)) == len(seen)


def test_every_slider_of_the_stride_viewer_changes_the_picture() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(14)]
    labels = [rng.integers(0, 3, (24, 32), dtype=np.uint8) for _ in range(14)]
    predictions = {8: labels, 16: [np.zeros_like(label) for label in labels]}
    look = {"classes": ("background", "tree", "boat"), "palette": voc_palette()}
    box = stride_viewer(images, labels, predictions, **look)
    assert len(box.controls["picture"].options) == 12
    seen = pictures(box, {"picture": 2, "stride": 8})
    assert len(set(seen)) == len(seen)
    with pytest.raises(ValueError, match="output stride: expected a start among"):
        stride_viewer(images, labels, predictions, **look, stride=32)
    with pytest.raises(ValueError, match=r"predictions of stride 8: expected at least 12, .* found 11"):
        stride_viewer(images, labels, {8: labels[:11]}, **look, stride=8)
