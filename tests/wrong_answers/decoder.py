"""Usual wrong answers to the exercises of notebook 05."""

from tests.wrong_answers import mistaken

BAND, FUSE, SEPARABLE = map(mistaken, ("5.1", "5.2", "5.3"))
LABELLED = " & (label != 255)"
BETWEEN = "    nn.BatchNorm2d(inputs),\n    nn.ReLU(),\n"

WRONG = {
    "5.1": {
        "void pixels have no class": BAND(LABELLED, ""),
        "np.roll goes round the image": """
void, steps = label == 255, range(-width, width + 1)
return np.any([np.roll(void, (y, x), (0, 1)) for y in steps for x in steps], axis=0) & ~void
""",
        "a slice that begins below 0": """
near = np.zeros(label.shape, bool)
for y, x in np.argwhere(label == 255):
    near[y - width : y + width + 1, x - width : x + width + 1] = True
return near & (label != 255)
""",
        "rows and columns were added": """
near = label == 255
for _ in range(width):
    grown = np.pad(near, 1)
    near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | near
return near & (label != 255)
""",
        "the window's side is 2 * width + 1": BAND("2 * width + 1", "width + 1 - width % 2", "=width", "=width // 2"),
        "cut off what you have padded on": BAND("padding=width", "padding=0", LABELLED, ""),
        "this band grows out of the void pixels": BAND(
            "label == 255", "np.diff(label, axis=1, prepend=label[:, :1]) != 0"
        ),
        "a pixel is in the band if any void pixel": "return label == 0",
    },
    "5.2": {
        "the weights were trained for [ASPP, low]": FUSE("wide, reduce(low)", "reduce(low), wide"),
        "the sizes have no factor": FUSE("size=low.shape[2:]", "scale_factor=4", ", align_corners=True", ""),
        "`reduce`, the 1x1 convolution": FUSE("reduce(low)", "low"),
        "the low-level map keeps its pixels": FUSE(
            "wide, reduce(low)", "aspp, F.interpolate(reduce(low), size=aspp.shape[2:])"
        ),
        "mode is bilinear": FUSE(', mode="bilinear", align_corners=True', ""),
        "align_corners=False puts it into the middle": FUSE(", align_corners=True", ""),
        "four times the side": FUSE(
            "size=low.shape[2:]", "scale_factor=4", "(wide,", "(wide[..., : low.shape[2], : low.shape[3]],"
        ),
        "found (2, 8, 25, 33)": FUSE("wide, reduce(low)", "wide,"),
    },
    "5.3": {
        "one kernel per channel": SEPARABLE(", groups=inputs", ""),
        "a convolution that batch norm follows": SEPARABLE("bias=False", "bias=True"),
        "the paper has batch norm and ReLU after": SEPARABLE(BETWEEN, ""),
        "that is one full 3x3": """
return nn.Sequential(
    nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
)
""",
        "the other way round": """
return nn.Sequential(
    nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    nn.Conv2d(outputs, outputs, 3, padding=rate, dilation=rate, groups=outputs, bias=False),
    nn.BatchNorm2d(outputs), nn.ReLU(),
)
""",
        "the depthwise convolution has no rate": SEPARABLE("padding=rate, dilation=rate", "padding=1"),
        "depthwise 3x3, norm, ReLU, 1x1": SEPARABLE("padding=rate, dilation=rate", "padding=2, dilation=2"),
        "keeps the size if its padding is its rate": SEPARABLE("padding=rate", "padding=1"),
        "without padding": SEPARABLE("padding=rate, ", ""),
        "missing between the two": SEPARABLE(BETWEEN, "    nn.BatchNorm2d(inputs),\n"),
        "missing at the end": SEPARABLE("(outputs),\n    nn.ReLU(),", "(outputs),"),
        "they are not called here": "return nn.Conv2d(inputs, inputs, 3)(torch.zeros(1, inputs, 5, 5))",
    },
}
