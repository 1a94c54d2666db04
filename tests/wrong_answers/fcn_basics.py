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
FUSE = fill(
    """
middle = {middle}
fine = double(middle, s8.shape[2:])
return {result}
""",
    middle="double(s32, s16.shape[2:]) + s16",
    result="fine + s8",
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
        "rows are labels and columns predictions": SCORES(sums="n.sum(axis=0), n.sum(axis=1)"),
        "that is 2n / (t + p)": SCORES(iou="2 * correct / (t + p)"),
        "n_ii / (t_i + p_i - n_ii) for each class": SCORES(iou="correct / (t + p)"),
        "the correct pixels, the diagonal": SCORES(pixel="correct.mean()"),
        "each class's IoU with the weight t_i / sum of all t": SCORES(fwiou="iou.mean()"),
        "A dict with the keys pixel_accuracy": "return n.diagonal().sum() / n.sum()",
    },
    "1.3": {
        "add (+=), do not assign (=)": PAINT(add="="),
        "the kernel is upside down": PAINT(part="x[i, j] * kernel.flip(0, 1)"),
        "the last pixel's kernel reaches beyond its cell": "return torch.zeros([side * stride for side in x.shape])",
        "j * stride + k] += x[i, j] * kernel": PAINT(part="x[j % len(x), i % x.shape[1]] * kernel"),
    },
    "1.4": {
        "the scores at stride 16 are left out": FUSE(middle="double(s32, s16.shape[2:])"),
        "the scores at stride 8 are left out": FUSE(result="fine"),
        "the scores at stride 32 are left out": FUSE(middle="s16"),
        "U-Net concatenates": FUSE(result="torch.cat([fine, s8], dim=1)"),
        "that is the mean": FUSE(middle="(double(s32, s16.shape[2:]) + s16) / 2", result="(fine + s8) / 2"),
        "not twice its own": "return double(double(s8, s16.shape[2:]) + s16, s32.shape[2:]) + s32",
        "double first and add then": FUSE(middle="double(s32 + s16, s8.shape[2:])"),
        "double the sum to the size of s8": FUSE(result="fine - s8"),
    },
}
