"""The loss explorer: focusing, smoothing and the number of classes -> what a loss asks of one pixel."""

from __future__ import annotations

from functools import partial

import ipywidgets
import numpy as np

from seglib.course.figures.losses import loss_curves, one_pixel
from seglib.course.figures.style import png
from seglib.course.widgets.explorer import explorer, slider
from seglib.losses import cross_entropy, focal

GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
SMOOTHINGS = (0.0, 0.05, 0.1, 0.2, 0.4)
CLASS_COUNTS = (2, 9, 21)
PROBABILITIES = np.linspace(0.005, 0.995, 100)


def loss_picture(gamma: float = 2.0, smoothing: float = 0.1, num_classes: int = 9, percent: int = 50) -> bytes:
    """A PNG of cross-entropy, focal loss and both label smoothings on one pixel; their pulls at a place in the legend.

    Args:
        gamma: of the focal loss, at least 0. smoothing: 0 to below 1. num_classes: at least 2.
        percent: probability of the labelled class at which the pulls are told, 1 to 99.
    """
    losses = {
        "cross-entropy": cross_entropy,
        f"focal, gamma {gamma:g}": partial(focal, gamma=gamma),
        f"smoothing {smoothing:g}": partial(cross_entropy, smoothing=smoothing),
        f"smoothing {smoothing:g}, report's": partial(cross_entropy, smoothing=smoothing, smoothed="report"),
    }
    curves = {}
    for name, loss in losses.items():
        pull = -one_pixel(loss, [percent / 100], num_classes)[1][0]
        curves[f"{name}: {pull:+.3f} at {percent}%"] = one_pixel(loss, PROBABILITIES, num_classes)
    return png(loss_curves(PROBABILITIES, curves, mark=percent / 100), alt="Losses of one pixel and their pulls.").data


def loss_explorer() -> ipywidgets.VBox:
    """Sliders for gamma, smoothing, the number of classes and the probability above the picture they redraw."""
    return explorer(
        loss_picture,
        "Left the losses of one pixel, right how strongly each pulls its logit up; below 0 it pushes it down.",
        gamma=slider("gamma", GAMMAS, 2.0),
        smoothing=slider("smoothing", SMOOTHINGS, 0.1),
        num_classes=slider("classes", CLASS_COUNTS, 9),
        percent=slider("probability", (1, *range(5, 100, 5), 99), 50, "%"),
    )
