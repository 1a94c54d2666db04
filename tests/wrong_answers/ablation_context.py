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
INTERVAL = fill(
    """
n, mean, sd = len(scores), np.mean(scores), np.std(scores, ddof={ddof})
half = {t} * sd * {root}
return mean - half, mean + half
""",
    ddof=1,
    t="student_t_quantile(n - 1, 0.975)",
    root="sqrt(1 + 1 / n)",
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
        "that is the interval of the *mean*": INTERVAL(root="sqrt(1 / n)"),
        "the stored mean is uncertain too": INTERVAL(root="1"),
        "1.96 is for many runs": INTERVAL(t="1.959964"),
        "n - 1 under the sd": INTERVAL(ddof=0),
        "n runs have n - 1 degrees of freedom": INTERVAL(t="student_t_quantile(n, 0.975)"),
        "95 % inside leaves 2.5 %": INTERVAL(t="student_t_quantile(n - 1, 0.95)"),
        "mean -/+ t * sd": INTERVAL(t="2"),
    },
}
