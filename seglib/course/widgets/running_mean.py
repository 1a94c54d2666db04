"""The running-mean explorer: batch size and momentum -> what batch norm would evaluate with, step by step."""

from __future__ import annotations

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from seglib.course.figures.style import GREY, INK, VERMILION, png, styled
from seglib.course.widgets.explorer import explorer, slider

STEPS, SETTLED = 500, 400  # the error is taken over the steps after SETTLED
MOVES = (100, 300)  # between these steps the weights change, and the true mean with them
MOMENTA = (0.5, 0.1, 0.03, 0.01, 0.003, 0.0003)


def running_mean(batch_size: int, momentum: float, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch means, true mean and running mean (STEPS,) of a channel with one value per image, as image pooling has.

    The values of images scatter by 1 around the true mean, which starts at 1 and moves by `shift` while the weights
    change; the running mean starts at 0, as PyTorch's does.
    """
    truth = np.interp(np.arange(STEPS), MOVES, (1.0, 1.0 + shift))
    values = np.random.default_rng(0).standard_normal((STEPS, batch_size))
    means = truth + values.mean(axis=1)
    running, kept = 0.0, []
    for mean in means:
        running = (1 - momentum) * running + momentum * mean
        kept.append(running)
    return means, truth, np.array(kept)


def error_at_end(truth: np.ndarray, running: np.ndarray) -> float:
    """Root of the mean square by which the running mean (STEPS,) is off after SETTLED, in standard deviations."""
    return float(np.sqrt(np.mean((running - truth)[SETTLED:] ** 2)))


@styled
def running_mean_figure(means: np.ndarray, truth: np.ndarray, running: np.ndarray) -> Figure:
    """What `running_mean` returns, over the steps, and its error at the end as the title."""
    figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
    ax.plot(means, ".", color=GREY, markersize=3, alpha=0.5, label="mean of a batch")
    ax.plot(truth, color=INK, linewidth=1.5, linestyle="--", label="true mean")
    ax.plot(running, color=VERMILION, linewidth=2, label="running mean")
    error = error_at_end(truth, running)
    ax.set_title(f"In the last {STEPS - SETTLED} steps the running mean is off by {error:.2f} standard deviations.")
    ax.set_xlabel("step")
    ax.set_ylabel("activation")
    ax.set_xlim(0, STEPS)
    ax.set_ylim(-2, 5)
    figure.legend(loc="outside right upper")
    return figure


def running_mean_picture(batch_size: int = 4, momentum: float = 0.1, shift: float = 2.0) -> bytes:
    """A PNG of a channel's batch means and running mean over 500 steps; arguments as `running_mean`."""
    alt = "Batch means, true mean and running mean of a channel over 500 steps."
    return png(running_mean_figure(*running_mean(batch_size, momentum, shift)), alt).data


def running_mean_explorer() -> ipywidgets.VBox:
    """Sliders for batch size, momentum and how far training moves the mean, above the picture they redraw."""
    return explorer(
        running_mean_picture,
        "One channel with one value per image. Dots: means of batches; dashed: the true mean; line: the running mean.",
        batch_size=slider("batch size", (1, 2, 4, 8, 16, 64), 4),
        momentum=slider("momentum", MOMENTA, 0.1),
        shift=slider("mean moves by", (0.0, 1.0, 2.0), 2.0),
    )
