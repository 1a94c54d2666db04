"""The figure and the explorer of notebook 05: what the decoder changes along boundaries."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.pictures import LISTED_SHARE, class_colours, draw_panels, error_map, fade
from seglib.course.figures.style import INK, halo, styled
from seglib.data import VOID
from seglib.metrics import boundary_band


@styled
def wipe(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    classes: Sequence[str],
    palette: np.ndarray,
    position: float = 0.5,
    width: int = 3,
) -> Figure:
    """Predictions without and with the decoder, left and right of a line, and their errors near a void pixel.

    The share of wrong pixels in the band is written for both, whatever the line shows.

    Args:
        image: (H, W, 3) uint8.
        label: (H, W), 255 = void.
        before: (H, W) classes that are predicted without the decoder.
        after: (H, W) classes that are predicted with it.
        classes: K names.
        palette: (256, 3) uint8.
        position: of the line; 0 shows only `after`, 1 only `before`.
        width: of the band in pixels, at least 1; errors outside it are drawn pale.
    """
    band = boundary_band(torch.from_numpy(label.astype(np.int64)), width).numpy()
    edge = round(position * image.shape[1])
    shown = np.where(np.arange(image.shape[1]) < edge, before, after)
    errors = error_map(label, shown)
    colours = class_colours((label, before, after), classes, palette, least=LISTED_SHARE)
    titles = ["image", "without  |  with decoder", f"errors within {width} pixels"]
    figure, axes = draw_panels(titles, aspects=(image.shape[0] / image.shape[1],), legend=colours)
    axes[0].imshow(image)
    axes[1].imshow(palette[np.where(label == VOID, VOID, shown)])
    axes[2].imshow(np.where(band[..., None], errors, fade(errors)))
    for ax in axes:
        ax.axvline(edge - 0.5, color="white", linewidth=1.5, path_effects=halo(INK, 3.5))
    counted = band & (label != VOID)
    wrong = [(label != prediction)[counted].mean() if counted.any() else np.nan for prediction in (before, after)]
    figure.set_figheight(figure.get_figheight() + 0.3)
    figure.suptitle(f"wrong in the band: {wrong[0]:.1%} without decoder, {wrong[1]:.1%} with it", fontsize=10)
    return figure


def decoder_explorer(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    *,
    classes: Sequence[str],
    palette: np.ndarray,
) -> Explorer:
    """Sliders for image, line and band; the arguments of `wipe`, one for each image."""

    def draw(image: int, line: int, band: int) -> Figure:
        arrays = (values[image] for values in (images, labels, before, after))
        return wipe(*arrays, classes=classes, palette=palette, position=line / 100, width=band)

    return Explorer(
        draw,
        "Left of the line the prediction without the decoder, right of it with; errors outside the band are pale.",
        image=slider("image", range(len(images)), 0),
        line=slider("line", range(0, 101, 5), 50, " %"),
        band=slider("band", range(1, 21), 3, " pixels"),
    )
