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
MULT_ADDS = fill(
    "return {taps} * {inputs} * {outputs} * {pixels}",
    taps=9,
    inputs="(256 + low_channels)",
    outputs=256,
    pixels="math.ceil(side / 4) ** 2",
)
FUSE = fill(
    """
wide = F.interpolate(aspp, {how})
return torch.cat({maps}, dim=1)
""",
    how="size=low.shape[2:], mode='bilinear', align_corners=True",
    maps="(wide, reduce(low))",
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
        "the 256 channels that come": MULT_ADDS(inputs="low_channels"),
        "a strided, padded convolution": MULT_ADDS(pixels="(side // 4) ** 2"),
        "the two maps are joined at the stride of the low-level map": MULT_ADDS(pixels="math.ceil(side / 16) ** 2"),
        "the decoder works at stride 4": MULT_ADDS(pixels="side**2"),
        "the kernel is 3x3": MULT_ADDS(taps=1),
        "each of the 256 output channels": MULT_ADDS(outputs=1),
        "the map is a square": MULT_ADDS(pixels="math.ceil(side / 4)"),
        "a multiplication with its addition": MULT_ADDS(taps=18),
        "kernel pixels x channels in": MULT_ADDS(taps=3),
    },
    "5.3": {
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
}
