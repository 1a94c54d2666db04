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

from seglib.course.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, styled

Loss = Callable[[Tensor, Tensor], Tensor]
Curve = tuple[np.ndarray, np.ndarray]

LETTER_SHARE = 0.014  # of a panel's width
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
    left, right = weights.min() / 1.5, weights.max() * 2.6
    for ax, (name, values) in zip(axes[0], ious.items(), strict=True):
        ax.plot(weights, values, "o", color=BLUE)
        across = np.log(weights / left) / np.log(right / left)
        for name_of, x, y, (offset, side) in zip(
            classes, weights, values, _name_places(across, values, classes), strict=True
        ):
            written = ax.annotate(name_of, (x, y), offset, textcoords="offset points", fontsize=8, ha=side, va="center")
            written.set_path_effects([withStroke(linewidth=2, foreground="white")])
        ax.set_title(f"{name}: r = {weight_correlation(weights, values):+.2f}")
        ax.set_xscale("log")
        ax.set_xlim(left, right)
        ax.set_ylim(0, 1)
        ax.set_xlabel("class weight (logarithmic)")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.grid()
    axes[0, 0].set_ylabel("IoU")
    return figure


def _name_places(x: Sequence[float], y: Sequence[float], names: Sequence[str]) -> list[tuple[tuple[int, int], str]]:
    """Offset in points and alignment of each dot's name, so that names lie on no dot and on no other name.

    x, y: shares of the panel's sides. Where no place is free, a name stands right of its dot.
    """
    taken = [(a - 0.012, b - 0.015, a + 0.012, b + 0.015) for a, b in zip(x, y, strict=True)]
    places = []
    for a, b, name in zip(x, y, names, strict=True):
        width, height = LETTER_SHARE * len(name), 0.04
        candidates = {
            ((6, 0), "left"): (a + 0.015, b),
            ((-6, 0), "right"): (a - 0.015 - width, b),
            ((0, 10), "center"): (a - width / 2, b + 0.04),
            ((0, -10), "center"): (a - width / 2, b - 0.04),
        }
        boxes = {
            place: (low, middle - height / 2, low + width, middle + height / 2)
            for place, (low, middle) in candidates.items()
        }
        free = [place for place, box in boxes.items() if not any(_overlap(box, other) for other in taken)]
        places.append(free[0] if free else next(iter(boxes)))
        taken.append(boxes[places[-1]])
    return places


def _overlap(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    """Whether two boxes (left, bottom, right, top) share a point."""
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def weight_correlation(weights: Sequence[float], ious: Sequence[float]) -> float:
    """Pearson's correlation of the logarithms of K positive weights with K values of IoU."""
    return float(np.corrcoef(np.log(weights), ious)[0, 1])
