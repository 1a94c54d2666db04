"""The figure and the explorer of notebook 04: the taps of ASPP's branches."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seglib.course.explorer import Explorer, slider
from seglib.course.fields import share_on_map
from seglib.course.figures.networks import TAPS
from seglib.course.figures.pictures import draw_panels
from seglib.course.figures.style import BLUE, GREY, PALE, VERMILION, styled

ALTS = {  # of figures before which the reader predicts what they show
    "Figure 3": "Taps of rates 6, 12 and 18 around the middle of a 33x33 map; of rate 18 only the centre lies on it.",
    "Figure 4": "Influence on one output pixel: itself; a star of single pixels; every pixel weakly; star and all.",
    "Figure 6": "Two pairs: 1x1 guesses; ASPP is better at 24 and 48 pixels only; after block 4 it hardly errs.",
    "Figure 7": "One pair: 1x1 guesses, with pooling it is always right; block 4 up to its reach, with ASPP far.",
}


@styled
def show_taps(rates: Sequence[int], side: int, down: int = 50, across: int = 50) -> Figure:
    """The nine taps of one 3x3 kernel per rate on a side x side map: on the map, or in its zero padding.

    down, across: where the output pixel is, in per cent of the map.
    """
    middle = [round(part / 100 * (side - 1)) for part in (down, across)]
    taps = [middle + rate * TAPS for rate in rates]  # (9, 2) each
    ends = np.concatenate([[(-1, side)], *taps])
    low, high = ends.min() - 1.5, ends.max() + 1.5
    figure, axes = draw_panels([""] * len(rates), aspects=(1.25,), max_columns=len(rates), width=2.8)
    for ax, rate, places in zip(axes, rates, taps, strict=True):
        ax.add_patch(Rectangle((-0.5, -0.5), side, side, facecolor=PALE, edgecolor=GREY))
        inside = ((places >= 0) & (places < side)).all(axis=1)
        ax.plot(*places[inside].T[::-1], "s", color=BLUE, markersize=6, label="tap on the map")
        ax.plot(*places[~inside].T[::-1], "x", color=VERMILION, markersize=6, label="tap in the padding: reads zero")
        ax.set(xlim=(low, high), ylim=(high, low), aspect="equal")
        here = f"rate {rate}: {inside.sum()} of 9 on the map here"
        ax.set_xlabel(f"{here},\n{share_on_map(side, rate):.0%} over all positions", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


SIDES = (7, 17, 25, 33, 65)  # of crops of 97, 257, 385 and 513 at output stride 16, and of 513 at 8
RATES = range(1, 37)


def aspp_rate_explorer() -> Explorer:
    """Sliders for three rates, the side of the map and the pixel."""
    return Explorer(
        lambda rate_1, rate_2, rate_3, side, down, across: show_taps((rate_1, rate_2, rate_3), side, down, across),
        "The nine taps of each rate around one pixel: squares lie on the map, crosses in its zero padding.",
        rate_1=slider("rate 1", RATES, 6),
        rate_2=slider("rate 2", RATES, 12),
        rate_3=slider("rate 3", RATES, 18),
        side=slider("side of the map", SIDES, 33),
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
    )
