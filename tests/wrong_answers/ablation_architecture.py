"""Usual wrong answers to the exercises of notebook 10."""

UNTRAINED = """
def met(rate, height, width):
    return {{(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if {rule}}}


def untrained_weights(rate, trained, scored):
    before, after = met(rate, *trained), met(rate, *scored)
    return len({result})
"""
RULE = "rate * abs(dy) < height and rate * abs(dx) < width"
PRICE = """
def worth_their_price(rows):
    return {{
        name
        for name, (points, cost) in rows.items()
        if not any({beaten} for other, (p, c) in rows.items())
    }}
"""
SEEDS = """
from math import sqrt
from scipy.special import stdtrit


def seeds_needed(sd, effect):
    n = 2
    while {half} >= effect:
        n += 1
    return n
"""
OWN = """
def design(study):
    {body}
"""

WRONG = {
    "10.1": [
        UNTRAINED.format(rule=RULE, result="after"),
        UNTRAINED.format(rule=RULE, result="set(range(9 - len(before)))"),
        UNTRAINED.format(rule=RULE, result="before - after"),
        UNTRAINED.format(rule=RULE, result="after | before"),
        UNTRAINED.format(rule=RULE.replace("<", "<="), result="after - before"),
        UNTRAINED.format(rule="rate * max(abs(dy), abs(dx)) < min(height, width)", result="after - before"),
        UNTRAINED.format(rule="rate * (abs(dy) + abs(dx)) < min(height, width)", result="after - before"),
    ],
    "10.2": [
        PRICE.format(beaten="p > points and c < cost"),
        PRICE.format(beaten="p >= points and c <= cost and other != name"),
        PRICE.format(beaten="p >= points and c >= cost and (p, c) != (points, cost)"),
        """
def worth_their_price(rows):
    best = max(points for points, _ in rows.values())
    return {name for name, (points, _) in rows.items() if points == best}
""",
        """
def worth_their_price(rows):
    best = max(points / cost for points, cost in rows.values())
    return {name for name, (points, cost) in rows.items() if points / cost == best}
""",
        """
def worth_their_price(rows):
    beaten = lambda a, b: b[0] >= a[0] and b[1] <= a[1] and a != b
    return {name for name, row in rows.items() if any(beaten(row, other) for other in rows.values())}
""",
        "def worth_their_price(rows):\n    return list(rows.values())\n",
        "def worth_their_price(rows):\n    return 'base'\n",
        "def worth_their_price(rows):\n    return set()\n",
    ],
    "10.3": [
        SEEDS.format(half="1.959964 * sd / sqrt(n)"),
        SEEDS.format(half="stdtrit(n - 1, 0.975) * sd / n"),
        SEEDS.format(half="stdtrit(n, 0.975) * sd / sqrt(n)"),
        SEEDS.format(half="stdtrit(n - 1, 0.95) * sd / sqrt(n)"),
        SEEDS.format(half="2 * stdtrit(n - 1, 0.975) * sd / sqrt(n)"),
        SEEDS.format(half="sd / sqrt(n)"),
        "def seeds_needed(sd, effect):\n    return 5\n",
    ],
    "10.4": [
        OWN.format(body='study.with_row("mine", pre_activation=True)\n    return study'),
        OWN.format(body='return study.with_row("mine", pre_activation=True).table()'),
        OWN.format(body='return study.with_row("mine", seed=7)'),
        OWN.format(body='return study.with_row("mine", multi_grid=(1, 2, 4), cascade_blocks=2)'),
        OWN.format(body='return study.with_row("mine", train_split="train")'),
        OWN.format(body='return study.with_row("mine", iterations=500)'),
        OWN.format(body='return study.with_row("mine", model="deeplabv3plus", cascade_blocks=2)'),
        OWN.format(
            body="""import dataclasses
    rows = {study.base: study.rows[study.base], "mine": study.rows[study.base].replace(pre_activation=True)}
    return dataclasses.replace(study, rows=rows, published={})"""
        ),
    ],
}
