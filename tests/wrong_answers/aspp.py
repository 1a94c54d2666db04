"""Usual wrong answers to the exercises of notebook 04."""

_HEAD = "def head_parameters(in_channels, channels, branches, image_pooling, num_classes):\n"

WRONG = {
    "4.1": [
        "def rates_at(output_stride, at_16):\n    return at_16",
        "def rates_at(output_stride, at_16):\n    return tuple(rate * output_stride // 16 for rate in at_16)",
        "def rates_at(output_stride, at_16):\n    return tuple(2 * r if output_stride == 8 else r for r in at_16[:3])",
        "def rates_at(output_stride, at_16):\n"
        "    return tuple({8: 2 * r, 16: r, 32: 3 * r}[output_stride] for r in at_16)",
    ],
    "4.2": [
        "def image_pooling(x, conv, norm):\n    return torch.relu(norm(conv(x.mean(dim=(2, 3), keepdim=True))))",
        "def image_pooling(x, conv, norm):\n"
        "    return norm(conv(x.mean(dim=(2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])",
        "def image_pooling(x, conv, norm):\n"
        "    return torch.relu(conv(x.mean(dim=(2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])",
        "def image_pooling(x, conv, norm):\n"
        "    return torch.relu(norm(conv(x.amax(dim=(2, 3), keepdim=True)))).expand(-1, -1, *x.shape[2:])",
        "def image_pooling(x, conv, norm):\n    return torch.relu(norm(conv(x)))",
        "def image_pooling(x, conv, norm):\n"
        "    pooled = torch.relu(norm(conv(x.mean(dim=(0, 2, 3), keepdim=True))))\n"
        "    return pooled.expand(x.shape[0], -1, *x.shape[2:])",
    ],
    "4.3": [
        _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    return taps * in_channels * channels + n * channels**2 + (channels + 1) * num_classes",
        _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    head = taps * in_channels * channels + n * channels**2 + (channels + 1) * num_classes\n"
        "    return head + 3 * channels * (n + 1)",
        _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    head = taps * in_channels * channels + n * channels**2 + channels * num_classes\n"
        "    return head + 2 * channels * (n + 1)",
        _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    head = taps * in_channels * channels + channels**2 + (channels + 1) * num_classes\n"
        "    return head + 2 * channels * (n + 1)",
        _HEAD + "    n = 1 + branches\n"
        "    taps = 1 + 9 * branches\n"
        "    head = taps * in_channels * channels + n * channels**2 + (channels + 1) * num_classes\n"
        "    return head + 2 * channels * (n + 1)",
    ],
}
