"""Usual wrong answers to the exercises of notebook 10."""

from tests.wrong_answers import mistaken

TAPS, UNITS = mistaken("10.1"), mistaken("10.2")
COUNT = "int((kernel.weight.grad == 0).all(dim=(0, 1)).sum())"
FITS, UNFINISHED, RATE, RATES = (
    "(side - rate) / side >= share",
    "sum(rates) < reach",
    "min(seen, largest)",
    "tuple(rates)",
)

WRONG = {
    "10.1": {
        "gradients of an earlier step are still there": TAPS("network.zero_grad()\n", ""),
        "these are single weights": TAPS(COUNT, "int((kernel.weight.grad == 0).sum())"),
        "these are the taps that learn": TAPS(COUNT, "int((kernel.weight.grad != 0).any(dim=1).any(dim=0).sum())"),
        "look for zeros in weight.grad": TAPS(COUNT, "3"),
        "A dict is expected": "return [0] * len(kernels)",
    },
    "10.2": {
        "the last rates are too large for the map": UNITS(RATE, "3 ** len(rates)"),
        "a side tap leaves it in one direction only": UNITS(FITS, "((3 * side - 2 * rate) / (3 * side)) ** 2 >= share"),
        "two opposite side taps": UNITS(FITS, "(side - 2 * rate) / side >= share"),
        "*misses* the map": UNITS(FITS, "rate / side <= share"),
        "at least, and not more than": UNITS(FITS, "(side - rate) / side > share"),
        "equal rates leave gaps": UNITS(RATE, "largest"),
        "fewer units do it": UNITS(RATE, "1"),
        "doubled rates see some places twice": UNITS(RATE, "min(2 ** len(rates), largest)"),
        "one unit too many": UNITS(UNFINISHED, "sum(rates) <= reach"),
        "the reach is to *one* side": UNITS(UNFINISHED, "1 + 2 * sum(rates) <= reach"),
        "do not cut the last rate to fit": UNITS(RATE, "min(1 + 2 * sum(rates), largest, reach - sum(rates))"),
        "the map sets the largest rate": UNITS(RATES, "(1, 1, *rates)"),
        "Rates of units are expected": UNITS(RATES, "len(rates)"),
    },
}
