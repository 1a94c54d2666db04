"""Usual wrong answers to the exercises of notebook 03."""

from tests.wrong_answers import fill

OFFSETS = """
found = {{0}}
for rate in rates:
    found = {{offset + tap for offset in found for tap in {taps}}}
return found
"""
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
        "the factors are multiplied by the block's base rate": "return tuple(multi_grid)",
        "the base rate is 2 only at 16": "return tuple(2 * factor for factor in multi_grid)",
        "the output stride is not the base rate": "return tuple(output_stride * factor for factor in multi_grid)",
        "the base rate is multiplied by the factors": "return tuple(32 // output_stride + f for f in multi_grid)",
        "the base rate is the product": "return tuple(16 // output_stride * factor for factor in multi_grid)",
    },
    "3.2": {
        "that is the whole window": "return set(range(-sum(rates), sum(rates) + 1))",
        "those are the single convolutions' taps": "return {s * rate for rate in rates for s in (-1, 0, 1)}",
        "a kernel reaches to both sides": OFFSETS.format(taps="(0, rate)"),
        "the middle tap has offset 0": OFFSETS.format(taps="(-rate, rate)"),
        "add to every offset reached so far": "return {sum(rates), 0, -sum(rates)}",
    },
    "3.3": {
        # The unit that loses its stride is dilated at once: detectron2's and jfzhang95's first unit.
        "reads the same map as before": PLAN(unit="rate * stride"),
        "a unit keeps its stride only until": "return [(stride, 1) for stride in unit_strides]",
        "a unit after a removed stride": PLAN(after="1"),
        "every removed stride multiplies the rate": PLAN(after="max(rate, stride)"),
        "walk along the units": PLAN(after="rate + 2 * stride"),
    },
    "3.4": {
        "it is F(x) only": UNIT(result="y"),
        "there is no ReLU after the sum": UNIT(result="torch.relu(x + y)"),
        "the shortcut starts at x itself": UNIT(result="torch.relu(norms[0](x)) + y"),
        "a ReLU belongs between each norm and its convolution": UNIT(step="conv(norm(y))"),
        "in each of the three steps": UNIT(step="conv(norm(torch.relu(y)))"),
    },
}
