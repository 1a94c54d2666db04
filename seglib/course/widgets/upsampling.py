"""The upsampling explorer: kernel size, stride and kernel -> what a transposed convolution makes of a constant map."""

from __future__ import annotations

import ipywidgets
import torch
from torch.nn import functional as F

from seglib.course.figures.grids import number_grids
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider
from seglib.models import bilinear_kernel

SIDE = 5
KERNELS = ("ones", "bilinear", "random")


def make_kernel(kind: str, size: int) -> torch.Tensor:
    """A (size, size) kernel: "ones", "bilinear" or "random" (one fixed draw). Raises ValueError for another."""
    if kind == "ones":
        return torch.ones(size, size)
    if kind == "bilinear":
        return bilinear_kernel(size)
    if kind == "random":
        return torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    raise ValueError(f"kernel = {kind!r}; expected one of {KERNELS}")


def upsampling_picture(kernel_size: int = 3, stride: int = 2, kernel: str = "ones") -> bytes:
    """A PNG of a kernel, and of what its transposed convolution makes of one pixel and of a map of ones.

    Args:
        kernel_size: 1 to 8. stride: 1 to 4. kernel: "ones", "bilinear" or "random".
    """
    weights = make_kernel(kernel, kernel_size)
    one = torch.zeros(1, 1, SIDE, SIDE)
    one[0, 0, SIDE // 2, SIDE // 2] = 1
    outputs = [F.conv_transpose2d(x, weights[None, None], stride=stride)[0, 0] for x in (one, torch.ones_like(one))]
    digits = 0 if kernel == "ones" else 2
    titles = (
        f"kernel {kernel_size}x{kernel_size}",
        f"one pixel, stride {stride}",
        f"{SIDE}x{SIDE} ones, stride {stride}",
    )
    grids = {title: grid.numpy() for title, grid in zip(titles, (weights, *outputs), strict=True)}
    return png(number_grids(grids, digits), alt="A kernel, one painted pixel, and a constant map upsampled.").data


def upsampling_explorer() -> ipywidgets.VBox:
    """Sliders for kernel size, stride and kernel above the picture they redraw."""
    return explorer(
        upsampling_picture,
        "A kernel; what it paints for one pixel; and for a map of ones. A pattern in the last is the checkerboard.",
        kernel_size=slider("kernel size", range(1, 9), 3),
        stride=slider("stride", range(1, 5), 2),
        kernel=slider("kernel", KERNELS, "ones"),
    )
