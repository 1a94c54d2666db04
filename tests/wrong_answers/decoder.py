"""Typical wrong answers to the exercises of notebook 05; each gets a message of its own."""

WRONG = {
    "5.1": {
        "void pixels have no class": """
def trimap(label, width):
    void = torch.from_numpy(label == 255).float()[None, None]
    return F.max_pool2d(void, 2 * width + 1, stride=1, padding=width)[0, 0].bool().numpy()
""",
        "np.roll and negative indices go round the image": """
def trimap(label, width):
    void = label == 255
    near = void.copy()
    for y in range(-width, width + 1):
        for x in range(-width, width + 1):
            near |= np.roll(void, (y, x), (0, 1))
    return near & ~void
""",
        "rows and columns were added": """
def trimap(label, width):
    void = label == 255
    near = void
    for _ in range(width):
        grown = np.pad(near, 1)
        near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | near
    return near & ~void
""",
        "the window's side is 2 * width + 1": """
def trimap(label, width):
    void = torch.from_numpy(label == 255).float()[None, None]
    near = F.max_pool2d(void, width + 1 - width % 2, stride=1, padding=width // 2)
    return near[0, 0].bool().numpy() & (label != 255)
""",
        "cut off again what you have padded on": """
def trimap(label, width):
    void = torch.from_numpy(label == 255).float()[None, None]
    return F.max_pool2d(void, 2 * width + 1, stride=1)[0, 0].bool().numpy()
""",
        "this band grows out of the void pixels": """
def trimap(label, width):
    edge = np.zeros(label.shape, bool)
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    edge[1:] |= label[1:] != label[:-1]
    near = F.max_pool2d(torch.from_numpy(edge).float()[None, None], 2 * width + 1, stride=1, padding=width)
    return near[0, 0].bool().numpy() & (label != 255)
""",
    },
    "5.2": {
        "the 256 channels that come": """
def first_conv_mult_adds(low_channels, side):
    pixels = math.ceil(side / 4) ** 2
    return 9 * low_channels * 256 * pixels
""",
        "a strided, padded convolution": """
def first_conv_mult_adds(low_channels, side):
    return 9 * (256 + low_channels) * 256 * (side // 4) ** 2
""",
        "the two maps are joined at the stride of the low-level map": """
def first_conv_mult_adds(low_channels, side):
    return 9 * (256 + low_channels) * 256 * math.ceil(side / 16) ** 2
""",
        "the kernel is 3x3": """
def first_conv_mult_adds(low_channels, side):
    return (256 + low_channels) * 256 * math.ceil(side / 4) ** 2
""",
        "each of the 256 output channels": """
def first_conv_mult_adds(low_channels, side):
    return 9 * (256 + low_channels) * math.ceil(side / 4) ** 2
""",
        "the map is a square": """
def first_conv_mult_adds(low_channels, side):
    return 9 * (256 + low_channels) * 256 * math.ceil(side / 4)
""",
    },
    "5.3": {
        "the weights were trained for [ASPP, low]": """
def fuse(aspp, low, reduce):
    wide = F.interpolate(aspp, size=low.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat((reduce(low), wide), dim=1)
""",
        "the sizes have no factor": """
def fuse(aspp, low, reduce):
    wide = F.interpolate(aspp, scale_factor=4, mode="bilinear", align_corners=False)
    return torch.cat((wide, reduce(low)), dim=1)
""",
        "`reduce`, the 1x1 convolution": """
def fuse(aspp, low, reduce):
    wide = F.interpolate(aspp, size=low.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat((wide, low), dim=1)
""",
        "the low-level map keeps its pixels": """
def fuse(aspp, low, reduce):
    small = F.interpolate(reduce(low), size=aspp.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat((aspp, small), dim=1)
""",
        "the ASPP output was enlarged by nearest neighbour": """
def fuse(aspp, low, reduce):
    wide = F.interpolate(aspp, size=low.shape[2:])
    return torch.cat((wide, reduce(low)), dim=1)
""",
        "align_corners=False here": """
def fuse(aspp, low, reduce):
    wide = F.interpolate(aspp, size=low.shape[2:], mode="bilinear", align_corners=True)
    return torch.cat((wide, reduce(low)), dim=1)
""",
        "found (2, 8, 24, 32)": """
def fuse(aspp, low, reduce):
    wide = F.interpolate(aspp, size=low.shape[2:], mode="bilinear", align_corners=False)
    return wide + torch.cat((wide, reduce(low)), dim=1)[:, : wide.shape[1]]
""",
    },
}
