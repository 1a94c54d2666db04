"""Usual wrong answers to the exercises of notebook 10."""

from tests.wrong_answers import fill

RULE = "rate * abs(dy) < height and rate * abs(dx) < width"
UNTRAINED = fill(
    """
def met(rate, height, width):
    return {{(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if {rule}}}


def untrained_weights(rate, trained, scored):
    before, after = met(rate, *trained), met(rate, *scored)
    return len({result})
""",
    rule=RULE,
    result="after - before",
)
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
    "10.1": {
        "these are all weights in use when scoring": UNTRAINED(result="after"),
        "a weight that meets no map when scoring either does no harm": UNTRAINED(result="set(range(9 - len(before)))"),
        "these were trained and are not used": UNTRAINED(result="before - after"),
        "weights in use then or now": UNTRAINED(result="after | before"),
        "at a rate equal to the side": UNTRAINED(rule=RULE.replace("<", "<=")),
        "height and width differ": UNTRAINED(rule="rate * max(abs(dy), abs(dx)) < min(height, width)"),
        "a weight is (dy, dx) in -1..1": UNTRAINED(rule="rate * (abs(dy) + abs(dx)) < min(height, width)"),
    },
    "10.2": {
        "as many points for less": PRICE.format(beaten="p > points and c < cost"),
        "two rows with the same points": PRICE.format(beaten="p >= points and c <= cost and other != name"),
        "cheap is better": PRICE.format(beaten="p >= points and c >= cost and (p, c) != (points, cost)"),
        "the best row is one of them": """
def worth_their_price(rows):
    best = max(points for points, _ in rows.values())
    return {name for name, (points, _) in rows.items() if points == best}
""",
        "points divided by price favours the cheapest": """
def worth_their_price(rows):
    best = max(points / cost for points, cost in rows.values())
    return {name for name, (points, cost) in rows.items() if points / cost == best}
""",
        "these are the rows to leave out": """
def worth_their_price(rows):
    beaten = lambda a, b: b[0] >= a[0] and b[1] <= a[1] and a != b
    return {name for name, row in rows.items() if any(beaten(row, other) for other in rows.values())}
""",
        "are not names of rows": "def worth_their_price(rows):\n    return list(rows.values())\n",
        "A set of names is expected": "def worth_their_price(rows):\n    return 'base'\n",
        "look for another one that beats it": "def worth_their_price(rows):\n    return set()\n",
    },
    "10.3": {
        "1.96 is right for many seeds": SEEDS.format(half="1.959964 * sd / sqrt(n)"),
        "divide by the root of n": SEEDS.format(half="stdtrit(n - 1, 0.975) * sd / n"),
        "n differences have n - 1 degrees of freedom": SEEDS.format(half="stdtrit(n, 0.975) * sd / sqrt(n)"),
        "two tails: 95 % inside leaves": SEEDS.format(half="stdtrit(n - 1, 0.95) * sd / sqrt(n)"),
        "half the interval": SEEDS.format(half="2 * stdtrit(n - 1, 0.975) * sd / sqrt(n)"),
        "the interval reaches t standard errors to each side": SEEDS.format(half="sd / sqrt(n)"),
        "count n up from 2 until t * sd / sqrt(n) is below the effect": "def seeds_needed(sd, effect):\n    return 5\n",
    },
    "10.4": {
        "`with_row` leaves the study as it is and returns a new one": OWN.format(
            body='study.with_row("mine", pre_activation=True)\n    return study'
        ),
        "return what `with_row` returned": OWN.format(
            body='return study.with_row("mine", pre_activation=True).table()'
        ),
        "'mine' is the same as ['(1, 1, 1), block 4'].": OWN.format(body='return study.with_row("mine", seed=7)'),
        "'mine' is the same as ['(1, 2, 4), block 6'].": OWN.format(
            body='return study.with_row("mine", multi_grid=(1, 2, 4), cascade_blocks=2)'
        ),
        "rows share the data": OWN.format(body='return study.with_row("mine", train_split="train")'),
        "stay at the smoke scale": OWN.format(body='return study.with_row("mine", iterations=500)'),
        "not every pair of fields goes together": OWN.format(
            body='return study.with_row("mine", model="deeplabv3plus", cascade_blocks=2)'
        ),
        "start from the study that is handed in and only add a row": OWN.format(
            body="""import dataclasses
    rows = {study.base: study.rows[study.base], "mine": study.rows[study.base].replace(pre_activation=True)}
    return dataclasses.replace(study, rows=rows, published={})"""
        ),
    },
}
