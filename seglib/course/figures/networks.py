"""Drawings of networks. Shapes, rates and counts are the modules' own, run on PyTorch's meta device (shapes only)."""

import copy
from collections.abc import Mapping, Sequence
from itertools import groupby, product
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, VERMILION, halo, styled
from seglib.models import ASPP, DeepLabV3, DeepLabV3Plus, ResNet

# The colours of a map of the backbone, an atrous convolution, another one, image pooling, upsampling, and logits.
MAP, ATROUS, CONV, POOL, UP, LOGITS = SKY, ORANGE, "#9A9A9A", PURPLE, GREEN, VERMILION
TAPS = np.array([*product((-1, 0, 1), repeat=2)])  # of a 3x3 kernel: (9, 2)
SIDE, CLASSES = 513, 21  # of the papers' crops, and of Pascal VOC
Shape = tuple[int, int]  # channels and side of a square map


class Box(NamedTuple):
    """A box on a page, in inches, by its middle."""

    x: float
    y: float
    width: float = 0
    height: float = 0

    def at(self, across: float = 0, up: float = 0) -> tuple[float, float]:
        """A point of its outline: at(1) is the middle of the right side, at(up=-1) that of the bottom."""
        return self.x + across * self.width / 2, self.y + up * self.height / 2


class Page:
    """A white page of boxes and arrows, in inches from its lower left corner."""

    def __init__(self, width: float, height: float):
        self.figure = plt.figure(figsize=(width, height), layout="none")
        self.ax = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        self.ax.axis("off")

    def write(self, x: float, y: float, text: str, size: float = 8.5, ha: str = "center", va: str = "center") -> None:
        self.ax.text(x, y, text, fontsize=size, ha=ha, va=va, linespacing=1.15, path_effects=halo("white"), zorder=4)

    def box(self, box: Box, colour: str, text: str = "", below: str = "", size: float = 8.5) -> Box:
        """Draws a box with a text inside and one below it."""
        fill = 1 - 0.45 * (1 - np.array(to_rgb(colour)))
        style = {"boxstyle": "round,pad=0,rounding_size=0.04", "facecolor": fill, "edgecolor": GREY, "zorder": 2}
        self.ax.add_patch(FancyBboxPatch((box.at(-1)[0], box.at(up=-1)[1]), *box[2:], **style))
        self.ax.text(*box[:2], text, fontsize=size, ha="center", va="center", linespacing=1.15, zorder=4)
        self.write(box.x, box.at(up=-1)[1] - 0.06, below, va="top")
        return box

    def map(self, x: float, y: float, shape: Shape, name: str = "", colour: str = MAP) -> Box:
        """Draws a map above its shape: the higher the larger its side (by the root), the wider the more channels."""
        box = Box(x, y, 0.1 + 0.035 * np.log2(shape[0]), height_of(shape))
        return self.box(box, colour, below=f"{name}\n{words_of(shape)}".strip())

    def conv(self, last: Box, text: str, colour: str = CONV, below: str = "", gap: float = 0.3) -> Box:
        """Draws a convolution to the right of a box, and the arrow to it."""
        box = self.box(Box(last.at(1)[0] + gap + 0.22, last.y, 0.44, 0.5), colour, text, below)
        self.arrow(last.at(1), box.at(-1))
        return box

    def node(self, x: float, y: float, text: str = "+") -> Box:
        """Draws the circle of a sum (+) or of a concatenation (c)."""
        self.ax.plot(x, y, "o", color="white", markeredgecolor=INK, markersize=16, zorder=3)
        self.write(x, y, text, 10)
        return Box(x, y, 0.23, 0.23)

    def arrow(self, *points: tuple[float, float], text: str = "") -> None:
        """Draws an arrow through points; the text stands above the middle of its last piece."""
        self.ax.plot(*np.transpose(points[:-1]), color=INK, linewidth=1.1, zorder=1)
        style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
        self.ax.annotate("", points[-1], points[-2], arrowprops=style, zorder=1)
        (x, y), (other_x, other_y) = points[-2:]
        self.write((x + other_x) / 2, (y + other_y) / 2 + 0.05, text, 8, va="bottom")


def height_of(shape: Shape) -> float:
    return 1.5 * (shape[1] / 513) ** 0.5


def words_of(shape: Shape) -> str:
    return f"{shape[1]} x {shape[1]}\nx {shape[0]}"


def shapes_in(network: nn.Module, side: int, **options: bool) -> dict[str, Shape]:
    """The shape of the map that each module of a network puts out, by the module's name, for a square image."""
    twin, found = copy.deepcopy(network).to("meta").eval(), {}
    for name, module in twin.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
    twin(torch.empty(1, 3, side, side, device="meta"), **options)
    return {name: (out.shape[1], out.shape[3]) for name, out in found.items() if isinstance(out, Tensor)}


@styled
def draw_resnet(networks: Mapping[str, ResNet] | None = None) -> Figure:
    """ResNets, a row each, by title: their maps, and the rate of every 3x3 convolution; a triangle marks a stride of 2.

    Without any, ResNet-50 at output strides 32, 16 and 8, without multi-grid.
    """
    with torch.device("meta"):
        networks = networks or {f"ResNet-50, output stride {s}": ResNet(50, s, (1, 1, 1)) for s in (32, 16, 8)}
    page = Page(10.5, 2.3 * len(networks) + 0.3)
    for y, (title, network) in zip(2.3 * np.arange(len(networks), 0, -1) - 0.8, networks.items(), strict=True):
        shapes, x = shapes_in(network, SIDE), 1.3
        convs = [conv for conv in network.dilations() if conv[0].startswith("layer")]
        blocks = {block: [*own] for block, own in groupby(convs, lambda conv: conv[0].split(".")[0])}
        step = min(0.42, (9.3 - 0.35 * len(blocks)) / len(convs))
        page.write(0.1, y + 0.92, title, 10, ha="left")
        page.arrow(page.map(0.5, y, (3, SIDE), "image").at(1), (x, y), text="stem")
        for block, own in blocks.items():
            middle, bottom = x + step * len(own) / 2, y - 0.06 - height_of(shapes[own[0][0]]) / 2
            page.write(middle, bottom, f"block {block[5:]}\n{words_of(shapes[block])}", va="top")
            for name, stride, rate in own:
                cell = Box(x + step / 2, y, 0.9 * step, height_of(shapes[name]))
                page.box(cell, MAP if rate == 1 else ATROUS, str(rate), size=9 if step > 0.25 else 7)
                page.ax.plot(cell.x, cell.at(up=1)[1] + 0.12, "v", color=INK, markersize=7 * (stride - 1))
                x += step
            x += 0.35
    note = "a box: a 3x3 convolution with its rate, higher on a larger map;   triangle: stride 2"
    page.write(5.25, 0.15, note, 9)
    return page.figure


def add_aspp(page: Page, aspp: ASPP, start: Box, tall: float) -> Box:
    """Draws ASPP after a map, and returns its last convolution."""
    x, y = start.at(1)
    branches = [("1x1", CONV), *((f"3x3, rate {rate}", ATROUS) for rate in aspp.atrous_rates)]
    branches += [("image pooling, 1x1", POOL)] * (aspp.pool is not None)
    total = aspp.project[0].in_channels
    words = f"{len(branches)} x {total // len(branches)}\n= {total}"
    join = page.box(Box(x + 2.1, y, 0.25, tall), PALE, "c", words, 10)
    for place, (name, colour) in zip(np.linspace(0.8, -0.8, len(branches)), branches, strict=True):
        box = page.box(Box(x + 1.05, y + place * tall / 2, 1.35, 0.75 * tall / len(branches)), colour, name)
        page.arrow(start.at(1), box.at(-1))
        page.arrow(box.at(1), (join.at(-1)[0], box.y))
    return page.conv(join, f"1x1\n{aspp.project[0].out_channels}")


@styled
def draw_aspp() -> Figure:
    """The papers' ASPP after a ResNet's block 4 at output stride 16, and the shapes around it."""
    with torch.device("meta"):
        aspp = ASPP(2048)
    page, side = Page(5.4, 2.6), 33
    project = add_aspp(page, aspp, page.map(0.5, 1.4, (aspp.point[0].in_channels, side)), 2)
    page.arrow(project.at(1), page.map(4.8, 1.4, (aspp.project[0].out_channels, side)).at(-1))
    return page.figure


@styled
def draw_deeplab(kind: type[DeepLabV3], output_stride: int = 16) -> Figure:
    """DeepLabv3 or v3+ on ResNet-101, with the shapes of its maps; v3+ adds the map of stride 4 in a decoder."""
    with torch.device("meta"):
        model = kind(CLASSES, "resnet101", output_stride)
    shapes, plus = shapes_in(model, SIDE, upsample=False), isinstance(model, DeepLabV3Plus)
    page, y, factor = Page(10.6, 4.4 if plus else 2.6), 3.25 if plus else 1.4, output_stride
    last = page.map(0.5, y, (3, SIDE), "image")
    for x, block in zip((1.4, 2.15, 2.9, 3.65), (1, 2, 3, 4), strict=True):
        units = model.backbone.get_submodule(f"layer{block}")
        rates = [rate for name, _, rate in model.backbone.dilations() if name.startswith(f"layer{block}")]
        shape = shapes[f"backbone.layer{block}.{len(units) - 1}"]
        box = page.map(x, y, shape, f"block {block}", MAP if max(rates) == 1 else ATROUS)
        page.arrow(last.at(1), box.at(-1))
        last = box
    page.write(last.x, y + 0.35, f"rates {', '.join(map(str, rates))}")
    last = add_aspp(page, model.aspp, last, 1.9)
    if plus:
        (channels, low), factor, top, y = shapes["low_projection"], 4, y, 1.2
        narrow = page.conv(Box(1.75, y), f"1x1\n{channels}", gap=0.6)
        page.arrow((1.75, top), (1.75, y), narrow.at(-1))
        tap = words_of((model.backbone.tap_channels[4], low))
        page.write(1.65, y, f"block 1\nbefore it strides:\n{tap}", ha="right")
        join = page.node(last.x, y, "c")
        page.arrow(narrow.at(1), join.at(-1))
        page.arrow(last.at(up=-1), join.at(up=1))
        page.write(last.x + 0.08, 2.1, f"bilinear\nx {output_stride // factor}", ha="left")
        page.write(last.x, y - 0.2, words_of((model.decoder[0][0].in_channels, low)), va="top")
        last = join
        for conv in model.decoder:
            last = page.conv(last, f"3x3\n{conv[0].out_channels}")
    scores = page.conv(last, f"1x1\n{CLASSES}", LOGITS, words_of(shapes["classifier"]))
    page.arrow(scores.at(1), page.map(9.9, y, (CLASSES, SIDE), "logits", LOGITS).at(-1), text=f"bilinear, x {factor}")
    return page.figure


@styled
def draw_taps(picture: np.ndarray, rates: Sequence[int] = (6, 12, 18), output_stride: int = 16) -> Figure:
    """The taps of 3x3 kernels around the middle of a picture (H, W, 3) uint8; those outside it read zeros.

    rates: a kernel each. output_stride: of the map that the kernels read.
    """
    size = np.array(picture.shape[:2])
    taps = {rate: size // 2 + rate * output_stride * TAPS for rate in rates}
    ends, room = np.array([(0, 0), size, *np.concatenate([*taps.values()])]), 0.03 * max(size)
    (top, left), (bottom, right) = ends.min(axis=0) - room, ends.max(axis=0) + room
    figure, ax = plt.subplots(figsize=(5, 5 * (bottom - top) / (right - left) + 0.7))
    ax.imshow(picture, alpha=0.7)
    for (rate, points), marker, colour in zip(taps.items(), "os^D", (VERMILION, BLUE, GREEN, INK), strict=False):
        inside = ((points >= 0) & (points < size)).all(axis=1).sum()
        label = f"rate {rate}: {rate * output_stride} pixels apart, {inside} of 9 on the picture"
        ax.plot(*points.T[::-1], marker, color=colour, markeredgecolor="white", markersize=10, label=label)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.axis("off")
    figure.legend(loc="outside lower center")
    return figure
