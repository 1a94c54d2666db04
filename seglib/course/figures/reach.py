"""The figures of the reach curves in notebooks 03 and 04: the pictures, and accuracy against distance."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import BLUE, GREEN, INK, SKY, VERMILION, halo, styled, write_per_cent
from seglib.course.reach import CHANCE, COLOURS, Head, Pictures, chessboard, reach, shares_in_view

CLASSES = ("blue", "orange")


@styled
def show_beacons(pictures: Pictures) -> Figure:
    """The pictures, with a square around each disc at the distance of its beacon, in the colour of its class."""
    distances = chessboard(pictures.discs, pictures.beacons)[:, 0]
    figure, axes = draw_panels([f"distance {distance} px" for distance in distances])
    for n, ax in enumerate(axes):
        ax.imshow(np.moveaxis(pictures.images[n].numpy(), 0, -1).clip(-1, 1) / 2 + 0.5)
        for (row, column), label in zip(pictures.discs[n], pictures.classes[n], strict=True):
            corner, colour = (column - distances[n], row - distances[n]), COLOURS[label]
            ax.add_patch(Rectangle(corner, *[2 * distances[n]] * 2, fill=False, edgecolor=colour, linestyle="--"))
            style = {"color": colour, "fontsize": 9, "ha": "center", "path_effects": halo("white", 3)}
            ax.text(column, row + (-8 if row > 20 else 14), CLASSES[label], **style)
    return figure


@styled
def reach_curves(
    scores: pd.DataFrame, heads: Sequence[Head], live: Mapping[Head, pd.Series] | None = None, columns: int = 3
) -> Figure:
    """A panel for each head: accuracy against distance, computed reach, and the accuracy if what is unseen is guessed.

    Args:
        scores: columns head, seed, distance and accuracy, as `seglib.course.reach.STORE` has them, of one task.
        heads: those that are drawn; one without scores has its computed lines only.
        live: accuracy by distance of heads that were trained just now.
        columns: panels side by side.
    """
    figure, axes = draw_panels([str(head) for head in heads], aspects=(0.75,), max_columns=columns, width=3.2)
    last = scores["distance"].max() if len(scores) else 64
    every = np.arange(4, last + 5)
    for ax, head in zip(axes, heads, strict=True):
        ax.spines[["left", "bottom"]].set_visible(True)
        ax.axhline(CHANCE, color=INK, linewidth=1, linestyle=":")
        expected = CHANCE + (1 - CHANCE) * shares_in_view(head, every)
        ax.fill_between(every, CHANCE, expected, step="mid", color=SKY, alpha=0.35, linewidth=0)
        ax.axvline(reach(head), color=VERMILION, linewidth=1.5)
        near = reach(head) < 0.6 * last  # then there is room for the words to the right of the line
        place, side = (max(reach(head), 4), "left") if near else (min(reach(head), last), "right")
        text = f" reach {reach(head)} px " if reach(head) <= last + 4 else f"reach {reach(head)} px →"
        ax.text(place, 0.36, text, color=VERMILION, ha=side, fontsize=9, path_effects=halo("white"))
        own = scores[scores["head"] == str(head)]
        ax.plot(own["distance"], own["accuracy"], "o", color=BLUE, alpha=0.35, markersize=4)
        ax.plot(own.groupby("distance")["accuracy"].mean(), color=BLUE)
        if live and head in live:
            ax.plot(live[head], "D", color=GREEN, markerfacecolor="none", markersize=8, markeredgewidth=1.5)
        ax.set(xlim=(4, last + 4), ylim=(0.34, 1.03), xticks=np.arange(8, last + 1, 8 if last < 80 else 16))
        ax.set_yticks([0.5, 0.75, 1])
        ax.tick_params(labelsize=8)
        write_per_cent(ax.yaxis)
    figure.set_figheight(figure.get_figheight() + 0.7)  # room for the texts below
    figure.supxlabel("distance of the beacon, pixels\n\n\n", fontsize=10)
    figure.supylabel("discs with the right class", fontsize=10)
    handles = [
        Line2D([], [], color=BLUE, marker="o", label=f"mean of {scores['seed'].nunique()} seeds, and each seed"),
        Patch(color=SKY, alpha=0.35, label="computed: right where kernels see the beacon, else a guess"),
        Line2D([], [], color=INK, linewidth=1, linestyle=":", label="chance"),
    ]
    if live:
        handles.insert(1, Line2D([], [], color=GREEN, marker="D", linestyle="", fillstyle="none", label="trained here"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
