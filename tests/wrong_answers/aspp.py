"""Usual wrong answers to the exercises of notebook 04."""

from tests.wrong_answers import mistaken

RATES, PYRAMID, HEAD = map(mistaken, ("4.1", "4.2", "4.3"))

WRONG = {
    "4.1": {
        "a strided, padded convolution rounds up": RATES("-(-crop // output_stride)", "crop // output_stride"),
        "a side of 16 k pixels leaves k": RATES("-(-crop // output_stride)", "crop // output_stride + 1"),
        "a tap must be on the map along both": RATES(" ** 2", ""),
        "the largest rate is 3 r": RATES("3 * (r + 1)", "r + 1"),
        "rates count values of the map": RATES("r, 2 * r, 3 * r", "tuple(r * k * output_stride for k in (1, 2, 3))"),
        "the centre tap meets the map at all positions": "return 6, 12, 18",
    },
    "4.2": {
        "the map itself is the first part": PYRAMID("[x]", "[]"),
        "the map comes first": PYRAMID("[x]", "[]", "cat(levels", "cat([*levels, x]"),
        "in the order of the bins": PYRAMID("zip(bins, layers", "zip(bins[::-1], layers[::-1]"),
        "the cells are averages": PYRAMID("avg_pool2d", "max_pool2d"),
        "resize with align_corners=False": PYRAMID("align_corners=False", "align_corners=True"),
        "average first: a ReLU": PYRAMID("layer(F.adaptive_avg_pool2d(x,", "(F.adaptive_avg_pool2d(layer(x),"),
        "average, layer, resize": PYRAMID("cat(levels", "cat([x]"),
    },
    "4.3": {
        "every batch norm has a scale and a shift per channel": HEAD("2 * channels", "0 * channels"),
        "running statistics are none": HEAD("2 * channels", "channels"),
        "a convolution that batch norm follows has no bias": HEAD("2 * channels", "3 * channels"),
        "no norm follows the classifier": HEAD(" + num_classes", ""),
        "the projection reads the concatenation of all branches": HEAD("(1 + branches + image_pooling) *", ""),
        "image pooling is a branch with a 1x1 convolution as well": HEAD(
            "(2 if image_pooling else 1)", "1", " + image_pooling", ""
        ),
        "count branches, projection and classifier in turn": HEAD("2 * channels", "4 * channels"),
    },
}
