"""The ASPP rate explorer: rates, map size and position -> where the taps fall, and which are on the map."""

from __future__ import annotations

import ipywidgets

from seglib.course.figures.rates import tap_panels
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider

# Of crops of 97, 257, 385 and 513 at output stride 16, and of 513 at 8.
SIDES = (7, 17, 25, 33, 65)
RATES = range(1, 37)


def aspp_rates_picture(
    rate_1: int = 6, rate_2: int = 12, rate_3: int = 18, side: int = 33, down: int = 50, across: int = 50
) -> bytes:
    """A PNG of the taps of three 3x3 kernels around one pixel of a map.

    Args:
        rate_1, rate_2, rate_3: at least 1. side: of the map, in pixels.
        down, across: where the output pixel is, in per cent of the map, 0 to 100.
    """
    row, column = (round(part / 100 * (side - 1)) for part in (down, across))
    return png(tap_panels((rate_1, rate_2, rate_3), side, row, column), alt="Taps of three rates on a map.").data


def aspp_rate_explorer() -> ipywidgets.VBox:
    """Sliders for three rates, the side of the map and the pixel above the picture they redraw."""
    return explorer(
        aspp_rates_picture,
        "The nine taps of each rate around one pixel: squares lie on the map, crosses in its zero padding.",
        rate_1=slider("rate 1", RATES, 6),
        rate_2=slider("rate 2", RATES, 12),
        rate_3=slider("rate 3", RATES, 18),
        side=slider("side of the map", SIDES, 33),
        down=slider("down", range(0, 101, 10), 50, "%"),
        across=slider("across", range(0, 101, 10), 50, "%"),
    )
