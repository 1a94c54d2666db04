"""Usual wrong answers to the exercises of notebook 04."""

from tests.wrong_answers import fill

POOL = fill(
    "return {vector}.expand(len(x), -1, *x.shape[2:])",
    vector="torch.relu(norm(conv(x.mean(dim=(2, 3), keepdim=True))))",
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
        "the taps are at another distance in the image": "return at_16",
        "the other way round": "return tuple(rate * output_stride // 16 for rate in at_16)",
        "a head of four branches needs four rates": "return tuple(rate * 16 // output_stride for rate in at_16[:3])",
        "at 32 as at 8": "return tuple({8: 2 * rate, 16: rate, 32: 3 * rate}[output_stride] for rate in at_16)",
    },
    "4.2": {
        "the branch joins the others": "return torch.relu(norm(conv(x.mean(dim=(2, 3), keepdim=True))))",
        "some values are negative": POOL(vector="norm(conv(x.mean(dim=(2, 3), keepdim=True)))"),
        "the batch norm between": POOL(vector="torch.relu(conv(x.mean(dim=(2, 3), keepdim=True)))"),
        "is the mean over the map": POOL(vector="torch.relu(norm(conv(x.amax(dim=(2, 3), keepdim=True))))"),
        "pool over height and width first": "return torch.relu(norm(conv(x)))",
        "the mean is each image's own": POOL(vector="torch.relu(norm(conv(x.mean(dim=(0, 2, 3), keepdim=True))))"),
        "mean, conv, norm, ReLU, then spread": POOL(vector="norm(torch.relu(conv(x.mean(dim=(2, 3), keepdim=True))))"),
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
