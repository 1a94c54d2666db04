"""Usual wrong answers to the exercises of notebook 05."""

from tests.wrong_answers import fill

BAND = fill(
    """
void = {void}
near = F.max_pool2d(torch.from_numpy(void).float()[None, None], {side}, stride=1, padding={padding})
near = near[0, 0].bool().numpy()
return {result}
""",
    void="label == 255",
    side="2 * width + 1",
    padding="width",
    result="near & (label != 255)",
)
FUSE = fill(
    """
wide = F.interpolate(aspp, {how})
return torch.cat({maps}, dim=1)
""",
    how="size=low.shape[2:], mode='bilinear', align_corners=True",
    maps="(wide, reduce(low))",
)

SEPARABLE = fill(
    """
return nn.Sequential(
    nn.Conv2d(inputs, {middle}, 3, {look}, groups={groups}, bias={bias}),
    {between}
    nn.Conv2d({middle}, outputs, 1, bias={bias}),
    nn.BatchNorm2d(outputs),{last}
)
""",
    middle="inputs",
    look="padding=rate, dilation=rate",
    groups="inputs",
    bias=False,
    between="nn.BatchNorm2d(inputs), nn.ReLU(),",
    last=" nn.ReLU(),",
)

WRONG = {
    "5.1": {
        "void pixels have no class": BAND(result="near"),
        "np.roll and negative indices go round the image": """
void, steps = label == 255, range(-width, width + 1)
return np.any([np.roll(void, (y, x), (0, 1)) for y in steps for x in steps], axis=0) & ~void
""",
        "rows and columns were added": """
near = label == 255
for _ in range(width):
    grown = np.pad(near, 1)
    near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | near
return near & (label != 255)
""",
        "the window's side is 2 * width + 1": BAND(side="width + 1 - width % 2", padding="width // 2"),
        "cut off what you have padded on": BAND(padding=0, result="near"),
        "this band grows out of the void pixels": BAND(void="np.diff(label, axis=1, prepend=label[:, :1]) != 0"),
        "a pixel is in the band if any void pixel": "return label == 0",
    },
    "5.2": {
        "the weights were trained for [ASPP, low]": FUSE(maps="(reduce(low), wide)"),
        "the sizes have no factor": FUSE(how="scale_factor=4, mode='bilinear'"),
        "`reduce`, the 1x1 convolution": FUSE(maps="(wide, low)"),
        "the low-level map keeps its pixels": FUSE(maps="(aspp, F.interpolate(reduce(low), size=aspp.shape[2:]))"),
        "mode is bilinear": FUSE(how="size=low.shape[2:]"),
        "align_corners=False puts it into the middle": FUSE(how="size=low.shape[2:], mode='bilinear'"),
        "four times the side": """
wide = F.interpolate(aspp, scale_factor=4, mode="bilinear", align_corners=True)
return torch.cat((wide[..., : low.shape[2], : low.shape[3]], reduce(low)), dim=1)
""",
        "found (2, 8, 25, 33)": FUSE(maps="(wide,)"),
    },
    "5.3": {
        "one kernel per channel": SEPARABLE(groups=1),
        "a convolution that batch norm follows": SEPARABLE(bias=True),
        "the paper has batch norm and ReLU after": SEPARABLE(between=""),
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
        "the depthwise convolution has no rate": SEPARABLE(look="padding=1"),
        "keeps the size if its padding is its rate": SEPARABLE(look="padding=1, dilation=rate"),
        "without padding": SEPARABLE(look="dilation=rate"),
        "missing between the two": SEPARABLE(between="nn.BatchNorm2d(inputs),"),
        "missing at the end": SEPARABLE(last=""),
        "they are not called here": "return nn.Conv2d(inputs, inputs, 3)(torch.zeros(1, inputs, 5, 5))",
    },
}
