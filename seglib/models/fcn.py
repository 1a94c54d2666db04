"""Fully convolutional networks, FCN-32s, 16s and 8s (Long, Shelhamer and Darrell, arXiv 1411.4038)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.geometry import Grid
from seglib.models.backbones import RESNETS, build_backbone
from seglib.models.layers import Backbone, check_choice
from seglib.models.resnet import UNITS

STRIDES = (32, 16, 8)
BACKBONE_STRIDE = 32


def bilinear_kernel(size: int) -> Tensor:
    """Returns the (size, size) kernel with which a transposed convolution interpolates bilinearly (FCN, section 3.3).

    It upsamples by (size + 1) // 2: an even kernel between the middles of cells, an odd one between points.
    """
    factor = (size + 1) // 2
    centre = (size - 1) / 2
    tent = 1 - (torch.arange(size) - centre).abs() / factor  # (size,)
    return tent[:, None] * tent


class BilinearUpsampling(nn.Module):
    """Transposed convolution that starts as bilinear interpolation (FCN, sections 4.2 and 4.3).

    (B, C, h, w) -> (B, C, *size) for any size up to (h * factor, w * factor). The map is continued beyond its edges, so
    that the outermost half cell is not faded with zeros.

    Args:
        factor: of the upsampling, an even number.
        learned: full and trained; False is interpolation for good, channel by channel.
        cell_centred: as `Backbone`'s. True: a kernel of 2 * factor, `F.interpolate(..., align_corners=False)`; False: a
            kernel of 2 * factor - 1, `align_corners=True`. With the other one every map would be moved by half a cell.
    """

    def __init__(self, channels: int, factor: int, learned: bool = True, cell_centred: bool = True):
        super().__init__()
        if factor < 2 or factor % 2:
            raise ValueError(f"factor = {factor!r}; expected an even number")
        kernel_size = 2 * factor if cell_centred else 2 * factor - 1
        # Padding of a transposed convolution is what is cut off the output: here up to where the map's first value is.
        padding = factor + factor // 2 if cell_centred else factor - 1
        self.border = (int(cell_centred), 1) * 2
        groups = 1 if learned else channels
        self.conv = nn.ConvTranspose2d(channels, channels, kernel_size, factor, padding, groups=groups, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            for channel in range(channels):
                self.conv.weight[channel, channel if learned else 0] = bilinear_kernel(kernel_size)
        self.conv.weight.requires_grad_(learned)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        x = self.conv(F.pad(x, self.border, mode="replicate"))  # (B, C, >= H, >= W)
        return x[..., : size[0], : size[1]]


class FCN(nn.Module):
    """Scores at stride 32, refined with those of shallower maps, upsampled by transposed convolutions.

    FCN-32s scores the last map. FCN-16s upsamples these scores by two and adds scores of the map at stride 16 (VGG16's
    pool4, a ResNet's block 3); FCN-8s does the same once more with stride 8 (pool3, block 2). Scores are 1x1
    convolutions that start at zero. The upsamplings by two are learned from bilinear interpolation on, the last one
    stays bilinear (section 4.3 of the paper).

    `model(images)` takes (B, 3, H, W) float32 of any size and returns (B, K, H, W) logits;
    `model(images, upsample=False)` returns them at `stride`.

    The paper says: the nets are trained one after the other, each from the last one's weights. Here they can be: the
    state dict of a coarser net has the same names; by itself a net is trained at once.

    Args:
        num_classes: number of classes K, background included.
        backbone: "vgg16" or "resnet18" to "resnet152" (without dilation), or a `Backbone` with output stride 32 and
            taps at strides 16 and 8.
        stride: 32, 16 or 8, of the finest scores.
    """

    output_stride = BACKBONE_STRIDE

    def __init__(self, num_classes: int, backbone: str | Backbone = "vgg16", stride: int = 8):
        super().__init__()
        check_choice("stride", stride, STRIDES)
        if isinstance(backbone, str):
            multi_grid = (1,) * UNITS[RESNETS[backbone]][1][3] if backbone in RESNETS else None
            backbone = build_backbone(backbone, BACKBONE_STRIDE, multi_grid=multi_grid)
        if backbone.output_stride != BACKBONE_STRIDE:
            raise ValueError(f"the backbone's output_stride is {backbone.output_stride}; expected {BACKBONE_STRIDE}")
        if backbone.stem_stride != 4:
            raise ValueError(f"the backbone's stem_stride is {backbone.stem_stride}; an FCN's maps need one of 4")
        self.backbone = backbone
        self.taps = STRIDES[1 : STRIDES.index(stride) + 1]  # of the shallower maps that are scored too
        if missing := [tap for tap in self.taps if tap not in backbone.tap_channels]:
            found = f"backbone {type(backbone).__name__} offers no map at strides {missing}"
            raise ValueError(f"{found}; expected a VGG16 or a ResNet")
        self.num_classes, self.stride = num_classes, stride
        channels, centred = [backbone.high_channels, *map(backbone.tap_channels.get, self.taps)], backbone.cell_centred
        self.scores = nn.ModuleList(nn.Conv2d(c, num_classes, 1) for c in channels)
        self.upsamplings = nn.ModuleList(BilinearUpsampling(num_classes, 2, cell_centred=centred) for _ in self.taps)
        self.last_upsampling = BilinearUpsampling(num_classes, stride, learned=False, cell_centred=centred)
        for parameter in self.scores.parameters():
            nn.init.zeros_(parameter)

    def set_output_stride(self, output_stride: int) -> None:
        """An FCN has no atrous convolutions: 32 is accepted, anything else raises ValueError."""
        check_choice("output_stride", output_stride, (BACKBONE_STRIDE,))

    @property
    def backbone_grid(self) -> Grid:
        """The grid of the backbone's last map."""
        return self.backbone.grid()

    @property
    def logits_grid(self) -> Grid:
        """The grid of the finest scores."""
        return self.backbone.grid(self.stride)

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        features = self.backbone(images, taps=self.taps)
        logits = self.scores[0](features.high)  # (B, K, H/32, W/32)
        for score, upsampling, finer in zip(self.scores[1:], self.upsamplings, features.taps, strict=True):
            logits = upsampling(logits, finer.shape[2:]) + score(finer)  # (B, K, H/16, W/16), then H/8
        return self.last_upsampling(logits, images.shape[2:]) if upsample else logits
