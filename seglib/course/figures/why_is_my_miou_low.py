"""The figures of notebook 14: questions that lead from a symptom to its cause, and a score of two ways of counting."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from seglib.course.figures.networks import Box, Page
from seglib.course.figures.style import BLUE, ORANGE, PALE, SKY, VERMILION, name_rows, styled

STEP_HEIGHT, LETTERS = 0.92, 54  # inches; of a line in a box


@styled
def decision_tree(steps: Sequence[tuple[str, str, str]], last: str) -> Figure:
    """Questions from top to bottom; "no" leads to the causes on the right, "yes" to the next question.

    Args:
        steps: question, how it is answered, and the causes where the answer is no.
        last: what is left when every answer was yes.
    """
    page = Page(10.5, STEP_HEIGHT * (len(steps) + 1))
    *ys, bottom = STEP_HEIGHT * (np.arange(len(steps), -1, -1) + 0.5)
    end = page.box(Box(2.6, bottom, 3.9, 0.6), PALE, textwrap.fill(last, LETTERS), size=9)
    for number, ((question, test, causes), y) in enumerate(zip(steps, ys, strict=True), start=1):
        asked = page.box(end._replace(y=y), SKY, f"{number}. {question}\n{test}", size=9)
        found = page.box(Box(7.85, y, 4.9, 0.6), ORANGE, textwrap.fill(causes, LETTERS), size=9)
        page.arrow(asked.at(1), found.at(-1), text="no")
        page.arrow(asked.at(up=-1), end._replace(y=y - STEP_HEIGHT).at(up=1))
        page.write(end.x + 0.08, y - STEP_HEIGHT / 2, "yes", 8, ha="left")
    return page.figure


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
