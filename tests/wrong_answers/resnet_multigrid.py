"""Usual wrong answers to the exercises of notebook 03."""

from tests.wrong_answers import fill

PLAN = fill(
    """
reached, rate, plan = 4, 1, []
for stride in unit_strides:
    if reached * stride <= output_stride:
        reached *= stride
        plan.append((stride, rate))
    else:
        plan.append((1, {unit}))
        rate = {after}
return plan
""",
    unit="rate",
    after="rate * stride",
)
UNIT = fill(
    """
y = x
for norm, conv in zip(norms, convs):
    y = {step}
return {result}
""",
    step="conv(torch.relu(norm(y)))",
    result="x + y",
)

WRONG = {
    "3.1": {
        "it is F(x) only": UNIT(result="y"),
        "there is no ReLU after the sum": UNIT(result="torch.relu(x + y)"),
        "the shortcut starts at x itself": UNIT(result="torch.relu(norms[0](x)) + y"),
        "a ReLU belongs between each norm and its convolution": UNIT(step="conv(norm(y))"),
        "in each of the three steps": UNIT(step="conv(norm(torch.relu(y)))"),
    },
    "3.2": {
        "the sum of the rates has to grow": "return (2, 4, 8)",
        "equal rates see a grid": "return (6, 6, 6)",
        "neighbouring sums may lie 2 apart": "return (4, 4, 8)",
        "Three whole numbers of at least 1": "return (2, 16)",
    },
    "3.3": {
        # The unit that loses its stride is dilated at once: detectron2's and jfzhang95's first unit.
        "reads the same map as before": PLAN(unit="rate * stride"),
        "a unit keeps its stride only until": "return [(stride, 1) for stride in unit_strides]",
        "a unit after a removed stride": PLAN(after="1"),
        "every removed stride multiplies the rate": PLAN(after="max(rate, stride)"),
        "walk along the units": PLAN(after="rate + 2 * stride"),
    },
}
