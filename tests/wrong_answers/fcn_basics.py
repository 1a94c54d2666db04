"""Usual wrong answers to the exercises of notebook 01."""

from tests.wrong_answers import fill

CONV = fill(
    """
conv = nn.Conv2d(channels, linear.out_features, {size})
conv.weight.data = linear.weight.data.{weight}
{bias}
return conv
""",
    size="side",
    weight="view(conv.weight.shape)",
    bias="conv.bias.data = linear.bias.data",
)
PAINT = fill(
    """
k = kernel.shape[0]
out = torch.zeros((x.shape[0] - 1) * stride + k, (x.shape[1] - 1) * stride + k)
for i in range(x.shape[0]):
    for j in range(x.shape[1]):
        out[i * stride : i * stride + k, j * stride : j * stride + k] {add} {part}
return out
""",
    add="+=",
    part="x[i, j] * kernel",
)
TENT = fill(
    """
i = torch.arange({size})
w = {tent}
return {kernel}
""",
    size="2 * factor",
    tent="1 - (i - factor + 0.5).abs() / factor",
    kernel="w[:, None] * w",
)
SCORES = fill(
    """
t, p, correct = {sums}, n.diagonal()
iou = {iou}
return dict(pixel_accuracy={pixel}, mean_accuracy=(correct / t).mean(), miou=iou.mean(), fwiou={fwiou})
""",
    sums="n.sum(axis=1), n.sum(axis=0)",
    iou="correct / (t + p - correct)",
    pixel="correct.sum() / n.sum()",
    fwiou="(t * iou).sum() / t.sum()",
)

WRONG = {
    "1.1": {
        "the layer looks at the whole map at once": "return nn.Conv2d(channels, linear.out_features, 1)",
        "the kernel is random": "return nn.Conv2d(channels, linear.out_features, side)",
        "the linear layer never saw a border": CONV(size="side, padding=side // 2"),
        "runs through the columns fastest": CONV(weight="view(-1, side, side, channels).permute(0, 3, 1, 2)"),
        "a linear layer has a bias too": CONV(size="side, bias=False", bias=""),
    },
    "1.2": {
        "add (+=), do not assign (=)": PAINT(add="="),
        "the kernel is upside down": PAINT(part="x[i, j] * kernel.flip(0, 1)"),
        "the last pixel's kernel reaches beyond its cell": "return torch.zeros([side * stride for side in x.shape])",
        "j * stride + k] += x[i, j] * kernel": PAINT(part="x[j % len(x), i % x.shape[1]] * kernel"),
    },
    "1.3": {
        "the weight falls with the distance from the middle": "return torch.ones(2 * factor, 2 * factor)",
        "that is the tent along one axis": TENT(kernel="w"),
        "f - 1/2, between two values": TENT(tent="1 - (i - factor).abs() / factor"),
        "a constant map must stay as it is": TENT(kernel="w[:, None] * w / w.sum() ** 2"),
        "each value reaches one cell to each side": TENT(size="2 * factor - 1"),
        "w_i = 1 - |i - c| / f with c = f - 1/2": TENT(tent="torch.exp(-((i - factor + 0.5) ** 2))"),
    },
    "1.4": {
        "rows are labels and columns predictions": SCORES(sums="n.sum(axis=0), n.sum(axis=1)"),
        "that is 2n / (t + p)": SCORES(iou="2 * correct / (t + p)"),
        "n_ii / (t_i + p_i - n_ii) for each class": SCORES(iou="correct / (t + p)"),
        "the correct pixels, the diagonal": SCORES(pixel="correct.mean()"),
        "each class's IoU with the weight t_i / sum of all t": SCORES(fwiou="iou.mean()"),
        "A dict with the keys pixel_accuracy": "return n.diagonal().sum() / n.sum()",
    },
}
