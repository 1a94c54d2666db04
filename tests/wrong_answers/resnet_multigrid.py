"""Usual wrong answers to the exercises of notebook 03."""

from tests.wrong_answers import mistaken

UNIT, PLAN = map(mistaken, ("3.1", "3.3"))

WRONG = {
    "3.1": {
        "it is F(x) only": UNIT("x + y", "y"),
        "there is no ReLU after the sum": UNIT("x + y", "F.relu(x + y)"),
        "the shortcut starts at x itself": UNIT("x + y", "F.relu(norms[0](x)) + y"),
        "a ReLU belongs between each norm and its convolution": UNIT("F.relu(norm(y))", "norm(y)"),
        "in each of the three steps": UNIT("F.relu(norm(y))", "norm(F.relu(y))"),
    },
    "3.2": {
        "the sum of the rates has to grow": "return (2, 4, 8)",
        "equal rates see a grid": "return (6, 6, 6)",
        "neighbouring sums may lie 2 apart": "return (4, 4, 8)",
        "Three whole numbers of at least 1": "return (2, 16)",
    },
    "3.3": {
        # The unit that loses its stride is dilated at once: detectron2's and jfzhang95's first unit.
        "reads the same map as before": PLAN("(1, rate)", "(1, rate * stride)"),
        "a unit keeps its stride only until": "return [(stride, 1) for stride in unit_strides]",
        "a unit after a removed stride": PLAN("rate *= stride", "rate = 1"),
        "every removed stride multiplies the rate": PLAN("rate *= stride", "rate = max(rate, stride)"),
        "walk along the units": PLAN("rate *= stride", "rate += 2 * stride"),
    },
}
