"""Usual wrong answers to the exercises of notebook 04."""

from tests.wrong_answers import fill

RATES = fill(
    """
side = {side}
def on_map(rate):
    return ((side + 2 * max(0, side - rate)) / (3 * side)) ** {power}
r = 1
while on_map({largest} * (r + 1)) >= share:
    r += 1
return {result}
""",
    side="-(-crop // output_stride)",
    power=2,
    largest=3,
    result="(r, 2 * r, 3 * r)",
)
PYRAMID = fill(
    """
levels = []
for cells, layer in zip({bins}, {layers}):
    pooled = {pooled}
    levels.append(F.interpolate(pooled, size=x.shape[2:], {how}))
return torch.cat({parts}, dim=1)
""",
    bins="bins",
    layers="layers",
    pooled="layer(F.adaptive_avg_pool2d(x, cells))",
    how="mode='bilinear', align_corners=False",
    parts="[x, *levels]",
)
HEAD = fill(
    """
joined, norms = 1 + branches + {pooling}, 2 + branches + {pooling}
weights = (1 + 9 * branches + {pooling}) * in_channels * channels + {projection} * channels**2
return weights + {per_norm} * channels * norms + (channels + {bias}) * num_classes
""",
    pooling="image_pooling",
    projection="joined",
    per_norm=2,
    bias=1,
)

WRONG = {
    "4.1": {
        "a strided, padded convolution rounds up": RATES(side="crop // output_stride"),
        "a tap must be on the map along both": RATES(power=1),
        "the largest rate is 3 r": RATES(largest=1),
        "rates count values of the map": RATES(result="tuple(r * k * output_stride for k in (1, 2, 3))"),
        "the centre tap meets the map at all positions": "return 6, 12, 18",
    },
    "4.2": {
        "the map itself is the first part": PYRAMID(parts="levels"),
        "the map comes first": PYRAMID(parts="[*levels, x]"),
        "in the order of the bins": PYRAMID(bins="bins[::-1]", layers="layers[::-1]"),
        "the cells are averages": PYRAMID(pooled="layer(F.adaptive_max_pool2d(x, cells))"),
        "resize with align_corners=False": PYRAMID(how="mode='bilinear', align_corners=True"),
        "average first: a ReLU": PYRAMID(pooled="F.adaptive_avg_pool2d(layer(x), cells)"),
        "average, layer, resize": PYRAMID(parts="[x]"),
    },
    "4.3": {
        "every batch norm has a scale and a shift per channel": HEAD(per_norm=0),
        "running statistics are none": HEAD(per_norm=1),
        "a convolution that batch norm follows has no bias": HEAD(per_norm=3),
        "no norm follows the classifier": HEAD(bias=0),
        "the projection reads the concatenation of all branches": HEAD(projection=1),
        "image pooling is a branch with a 1x1 convolution as well": HEAD(pooling=0),
        "count branches, projection and classifier in turn": HEAD(per_norm=4),
    },
}
