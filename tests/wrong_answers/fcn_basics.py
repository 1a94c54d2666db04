"""Usual wrong answers to the exercises of notebook 01."""

_CONV = "def as_convolution(linear, channels, side):\n"
_PAINT = (
    "def transposed_convolution(x, kernel, stride):\n"
    "    k = kernel.shape[0]\n"
    "    out = torch.zeros((x.shape[0] - 1) * stride + k, (x.shape[1] - 1) * stride + k)\n"
    "    for i in range(x.shape[0]):\n"
    "        for j in range(x.shape[1]):\n"
)
_TENT = "def bilinear_weights(factor):\n"
_SCORES = (
    "def scores(n):\n"
    "    t, p, correct = n.sum(axis=1), n.sum(axis=0), n.diagonal()\n"
    "    iou = correct / (t + p - correct)\n"
)

WRONG = {
    "1.1": {
        "the layer looks at the whole map at once": _CONV + "    return nn.Conv2d(channels, linear.out_features, 1)",
        "the kernel starts at random": _CONV + "    return nn.Conv2d(channels, linear.out_features, side)",
        "the linear layer never saw a border": _CONV
        + "    conv = nn.Conv2d(channels, linear.out_features, side, padding=side // 2)\n"
        "    conv.weight.data = linear.weight.data.view(conv.weight.shape)\n"
        "    conv.bias.data = linear.bias.data\n"
        "    return conv",
        "runs through the columns fastest": _CONV + "    conv = nn.Conv2d(channels, linear.out_features, side)\n"
        "    conv.weight.data = linear.weight.data.view(-1, side, side, channels).permute(0, 3, 1, 2)\n"
        "    conv.bias.data = linear.bias.data\n"
        "    return conv",
        "a linear layer has a bias too": _CONV
        + "    conv = nn.Conv2d(channels, linear.out_features, side, bias=False)\n"
        "    conv.weight.data = linear.weight.data.view(conv.weight.shape)\n"
        "    return conv",
    },
    "1.2": {
        "the last kernel has overwritten its neighbours": _PAINT
        + "            out[i * stride : i * stride + k, j * stride : j * stride + k] = x[i, j] * kernel\n"
        + "    return out",
        "the kernel is painted upside down": _PAINT
        + "            part = x[i, j] * kernel.flip(0, 1)\n"
        + "            out[i * stride : i * stride + k, j * stride : j * stride + k] += part\n    return out",
        "the last pixel's kernel reaches beyond its cell": "def transposed_convolution(x, kernel, stride):\n"
        "    return torch.zeros(x.shape[0] * stride, x.shape[1] * stride)",
        "the first kernel starts at 0": "def transposed_convolution(x, kernel, stride):\n"
        "    return torch.nn.functional.conv2d(x[None, None], kernel[None, None], stride=stride, padding=8)[0, 0]",
    },
    "1.3": {
        "the weight falls with the distance from the middle": _TENT + "    return torch.ones(2 * factor, 2 * factor)",
        "that is the tent along one axis": _TENT
        + "    i = torch.arange(2 * factor)\n    return 1 - (i - factor + 0.5).abs() / factor",
        "f - 1/2, between two values": _TENT
        + "    i = torch.arange(2 * factor)\n    w = 1 - (i - factor).abs() / factor\n    return w[:, None] * w",
        "a constant map must stay as it is": _TENT
        + "    i = torch.arange(2 * factor)\n    w = 1 - (i - factor + 0.5).abs() / factor\n"
        "    return w[:, None] * w / (w.sum() ** 2)",
        "each value reaches one cell to each side": _TENT
        + "    i = torch.arange(2 * factor - 1)\n    w = 1 - (i - factor + 1).abs() / factor\n"
        + "    return w[:, None] * w",
        "w_i = 1 - |i - c| / f with c = f - 1/2": _TENT
        + "    i = torch.arange(2 * factor)\n    w = torch.exp(-((i - factor + 0.5) ** 2))\n    return w[:, None] * w",
    },
    "1.4": {
        "rows are labels and columns predictions": _SCORES.replace(
            "t, p, correct = n.sum(axis=1), n.sum(axis=0)", "t, p, correct = n.sum(axis=0), n.sum(axis=1)"
        )
        + "    return dict(pixel_accuracy=correct.sum() / n.sum(), mean_accuracy=(correct / t).mean(),\n"
        "                miou=iou.mean(), fwiou=(t * iou).sum() / t.sum())",
        "that is 2n / (t + p)": _SCORES.replace("correct / (t + p - correct)", "2 * correct / (t + p)")
        + "    return dict(pixel_accuracy=correct.sum() / n.sum(), mean_accuracy=(correct / t).mean(),\n"
        "                miou=iou.mean(), fwiou=(t * iou).sum() / t.sum())",
        "n_ii / (t_i + p_i - n_ii) for each class": _SCORES.replace("(t + p - correct)", "(t + p)")
        + "    return dict(pixel_accuracy=correct.sum() / n.sum(), mean_accuracy=(correct / t).mean(),\n"
        "                miou=iou.mean(), fwiou=(t * iou).sum() / t.sum())",
        "the correct pixels, the diagonal": _SCORES
        + "    return dict(pixel_accuracy=correct.mean(), mean_accuracy=(correct / t).mean(),\n"
        "                miou=iou.mean(), fwiou=(t * iou).sum() / t.sum())",
        "each class's IoU with the weight t_i / sum of all t": _SCORES
        + "    return dict(pixel_accuracy=correct.sum() / n.sum(), mean_accuracy=(correct / t).mean(),\n"
        "                miou=iou.mean(), fwiou=iou.mean())",
        "A dict with the keys pixel_accuracy": _SCORES
        + "    return correct.sum() / n.sum(), (correct / t).mean(), iou.mean(), (t * iou).sum() / t.sum()",
    },
}
