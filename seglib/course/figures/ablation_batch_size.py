"""Figures and explorer of notebook 08: the noise of batch statistics, and their running mean."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from seglib.course.explorer import Explorer, slider
from seglib.course.figures.charts import draw_line, scale
from seglib.course.figures.style import BLUE, GREY, INK, VERMILION, series, styled

STEPS, SETTLED = 500, 400  # the error of the running mean is taken over the steps after SETTLED
MOVES = (100, 300)  # between these steps the weights change, and the true mean with them


@styled
def batch_noise(samples: Mapping[int, np.ndarray], spreads: Mapping[str, Mapping[int, float]]) -> Figure:
    """Left: the means of many batches of one channel, by batch size; right: their spread in several layers.

    The grey line on the right falls as one over the square root of the batch size; it lies above all layers.

    Args:
        samples: batch size -> means of batches drawn at random, in standard deviations of the channel.
        spreads: layer -> batch size -> standard deviation of the batch mean, same unit.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    everything = np.concatenate(list(samples.values()))
    edges = np.linspace(everything.min(), everything.max(), 61)
    for height, (size, means) in enumerate(samples.items()):
        counts, _ = np.histogram(means, edges)
        top = -height + 0.9 * np.append(counts, 0) / counts.max()
        left.fill_between(edges, -height, top, step="post", color=BLUE, alpha=0.6)
        left.text(edges[0], -height + 0.12, f"{size}", fontsize=9, color=INK)
    left.axvline(0, color=GREY, linewidth=1)
    left.set(yticks=[], ylabel="batch size", xlabel="batch mean, in standard deviations of the channel")
    left.set_title(f"the means of {len(means):,} batches each")
    sizes = list(samples)
    highest = 1.3 * max(line[sizes[0]] for line in spreads.values())
    lines = {layer: [line[size] for size in sizes] for layer, line in spreads.items()}
    for (layer, values), look in zip(lines.items(), series(len(lines)), strict=True):
        draw_line(right, sizes, values, look, layer)
    right.plot(sizes, highest * np.sqrt(sizes[0] / np.array(sizes)), color=GREY, linewidth=1, linestyle="--")
    scale(right, sizes, "xy")
    right.set(xlabel="batch size", title="spread of the batch mean")
    right.legend(loc="lower left")
    return figure


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
def running_mean_figure(batch_size: int, momentum: float, shift: float) -> Figure:
    """The three that `running_mean` returns for these arguments, over the steps, and the error at the end as title."""
    means, truth, running = running_mean(batch_size, momentum, shift)
    figure, ax = plt.subplots(figsize=(8, 3.2))
    ax.plot(means, ".", color=GREY, markersize=3, alpha=0.5, label="mean of a batch")
    ax.plot(truth, color=INK, linewidth=1.5, linestyle="--", label="true mean")
    ax.plot(running, color=VERMILION, label="running mean")
    error = error_at_end(truth, running)
    ax.set_title(f"In the last {STEPS - SETTLED} steps the running mean is off by {error:.2f} standard deviations.")
    heights = min(-2, means.min() - 0.2), max(5, means.max() + 0.2)  # the same for all but very noisy means
    ax.set(xlabel="step", ylabel="activation", xlim=(0, STEPS), ylim=heights)
    figure.legend(loc="outside right upper")
    return figure


MOMENTA = (0.5, 0.1, 0.03, 0.01, 0.003, 0.0003)


def running_mean_explorer() -> Explorer:
    """Sliders for batch size, momentum and the way that training moves the mean."""
    return Explorer(
        running_mean_figure,
        "One channel with one value per image. Dots: means of batches; dashed: the true mean; line: the running mean.",
        batch_size=slider("batch size", (1, 2, 4, 8, 16, 64), 4),
        momentum=slider("momentum", MOMENTA, 0.1),
        shift=slider("mean moves by", (0.0, 1.0, 2.0, 3.0), 2.0),
    )
