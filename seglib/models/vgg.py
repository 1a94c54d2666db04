"""VGG16 as a fully convolutional backbone (FCN, arXiv 1411.4038, section 3.1): its classifier as convolutions."""

from collections.abc import Mapping

from torch import Tensor, nn

from seglib.models.checkpoints import load_exactly

CONVOLUTIONS = (2, 2, 3, 3, 3)  # per block; a 2x2 max pooling ends each
WINDOW = 7  # fc6 sees the whole 7x7 map that an image of 224x224 leaves


class VGG16(nn.Module):
    """VGG16 whose fully connected layers are convolutions, so that it takes an image of any size.

    Args:
        width: channels of the first block; 64 is the published network, with 64 * width channels in fc6 and fc7.
        dropout: probability behind fc6 and fc7.

    `pyramid` takes (B, 3, H, W) and returns the maps at strides 4, 8, 16 and 32: pool2, pool3, pool4 and fc7. A side
    that is odd is rounded up by its pooling, as Caffe does. The names below `features` are torchvision's.

    The paper says: the first convolution pads by 100 and the output is cropped, since fc6 is not padded. We do: fc6 is
    padded by 3, which keeps the size and the alignment for every image.

    Raises:
        ValueError: width below 1, dropout outside 0 <= p < 1.
    """

    # A 2x2 pooling's value stands for the middle of its cell.
    cell_centred = True
    output_stride = 32

    def __init__(self, width: int = 64, dropout: float = 0.5):
        super().__init__()
        if width < 1:
            raise ValueError(f"width = {width!r}; expected a positive number of channels")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout = {dropout!r}; expected 0 <= p < 1")
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
        self.dropout = nn.Dropout(dropout)
        self.pyramid_channels = (2 * width, 4 * width, 8 * width, 64 * width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """pool2, pool3, pool4 and fc7: (B, C, H/4, W/4) to (B, C, H/32, W/32)."""
        x, pooled = images, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        x = self.dropout(self.relu(self.fc6(x)))
        x = self.dropout(self.relu(self.fc7(x)))
        return [*pooled[1:4], x]


def convolutional_vgg16(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A torchvision VGG16's weights with fc6 and fc7 as convolutions (FCN, section 3.1): the same numbers, reshaped.

    A fully connected layer on a (C, 7, 7) map is a 7x7 convolution that is applied at one place. The last layer, the
    1000-class one, is left out. Returns a state dict of VGG16. Raises ValueError where a layer of a VGG16 is missing.
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


def load_vgg16_weights(backbone: VGG16, state_dict: Mapping[str, Tensor], what: str = "ImageNet weights") -> None:
    """Loads the weights of `torchvision.models.vgg16` in place, fully connected layers and all. Raises ValueError."""
    load_exactly(backbone, convolutional_vgg16(state_dict), what)
