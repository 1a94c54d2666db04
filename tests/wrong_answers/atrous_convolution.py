"""Usual wrong answers to the exercises of notebook 02."""

from tests.wrong_answers import fill

ZEROS = fill(
    """
side = {side}
result = kernel.new_zeros(*kernel.shape[:2], side, side)
result[..., ::rate, ::rate] = {weights}
return result
""",
    side="(kernel.shape[-1] - 1) * rate + 1",
    weights="kernel",
)
FIELD = fill(
    """
field, step = {start}, 1
for size, stride, rate in layers:
    field {grow}
    step *= stride
return field
""",
    start=1,
    grow="+= rate * (size - 1) * step",
)
PAIR = fill(
    "return F.conv2d(F.conv2d(x, first, {first}), second, {second})",
    first="padding=1",
    second="padding=2, dilation=2",
)

WRONG = {
    "2.1": {
        "zeros are placed between weights": "return kernel_size * rate",
        "neighbouring weights are `rate` pixels apart": "return kernel_size + (kernel_size - 1) * rate",
        "that is the number of weights in a row": "return kernel_size",
        "count gaps: k weights have": "return rate * kernel_size - 1",
        "does every way through it end in a return?": "kernel_size + (kernel_size - 1) * (rate - 1)",
    },
    "2.2": {
        "there are no zeros after the last weight": ZEROS(side="kernel.shape[-1] * rate"),
        "every weight appears once": """
side = (kernel.shape[-1] - 1) * rate + 1
return kernel.repeat_interleave(rate, -1).repeat_interleave(rate, -2)[..., :side, :side]
""",
        "weight (i, j) belongs to": ZEROS(weights="kernel.mT"),
        "build a new tensor": ZEROS(weights="kernel.clone()\nkernel *= 0"),
    },
    "2.4": {
        "after a stride": "return 1 + sum(rate * (size - 1) for size, stride, rate in layers)",
        "a dilated kernel's weights are `rate` apart": FIELD(grow="+= (size - 1) * step"),
        "a layer's own stride spreads its outputs": FIELD(grow="+= rate * (size - 1) * step * stride"),
        "a chain without a layer sees one pixel": FIELD(start=0),
        "walk through the chain with two numbers": FIELD(grow="*= size"),
    },
    "2.3": {
        "the second kernel now steps half as far as it was trained to": PAIR(second="padding=1"),
        "the first convolution still": PAIR(first="padding=2, dilation=2"),
        "a 3x3 convolution keeps the": PAIR(second="padding=1, dilation=2"),
        "the map is still half the size": PAIR(first="stride=2, padding=1"),
        "which rate makes the second": PAIR(second="padding=4, dilation=4"),
    },
}
