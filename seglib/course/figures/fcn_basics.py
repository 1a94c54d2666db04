"""Figures and explorer of notebook 01: small maps, places, FCN, and the transposed convolution."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch.nn import functional as F

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.charts import draw_cells
from seglib.course.figures.networks import CLASSES, LOGITS, MAP, Box, Page
from seglib.course.figures.pictures import FIGURE_WIDTH, draw_panels
from seglib.course.figures.style import GREY, INK, PALE, halo, styled
from seglib.data import VOID
from seglib.models import FCN, bilinear_kernel
from seglib.models.fields import Layer, theoretical_field

ALTS = {  # of a figure before which the reader predicts what it shows
    "Figure 3": "How many kernels reach each output pixel: uneven for kernel 3, even for 4 and 2."
}
CELL, TITLE_LETTER = 0.27, 0.09  # inches
CELL_PANEL_WIDTH = 2.9


@styled
def show_numbers(grids: Mapping[str, np.ndarray], digits: int = 0, one_scale: bool = True) -> Figure:
    """Matrices (H, W) side by side, larger numbers darker, written with so many digits after the point if they fit.

    one_scale: the same colours for all; False gives each matrix colours of its own.
    """
    wanted = CELL * (1 + 0.3 * digits)
    cell = min(wanted, FIGURE_WIDTH / sum(grid.shape[1] for grid in grids.values()))
    # in cells; a title over a narrow matrix has room too
    widths = [max(grid.shape[1], TITLE_LETTER * len(title) / cell) for title, grid in grids.items()]
    size = (cell * sum(widths) + 0.5 * len(grids), cell * max(len(grid) for grid in grids.values()) + 0.4)
    figure, axes = plt.subplots(1, len(grids), figsize=size, width_ratios=widths, squeeze=False)
    for ax, width, (title, grid) in zip(axes[0], widths, grids.items(), strict=True):
        compared = list(grids.values()) if one_scale else [grid]
        low, high = min(0.0, *(float(each.min()) for each in compared)), max(float(each.max()) for each in compared)
        norm = Normalize(low, low + 1.8 * max(high - low, 1e-9))
        texts = [[f"{number:.{digits}f}" for number in row] for row in grid]
        draw_cells(ax, grid, texts if cell > 0.75 * wanted else None, "Blues", norm)
        ax.set(title=title, xticks=[], yticks=[], xlim=(-0.5, width - 0.5), aspect="equal", anchor="NW")
        ax.spines[:].set_visible(False)
    return figure


@styled
def show_label_pixels(grids: Mapping[str, np.ndarray], classes: Sequence[str], palette: np.ndarray) -> Figure:
    """Label maps (H, W) of a few pixels side by side, the class written into every pixel.

    A pixel that differs from the first map's, void apart, is framed.
    """
    figure, axes = draw_panels(list(grids), max_columns=len(grids), width=CELL_PANEL_WIDTH)
    first = next(iter(grids.values()))
    for ax, grid in zip(axes, grids.values(), strict=True):
        ax.imshow(palette[grid])
        for (row, column), index in np.ndenumerate(grid):
            name = "void" if index == VOID else classes[index]
            style = {"fontsize": 9, "color": "white", "path_effects": halo("black")}
            ax.text(column, row, name, ha="center", va="center", **style)
            if index != first[row, column] != VOID:
                frame = {"fill": False, "color": "white", "linewidth": 2.5, "path_effects": halo("black", 4.5)}
                ax.add_patch(Rectangle((column - 0.42, row - 0.42), 0.84, 0.84, **frame))
    return figure


@styled
def draw_positions() -> Figure:
    """Where the values of maps of stride 2, 4 and 8 lie on a row of pixels, after poolings and after convolutions."""
    kinds = {"2x2 pooling, stride 2: the middle of a cell": Layer(2, 2)}
    kinds["3x3 convolution, stride 2, padded: its first pixel"] = Layer(3, 2, 1, 1)
    page = Page(9.6, 2.1)
    for (title, layer), left in zip(kinds.items(), (1, 5.9), strict=True):
        page.write(left, 1.95, title, 10, ha="left")
        for pixel in range(8):
            page.box(Box(left + 0.2 + 0.4 * pixel, 1.6, 0.38, 0.3), PALE, str(pixel))
        for times in (1, 2, 3):
            field, y = theoretical_field([layer] * times), 1.6 - 0.45 * times
            page.write(left - 0.1, y, f"stride {field.stride}", ha="right")
            for value in range(8 // field.stride):
                width, place = 0.4 * field.stride, sum(field.span(value)) / 2  # the middle of what the value sees
                page.box(Box(left + width * (value + 0.5), y, width - 0.04, 0.24), MAP)
                page.ax.plot(left + 0.2 + 0.4 * place, y, "o", color=INK, markersize=7, zorder=3)
    return page.figure


@styled
def draw_fcn() -> Figure:
    """FCN-8s, 16s and 32s on VGG-16: where scores are taken, upsampled and added."""
    with torch.device("meta"):
        maps = FCN(CLASSES, "vgg16").backbone.eval()(torch.empty(1, 3, 512, 512), taps=(4, 8, 16))
    page, ys, xs = Page(10, 4.9), {8: 2.05, 16: 1.2, 32: 0.4}, {4: 2.7, 8: 4.5, 16: 6.5, 32: 8.9}
    last = page.map(0.8, 4.05, (3, 512), "image")
    for (stride, x), found in zip(xs.items(), (*maps.taps, maps.high), strict=True):
        box = page.map(x, 4.05, (found.shape[1], found.shape[3]), f"stride {stride}")
        page.arrow(last.at(1), box.at(-1))
        last = box
        if stride > 4:
            page.ax.plot([x] * 2, [3.1, ys[stride]], "--", color=GREY, linewidth=1.1, zorder=0)
            page.write(x + 0.06, 2.8, f"1x1, {CLASSES}", 8, ha="left")
    for net, y in ys.items():
        last = page.box(Box(xs[32], y, 0.4, 0.3), LOGITS, str(CLASSES))
        for stride in (stride for stride in (16, 8) if stride >= net):
            node = page.node(xs[stride], y)
            page.arrow(last.at(-1), node.at(1), text="x 2")
            last = node
        logits = page.box(Box(0.9, y, 1.4, 0.5), LOGITS, f"FCN-{net}s\n512 x 512 x {CLASSES}")
        page.arrow(last.at(-1), logits.at(1), text=f"x {net}")
    return page.figure


SIDE = 5


def make_kernel(kind: str, size: int) -> torch.Tensor:
    """A (size, size) kernel: "ones", "bilinear" or "random" (one fixed draw)."""
    if kind == "random":
        return torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    return bilinear_kernel(size) if kind == "bilinear" else torch.ones(size, size)


def show_upsampling(kernel_size: int, stride: int, kernel: str) -> Figure:
    """A kernel, and what its transposed convolution makes of one pixel and of a map of ones."""
    weights = make_kernel(kernel, kernel_size)
    one = torch.zeros(1, 1, SIDE, SIDE)
    one[0, 0, SIDE // 2, SIDE // 2] = 1
    painted = [F.conv_transpose2d(x, weights[None, None], stride=stride)[0, 0] for x in (one, torch.ones_like(one))]
    grids = {
        f"kernel {kernel_size}x{kernel_size}": weights.numpy(),
        f"one pixel, stride {stride}": painted[0].numpy(),
        f"{SIDE}x{SIDE} ones, stride {stride}": painted[1].numpy(),
    }
    return show_numbers(grids, digits=0 if kernel == "ones" else 2, one_scale=False)


def upsampling_explorer() -> Explorer:
    """Sliders for kernel size, stride and kernel."""
    return Explorer(
        show_upsampling,
        "A kernel; what it paints for one pixel; and for a map of ones; each has its own scale, darker is "
        "more. A pattern in the last is the checkerboard.",
        kernel_size=slider("kernel size", range(1, 9), 3),
        stride=slider("stride", range(1, 5), 2),
        kernel=slider("kernel", ("ones", "bilinear", "random"), "ones"),
    )
