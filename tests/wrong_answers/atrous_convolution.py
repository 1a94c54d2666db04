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
STRIDES = fill(
    """
layers, removed = [], 1
for conv in network:
    rate = {rate}
    new = nn.Conv2d(conv.in_channels, conv.out_channels, 3, {stride}, padding={padding}, dilation=rate)
    new.load_state_dict(conv.state_dict())
    layers.append(new)
    removed {grow}
return {result}
""",
    rate="removed",
    stride=1,
    padding="rate",
    grow="*= conv.stride[0]",
    result="nn.Sequential(*layers).double()",
)
OFFSETS = """
found = {{0}}
for rate in rates:
    found = {{offset + tap for offset in found for tap in {taps}}}
return found
"""

WRONG = {
    "2.1": {
        "there are no zeros after the last weight": ZEROS(side="kernel.shape[-1] * rate"),
        "every weight appears once": """
side = (kernel.shape[-1] - 1) * rate + 1
return kernel.repeat_interleave(rate, -1).repeat_interleave(rate, -2)[..., :side, :side]
""",
        "weight (i, j) belongs to": ZEROS(weights="kernel.mT"),
        "build a new tensor": ZEROS(weights="kernel.clone()\nkernel *= 0"),
        "does every way through it end in a return?": "kernel.repeat_interleave(rate, -1)",
    },
    "2.2": {
        "step less far than they were trained to": STRIDES(rate=1),
        "still reads the map that it read before": STRIDES(rate="removed * conv.stride[0]"),
        "two removed strides of 2 make a rate of 4": STRIDES(rate="min(removed, 2)"),
        "a stride is left": STRIDES(rate=1, stride="conv.stride"),
        "padding equals its rate": STRIDES(padding=1),
        "the product of the strides": STRIDES(grow="+= conv.stride[0]"),
        "return the new network": STRIDES(result="[layer.dilation for layer in layers]"),
    },
    "2.3": {
        "after a stride": "return 1 + sum(rate * (size - 1) for size, stride, rate in layers)",
        "a dilated kernel's weights are `rate` apart": FIELD(grow="+= (size - 1) * step"),
        "a layer's own stride spreads its outputs": FIELD(grow="+= rate * (size - 1) * step * stride"),
        "a chain without a layer sees one pixel": FIELD(start=0),
        "walk through the chain with two numbers": FIELD(grow="*= size"),
    },
    "2.4": {
        "that is the whole window": "return set(range(-sum(rates), sum(rates) + 1))",
        "those are the single convolutions' taps": "return {s * rate for rate in rates for s in (-1, 0, 1)}",
        "a kernel reaches to both sides": OFFSETS.format(taps="(0, rate)"),
        "the middle tap has offset 0": OFFSETS.format(taps="(-rate, rate)"),
        "add to every offset reached so far": "return {sum(rates), 0, -sum(rates)}",
    },
}
