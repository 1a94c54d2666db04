"""Drawings of networks. Shapes, rates and counts are the modules' own, run on PyTorch's meta device (shapes only)."""

import copy
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise, product
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, VERMILION, halo, styled
from seglib.models import ASPP, FCN, DeepLabV3, DeepLabV3Plus, ResNet, UNet
from seglib.models.fields import Layer, theoretical_field
from seglib.models.layers import conv3x3_bn_relu
from seglib.models.resnet import BasicUnit, BottleneckUnit, PreActivationBottleneckUnit
from seglib.studies.papers import published

# The colours of a map of the backbone, an atrous convolution, another one, image pooling, upsampling, and logits.
MAP, ATROUS, CONV, POOL, UP, LOGITS = SKY, ORANGE, "#9A9A9A", PURPLE, GREEN, VERMILION
TAPS = np.array([*product((-1, 0, 1), repeat=2)])  # of a 3x3 kernel: (9, 2)
Shape = tuple[int, int]  # channels and side of a square map
FAMILY = """v1, 2014|VGG-16, stride 8:/rates 2 and 4|one 3x3 of rate 12|bilinear x 8,/fully connected CRF
v2, 2016|ResNet-101, stride 8:/rates 2 and 4|ASPP: rates 6, 12, 18, 24;/three image sizes|bilinear x 8,/the same CRF
v3, 2017|ResNet-101, stride 16 or 8,/multi-grid 1, 2, 4|ASPP: 1x1, rates 6, 12, 18,/image pooling|bilinear x 16 or x 8
v3+, 2018|Xception or ResNet-101,/stride 16 or 8|ASPP: separable/convolutions|decoder with the/map of stride 4, x 4"""
RESULTS = (
    *(("deeplabv1", "Test set", "DeepLab-CRF-LargeFOV"), ("deeplabv2", "Test set", "DeepLab-CRF (ResNet-101)")),
    *(("deeplabv3", 7, "DeepLabv3"), ("deeplabv3plus", 6, "DeepLabv3+ (Xception)")),
)


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
def draw_resnet(networks: Mapping[str, ResNet] | None = None, side: int = 513) -> Figure:
    """ResNets, a row each: their maps, and the rate of every 3x3 convolution; a triangle marks a stride of 2.

    networks: title -> network; None is a ResNet-50 at output strides 32, 16 and 8, without multi-grid.
    """
    with torch.device("meta"):
        networks = networks or {f"ResNet-50, output stride {s}": ResNet(50, s, (1, 1, 1)) for s in (32, 16, 8)}
    page = Page(10.5, 2.3 * len(networks) + 0.3)
    for y, (title, network) in zip(2.3 * np.arange(len(networks), 0, -1) - 0.8, networks.items(), strict=True):
        shapes, x = shapes_in(network, side), 1.3
        convs = [conv for conv in network.dilations() if conv[0].startswith("layer")]
        blocks = {block: [*own] for block, own in groupby(convs, lambda conv: conv[0].split(".")[0])}
        step = min(0.42, (9.3 - 0.35 * len(blocks)) / len(convs))
        page.write(0.1, y + 0.92, title, 10, ha="left")
        page.arrow(page.map(0.5, y, (3, side), "image").at(1), (x, y), text="stem")
        for block, own in blocks.items():
            middle, bottom = x + step * len(own) / 2, y - 0.06 - height_of(shapes[own[0][0]]) / 2
            page.write(middle, bottom, f"block {block[5:]}\n{words_of(shapes[block])}", va="top")
            for name, stride, rate in own:
                cell = Box(x + step / 2, y, 0.9 * step, height_of(shapes[name]))
                page.box(cell, MAP if rate == 1 else ATROUS, str(rate), size=9 if step > 0.25 else 7)
                page.ax.plot(cell.x, cell.at(up=1)[1] + 0.12, "v", color=INK, markersize=7 * (stride - 1))
                x += step
            x += 0.35
    page.write(
        5.25, 0.15, "a box: a 3x3 convolution with its rate, as high as its map (by the root);   triangle: stride 2", 9
    )
    return page.figure


def steps_of(unit: nn.Module, channels: int) -> list[str]:
    """The layers of a residual unit, in the order in which they run; "+" is the sum with the shortcut."""
    steps, twin = [], copy.deepcopy(unit).to("meta").eval()
    for module in twin.modules():
        text = {nn.BatchNorm2d: "batch norm", nn.ReLU: "ReLU"}.get(type(module), "")
        if isinstance(module, nn.Conv2d):
            text = f"{module.kernel_size[0]}x{module.kernel_size[0]}, {module.in_channels} to {module.out_channels}"
        if text:
            module.register_forward_hook(lambda *_, text=text: steps.append(text))
    twin(torch.empty(1, channels, 14, 14, device="meta"))
    steps.insert(len(steps) - (steps[-1] == "ReLU"), "+")  # a last ReLU follows the sum
    return steps


@styled
def draw_units(channels: int = 256) -> Figure:
    """The basic, the bottleneck and the pre-activated bottleneck unit, layer by layer, with their shortcuts."""
    narrow = (channels, channels // 4, 1)
    units = {"basic": BasicUnit(channels, channels, 1), "bottleneck": BottleneckUnit(*narrow)}
    units["pre-activated bottleneck"] = PreActivationBottleneckUnit(*narrow)
    page = Page(9.2, 5.2)
    for x, (title, unit) in zip((1.2, 4.2, 7.2), units.items(), strict=True):
        page.write(x, 5, title, 11)
        page.write(x, 4.55, f"x: {channels} channels", va="bottom")
        last = Box(x, 4.5)
        for number, step in enumerate(steps_of(unit, channels)):
            y = 4.1 - 0.4 * number
            if step == "+":
                box = page.node(x, y)
                page.arrow((x, 4.35), (x + 1.05, 4.35), (x + 1.05, y), box.at(1))
                page.write(x + 1.1, (4.35 + y) / 2, "shortcut", ha="left")
            else:
                colour = MAP if step.startswith("3x3") else CONV if "x" in step else PALE
                box = page.box(Box(x, y, 1.5, 0.26), colour, step)
            page.arrow(last.at(up=-1), box.at(up=1))
            last = box
        page.arrow(last.at(up=-1), (x, last.at(up=-1)[1] - 0.25))
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
def draw_aspp(aspp: ASPP | None = None, side: int = 33) -> Figure:
    """ASPP and the shapes around it; None is the papers', after a ResNet's block 4."""
    with torch.device("meta"):
        aspp = aspp or ASPP(2048)
    page = Page(5.4, 2.6)
    project = add_aspp(page, aspp, page.map(0.5, 1.4, (aspp.point[0].in_channels, side)), 2)
    page.arrow(project.at(1), page.map(4.8, 1.4, (aspp.project[0].out_channels, side)).at(-1))
    return page.figure


def _draw_deeplab(kind: type[DeepLabV3], backbone: str, output_stride: int, classes: int, side: int) -> Figure:
    with torch.device("meta"):
        model = kind(classes, backbone, output_stride)
    shapes, plus = shapes_in(model, side, upsample=False), isinstance(model, DeepLabV3Plus)
    page, y, factor = Page(10.6, 4.4 if plus else 2.6), 3.25 if plus else 1.4, output_stride
    last = page.map(0.5, y, (3, side), "image")
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
        page.write(
            1.65, y, f"block 1\nbefore it strides:\n{words_of((model.backbone.tap_channels[4], low))}", ha="right"
        )
        join = page.node(last.x, y, "c")
        page.arrow(narrow.at(1), join.at(-1))
        page.arrow(last.at(up=-1), join.at(up=1))
        page.write(last.x + 0.08, 2.1, f"bilinear\nx {output_stride // factor}", ha="left")
        page.write(last.x, y - 0.2, words_of((model.decoder[0][0].in_channels, low)), va="top")
        last = join
        for conv in model.decoder:
            last = page.conv(last, f"3x3\n{conv[0].out_channels}")
    scores = page.conv(last, f"1x1\n{classes}", LOGITS, words_of(shapes["classifier"]))
    page.arrow(scores.at(1), page.map(9.9, y, (classes, side), "logits", LOGITS).at(-1), text=f"bilinear, x {factor}")
    return page.figure


@styled
def draw_deeplabv3(backbone: str = "resnet101", output_stride: int = 16, classes: int = 21, side: int = 513) -> Figure:
    """DeepLabv3 on a ResNet, with the shapes of its maps for a square image."""
    return _draw_deeplab(DeepLabV3, backbone, output_stride, classes, side)


@styled
def draw_deeplabv3plus(
    backbone: str = "resnet101", output_stride: int = 16, classes: int = 21, side: int = 513
) -> Figure:
    """DeepLabv3+ on a ResNet: ASPP's map meets the map of stride 4 in the decoder."""
    return _draw_deeplab(DeepLabV3Plus, backbone, output_stride, classes, side)


@styled
def draw_fcn(backbone: str = "vgg16", classes: int = 21, side: int = 512) -> Figure:
    """FCN-8s, 16s and 32s on one backbone: where scores are taken, upsampled and added."""
    with torch.device("meta"):
        maps = FCN(classes, backbone).backbone.eval()(torch.empty(1, 3, side, side), taps=(4, 8, 16))
    page, ys, xs = Page(10, 4.9), {8: 2.05, 16: 1.2, 32: 0.4}, {4: 2.7, 8: 4.5, 16: 6.5, 32: 8.9}
    last = page.map(0.8, 4.05, (3, side), "image")
    for (stride, x), found in zip(xs.items(), (*maps.taps, maps.high), strict=True):
        box = page.map(x, 4.05, (found.shape[1], found.shape[3]), f"stride {stride}")
        page.arrow(last.at(1), box.at(-1))
        last = box
        if stride > 4:
            page.ax.plot([x] * 2, [3.1, ys[stride]], "--", color=GREY, linewidth=1.1, zorder=0)
            page.write(x + 0.06, 2.8, f"1x1, {classes}", 8, ha="left")
    for net, y in ys.items():
        last = page.box(Box(xs[32], y, 0.4, 0.3), LOGITS, str(classes))
        for stride in (stride for stride in (16, 8) if stride >= net):
            node = page.node(xs[stride], y)
            page.arrow(last.at(-1), node.at(1), text="x 2")
            last = node
        logits = page.box(Box(0.9, y, 1.4, 0.5), LOGITS, f"FCN-{net}s\n{side} x {side} x {classes}")
        page.arrow(last.at(-1), logits.at(1), text=f"x {net}")
    return page.figure


@styled
def draw_unet(width: int = 64, depth: int = 4, classes: int = 21, side: int = 512) -> Figure:
    """A U-Net: the contracting path above, the expanding path below, and the skips that join them."""
    with torch.device("meta"):
        shapes = shapes_in(UNet(classes, width, depth), side)
    page, xs = Page(10, 4.7), np.linspace(0.8, 9.2, depth + 1)
    top = [page.map(x, 3.85, shapes[f"backbone.levels.{level}"]) for level, x in enumerate(xs)]
    for left, right in pairwise(top):
        page.arrow(left.at(1), right.at(-1), text="pool")
    path = [top[-1].at(1), (9.7, 3.85), (9.7, 1.3)]
    for place, level in enumerate(reversed(range(depth))):
        box = page.map(xs[level], 1.3, shapes[f"expanding.{place}"])
        page.arrow(*path, box.at(1), text="up x 2")
        page.ax.plot([box.x] * 2, [top[level].at(up=-1)[1] - 0.4, box.at(up=1)[1]], "--", color=GREY, linewidth=1.1)
        page.write(box.x + 0.06, 2.3, "c", 10, ha="left")
        path = [box.at(-1)]
    page.write(5, 0.15, f"c: the two maps are concatenated, then two 3x3.   At the end a 1x1 to {classes} classes.", 9)
    return page.figure


@styled
def draw_separable(in_channels: int = 256, out_channels: int = 256, rate: int = 2) -> Figure:
    """An atrous 3x3 convolution, and beside it the separable one: a depthwise atrous 3x3, then a 1x1."""
    page, colours = Page(9.6, 2.7), (BLUE, ORANGE, GREEN)

    def planes(x: float, inks: Sequence[str], below: str, kernel: bool = False) -> None:
        for number, ink in enumerate(inks):
            box = page.box(Box(x + 0.18 * number, 1.75 - 0.18 * number, 0.8, 0.8), "white" if kernel else ink)
            if kernel:
                page.ax.plot(*(0.12 * rate * TAPS + box[:2]).T, "s", color=ink, markersize=3.5, zorder=2)
        page.write(x + 0.18, 0.9, below, va="top")

    for kind, x, title in (("none", 0.6, "atrous 3x3"), ("paper", 4.6, "separable: depthwise atrous 3x3, then 1x1")):
        layers = conv3x3_bn_relu(in_channels, out_channels, kind).modules()
        weights = sum(layer.weight.numel() for layer in layers if isinstance(layer, nn.Conv2d))
        page.write(x - 0.4, 2.5, title, 10, ha="left")
        page.write(x - 0.4, 0.2, f"{in_channels} to {out_channels} channels: {weights:,} weights", 9, ha="left")
        planes(x, [INK] * 3 if kind == "none" else colours, "nine taps\non each channel", kernel=True)
        page.arrow((x + 0.85, 1.6), (x + 1.4, 1.6))
        if kind == "paper":
            planes(x + 1.9, colours, "each output reads\none channel")
            page.arrow((x + 2.75, 1.6), (x + 3.4, 1.6), text="1x1")
            x += 2
        planes(x + 1.9, [GREY] * 3, "each output reads\nall channels")
    return page.figure


@styled
def draw_positions(pixels: int = 8) -> Figure:
    """Where the values of maps of stride 2, 4 and 8 lie on a row of pixels, after poolings and after convolutions."""
    kinds = {"2x2 pooling, stride 2: the middle of a cell": Layer(2, 2)}
    kinds["3x3 convolution, stride 2, padded: its first pixel"] = Layer(3, 2, 1, 1)
    page = Page(9.6, 2.1)
    for (title, layer), left in zip(kinds.items(), (1, 5.9), strict=True):
        page.write(left, 1.95, title, 10, ha="left")
        for pixel in range(pixels):
            page.box(Box(left + 0.2 + 0.4 * pixel, 1.6, 0.38, 0.3), PALE, str(pixel))
        for times in (1, 2, 3):
            field, y = theoretical_field([layer] * times), 1.6 - 0.45 * times
            page.write(left - 0.1, y, f"stride {field.stride}", ha="right")
            for value in range(pixels // field.stride):
                width, place = 0.4 * field.stride, sum(field.span(value)) / 2  # the middle of what the value sees
                page.box(Box(left + width * (value + 0.5), y, width - 0.04, 0.24), MAP)
                page.ax.plot(left + 0.2 + 0.4 * place, y, "o", color=INK, markersize=7, zorder=3)
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
