"""Usual wrong answers to the exercises of notebook 09."""

from tests.wrong_answers import mistaken

PERFECT, COST, INTERACTION = map(mistaken, ("9.1", "9.2", "9.3"))
RESIZE = "Grid(stride).resize(shares, label.shape)"
FACTOR = "stride / min(stride, output_stride)"
MEAN = "np.mean(both) - np.mean(stride) - np.mean(batch) + np.mean(plain)"

WRONG = {
    "9.1": {
        "each pixel takes the nearest value": PERFECT(RESIZE, "F.interpolate(shares, label.shape)"),
        "values in the middle of cells": PERFECT(RESIZE, "F.interpolate(shares, label.shape, mode='bilinear')"),
        "leave it out of the mean": PERFECT("count_include_pad=False", "count_include_pad=True"),
        "void was counted as a class": PERFECT("shares =", "wanted[-1] |= torch.from_numpy(label == 255)\nshares ="),
        "divide by all its pixels inside": PERFECT(
            "stretched =", "shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)\nstretched ="
        ),
        "half a stride to *each* side": PERFECT(
            "stride + 1, stride, stride // 2", "stride - 1, stride, (stride - 1) // 2"
        ),
        "then argmax over the classes": PERFECT("argmax", "argmin"),
        "should have the shape": PERFECT("return stretched", "return shares"),
    },
    "9.2": {
        "half the stride is twice the width": COST(" ** 2", ""),
        "layers whose stride is below": COST("min(stride, output_stride)", "output_stride"),
        "every layer was scaled": COST(FACTOR, "max(costs) / output_stride"),
        "all layers above the output stride pay": COST(
            FACTOR, "stride / output_stride if stride == max(costs) > output_stride else 1"
        ),
        "a finer map costs more": COST(FACTOR, "min(stride, output_stride) / stride"),
        "that is the sum at the largest output stride": COST(FACTOR, "1"),
        "cost times (stride over the": COST("** 2", "** 3"),
    },
    "9.3": {
        "that is the whole difference": INTERACTION(MEAN, "np.mean(both) - np.mean(plain)"),
        "the signs are turned": INTERACTION(MEAN, f"-({MEAN})"),
        "add `plain` again": INTERACTION(" + np.mean(plain)", ""),
        "of the means": INTERACTION(MEAN, "np.mean(both)"),
        "divide by n - 1": INTERACTION("ddof=1", "ddof=0"),
        "a mean's variance is s squared over n": INTERACTION(" / len(values)", ""),
        "1.96 is for many runs": INTERACTION("(freedom,", "(1e9,"),
        "the quantile 0.975": INTERACTION("0.975", "0.95"),
        "not the number of runs less four": INTERACTION("(freedom,", "(sum(map(len, corners)) - 4,"),
        "t times the root": INTERACTION("np.sqrt(v.sum())", "v.sum()"),
        "should lie around the interaction": INTERACTION("float(mean - half)", "float(mean)"),
        "The function should return": INTERACTION(", float(mean - half), float(mean + half)", ""),
    },
}
