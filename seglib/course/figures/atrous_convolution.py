"""The figures and the explorer of notebook 02: maps at three output strides, and what one output pixel sees."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from seglib.course.explorer import MULTI_GRIDS, Explorer, slider
from seglib.course.fields import effective_field, effective_size, settle_batch_norm
from seglib.course.figures import show_fields
from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import INK, styled
from seglib.models import ResNet
from seglib.models.fields import Layer, backbone_layers, theoretical_field


@styled
def show_maps(maps: Mapping[str, np.ndarray]) -> Figure:
    """Maps (H, W) of one quantity at several resolutions, on one scale; the smallest one's pixels are ringed in all."""
    arrays = [np.asarray(values) for values in maps.values()]
    limit = max(np.abs(values).max() for values in arrays)
    fewest = min(values.shape[0] for values in arrays)
    figure, axes = draw_panels(list(maps), max_columns=len(maps), width=3.2)
    for ax, values in zip(axes, arrays, strict=True):
        ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
        step = max(1, (values.shape[0] - 1) // max(1, fewest - 1))
        rows, columns = np.mgrid[: values.shape[0] : step, : values.shape[1] : step]
        ax.plot(columns.ravel(), rows.ravel(), "o", color="none", markeredgecolor=INK, markersize=7)
    return figure


SIDE = 513  # the papers' crop
WIDTH = 4  # a narrow network answers at once, and its field has the size of the wide one's
IMAGES = 3


class _Probe(nn.Module):
    """A ResNet-50 and one 3x3 convolution of some rate after it, as in a branch of ASPP."""

    def __init__(self, rate: int, output_stride: int, multi_grid: Sequence[int]):
        super().__init__()
        self.backbone = ResNet(50, output_stride, multi_grid, width=WIDTH)
        self.branch = nn.Conv2d(self.backbone.high_channels, 8, 3, padding=rate, dilation=rate)

    def forward(self, images: Tensor) -> Tensor:
        return self.branch(self.backbone(images).high)  # (B, 8, H/OS, W/OS)


@functools.lru_cache(maxsize=8)
def _probe(rate: int, output_stride: int, multi_grid: tuple[int, ...], side: int) -> tuple[_Probe, Tensor]:
    """The same weights and images for all settings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _Probe(rate, output_stride, multi_grid)
        images = torch.randn(IMAGES, 3, side, side)
    settle_batch_norm(network, images)
    return network, images


def show_receptive_field(
    down: int = 50, across: int = 50, rate: int = 6, output_stride: int = 16, multi_grid: Sequence[int] = (1, 2, 4)
) -> Figure:
    """The theoretical and the effective field of one output pixel, on a 513 x 513 input.

    down, across: where the pixel is, in per cent of the map. rate: of a 3x3 convolution after the backbone.
    """
    network, images = _probe(rate, output_stride, tuple(multi_grid), SIDE)
    field = theoretical_field([*backbone_layers(network.backbone), Layer(3, 1, rate, rate)])
    last = (SIDE - 1) // field.stride
    row, column = round(down / 100 * last), round(across / 100 * last)
    effective = effective_field(network, images, row, column)
    title = f"theoretical {field.size} px, effective {effective_size(effective):.0f} px"
    figure = show_fields({title: effective}, {title: (field, row, column)})
    figure.set_size_inches(4.6, 4.9)
    return figure


def receptive_field_explorer() -> Explorer:
    """Sliders for pixel, rate, output stride and multi-grid."""
    return Explorer(
        show_receptive_field,
        "Receptive field of one output pixel: heat is the effective field, the red frame the theoretical one.",
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
        rate=slider("rate", range(1, 25), 6),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 2, 4)),
    )
