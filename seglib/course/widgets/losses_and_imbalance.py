"""The explorer of notebook 12: focusing, smoothing and the number of classes -> what a loss asks of one pixel."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from seglib.course.figures.losses_and_imbalance import loss_curves, one_pixel
from seglib.course.widgets.explorer import Explorer, slider
from seglib.losses import cross_entropy, focal

PROBABILITIES = np.linspace(0.005, 0.995, 100)


def show_losses(gamma: float, smoothing: float, num_classes: int, percent: int) -> Figure:
    """Cross-entropy, focal loss and both label smoothings on one pixel; their pulls at a place in the legend.

    Args:
        gamma: of the focal loss, at least 0.
        smoothing: 0 to below 1.
        num_classes: at least 2.
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
    return loss_curves(PROBABILITIES, curves, mark=percent / 100)


def loss_explorer() -> Explorer:
    """Sliders for gamma, smoothing, the number of classes and the probability above the figure they redraw."""
    return Explorer(
        show_losses,
        "Left the losses of one pixel, right how strongly each pulls its logit up; below 0 it pushes it down.",
        gamma=slider("gamma", (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), 2.0),
        smoothing=slider("smoothing", (0.0, 0.05, 0.1, 0.2, 0.4), 0.1),
        num_classes=slider("classes", (2, 9, 21), 9),
        percent=slider("probability", (1, *range(5, 100, 5), 99), 50, "%"),
    )
