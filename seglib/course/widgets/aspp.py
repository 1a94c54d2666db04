"""The explorer of notebook 04: rates, map size and position -> where the taps fall, and which are on the map."""

from matplotlib.figure import Figure

from seglib.course.figures.aspp import show_taps
from seglib.course.widgets.explorer import Explorer, slider

SIDES = (7, 17, 25, 33, 65)  # of crops of 97, 257, 385 and 513 at output stride 16, and of 513 at 8
RATES = range(1, 37)


def show_taps_at(rate_1: int, rate_2: int, rate_3: int, side: int, down: int, across: int) -> Figure:
    """The taps of three 3x3 kernels around the pixel that lies `down` and `across` per cent into a map."""
    row, column = (round(part / 100 * (side - 1)) for part in (down, across))
    return show_taps((rate_1, rate_2, rate_3), side, row, column)


def aspp_rate_explorer() -> Explorer:
    """Sliders for three rates, the side of the map and the pixel above the figure they redraw."""
    return Explorer(
        show_taps_at,
        "The nine taps of each rate around one pixel: squares lie on the map, crosses in its zero padding.",
        rate_1=slider("rate 1", RATES, 6),
        rate_2=slider("rate 2", RATES, 12),
        rate_3=slider("rate 3", RATES, 18),
        side=slider("side of the map", SIDES, 33),
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
    )
