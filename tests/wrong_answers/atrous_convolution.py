"""Usual wrong answers to the exercises of notebook 02."""

WRONG = {
    "2.1": {
        "zeros are placed between weights": "def effective_kernel(kernel_size, rate):\n    return kernel_size * rate",
        "neighbouring weights are `rate` pixels apart": "def effective_kernel(kernel_size, rate):\n"
        "    return kernel_size + (kernel_size - 1) * rate",
        "that is the number of weights in a row": "def effective_kernel(kernel_size, rate):\n    return kernel_size",
        "count gaps: k weights have": "def effective_kernel(kernel_size, rate):\n    return rate * kernel_size - 1",
        "does every way through it end in a return?": "def effective_kernel(kernel_size, rate):\n"
        "    kernel_size + (kernel_size - 1) * (rate - 1)",
    },
    "2.2": {
        "every weight but the last is followed by rate - 1 zeros": """
def insert_zeros(kernel, rate):
    side = kernel.shape[-1] * rate
    result = kernel.new_zeros(*kernel.shape[:2], side, side)
    result[..., ::rate, ::rate] = kernel
    return result
""",
        "every weight appears once": """
def insert_zeros(kernel, rate):
    return kernel.repeat_interleave(rate, -1).repeat_interleave(rate, -2)[..., : 2 * rate + 1, : 2 * rate + 1]
""",
        "weight (i, j) belongs to": """
def insert_zeros(kernel, rate):
    side = (kernel.shape[-1] - 1) * rate + 1
    result = kernel.new_zeros(*kernel.shape[:2], side, side)
    result[..., ::rate, ::rate] = kernel.mT
    return result
""",
        "build a new tensor": """
def insert_zeros(kernel, rate):
    side = (kernel.shape[-1] - 1) * rate + 1
    result = kernel.new_zeros(*kernel.shape[:2], side, side)
    result[..., ::rate, :: 1][..., : kernel.shape[-1]] = kernel
    kernel *= 0
    return result
""",
    },
    "2.4": {
        "after a stride": "def receptive_field(layers):\n"
        "    return 1 + sum(rate * (size - 1) for size, stride, rate in layers)",
        "a dilated kernel's weights are `rate` apart": """
def receptive_field(layers):
    field, step = 1, 1
    for size, stride, rate in layers:
        field += (size - 1) * step
        step *= stride
    return field
""",
        "a layer's own stride spreads its outputs": """
def receptive_field(layers):
    field, step = 1, 1
    for size, stride, rate in layers:
        step *= stride
        field += rate * (size - 1) * step
    return field
""",
        "a chain without a layer sees one pixel": """
def receptive_field(layers):
    field, step = 0, 1
    for size, stride, rate in layers:
        field += rate * (size - 1) * step
        step *= stride
    return field
""",
        "walk through the chain with two numbers": """
def receptive_field(layers):
    field = 1
    for size, stride, rate in layers:
        field *= size
    return field
""",
    },
    "2.3": {
        "the second kernel now steps half as far as it was trained to": """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=1), second, padding=1)
""",
        "the first convolution still": """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=2, dilation=2), second, padding=2, dilation=2)
""",
        "a 3x3 convolution keeps the": """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=1), second, padding=1, dilation=2)
""",
        "the map is still half the size": """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, stride=2, padding=1), second, padding=2, dilation=2)
""",
        "which rate makes the second": """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=1), second, padding=4, dilation=4)
""",
    },
}
