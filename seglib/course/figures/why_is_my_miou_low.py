"""The figures of notebook 14: questions that lead from a symptom to its cause, and a score of two ways of counting."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from seglib.course.figures.style import BLUE, GREY, INK, PALE, VERMILION, name_rows, styled

STEP_HEIGHT, LETTERS = 0.92, 44  # inches; of a line in a box


@styled
def decision_tree(steps: Sequence[tuple[str, str, str]], last: str) -> Figure:
    """Questions from top to bottom; "no" leads to the causes on the right, "yes" to the next question.

    Args:
        steps: question, how it is answered, and the causes where the answer is no.
        last: what is left when every answer was yes.
    """
    count = len(steps) + 1
    figure, ax = plt.subplots(figsize=(10.5, STEP_HEIGHT * count))
    ax.set(xlim=(0, 10.5), ylim=(-count + 0.45, 0.55), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.4}

    def write(x: float, y: float, text: str, colour: str, face: str, side: str = "center") -> None:
        box = {"boxstyle": "round,pad=0.45", "facecolor": face, "edgecolor": colour, "linewidth": 1.4}
        ax.text(x, y, text, ha=side, va="center", fontsize=9, color=INK, bbox=box, linespacing=1.35)

    for number, (question, test, causes) in enumerate(steps):
        y = -number
        ax.annotate("", (2.6, y - 0.72), (2.6, y), arrowprops=arrow, zorder=0)
        ax.annotate("", (5.9, y), (2.6, y), arrowprops=arrow, zorder=0)
        ax.text(2.72, y - 0.5, "yes", fontsize=8, color=GREY, va="center")
        ax.text(5.2, y + 0.07, "no", fontsize=8, color=GREY, ha="center", va="bottom")
        write(2.6, y, f"{number + 1}. {question}\n{test}", BLUE, "white")
        write(6.1, y, textwrap.fill(causes, LETTERS), VERMILION, PALE, "left")
    write(2.6, 1 - count, textwrap.fill(last, LETTERS), INK, PALE)
    return figure


@styled
def price_chart(before: Mapping[str, float], after: Mapping[str, float], xlabel: str) -> Figure:
    """An arrow for each class, of which both are given, from its score before a change to that after it."""
    rows = sorted(before.keys() & after, key=lambda name: (after[name] - before[name], name))
    figure, ax = plt.subplots(figsize=(7.5, 1 + 0.26 * len(rows)))
    for y, name in enumerate(rows):
        colour = BLUE if after[name] >= before[name] else VERMILION
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        change = 100 * (after[name] - before[name])
        if abs(change) > 1:
            ax.annotate("", (100 * after[name], y), (100 * before[name], y), arrowprops=style)
        ax.plot(100 * before[name], y, "o", color=colour, markerfacecolor="white", clip_on=False)
        ax.text(101, y, f"{change:+.1f}", va="center", fontsize=8, color=colour)
    name_rows(ax, rows)
    ax.set(xlim=(0, 100), xlabel=xlabel)
    return figure


def cost_table(rows: Mapping[str, Mapping[str, Mapping[str, float]]], names: Mapping[str, str]) -> pd.DataFrame:
    """What faults cost in mIoU beside the healthy runs, with 95 % intervals, as `effects_figure` draws it.

    Args:
        rows: of data/results/measured/faults.json: name -> seed -> scores.
        names: name -> "training", whose runs are compared by Welch's interval, or "scoring", which is of the healthy
            weights and is paired.
    """
    from seglib.studies.report import paired_effect, verdict, welch_effect

    miou = {name: {seed: run["miou"] for seed, run in rows[name].items()} for name in ("healthy", *names)}
    means, words = {name: np.mean([*runs.values()]) for name, runs in miou.items()}, {"too few seeds": "one run"}
    lines = {"healthy": [len(miou["healthy"]), means["healthy"], *[np.nan] * 4, "base"]}
    for name, kind in names.items():
        effect = {"training": welch_effect, "scoring": paired_effect}[kind](miou[name], miou["healthy"])
        word = words.get(verdict(effect), verdict(effect))
        lines[name] = [effect.n, means[name], effect.mean, effect.low, effect.high, np.nan, word]
    columns = ["n", "mIoU", "difference", "low", "high", "paper difference", "effect"]
    table = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    return table.sort_values("difference", ascending=False, na_position="first")
