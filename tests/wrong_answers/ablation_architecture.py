"""Usual wrong answers to the exercises of notebook 10."""

from tests.wrong_answers import fill

RULE = "rate * abs(dy) < height and rate * abs(dx) < width"
UNTRAINED = fill(
    """
def met(rate, height, width):
    return {{(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if {rule}}}
before, after = met(rate, *trained), met(rate, *scored)
return len({result})
""",
    rule=RULE,
    result="after - before",
)
PRICE = """
pairs = [(name, *rows[name], other, *rows[other]) for name in rows for other in rows]
return {{*rows}} - {{name for name, points, cost, other, p, c in pairs if {beaten}}}
"""
SEEDS = """
from math import sqrt
from scipy.special import stdtrit
n = 2
while {half} >= effect:
    n += 1
return n
"""
OWN = fill("return study.with_row('mine', {fields}){then}", then="")

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
        "two rows that are alike": PRICE.format(beaten="p >= points and c <= cost and other != name"),
        "cheap is better": PRICE.format(beaten="p >= points and c >= cost and (p, c) != (points, cost)"),
        "the best row is one of them": PRICE.format(beaten="p > points"),
        "points divided by price favours the cheapest": PRICE.format(beaten="p / c > points / cost"),
        "these are the rows to leave out": """
beats = lambda a, b: a[0] >= b[0] and a[1] <= b[1] and a != b
return {name for name, row in rows.items() if any(beats(other, row) for other in rows.values())}
""",
        "are not names of rows": "return list(rows.values())",
        "A set of names is expected": "return 'base'",
        "look for another one that beats it": "return set()",
    },
    "10.3": {
        "1.96 is right for many seeds": SEEDS.format(half="1.959964 * sd / sqrt(n)"),
        "divide by the root of n": SEEDS.format(half="stdtrit(n - 1, 0.975) * sd / n"),
        "n differences have n - 1 degrees of freedom": SEEDS.format(half="stdtrit(n, 0.975) * sd / sqrt(n)"),
        "two tails: 95 % inside leaves": SEEDS.format(half="stdtrit(n - 1, 0.95) * sd / sqrt(n)"),
        "half the interval": SEEDS.format(half="2 * stdtrit(n - 1, 0.975) * sd / sqrt(n)"),
        "the interval reaches t standard errors to each side": SEEDS.format(half="sd / sqrt(n)"),
        "count n up from 2 until t * sd / sqrt(n) is below the effect": "return 5",
    },
    "10.4": {
        "`with_row` leaves the study as it is and returns a new one": "study.with_row('mine', lr=0.1)\nreturn study",
        "return what `with_row` returned": OWN(fields="pre_activation=True", then=".table()"),
        "'mine' is the same as ['(1, 1, 1), block 4'].": OWN(fields="seed=7"),
        "'mine' is the same as ['(1, 2, 4), block 6'].": OWN(fields="multi_grid=(1, 2, 4), cascade_blocks=2"),
        "rows share the data": OWN(fields="train_split='train'"),
        "stay at the smoke scale": OWN(fields="iterations=500"),
        "not every pair of fields goes together": OWN(fields="model='deeplabv3plus', cascade_blocks=2"),
        "start from the study that is handed in and only add a row": """
import dataclasses
rows = {study.base: study.rows[study.base], "mine": study.rows[study.base].replace(pre_activation=True)}
return dataclasses.replace(study, rows=rows, published={})
""",
    },
}
