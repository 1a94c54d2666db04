"""VGG16 as a fully convolutional backbone (FCN, arXiv 1411.4038, section 3.1): its classifier as convolutions."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from seglib.models.layers import Backbone, Features, check_choice, init_convolutions

CONVOLUTIONS = (2, 2, 3, 3, 3)  # per block; a 2x2 max pooling ends each
WINDOW = 7  # fc6 sees the whole 7x7 map that an image of 224x224 leaves


class VGG16(Backbone):
    """VGG16 whose fully connected layers are convolutions, so that it takes an image of any size.

    Its taps at strides 4, 8 and 16 are pool2, pool3 and pool4; the last map is fc7, at stride 32. A side that is odd is
    rounded up by its pooling, as Caffe does. The names below `features` are torchvision's.

    The paper says: the first convolution pads by 100 and the output is cropped, since fc6 is not padded. We do: fc6 is
    padded by 3, which keeps the size and the alignment for every image. `width`, of its first block, is 64 there.
    """

    cell_centred = True  # a 2x2 pooling's value stands for the middle of its cell
    output_stride = 32

    def __init__(self, width: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block, count in enumerate(CONVOLUTIONS):
            block_width = width * min(2**block, 8)
            for _ in range(count):
                layers += [nn.Conv2d(channels, block_width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = block_width
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.fc6 = nn.Conv2d(channels, 64 * width, WINDOW, padding=WINDOW // 2)
        self.fc7 = nn.Conv2d(64 * width, 64 * width, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)  # after fc6 and fc7
        self.tap_channels = {4: 2 * width, 8: 4 * width, 16: 8 * width}
        self.high_channels = 64 * width
        init_convolutions(self)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.bias)

    def set_output_stride(self, output_stride: int) -> None:
        """VGG16 has no atrous convolutions: 32 is accepted, anything else raises ValueError."""
        check_choice("output_stride", output_stride, (self.output_stride,))

    def forward(self, images: Tensor, taps: Sequence[int] = ()) -> Features:
        x, stride, found = images, 1, {}
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                stride *= 2
                found[stride] = x
        x = self.dropout(self.relu(self.fc6(x)))
        x = self.dropout(self.relu(self.fc7(x)))
        return self.collect(found, taps, x)  # high (B, 64 * width, H/32, W/32)


def convolutional_vgg16(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turns a torchvision VGG16's weights into ours, with fc6 and fc7 as convolutions (FCN, section 3.1).

    A fully connected layer on a (C, 7, 7) map is a 7x7 convolution that is applied at one place: the numbers stay, only
    the shape changes. The last layer is left out. Raises ValueError if one of the others is missing.
    """
    layers = {"classifier.0": ("fc6", WINDOW), "classifier.3": ("fc7", 1)}
    if missing := [f"{key}.weight" for key in layers if f"{key}.weight" not in state_dict]:
        raise ValueError(f"VGG16 weights: expected torchvision's layout; {missing} missing")
    converted = {key: value for key, value in state_dict.items() if key.startswith("features.")}
    for key, (name, side) in layers.items():
        weight = state_dict[f"{key}.weight"]
        converted[f"{name}.weight"] = weight.reshape(weight.shape[0], -1, side, side)
        converted[f"{name}.bias"] = state_dict[f"{key}.bias"]
    return converted
