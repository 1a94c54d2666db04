"""The receptive-field explorer: what one output pixel of a ResNet with an atrous convolution behind it sees."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import ipywidgets
import torch
from torch import Tensor, nn

from seglib.course.fields import (
    Layer,
    backbone_layers,
    effective_field,
    effective_size,
    settle_batch_norm,
    theoretical_field,
)
from seglib.course.figures.fields import show_fields
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider
from seglib.models import ResNet

# The papers' crop; a narrow network answers at once, and its field has the size of the wide one's.
SIDE = 513
WIDTH = 4
IMAGES = 3
MULTI_GRIDS = ((1, 1, 1), (1, 2, 1), (1, 2, 3), (1, 2, 4), (2, 2, 2))


class _Probe(nn.Module):
    """A ResNet-50 and one 3x3 convolution of some rate behind it, as in a branch of ASPP."""

    def __init__(self, rate: int, output_stride: int, multi_grid: Sequence[int]):
        super().__init__()
        self.backbone = ResNet(50, output_stride, multi_grid, width=WIDTH)
        self.branch = nn.Conv2d(self.backbone.high_channels, 8, 3, padding=rate, dilation=rate)

    def forward(self, images: Tensor) -> Tensor:
        return self.branch(self.backbone(images).high)  # (B, 8, H/OS, W/OS)


@functools.lru_cache(maxsize=8)
def _probe(rate: int, output_stride: int, multi_grid: tuple[int, ...]) -> tuple[_Probe, Tensor]:
    """The same weights and images for all settings: the generator starts anew, and is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _Probe(rate, output_stride, multi_grid)
        images = torch.randn(IMAGES, 3, SIDE, SIDE)
    settle_batch_norm(network, images)
    return network, images


def receptive_field_picture(
    down: int = 50, across: int = 50, rate: int = 6, output_stride: int = 16, multi_grid: Sequence[int] = (1, 2, 4)
) -> bytes:
    """A PNG of the theoretical and the effective field of one output pixel, on a 513 x 513 input.

    Args:
        down, across: where the output pixel is, in per cent of the map, 0 to 100.
        rate: of the 3x3 convolution behind the backbone, at least 1.
        output_stride: 8, 16 or 32.
        multi_grid: three factors, of block 4's units.
    """
    network, images = _probe(rate, output_stride, tuple(multi_grid))
    field = theoretical_field([*backbone_layers(network.backbone), Layer(3, 1, rate, rate)])
    last = (SIDE - 1) // field.stride
    row, column = round(down / 100 * last), round(across / 100 * last)
    effective = effective_field(network, images, row, column)
    title = f"theoretical {field.size} px, effective {effective_size(effective):.0f} px"
    figure = show_fields({title: effective.numpy()}, {title: (field, row, column)})
    figure.set_size_inches(4.6, 4.9)
    return png(figure, alt="Receptive field of one output pixel.").data


def receptive_field_explorer() -> ipywidgets.VBox:
    """Sliders for pixel, rate, output stride and multi-grid above the picture they redraw."""
    return explorer(
        receptive_field_picture,
        "Receptive field of one output pixel: heat is the effective field, the red frame the theoretical one.",
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
        rate=slider("rate", range(1, 25), 6),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
    )
