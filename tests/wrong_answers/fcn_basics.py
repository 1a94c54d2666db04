"""Usual wrong answers to the exercises of notebook 01."""

from tests.wrong_answers import mistaken

CONV, SCORES, PAINT, FUSE = map(mistaken, ("1.1", "1.2", "1.3", "1.4"))

WRONG = {
    "1.1": {
        "the layer looks at the whole map at once": "return nn.Conv2d(channels, linear.out_features, 1)",
        "the kernel is random": "return nn.Conv2d(channels, linear.out_features, side)",
        "the linear layer never saw a border": CONV("features, side)", "features, side, padding=side // 2)"),
        "runs through the columns fastest": CONV(
            "view(linear.out_features, channels, side, side)", "view(-1, side, side, channels).permute(0, 3, 1, 2)"
        ),
        "a linear layer has a bias too": CONV(
            "features, side)", "features, side, bias=False)", "conv.bias.data = linear.bias.data\n", ""
        ),
    },
    "1.2": {
        "rows are labels and columns predictions": SCORES("t, p =", "p, t ="),
        "that is 2n / (t + p)": SCORES("correct / (t + p - correct)", "2 * correct / (t + p)"),
        "n_ii / (t_i + p_i - n_ii) for each class": SCORES(" - correct)", ")"),
        "the correct pixels, the diagonal": SCORES("correct.sum() / t.sum()", "correct.mean()"),
        "each class's IoU with the weight t_i / sum of all t": SCORES("(t * iou).sum() / t.sum()", "iou.mean()"),
        "A dict with the keys pixel_accuracy": "return n.diagonal().sum() / n.sum()",
    },
    "1.3": {
        "add (+=), do not assign (=)": PAINT("+=", "="),
        "the kernel is upside down": PAINT("* kernel", "* kernel.flip(0, 1)"),
        "the last pixel's kernel reaches beyond its cell": "return torch.zeros([side * stride for side in x.shape])",
        "j * stride + k] += x[i, j] * kernel": PAINT("x[i, j]", "x[j % len(x), i % x.shape[1]]"),
    },
    "1.4": {
        "the scores at stride 16 are left out": FUSE(" + s16", ""),
        "the scores at stride 8 are left out": FUSE(" + s8", ""),
        "the scores at stride 32 are left out": FUSE("double(s32, s16.shape[2:]) + s16", "s16"),
        "U-Net concatenates": FUSE("return ", "return torch.cat([", " + s8", ", s8], dim=1)"),
        "that is the mean": FUSE("+ s16", "/ 2 + s16 / 2", "+ s8", "/ 2 + s8 / 2"),
        "not twice its own": "return double(double(s8, s16.shape[2:]) + s16, s32.shape[2:]) + s32",
        "double first and add then": FUSE("double(s32, s16.shape[2:]) + s16", "double(s32 + s16, s8.shape[2:])"),
        "double the sum to the size of s8": FUSE("+ s8", "- s8"),
    },
}
