"""Streets: what is not scored, how often windows see a pixel, and what a resize does to the things in a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

LINES = ((INK, "-"), (VERMILION, "--"), (BLUE, "-."), (ORANGE, ":"), (GREEN, "-"))
FIGURE_WIDTH = 11  # inches
PALE = 0.25  # what lies outside the regions is drawn with this share of its contrast
ENTRY_WIDTH = 0.62  # inches of a legend's entry without its letters
LETTER_WIDTH, TITLE_LETTER_WIDTH = 0.075, 0.1  # inches


@styled
def region_panels(
    frames: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Mapping[int, str], max_columns: int = 3
) -> Figure:
    """Frames in pale grey on which the regions of some ids have a colour each.

    frames: title -> image (H, W, 3) uint8 and ids (H, W). names: id -> its name; those that occur are in the legend.
    Raises ValueError without a frame, and where a frame and its ids differ in size.
    """
    if not frames:
        raise ValueError("frames: expected at least one, found none")
    for title, (image, ids) in frames.items():
        if image.shape[:2] != ids.shape:
            raise ValueError(f"frames[{title!r}]: expected ids of size {image.shape[:2]}, found {ids.shape}")
    present = [i for i in names if any((ids == i).any() for _, ids in frames.values())]
    turns = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, max(len(present), 1)))[:, :3]
    colours = {i: (255 * turn).astype(np.uint8) for i, turn in zip(present, turns, strict=False)}
    columns = min(max_columns, len(frames))
    rows = -(-len(frames) // columns)
    aspect = max(ids.shape[0] / ids.shape[1] for _, ids in frames.values())
    longest = max((len(names[i]) for i in present), default=0)
    legend_columns = max(1, int(FIGURE_WIDTH / (ENTRY_WIDTH + LETTER_WIDTH * longest)))
    legend_height = 0.22 * -(-len(present) // legend_columns)
    height = rows * (FIGURE_WIDTH / columns * aspect + 0.3) + legend_height + 0.1
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", figsize=(FIGURE_WIDTH, height))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (title, (image, ids)) in zip(axes.flat, frames.items(), strict=False):
        grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
        picture = (255 - PALE * (255 - grey)).astype(np.uint8)
        for i, colour in colours.items():
            picture[ids == i] = colour
        ax.imshow(picture, interpolation="nearest")
        ax.set_title(title)
    handles = [Patch(facecolor=colours[i] / 255, edgecolor=GREY, label=f"{names[i]} ({i})") for i in present]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns)
    return figure


@styled
def coverage_panels(counts: Mapping[str, np.ndarray], window: tuple[int, int]) -> Figure:
    """By how many windows each pixel is seen, one map per overlap in one scale of greys; the first window is outlined.

    counts: title -> integers (H, W), each at least 1. window: (height, width). Raises ValueError without a map, and
    for a pixel that no window sees.
    """
    if not counts or min(int(count.min()) for count in counts.values()) < 1:
        raise ValueError("counts: expected at least one map, in which every pixel is seen by a window")
    most = max(int(count.max()) for count in counts.values())
    aspect = max(count.shape[0] / count.shape[1] for count in counts.values())
    size = (FIGURE_WIDTH, FIGURE_WIDTH / len(counts) * aspect + 1.0)
    figure, axes = plt.subplots(1, len(counts), squeeze=False, layout="constrained", figsize=size)
    colours = plt.get_cmap("cividis", most)
    for ax, (title, count) in zip(axes[0], counts.items(), strict=True):
        drawn = ax.imshow(count, cmap=colours, vmin=0.5, vmax=most + 0.5, interpolation="nearest")
        outline = Rectangle((0, 0), window[1] - 1, window[0] - 1, fill=False, edgecolor="white", linewidth=2)
        ax.add_patch(outline)
        ax.set_title(title)
        ax.set_axis_off()
    ticks = [1, *range(2, most, max(1, most // 6)), most] if most > 1 else [1]
    bar = figure.colorbar(drawn, ax=list(axes[0]), location="bottom", shrink=0.5, aspect=40, ticks=sorted({*ticks}))
    bar.set_label("windows that see a pixel")
    return figure


@styled
def same_scale_panels(pictures: Mapping[str, np.ndarray], pixels_per_inch: float = 24) -> Figure:
    """Pictures (H, W, 3) uint8 side by side in which a pixel has one size, so that a smaller picture looks smaller.

    Raises ValueError without a picture.
    """
    if not pictures:
        raise ValueError("pictures: expected at least one, found none")
    tallest = max(picture.shape[0] for picture in pictures.values())
    letter = TITLE_LETTER_WIDTH * pixels_per_inch
    widths = [max(picture.shape[1], len(title) * letter) for title, picture in pictures.items()]
    gap = max(1, round(0.25 * pixels_per_inch))
    total = sum(widths) + gap * (len(widths) + 1)
    # widths and heights as shares of the figure, because a layout that fits panels would change their scale
    head = 0.45 * pixels_per_inch
    height = tallest + gap + head
    figure = plt.figure(figsize=(total / pixels_per_inch, height / pixels_per_inch))
    left = gap
    for (title, picture), taken in zip(pictures.items(), widths, strict=True):
        high, wide = picture.shape[:2]
        top = (height - head - high) / height
        ax = figure.add_axes((left / total, top, wide / total, high / height))
        ax.imshow(picture, interpolation="nearest", aspect="auto")
        ax.set_axis_off()
        ax.set_title(title)
        left += taken + gap
    return figure


@styled
def aspect_arrows(before: Mapping[str, float], after: Mapping[str, float], names: tuple[str, str]) -> Figure:
    """Width over height per class before (dot) and after (arrow head) a resize, on a logarithmic axis.

    before, after: class -> ratio above 0. names: of the two. Raises ValueError where the classes differ or are none.
    """
    if not before or before.keys() != after.keys():
        raise ValueError(f"before, after: expected the same classes, found {list(before)} and {list(after)}")
    figure, ax = plt.subplots(figsize=(7.5, 1.3 + 0.34 * len(before)), layout="constrained")
    for y, name in enumerate(before):
        arrow = {"arrowstyle": "-|>", "color": VERMILION, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=(after[name], y), xytext=(before[name], y), arrowprops=arrow)
        ax.plot(before[name], y, "o", color=INK, markersize=6)
        ax.text(before[name] * 1.06, y, f"{before[name]:.2f}", va="center", fontsize=8)
        ax.text(after[name] / 1.06, y, f"{after[name]:.2f}", va="center", ha="right", fontsize=8, color=VERMILION)
    ax.axvline(1, color=GREY, linewidth=1, linestyle=":")
    ax.set_xscale("log")
    values = [*before.values(), *after.values()]
    ax.set_xlim(min(values) / 1.5, max(values) * 1.4)
    ax.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 4]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_yticks(range(len(before)), list(before))
    ax.set_ylim(len(before) - 0.4, -0.6)
    ax.tick_params(left=False)
    ax.grid(axis="x")
    ax.set_xlabel(f"width / height of an object's box: dot {names[0]}, arrow head {names[1]}")
    return figure


@styled
def width_curves(widths: Mapping[str, Sequence[int]], mark: float, mark_name: str, longest: int = 24) -> Figure:
    """Which share of a class's pixels lies in horizontal runs of at most w pixels.

    widths: up to five names, each with the lengths of its runs. mark, mark_name: a vertical line at w. longest: of the
    axis. Raises ValueError for no or too many names, and for a name without runs.
    """
    if not 1 <= len(widths) <= len(LINES) or any(not len(runs) for runs in widths.values()):
        raise ValueError(f"widths: expected 1 to {len(LINES)} names with runs, found {list(widths)}")
    figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    at = np.arange(longest + 1)
    for (name, runs), (colour, line) in zip(widths.items(), LINES, strict=False):
        lengths = np.asarray(runs)
        shares = [lengths[lengths <= w].sum() / lengths.sum() for w in at]
        ax.step(at, shares, where="post", color=colour, linestyle=line, linewidth=2, label=name)
    ax.axvline(mark, color=GREY, linewidth=1)
    ax.text(mark, 0.03, f" {mark_name}", fontsize=9, color=GREY)
    ax.set_xlim(0, longest)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("width of a run in pixels, at most")
    ax.set_ylabel("share of the class's pixels")
    ax.grid(axis="y")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure
