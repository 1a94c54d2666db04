"""Usual wrong answers to the exercises of notebook 02."""

WRONG = {
    "2.1": [
        "def effective_kernel(kernel_size, rate):\n    return kernel_size * rate",
        "def effective_kernel(kernel_size, rate):\n    return kernel_size + (kernel_size - 1) * rate",
        "def effective_kernel(kernel_size, rate):\n    return kernel_size",
        "def effective_kernel(kernel_size, rate):\n    return rate * kernel_size - 1",
        "def effective_kernel(kernel_size, rate):\n    kernel_size + (kernel_size - 1) * (rate - 1)",
    ],
    "2.2": [
        """
def insert_zeros(kernel, rate):
    side = kernel.shape[-1] * rate
    result = kernel.new_zeros(*kernel.shape[:2], side, side)
    result[..., ::rate, ::rate] = kernel
    return result
""",
        """
def insert_zeros(kernel, rate):
    return kernel.repeat_interleave(rate, -1).repeat_interleave(rate, -2)[..., : 2 * rate + 1, : 2 * rate + 1]
""",
        """
def insert_zeros(kernel, rate):
    side = (kernel.shape[-1] - 1) * rate + 1
    result = kernel.new_zeros(*kernel.shape[:2], side, side)
    result[..., ::rate, ::rate] = kernel.mT
    return result
""",
        """
def insert_zeros(kernel, rate):
    side = (kernel.shape[-1] - 1) * rate + 1
    result = kernel.new_zeros(*kernel.shape[:2], side, side)
    result[..., ::rate, :: 1][..., : kernel.shape[-1]] = kernel
    kernel *= 0
    return result
""",
    ],
    "2.4": [
        "def receptive_field(layers):\n    return 1 + sum(rate * (size - 1) for size, stride, rate in layers)",
        """
def receptive_field(layers):
    field, step = 1, 1
    for size, stride, rate in layers:
        field += (size - 1) * step
        step *= stride
    return field
""",
        """
def receptive_field(layers):
    field, step = 1, 1
    for size, stride, rate in layers:
        step *= stride
        field += rate * (size - 1) * step
    return field
""",
        """
def receptive_field(layers):
    field, step = 0, 1
    for size, stride, rate in layers:
        field += rate * (size - 1) * step
        step *= stride
    return field
""",
        """
def receptive_field(layers):
    field = 1
    for size, stride, rate in layers:
        field *= size
    return field
""",
    ],
    "2.3": [
        """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=1), second, padding=1)
""",
        """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=2, dilation=2), second, padding=2, dilation=2)
""",
        """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=1), second, padding=1, dilation=2)
""",
        """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, stride=2, padding=1), second, padding=2, dilation=2)
""",
        """
def without_stride(x, first, second):
    return F.conv2d(F.conv2d(x, first, padding=1), second, padding=4, dilation=4)
""",
    ],
}
