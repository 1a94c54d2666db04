"""Usual wrong answers to the exercises of notebook 10."""

from tests.wrong_answers import fill

TAPS = fill(
    """
{before}
network(images).square().mean().backward()
return {{name: {count} for name, kernel in kernels.items()}}
""",
    before="network.zero_grad()",
    count="int((kernel.weight.grad == 0).all(dim=(0, 1)).sum())",
)
UNITS = fill(
    """
largest = max(rate for rate in range(1, side) if {fits})
rates = []
while {unfinished}:
    rates.append({rate})
return {rates}
""",
    fits="(side - rate) / side >= share",
    unfinished="sum(rates) < reach",
    rate="min(1 + 2 * sum(rates), largest)",
    rates="tuple(rates)",
)

WRONG = {
    "10.1": {
        "doubled rates see some places twice": "return tuple(2**unit for unit in range(units))",
        "equal rates see the same places": "return (1,) * units",
        "there is a gap": "return tuple(4**unit for unit in range(units))",
        "with no rate of 1": "return tuple(3 ** (unit + 1) for unit in range(units))",
        "the next rate can be 9": "return tuple(2 * unit + 1 for unit in range(units))",
        "after each unit, list what is seen": "return (5,) * units",
        "A tuple of rates is expected": "return 3**units",
    },
    "10.2": {
        "gradients of an earlier step are still there": TAPS(before=""),
        "these are single weights": TAPS(count="int((kernel.weight.grad == 0).sum())"),
        "these are the taps that learn": TAPS(count="int((kernel.weight.grad != 0).any(dim=1).any(dim=0).sum())"),
        "look for zeros in weight.grad": TAPS(count="3"),
        "A dict is expected": "return [0] * len(kernels)",
    },
    "10.3": {
        "the last rates are too large for the map": UNITS(rate="3 ** len(rates)"),
        "a side tap leaves it in one direction only": UNITS(fits="((3 * side - 2 * rate) / (3 * side)) ** 2 >= share"),
        "two opposite side taps": UNITS(fits="(side - 2 * rate) / side >= share"),
        "*misses* the map": UNITS(fits="rate / side <= share"),
        "equal rates leave gaps": UNITS(rate="largest"),
        "fewer units do it": UNITS(rate="1"),
        "doubled rates see some places twice": UNITS(rate="min(2 ** len(rates), largest)"),
        "one unit too many": UNITS(unfinished="sum(rates) <= reach"),
        "the reach is to *one* side": UNITS(unfinished="1 + 2 * sum(rates) <= reach"),
        "do not cut the last rate to fit": UNITS(rate="min(1 + 2 * sum(rates), largest, reach - sum(rates))"),
        "the map sets the largest rate": UNITS(rates="(1, 1, *rates)"),
        "Rates of units are expected": UNITS(rates="len(rates)"),
    },
}
