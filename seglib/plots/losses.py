"""What a loss asks of one pixel, and what class weights go along with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from seglib.plots.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

Loss = Callable[[Tensor, Tensor], Tensor]
Curve = tuple[np.ndarray, np.ndarray]

LEGEND_LETTERS = 90  # in one row of a legend
LINES = ((INK, "-"), (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (VERMILION, ":"))


def one_pixel(loss: Loss, probabilities: Sequence[float] | np.ndarray, num_classes: int) -> Curve:
    """A loss on a lone pixel and its derivative by the labelled class's logit, at each probability of that class.

    Args:
        loss: (logits (1, K, 1, 1), labels (1, 1, 1)) -> scalar.
        probabilities: of the labelled class, each in 0..1 without the ends; the other classes share the rest equally.

    Raises:
        ValueError: a probability that is not between 0 and 1; fewer than two classes.
    """
    p = torch.as_tensor(np.asarray(probabilities), dtype=torch.float64)
    if num_classes < 2 or not ((p > 0) & (p < 1)).all():
        raise ValueError(f"num_classes = {num_classes}, probabilities {p.tolist()}; expected at least 2, each in 0..1")
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
        curves: name -> what `one_pixel` returns for these probabilities; up to five.
        mark: a probability at which both panels have a vertical line.

    Raises:
        ValueError: no curve or more than five; a curve of another length.
    """
    if not 1 <= len(curves) <= len(LINES):
        raise ValueError(f"curves: expected one to {len(LINES)}, found {len(curves)}")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for (name, parts), (colour, line) in zip(curves.items(), LINES, strict=False):
        for ax, values in zip(axes, parts, strict=True):
            if len(values) != len(probabilities):
                raise ValueError(f"curves[{name!r}]: expected {len(probabilities)} values, found {len(values)}")
            pull = values if ax is axes[0] else -values
            ax.plot(probabilities, pull, line, color=colour, linewidth=2, label=name if ax is axes[0] else None)
    for ax in axes:
        ax.set_xlabel("probability of the labelled class")
        ax.set_xlim(0, 1)
        ax.grid(axis="y")
        ax.axhline(0, color=GREY, linewidth=0.8)
        if mark is not None:
            ax.axvline(mark, color=GREY, linewidth=1)
    axes[0].set_title("loss")
    axes[0].set_ylim(-0.1, 4.2)
    axes[1].set_title("pull upwards on its logit (minus the gradient)")
    figure.legend(loc="outside lower center", ncols=len(curves) if sum(map(len, curves)) < LEGEND_LETTERS else 2)
    return figure


@styled
def weight_scatter(weights: Sequence[float], ious: Mapping[str, Sequence[float]], classes: Sequence[str]) -> Figure:
    """Class weight against IoU, a panel per training, each with the correlation of the weight's logarithm and the IoU.

    Args:
        weights: K, positive. ious: name of a training -> K values in 0..1.

    Raises:
        ValueError: numbers differ, a weight is not positive, no training.
    """
    weights = np.asarray(weights, dtype=float)
    lengths = {len(weights), len(classes), *map(len, ious.values())}
    if not ious or len(lengths) != 1 or not (weights > 0).all():
        raise ValueError(f"weights, ious: expected {len(classes)} of each, weights above 0; found {lengths} values")
    figure, axes = plt.subplots(
        1, len(ious), squeeze=False, sharey=True, figsize=(5 * len(ious), 4), layout="constrained"
    )
    for ax, (name, values) in zip(axes[0], ious.items(), strict=True):
        ax.plot(weights, values, "o", color=BLUE)
        for place, right in _sides(weights, values).items():
            offset, side = ((5, 4), "left") if right else ((-5, 4), "right")
            at = weights[place], values[place]
            written = ax.annotate(classes[place], at, offset, textcoords="offset points", fontsize=8, ha=side)
            written.set_path_effects([withStroke(linewidth=2, foreground="white")])
        ax.set_title(f"{name}: r = {weight_correlation(weights, values):+.2f}")
        ax.set_xscale("log")
        ax.set_xlim(weights.min() / 1.5, weights.max() * 2.6)
        ax.set_ylim(0, 1)
        ax.set_xlabel("class weight (logarithmic)")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.grid()
    axes[0, 0].set_ylabel("IoU")
    return figure


def _sides(weights: Sequence[float], values: Sequence[float]) -> dict[int, bool]:
    """Whether a dot's name stands right of it; of dots close to each other every other one's stands left."""
    sides: dict[int, bool] = {}
    for place in np.argsort(values).tolist():
        near = [
            other
            for other in sides
            if abs(values[place] - values[other]) < 0.06 and 1 / 3 < weights[place] / weights[other] < 3
        ]
        sides[place] = not sides[near[-1]] if near else True
    return sides


def weight_correlation(weights: Sequence[float], ious: Sequence[float]) -> float:
    """Pearson's correlation of the logarithms of K positive weights with K values of IoU."""
    return float(np.corrcoef(np.log(weights), ious)[0, 1])
