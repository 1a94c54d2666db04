"""Usual wrong answers to the exercises of notebook 04."""

_HEAD = "def head_parameters(in_channels, channels, branches, image_pooling, num_classes):\n"

WRONG = {
    "4.1": {
        "the taps are at another distance in the image": "def rates_at(output_stride, at_16):\n    return at_16",
        "the other way round": "def rates_at(output_stride, at_16):\n"
        "    return tuple(rate * output_stride // 16 for rate in at_16)",
        "a head of four branches needs four rates": "def rates_at(output_stride, at_16):\n"
        "    return tuple(2 * r if output_stride == 8 else r for r in at_16[:3])",
        "and at 32? There the map is coarser than at 16": "def rates_at(output_stride, at_16):\n"
        "    return tuple({8: 2 * r, 16: r, 32: 3 * r}[output_stride] for r in at_16)",
    },
    "4.2": {
        "the branch joins the others": "def image_pooling(x, conv, norm):\n"
        "    return torch.relu(norm(conv(x.mean(dim=(2, 3), keepdim=True))))",
        "some values are negative": "def image_pooling(x, conv, norm):\n"
        "    return norm(conv(x.mean(dim=(2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])",
        "the batch norm between convolution and ReLU is missing": "def image_pooling(x, conv, norm):\n"
        "    return torch.relu(conv(x.mean(dim=(2, 3), keepdim=True))).expand(-1, -1, *x.shape[2:])",
        "image-level pooling is the mean over the map": "def image_pooling(x, conv, norm):\n"
        "    return torch.relu(norm(conv(x.amax(dim=(2, 3), keepdim=True)))).expand(-1, -1, *x.shape[2:])",
        "pool over height and width first": "def image_pooling(x, conv, norm):\n    return torch.relu(norm(conv(x)))",
        "the mean is each image's own": "def image_pooling(x, conv, norm):\n"
        "    pooled = torch.relu(norm(conv(x.mean(dim=(0, 2, 3), keepdim=True))))\n"
        "    return pooled.expand(x.shape[0], -1, *x.shape[2:])",
    },
    "4.3": {
        "every batch norm has a scale and a shift per channel": _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    return taps * in_channels * channels + n * channels**2 + (channels + 1) * num_classes",
        "a convolution that batch norm follows has no bias": _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    head = taps * in_channels * channels + n * channels**2 + (channels + 1) * num_classes\n"
        "    return head + 3 * channels * (n + 1)",
        "no norm follows the classifier": _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    head = taps * in_channels * channels + n * channels**2 + channels * num_classes\n"
        "    return head + 2 * channels * (n + 1)",
        "the projection reads the concatenation of all branches": _HEAD + "    n = 1 + branches + image_pooling\n"
        "    taps = 1 + 9 * branches + image_pooling\n"
        "    head = taps * in_channels * channels + channels**2 + (channels + 1) * num_classes\n"
        "    return head + 2 * channels * (n + 1)",
        "image pooling is a branch with a 1x1 convolution as well": _HEAD + "    n = 1 + branches\n"
        "    taps = 1 + 9 * branches\n"
        "    head = taps * in_channels * channels + n * channels**2 + (channels + 1) * num_classes\n"
        "    return head + 2 * channels * (n + 1)",
    },
}
