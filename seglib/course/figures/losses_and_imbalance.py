"""The figure and the explorer of notebook 12: what a loss asks of one pixel."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.charts import line_chart
from seglib.course.figures.style import GREY
from seglib.losses import cross_entropy, focal

Loss = Callable[[Tensor, Tensor], Tensor]
Curve = tuple[np.ndarray, np.ndarray]


def one_pixel(loss: Loss, probabilities: Sequence[float] | np.ndarray, num_classes: int) -> Curve:
    """A loss on a lone pixel and its derivative by the labelled class's logit, at each probability of that class.

    Args:
        loss: (logits (1, K, 1, 1), labels (1, 1, 1)) -> scalar.
        probabilities: of the labelled class, each in 0..1 without the ends; the other classes share the rest equally.
        num_classes: K, at least 2.
    """
    p = torch.as_tensor(np.asarray(probabilities), dtype=torch.float64)
    logits = torch.zeros(len(p), num_classes, 1, 1, dtype=torch.float64)
    logits[:, 0, 0, 0] = torch.log(p * (num_classes - 1) / (1 - p))
    logits.requires_grad_()
    label = torch.zeros(1, 1, 1, dtype=torch.long)
    values = torch.stack([loss(pixel[None], label) for pixel in logits])  # (N,)
    (gradient,) = torch.autograd.grad(values.sum(), logits)  # (N, K, 1, 1)
    return values.detach().numpy(), gradient[:, 0, 0, 0].numpy()


def loss_curves(probabilities: Sequence[float] | np.ndarray, curves: Mapping[str, Curve]) -> Figure:
    """Losses of one pixel, and how strongly each pulls at the labelled class's logit, over that class's probability.

    curves: name -> what `one_pixel` returns for these probabilities.
    """
    panels = {
        "loss": {name: values for name, (values, _) in curves.items()},
        "pull upwards on its logit (minus the gradient)": {name: -slopes for name, (_, slopes) in curves.items()},
    }
    return line_chart(probabilities, panels, "probability of the labelled class", percent=False)


PROBABILITIES = np.linspace(0.005, 0.995, 100)


def show_losses(gamma: float, smoothing: float, num_classes: int, percent: int) -> Figure:
    """Cross-entropy, focal loss and both label smoothings on one pixel; in the legend their pulls at a probability."""
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
    figure = loss_curves(PROBABILITIES, curves)
    for ax in figure.axes:
        ax.axvline(percent / 100, color=GREY, linewidth=1)
    return figure


def loss_explorer() -> Explorer:
    """Sliders for gamma, smoothing, the number of classes and the probability."""
    return Explorer(
        show_losses,
        "Left the losses of one pixel, right how strongly each pulls its logit up; below 0 it pushes it down.",
        gamma=slider("gamma", (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), 2.0),
        smoothing=slider("smoothing", (0.0, 0.05, 0.1, 0.2, 0.4), 0.1),
        num_classes=slider("classes", (2, 9, 21), 9),
        percent=slider("probability", (1, *range(5, 100, 5), 99), 50, "%"),
    )
