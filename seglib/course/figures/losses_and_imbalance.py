"""The figure of notebook 12, section on what a loss asks of one pixel, and the correlation of class weights."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from seglib.course.figures.style import GREY, series, styled

Loss = Callable[[Tensor, Tensor], Tensor]
Curve = tuple[np.ndarray, np.ndarray]

LEGEND_LETTERS = 90  # in one row of a legend


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


@styled
def loss_curves(
    probabilities: Sequence[float] | np.ndarray, curves: Mapping[str, Curve], mark: float | None = None
) -> Figure:
    """Losses of one pixel, and how strongly each pulls at the labelled class's logit, over that class's probability.

    Args:
        probabilities: of the labelled class.
        curves: name -> what `one_pixel` returns for these probabilities.
        mark: a probability at which both panels have a vertical line.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    for (name, (values, slopes)), look in zip(curves.items(), series(len(curves)), strict=True):
        line = {"color": look.colour, "linestyle": look.dash, "linewidth": 2}
        left.plot(probabilities, values, label=name, **line)
        right.plot(probabilities, -slopes, **line)
    for ax in (left, right):
        ax.set_xlabel("probability of the labelled class")
        ax.set_xlim(0, 1)
        ax.grid(axis="y")
        ax.axhline(0, color=GREY, linewidth=0.8)
        if mark is not None:
            ax.axvline(mark, color=GREY, linewidth=1)
    left.set_title("loss")
    left.set_ylim(-0.1, 4.2)
    right.set_title("pull upwards on its logit (minus the gradient)")
    figure.legend(loc="outside lower center", ncols=len(curves) if sum(map(len, curves)) < LEGEND_LETTERS else 2)
    return figure


def weight_correlation(weights: Sequence[float], ious: Sequence[float]) -> float:
    """Pearson's correlation of the logarithms of K positive weights with K values of IoU."""
    return float(np.corrcoef(np.log(weights), ious)[0, 1])
