"""The one style of the course's figures, and the way of a figure into a notebook."""

import functools
import io
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image as DisplayImage
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

MAX_PNG_BYTES = 150_000

LEGEND_PATCH_WIDTH, LETTER_WIDTH, LETTER_HEIGHT = 0.6, 0.075, 0.16  # inches

# Okabe and Ito's colours for colour-blind readers.
INK, GREY, RULE, PALE = "#222222", "#757575", "#D9D9D9", "#F2F2F2"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"


class Look(NamedTuple):
    """Colour, marker and dashes of a line, and of its marks."""

    colour: str
    marker: str
    dash: str


SERIES = (
    Look(BLUE, "o", "-"),
    Look(VERMILION, "s", "--"),
    Look(GREEN, "^", "-."),
    Look(ORANGE, "D", ":"),
    Look(INK, "v", "-"),
    Look(PURPLE, "P", "--"),
)


def series(count: int) -> list[Look]:
    """The looks of `count` lines: six colours with a marker of their own, then the same colours with other markers."""
    turns = [divmod(number, len(SERIES)) for number in range(count)]
    return [SERIES[place]._replace(marker=SERIES[(place + turn) % len(SERIES)].marker) for turn, place in turns]


STYLE = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.axisbelow": True,
    "font.size": 10,
    "grid.color": RULE,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in the course's style, and takes the figure out of pyplot's hands, which would show it a second time."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            plt.close(figure)
            return figure

    return drawn


def halo(colour: str, width: float = 2) -> list[withStroke]:
    """Path effects that outline a text or a line, so that it can be read on any picture."""
    return [withStroke(linewidth=width, foreground=colour)]


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Writes a name to the left of each row 0, 1, 2 ... of a chart, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(left=False)
    ax.grid(axis="x")


def name_columns(ax: Axes, names: Sequence[str]) -> None:
    """Writes a name below each column 0, 1, 2 ... of a chart, slanted where one is long."""
    ax.set_xticks(range(len(names)), names)
    if any(len(str(name)) > 3 for name in names):
        plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")


def legend_columns(names: Collection[str], width: float) -> int:
    """The number of entries of a legend that stand side by side in `width` inches, in rows as equal as they can be."""
    most = max(1, int(width / (LEGEND_PATCH_WIDTH + LETTER_WIDTH * max(map(len, names)))))
    rows = -(-len(names) // most)
    return -(-len(names) // rows)


def write_per_cent(axis: Axis) -> None:
    """Writes shares as per cent."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")


def write_plainly(axis: Axis, values: Sequence[float]) -> None:
    """Writes no powers of ten on a logarithmic axis, and numbers between them where the values span little."""
    axis.set_major_formatter("{x:g}")
    span = max(values) / min(values)
    crowded = "689" if span > 3 else ""  # first digits of the ticks that would lie too close
    between = FuncFormatter(lambda value, _: "" if f"{value:e}"[0] in crowded else f"{value:g}")
    axis.set_minor_formatter(between if span < 30 else NullFormatter())


def png(fig: Figure, alt: str, dpi: int = 100) -> DisplayImage:
    """Turns a figure into a picture for a notebook: a PNG under 150 KB whose metadata hold the alt text.

    A figure that is too large (photographs) is reduced to 256 colours first, then to fewer dots.

    Raises:
        ValueError: if the alt text is empty.
    """
    if not alt.strip():
        raise ValueError("alt: expected a sentence that says what the figure shows, found an empty text")
    data = _encoded(fig, dpi, reduce=False)
    while len(data) >= MAX_PNG_BYTES:
        data = _encoded(fig, dpi, reduce=True)
        dpi = dpi * 9 // 10
    return DisplayImage(data=data, format="png", metadata={"alt": alt})


def _encoded(fig: Figure, dpi: int, reduce: bool) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    if not reduce:
        return buffer.getvalue()
    pixels = np.array(Image.open(buffer).convert("RGB"))
    # The flat colours of label maps, legends and text stay exact: the 64 that fill most places are kept, and what
    # remains, the photographs, is fitted with the other 192.
    codes = pixels @ np.array([1 << 16, 1 << 8, 1])
    flat = (codes[5:, 5:] == codes[:-5, 5:]) & (codes[5:, 5:] == codes[5:, :-5])
    found, counts = np.unique(codes[5:, 5:][flat], return_counts=True)
    rest = ~np.isin(codes, found[np.argsort(counts)[-64:]])
    if rest.any():
        pixels[rest] = Image.fromarray(pixels[rest][None]).quantize(192, Image.Quantize.MEDIANCUT).convert("RGB")
    out = io.BytesIO()
    Image.fromarray(pixels).quantize(256, Image.Quantize.MEDIANCUT).save(out, format="png", optimize=True)
    return out.getvalue()
