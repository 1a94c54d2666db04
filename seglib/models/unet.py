"""U-Net (Ronneberger, Fischer and Brox, arXiv 1505.04597): an encoder and a decoder of equal depth."""

import torch
from torch import Tensor, nn

from seglib.geometry import Grid
from seglib.models.layers import check_choice, conv_bn_relu, init_convolutions


class ContractingPath(nn.Module):
    """Two 3x3 convolutions per level, a 2x2 max pooling between levels, twice the channels on each.

    (B, 3, H, W) -> a map per level, strides 1 to 2 ** depth; a side that is odd is rounded up by its pooling.
    """

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.channels = tuple(width * 2**level for level in range(depth + 1))
        self.levels = nn.ModuleList(
            _double_conv(inputs, outputs) for inputs, outputs in zip((3, *self.channels), self.channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.levels[0](images)]
        for level in self.levels[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps


class UNet(nn.Module):
    """Contracting path, expanding path, and a skip that concatenates the equally large maps of both at every level.

    `model(images)` takes (B, 3, H, W) float32 of any size and returns (B, K, H, W) logits. They are at stride 1, so
    that `model(images, upsample=False)` returns the same. The first level has `width` channels, and `depth` poolings
    follow.

    The paper says: convolutions without padding, on mirrored tiles, so that 572 x 572 give 388 x 388, and maps are
    cropped before they are concatenated. We do: padded convolutions, so that an output has its input's size; batch norm
    after every 3x3 convolution, which the paper does not have; no dropout; three input channels for its one.
    """

    def __init__(self, num_classes: int, width: int = 64, depth: int = 4):
        super().__init__()
        self.num_classes = num_classes
        self.output_stride = 2**depth
        self.backbone = ContractingPath(width, depth)
        pairs = list(zip(self.backbone.channels[:0:-1], self.backbone.channels[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, fine, 2, stride=2) for deep, fine in pairs)
        self.expanding = nn.ModuleList(_double_conv(2 * fine, fine) for _, fine in pairs)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        init_convolutions(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def set_output_stride(self, output_stride: int) -> None:
        """A U-Net has no atrous convolutions: its own 2 ** depth is accepted, anything else raises ValueError."""
        check_choice("output_stride", output_stride, (self.output_stride,))

    @property
    def backbone_grid(self) -> Grid:
        """The grid of the contracting path's last map."""
        return Grid(self.output_stride, "cell_centre")

    @property
    def logits_grid(self) -> Grid:
        """The grid of the logits: every pixel has its own."""
        return Grid(1, "cell_centre")

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        *skips, x = self.backbone(images)
        for up, convs, skip in zip(self.up, self.expanding, reversed(skips), strict=True):
            # A transposed 2x2 convolution with stride 2 fills each 2x2 cell from one value: no overlap, and what a
            # pooling rounded up is cut off again on the same side.
            x = up(x)[..., : skip.shape[2], : skip.shape[3]]
            x = convs(torch.cat((skip, x), dim=1))  # (B, width * 2 ** level, H / 2 ** level, W / 2 ** level)
        return self.classifier(x)


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_bn_relu(in_channels, out_channels, 3), conv_bn_relu(out_channels, out_channels, 3))
