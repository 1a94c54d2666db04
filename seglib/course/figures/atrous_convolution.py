"""Figures and explorer of notebook 02: what a removed stride does, the DeepLab family, what one output pixel sees."""

import functools
from collections.abc import Sequence
from itertools import pairwise

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from seglib.course.explorer import MULTI_GRIDS, Explorer, slider
from seglib.course.fields import effective_field, effective_size, settle_batch_norm
from seglib.course.figures import show_fields
from seglib.course.figures.networks import ATROUS, LOGITS, MAP, UP, Box, Page
from seglib.course.figures.style import PALE, styled
from seglib.models import ResNet
from seglib.models.fields import Layer, backbone_layers, theoretical_field
from seglib.studies.papers import published

ALTS = {  # of figures before which the reader predicts what they show
    "Figure 4": "An astronaut and a motorcycle: alike at strides 16 and 8; torn, with wrong classes, without rates.",
    "Figure 7": "Rates 2,2,2: a grid of dots. Rates 1,2,3: a full square. Rates 2,4,8: a wider grid of dots.",
    "Figure 8": "Nine valid weights fall from most positions to none at rate 33; one valid weight rises to all at 65.",
}
FAMILY = """v1, 2014|VGG-16, stride 8:/rate 2|one 3x3 of rate 12|bilinear x 8,/fully connected CRF
v2, 2016|ResNet-101, stride 8:/rates 2 and 4|ASPP: rates 6, 12, 18, 24;/three image sizes|bilinear x 8,/the same CRF
v3, 2017|ResNet-101, stride 16 or 8,/multi-grid 1, 2, 4|ASPP: 1x1, rates 6, 12, 18,/image pooling|bilinear x 16 or x 8
v3+, 2018|Xception or ResNet-101,/stride 16 or 8|ASPP: separable/convolutions|decoder with the/map of stride 4, x 4"""
RESULTS = (
    *(("deeplabv1", "Test set", "DeepLab-CRF-LargeFOV"), ("deeplabv2", "Test set", "DeepLab-CRF (ResNet-101)")),
    *(("deeplabv3", 7, "DeepLabv3"), ("deeplabv3plus", 6, "DeepLabv3+ (Xception)")),
)


@styled
def show_removed_stride() -> Figure:
    """The values on one axis, by their pixels, that a 3x3 kernel reads at pixel 8, with a stride and without."""
    page, rows = Page(9.6, 2.9), {"after a stride of 2": (2, 1), "stride removed": (1, 1), "and rate 2": (1, 2)}
    for y, (title, (spacing, rate)) in zip((2.2, 1.2, 0.2), rows.items(), strict=True):
        page.write(0.1, y + 0.2, title, 10, ha="left")
        for pixel in range(0, 17, spacing):
            read = abs(pixel - 8) in (0, spacing * rate)
            colour = PALE if not read else MAP if pixel % 2 == 0 else LOGITS
            box = page.box(Box(2.4 + 0.42 * pixel, y + 0.1, 0.38, 0.3), colour, str(pixel))
            if read:
                page.arrow(box.at(up=1), (2.4 + 0.42 * 8, y + 0.6))
    return page.figure


@styled
def draw_family() -> Figure:
    """DeepLab v1, v2, v3 and v3+: what makes features, what gives them context, what finds edges."""
    page, titles = Page(10.6, 4.3), {"features": 2.2, "context": 5.05, "edges": 7.8, "VOC 2012 test,\nmIoU in %": 9.8}
    for title, x in titles.items():
        page.write(x, 4, title, 10)
    for y, line, (paper, table, model) in zip((3.3, 2.4, 1.5, 0.6), FAMILY.splitlines(), RESULTS, strict=True):
        name, *texts = line.replace("/", "\n").split("|")
        page.write(0.1, y, name, 10, ha="left")
        parts = zip(texts, titles.values(), (2.2, 2.6, 2), (MAP, ATROUS, UP), strict=False)
        boxes = [page.box(Box(x, y, width, 0.6), colour, text) for text, x, width, colour in parts]
        for box, other in pairwise(boxes):
            page.arrow(box.at(1), other.at(-1))
        page.write(9.8, y, f"{published(paper, table, model=model)}", 10)
    return page.figure


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
    down: int = 50, across: int = 50, rate: int = 6, output_stride: int = 16, multi_grid: Sequence[int] = (1, 1, 1)
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
        "Receptive field of one output pixel: heat is the effective field, the orange frame the theoretical one.",
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
        rate=slider("rate", range(1, 25), 6),
        output_stride=slider("output stride", (8, 16, 32), 16),
        multi_grid=slider("multi-grid", MULTI_GRIDS, (1, 1, 1)),
    )
