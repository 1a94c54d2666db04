"""The explorer of notebook 01: kernel size, stride and kernel -> what a transposed convolution makes of ones."""

import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from seglib.course.figures.fcn_basics import show_numbers
from seglib.course.widgets.explorer import Explorer, slider
from seglib.models import bilinear_kernel

SIDE = 5


def make_kernel(kind: str, size: int) -> torch.Tensor:
    """A (size, size) kernel: "ones", "bilinear" or "random" (one fixed draw)."""
    if kind == "random":
        return torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    return bilinear_kernel(size) if kind == "bilinear" else torch.ones(size, size)


def show_upsampling(kernel_size: int = 3, stride: int = 2, kernel: str = "ones") -> Figure:
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
    return show_numbers(grids, digits=0 if kernel == "ones" else 2)


def upsampling_explorer() -> Explorer:
    """Sliders for kernel size, stride and kernel above the figure they redraw."""
    return Explorer(
        show_upsampling,
        "A kernel; what it paints for one pixel; and for a map of ones. A pattern in the last is the checkerboard.",
        kernel_size=slider("kernel size", range(1, 9), 3),
        stride=slider("stride", range(1, 5), 2),
        kernel=slider("kernel", ("ones", "bilinear", "random"), "ones"),
    )
