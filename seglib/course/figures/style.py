"""The one style of the course's figures, and the way of a figure into a notebook."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image as DisplayImage
from matplotlib.figure import Figure
from PIL import Image

MAX_PNG_BYTES = 150_000

# Okabe and Ito's colours for colour-blind readers.
INK, GREY, RULE = "#222222", "#757575", "#D9D9D9"
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
STYLE = {
    "figure.facecolor": "white",
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
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the course's style, and take the figure out of pyplot's hands, which would show it a second time."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            plt.close(figure)
            return figure

    return drawn


def png(fig: Figure, alt: str, dpi: int = 100) -> DisplayImage:
    """The figure as a picture for a notebook: a PNG under 150 KB whose metadata hold the alt text.

    A figure that is too large (photographs) is reduced to 256 colours first, then to fewer dots. Raises ValueError for
    an empty alt text.
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
    pixels = np.asarray(Image.open(buffer).convert("RGB"))
    # The flat colours of label maps and text stay exact: the 64 most frequent ones are kept as they are, and what
    # remains, the photographs, is fitted with the other 192.
    codes = pixels @ np.array([1 << 16, 1 << 8, 1])
    found, counts = np.unique(codes, return_counts=True)
    kept = np.sort(found[np.argsort(counts)[-64:]])
    indices = np.searchsorted(kept, codes).clip(max=len(kept) - 1)
    rest = kept[indices] != codes
    palette = np.stack([kept >> 16, kept >> 8 & 255, kept & 255], axis=1).ravel().tolist()
    if rest.any():
        fitted = Image.fromarray(pixels[rest][None]).quantize(256 - len(kept), Image.Quantize.MEDIANCUT)
        indices[rest] = np.asarray(fitted)[0] + len(kept)
        palette += fitted.getpalette()
    picture = Image.fromarray(indices.astype(np.uint8))
    picture.putpalette(palette)
    out = io.BytesIO()
    picture.save(out, format="png", optimize=True)
    return out.getvalue()
