"""Usual wrong answers to the exercises of notebook 02."""

from tests.wrong_answers import mistaken

ZEROS, STRIDES, FIELD, OFFSETS = map(mistaken, ("2.1", "2.2", "2.3", "2.4"))

WRONG = {
    "2.1": {
        "there are no zeros after the last weight": ZEROS(
            "rate * (kernel.shape[-1] - 1) + 1", "kernel.shape[-1] * rate"
        ),
        "every weight appears once": ZEROS(
            "return result", "return kernel.repeat_interleave(rate, -1).repeat_interleave(rate, -2)[..., :side, :side]"
        ),
        "weight (i, j) belongs to": ZEROS("= kernel\n", "= kernel.mT\n"),
        "build a new tensor": ZEROS("= kernel\n", "= kernel.clone()\nkernel *= 0\n"),
        "does every way through it end in a return?": "kernel.repeat_interleave(rate, -1)",
    },
    "2.2": {
        "step less far than they were trained to": STRIDES("(removed, removed)", "(1, 1)"),
        "still reads the map that it read before": STRIDES("(removed, removed)", "(removed * own,) * 2"),
        "two removed strides of 2 make a rate of 4": STRIDES("(removed, removed)", "(min(removed, 2),) * 2"),
        "a stride is left": "return network",
        "padding equals its rate": STRIDES("(removed, removed), (", "(1, 1), ("),
        "the product of the strides": STRIDES("*= own", "+= own"),
        "return the new network": STRIDES("return network", "return [layer.dilation for layer in network]"),
    },
    "2.3": {
        "after a stride": FIELD(" * step", ""),
        "a dilated kernel's weights are `rate` apart": FIELD("rate * ", ""),
        "a layer's own stride spreads its outputs": FIELD("* step", "* step * stride"),
        "a chain without a layer sees one pixel": FIELD("= 1, 1", "= 0, 1"),
        "walk through the chain with two numbers": FIELD("+= rate * (kernel_size - 1) * step", "*= kernel_size"),
    },
    "2.4": {
        "that is the whole window": "return set(range(-sum(rates), sum(rates) + 1))",
        "those are the single convolutions' taps": "return {s * rate for rate in rates for s in (-1, 0, 1)}",
        "a kernel reaches to both sides": OFFSETS("(-rate, 0, rate)", "(0, rate)"),
        "the middle tap has offset 0": OFFSETS("(-rate, 0, rate)", "(-rate, rate)"),
        "add to every offset reached so far": "return {sum(rates), 0, -sum(rates)}",
    },
}
