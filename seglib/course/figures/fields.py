"""Receptive fields: what an output pixel sees, the gaps in it, and the weights that meet the map at all."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from seglib.course.fields import Field
from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

SEEN = "viridis"
WEIGHT_STYLES = {
    1: (VERMILION, "-"),
    2: (ORANGE, "--"),
    4: (GREEN, "-"),
    6: (INK, "--"),
    9: (BLUE, "-"),
}
PANEL_INCHES = 3.2
MAX_DRAWN_PIXELS = 100


@styled
def show_fields(
    effective: Mapping[str, np.ndarray], theoretical: Mapping[str, tuple[Field, int, int]], max_columns: int = 3
) -> Figure:
    """Effective receptive fields on their input, the theoretical one as a frame, the input's edge as a thin line.

    effective: title -> (H, W) magnitudes as `seglib.course.fields.effective_field` returns them, array or tensor.
    theoretical: title -> the field, and row and column of the output pixel. A frame beyond the input is padding.
    Raises ValueError unless both have the same titles, at least one.
    """
    if not effective or list(effective) != list(theoretical):
        raise ValueError(f"titles: expected the same in both, found {list(effective)} and {list(theoretical)}")
    columns = min(max_columns, len(effective))
    rows = -(-len(effective) // columns)
    size = (PANEL_INCHES * columns, (PANEL_INCHES + 0.4) * rows)
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", figsize=size)
    for ax in axes.flat:
        ax.set_axis_off()
    drawn = list(zip(effective.items(), theoretical.values(), strict=True))
    reach = _reach([(magnitude, where) for (_, magnitude), where in drawn])
    for ax, ((title, magnitude), (field, row, column)) in zip(axes.flat, drawn, strict=False):
        _draw_field(ax, np.asarray(magnitude), field, row, column)
        ax.set_xlim(*reach)
        ax.set_ylim(*reversed(reach))
        ax.set_title(title)
    return figure


def _reach(drawn: list[tuple[np.ndarray, tuple[Field, int, int]]]) -> tuple[float, float]:
    """The same frame for all panels: every field and every input, with a margin."""
    ends = [0.0]
    for magnitude, (field, row, column) in drawn:
        ends += [*np.shape(magnitude), *field.span(row), *field.span(column)]
    margin = 0.03 * (max(ends) - min(ends))
    return min(ends) - margin, max(ends) + margin


def _draw_field(ax: Axes, magnitude: np.ndarray, field: Field, row: int, column: int) -> None:
    height, width = magnitude.shape
    # Random weights and images make single pixels noisy: blocks of them are averaged.
    block = -(-max(height, width) // MAX_DRAWN_PIXELS)
    pad = [(0, -side % block) for side in (height, width)]
    blocks = np.pad(magnitude, pad, mode="edge").reshape(-(-height // block), block, -(-width // block), block)
    shown = blocks.mean(axis=(1, 3))
    extent = (-0.5, shown.shape[1] * block - 0.5, shown.shape[0] * block - 0.5, -0.5)
    ax.imshow(shown, cmap=SEEN, norm=PowerNorm(0.5, 0, shown.max() or 1), extent=extent, interpolation="nearest")
    ax.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=GREY, linewidth=1))
    (top, _), (left, _) = field.span(row), field.span(column)
    ax.add_patch(
        Rectangle((left - 0.5, top - 0.5), field.size, field.size, fill=False, edgecolor=VERMILION, linewidth=2)
    )
    middle = (field.size - 1) / 2
    ax.plot(left + middle, top + middle, "o", color="white", markeredgecolor=INK, markersize=6)
    ax.set_aspect("equal")


@styled
def show_path_counts(chains: Mapping[str, np.ndarray]) -> Figure:
    """In how many ways each input pixel reaches an output pixel, per chain of layers; white ones do not at all.

    chains: title -> (size,) counts along one axis as `seglib.course.fields.path_counts` returns them. Raises
    ValueError without a chain.
    """
    if not chains:
        raise ValueError("chains: expected at least one, found none")
    figure, axes = plt.subplots(
        1, len(chains), squeeze=False, layout="constrained", figsize=(PANEL_INCHES * len(chains), PANEL_INCHES + 0.5)
    )
    for ax, (title, counts) in zip(axes.flat, chains.items(), strict=True):
        paths = np.outer(counts, counts)
        ends = np.arange(len(paths) + 1) - len(paths) / 2
        shares = np.ma.masked_equal(paths / paths.max(), 0)
        ax.pcolormesh(ends, ends, shares, cmap=SEEN, norm=PowerNorm(0.4, 0, 1), edgecolors="white", linewidth=0.5)
        ax.set_aspect("equal")
        ax.spines[:].set_visible(True)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(title)
        ax.set_xlabel(f"{(paths > 0).mean():.0%} of {len(paths)} x {len(paths)} pixels seen")
    return figure


@styled
def valid_weight_curves(shares: Mapping[int, Mapping[int, float]], side: int) -> Figure:
    """The share of positions with 1, 2, 4, 6 or 9 valid weights against the rate (DeepLabv3, Figure 4).

    shares: rate -> number of valid weights -> share of the positions, as `valid_weight_fractions` returns them.
    side: of the map, for the title. Raises ValueError without a rate.
    """
    if not shares:
        raise ValueError("shares: expected at least one rate, found none")
    rates = sorted(shares)
    figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    for number, (colour, line) in WEIGHT_STYLES.items():
        share = [shares[rate].get(number, 0.0) for rate in rates]
        name = f"{number} valid weight{'s' if number > 1 else ''}"
        ax.plot(rates, share, color=colour, linestyle=line, linewidth=2, label=name)
    ax.set_xlabel("atrous rate")
    ax.set_xlim(rates[0], rates[-1])
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid()
    ax.set_title(f"share of the positions of a {side} x {side} map, 3x3 kernel")
    figure.legend(loc="outside right center")
    return figure


@styled
def show_maps(maps: Mapping[str, np.ndarray]) -> Figure:
    """Maps of one quantity at different resolutions, side by side at one size and in one colour scale.

    maps: title -> (H, W). The pixels that each shares with the smallest one, of m rows, are ringed: every `step`-th
    of a map of step * (m - 1) + 1 rows. Raises ValueError without a map.
    """
    if not maps:
        raise ValueError("maps: expected at least one, found none")
    arrays = {title: np.asarray(values) for title, values in maps.items()}
    limit = max(np.abs(values).max() for values in arrays.values()) or 1
    fewest = min(values.shape[0] for values in arrays.values())
    figure, axes = plt.subplots(
        1, len(maps), squeeze=False, layout="constrained", figsize=(PANEL_INCHES * len(maps), PANEL_INCHES + 0.4)
    )
    for ax, (title, values) in zip(axes.flat, arrays.items(), strict=True):
        ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        step = max(1, (values.shape[0] - 1) // max(1, fewest - 1))
        rows, columns = np.mgrid[: values.shape[0] : step, : values.shape[1] : step]
        ax.plot(columns.ravel(), rows.ravel(), "o", color="none", markeredgecolor=INK, markersize=7)
        ax.set_axis_off()
        ax.set_title(title)
    return figure
