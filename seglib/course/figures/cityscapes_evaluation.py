"""Figures of notebook 07: what is not scored, how often windows see a pixel, what a resize does to things."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from seglib.course.figures.pictures import draw_panels, fade, make_grey, show_panels
from seglib.course.figures.style import GREY, INK, VERMILION, name_rows, styled


def show_regions(frames: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Mapping[int, str]) -> Figure:
    """Frames in pale grey on which the regions of some ids have a colour each.

    Args:
        frames: title -> image (H, W, 3) uint8 and ids (H, W).
        names: id -> its name; those that occur are in the legend.
    """
    present = [i for i in names if any((ids == i).any() for _, ids in frames.values())]
    turns = (255 * plt.get_cmap("turbo")(np.linspace(0.05, 0.95, len(present)))[:, :3]).astype(np.uint8)
    panels = {}
    for title, (image, ids) in frames.items():
        panels[title] = fade(make_grey(image))
        for i, colour in zip(present, turns, strict=True):
            panels[title][ids == i] = colour
    return show_panels(panels, legend={f"{names[i]} ({i})": turn for i, turn in zip(present, turns, strict=True)})


@styled
def show_coverage(counts: Mapping[str, np.ndarray], window: tuple[int, int]) -> Figure:
    """The number of windows that see each pixel, a map per overlap on one scale; the first window is outlined.

    Args:
        counts: title -> integers (H, W), each at least 1.
        window: (height, width).
    """
    most = max(int(count.max()) for count in counts.values())
    aspects = [count.shape[0] / count.shape[1] for count in counts.values()]
    figure, axes = draw_panels(list(counts), aspects=aspects, max_columns=len(counts))
    figure.set_figheight(figure.get_figheight() + 0.6)
    for ax, count in zip(axes, counts.values(), strict=True):
        drawn = ax.imshow(count, cmap=plt.get_cmap("cividis", most), vmin=0.5, vmax=most + 0.5, interpolation="nearest")
        outline = Rectangle((0, 0), window[1] - 1, window[0] - 1, fill=False, edgecolor="white", linewidth=2)
        ax.add_patch(outline)
    ticks = sorted({1, *range(2, most, max(1, most // 6)), most})
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=40, ticks=ticks)
    bar.set_label("windows that see a pixel")
    return figure


def show_at_one_scale(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Pictures (H, W, 3) uint8 side by side in which a pixel has one size, so that a smaller picture looks smaller."""
    height, width = np.max([picture.shape[:2] for picture in pictures.values()], axis=0)
    on_white = {
        title: np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)), constant_values=255)
        for title, p in pictures.items()
    }
    return show_panels(on_white, max_columns=len(pictures))


@styled
def aspect_arrows(before: Mapping[str, float], after: Mapping[str, float], names: tuple[str, str]) -> Figure:
    """Width over height per class before (dot) and after (arrow head) a resize, on a logarithmic axis.

    Args:
        before: class -> ratio above 0.
        after: class -> ratio above 0, of the same classes.
        names: of the two.
    """
    figure, ax = plt.subplots(figsize=(7.5, 1.3 + 0.34 * len(before)))
    for y, name in enumerate(before):
        arrow = {"arrowstyle": "-|>", "color": VERMILION, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=(after[name], y), xytext=(before[name], y), arrowprops=arrow)
        ax.plot(before[name], y, "o", color=INK, markersize=6)
        ax.text(before[name] * 1.06, y, f"{before[name]:.2f}", va="center", fontsize=8)
        ax.text(after[name] / 1.06, y, f"{after[name]:.2f}", va="center", ha="right", fontsize=8, color=VERMILION)
    ax.axvline(1, color=GREY, linewidth=1, linestyle=":")
    ax.set_xscale("log")
    values = [*before.values(), *after.values()]
    ax.set_xticks([0.1, 0.2, 0.5, 1, 2, 4])
    ax.set_xlim(min(values) / 1.5, max(values) * 1.4)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    name_rows(ax, list(before))
    ax.set_xlabel(f"width / height of an object's box: dot {names[0]}, arrow head {names[1]}")
    return figure
