"""The dilations of several networks of one name, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.figures.style import BLUE, GREY, INK, VERMILION, styled

GAP = 0.6
LARGEST_RATE = 36


@styled
def dilation_table(profiles: Mapping[str, Mapping[str, Sequence[int]]], reference: str) -> Figure:
    """A row of cells per network, a cell per 3x3 convolution with its dilation; framed where it is not `reference`'s.

    profiles: network -> group of convolutions ("block 4") -> dilations. Every network has the groups of the reference.
    Raises ValueError without the reference, and where a group has another number of convolutions.
    """
    if reference not in profiles:
        raise ValueError(f"reference = {reference!r}; expected one of {list(profiles)}")
    groups = {name: len(rates) for name, rates in profiles[reference].items()}
    for network, profile in profiles.items():
        if (found := {name: len(rates) for name, rates in profile.items()}) != groups:
            raise ValueError(f"{network}: expected {groups} convolutions, found {found}")
    starts = dict(zip(groups, np.cumsum([0, *(size + GAP for size in groups.values())])[:-1], strict=True))
    width = sum(groups.values()) + GAP * (len(groups) - 1)
    figure, ax = plt.subplots(layout="constrained", figsize=(9, 0.9 + 0.36 * len(profiles)))
    for row, profile in enumerate(profiles.values()):
        for group, rates in profile.items():
            for place, (rate, expected) in enumerate(zip(rates, profiles[reference][group], strict=True)):
                _cell(ax, starts[group] + place, row, rate, framed=rate != expected)
    for group, start in starts.items():
        ax.text(start, -0.25, group, va="bottom", fontsize=10, color=INK)
    ax.set_yticks(np.arange(len(profiles)) + 0.5, list(profiles))
    ax.set_xlim(-0.15, width + 0.15)
    ax.set_ylim(len(profiles) + 0.15, -1)
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2)]
    figure.legend(handles, [f"not as in {reference}"], loc="outside lower right")
    return figure


def _cell(ax: plt.Axes, x: float, row: int, rate: int, framed: bool) -> None:
    depth = np.log2(rate) / np.log2(LARGEST_RATE)
    ax.add_patch(Rectangle((x + 0.04, row + 0.08), 0.92, 0.84, color=plt.get_cmap("Blues")(0.08 + 0.75 * depth)))
    if framed:
        ax.add_patch(Rectangle((x + 0.07, row + 0.11), 0.86, 0.78, fill=False, edgecolor=VERMILION, linewidth=2))
    ink = "white" if depth > 0.6 else INK
    ax.text(x + 0.5, row + 0.5, str(rate), ha="center", va="center", fontsize=9, color=ink)


@styled
def departure_bars(changes: Mapping[str, float], xlabel: str) -> Figure:
    """Horizontal bars, the largest on top, each with its value in per cent.

    changes: name -> fraction. Raises ValueError without one.
    """
    if not changes:
        raise ValueError("changes: expected at least one, found none")
    ordered = sorted(changes.items(), key=lambda item: item[1])
    figure, ax = plt.subplots(layout="constrained", figsize=(8, 0.7 + 0.33 * len(ordered)))
    ax.barh([name for name, _ in ordered], [100 * value for _, value in ordered], color=BLUE, height=0.65)
    for row, (_, value) in enumerate(ordered):
        ax.text(100 * value, row, f" {value:.1%}", va="center", fontsize=9)
    ax.set_xlim(0, 115 * max(changes.values()) or 1)
    ax.set_xlabel(xlabel)
    ax.tick_params(left=False)
    ax.spines["left"].set_color(GREY)
    ax.grid(axis="x")
    return figure


@styled
def field_panels(fields: Mapping[str, np.ndarray]) -> Figure:
    """Effective receptive fields beside each other, brightest where the output pixel depends on the input most.

    fields: title -> (H, W) magnitudes, array or tensor. Raises ValueError without one.
    """
    if not fields:
        raise ValueError("fields: expected at least one, found none")
    figure, axes = plt.subplots(1, len(fields), squeeze=False, layout="constrained", figsize=(2.0 * len(fields), 2.4))
    for ax, (title, magnitude) in zip(axes[0], fields.items(), strict=True):
        ax.imshow(_block_means(np.asarray(magnitude)), cmap="viridis", norm=PowerNorm(0.5))
        ax.set_title(title, fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    return figure


def _block_means(magnitude: np.ndarray) -> np.ndarray:
    """Means of square blocks, about a hundred along a side: a single pixel's gradient is noise."""
    block = max(1, magnitude.shape[0] // 100)
    height, width = (side // block * block for side in magnitude.shape)
    return magnitude[:height, :width].reshape(height // block, block, width // block, block).mean(axis=(1, 3))
