"""Checks of notebook 09: the most that a map can say, cost by stride, and an interaction with its interval."""

import copy
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor
from torch.nn import functional as F

from seglib.course.checks.verdict import call, compare, diagnose, exercise, expect
from seglib.data import VOID
from seglib.geometry import Grid


def perfect_map(label: np.ndarray, stride: int, num_classes: int) -> np.ndarray:
    """Returns (H, W) uint8, what a map of a stride would say that knew each class's share around its values.

    label: (H, W) classes; void (255) is of none.
    """
    return _stretch_shares(label, stride, num_classes).argmax(0).numpy().astype(np.uint8)


def _stretch_shares(
    label: np.ndarray, stride: int, num_classes: int, grow: int = 1, **mistakes: bool
) -> Tensor:  # (K, H, W)
    wanted = torch.from_numpy(label).long() == torch.arange(num_classes)[:, None, None]  # (K, H, W)
    if mistakes.get("clip"):
        wanted[-1] |= torch.from_numpy(label == VOID)
    square = {"kernel_size": stride + grow, "stride": stride, "padding": (stride + grow) // 2}
    shares = F.avg_pool2d(wanted[None].float(), **square, count_include_pad=mistakes.get("pad", False))
    if mistakes.get("valid"):
        shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
    if mistakes.get("nearest"):
        return F.interpolate(shares, label.shape, mode="nearest")[0]
    if mistakes.get("centres"):
        return F.interpolate(shares, label.shape, mode="bilinear", align_corners=False)[0]
    return Grid(stride).resize(shares, label.shape)[0]


@exercise("9.1", "No network of this stride that answers by shares can say more.")
def perfect(answer: Callable[[np.ndarray, int, int], np.ndarray]) -> None:
    """Takes two labels of blocks, with void, whose sides are no multiple of the stride."""

    def settle(found: np.ndarray, label: np.ndarray, stride: int, num_classes: int) -> np.ndarray:
        """Takes class 0 where the two largest shares are equal but for rounding, and either is right."""
        first, second = _stretch_shares(label, stride, num_classes).topk(2, dim=0).values.numpy()
        return np.where(first - second < 1e-5, 0.0, found) if np.shape(found) == label.shape else np.asarray(found)

    def answer_settled(*case: Any) -> np.ndarray:
        return settle(call(answer, *copy.deepcopy(case)), *case)

    def values(*case: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        def say(**mistakes: Any) -> np.ndarray:
            return settle(_stretch_shares(*case, **mistakes).argmax(0).numpy(), *case)

        return say(), {
            "each pixel takes the nearest value; shares are stretched bilinearly.": say(nearest=True),
            "that lays values in the middle of cells; value k lies on pixel k * stride: Grid(stride).resize.": say(
                centres=True
            ),
            "what lies outside the image counts as no class; leave it out of the mean.": say(pad=True),
            "void was counted as a class.": say(clip=True),
            "void counts in the square's area: divide by all its pixels inside the image.": say(valid=True),
            "the square reaches half a stride to *each* side: stride + 1 pixels.": say(grow=-1),
        }

    generator = np.random.default_rng(0)
    labels = [np.kron(generator.integers(0, 3, (9, 7)), np.ones((5, 6), int)).astype(np.uint8) for _ in range(2)]
    for label in labels:
        label[4:20, 10:16] = VOID
    cases = {f"label {i}, stride {s}": (label, s, 3) for i, label in enumerate(labels) for s in (4, 8)}
    compare(answer_settled, cases, values, "shares by avg_pool2d, stretched by Grid, then argmax over the classes.")


@exercise("9.2", "A removed stride quadruples every layer after it, and none before.")
def cost_at(answer: Callable[[Mapping[int, float], int], float]) -> None:
    """Takes two bills at every output stride."""

    def values(costs: Mapping[int, float], output_stride: int) -> tuple[float, dict[str, float]]:
        ratio = {stride: stride / output_stride for stride in costs}
        last, total = max(costs), sum(costs.values())

        def bill(factor: Callable[[int], float]) -> float:
            return sum(cost * factor(stride) for stride, cost in costs.items())

        right = bill(lambda stride: max(ratio[stride], 1) ** 2)
        return right, {
            "half the stride is twice the width *and* twice the height.": bill(lambda stride: max(ratio[stride], 1)),
            "layers whose stride is below the output stride keep their map.": bill(lambda stride: ratio[stride] ** 2),
            "every layer was scaled, the early ones too.": total * ratio[last] ** 2,
            "all layers above the output stride pay.": total + costs[last] * (max(ratio[last], 1) ** 2 - 1),
            "a finer map costs more, not less.": bill(lambda stride: max(ratio[stride], 1) ** -2),
            "that is the sum at the largest output stride.": total,
        }

    bills = ({4: 10.0, 8: 8.0, 16: 12.0, 32: 5.0}, {4: 3.0, 8: 2.0, 32: 6.0, 64: 1.0, 256: 0.5})
    hint = "cost times (stride over the smaller of stride and output stride), squared."
    compare(answer, product(bills, (8, 16, 32, 4)), values, hint, read=float)


@exercise("9.3", "Four corners, four uncertain means: an interaction is harder to show than an effect.")
def interaction(answer: Callable[..., tuple[float, float, float]]) -> None:
    """Takes corners of different spreads, and with different numbers of runs."""
    corners = [0.50, 0.58, 0.61, 0.55], [0.66, 0.60, 0.57], [0.43, 0.47, 0.41, 0.45, 0.44], [0.55, 0.40, 0.46]
    found = call(answer, *map(list, corners))
    expect(isinstance(found, tuple) and len(found) == 3, "The function should return (interaction, low, high).")
    ns, means = np.array(list(map(len, corners))), [np.mean(corner) for corner in corners]
    plain, stride, batch, both = means
    mean = both - stride - batch + plain

    def half(ddof: int = 1, freedom: float = 0, p: float = 0.975, rooted: bool = True) -> float:
        v = np.array([np.var(corner, ddof=ddof) for corner in corners]) / (ns if rooted else 1)
        return float(stdtrit(freedom or v.sum() ** 2 / (v**2 / (ns - 1)).sum(), p) * np.sqrt(v.sum()))

    usual = {
        "that is the whole difference of both changes.": both - plain,
        "the signs are turned.": -mean,
        "all four corners count: add `plain` again.": both - stride - batch,
    }
    diagnose("The interaction", float(found[0]), mean, usual, "both - stride - batch + plain, of the means.")
    usual = {
        "divide by n - 1 in the variances.": half(ddof=0),
        "a mean's variance is s squared over n.": half(rooted=False),
        "1.96 is for many runs.": half(freedom=1e9),
        "95 % inside leaves 2.5 % on each side: the quantile 0.975.": half(p=0.95),
        "the degrees of freedom are Welch's and Satterthwaite's, not the number of runs less four.": half(
            freedom=ns.sum() - 4
        ),
    }
    expect(abs(float(found[1]) + float(found[2]) - 2 * mean) < 1e-6, "The interval should lie around the interaction.")
    reach = float(found[2]) - mean
    diagnose("Half of the interval", reach, half(), usual, "t times the root of the sum of s squared over n.")
