"""DeepLabv3 (arXiv 1706.05587) and DeepLabv3+ (arXiv 1802.02611)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.models.aspp import ASPP, PAPER_HEAD, HeadVariant
from seglib.models.blocks import OUTPUT_STRIDES, Conv3Features, Features, check_choice, conv3x3_bn_relu, conv_bn_relu
from seglib.models.mobilenet import MobileNetV2
from seglib.models.resnet import UNITS, ResNet
from seglib.models.xception import MIDDLE_UNITS, Xception

PAPER_RATES = (6, 12, 18)
PAPER_OUTPUT_STRIDE = 16


class DeepLabV3(nn.Module):
    """Backbone, ASPP, 1x1 classifier, bilinear upsampling; or the cascade, which has blocks 5 to 7 in place of ASPP.

    Args:
        num_classes: number of classes K, background included.
        backbone: "resnet18" to "resnet152" (the papers' network: multi-grid, stride in the last unit), "mobilenet_v2",
            "xception41", "xception65", "xception71", or a module that returns Features and has low_channels,
            high_channels, output_stride, set_output_stride.
        output_stride: 8, 16 or 32; None is 16 for a backbone given by name, and a module's own.
        atrous_rates: of ASPP at this output stride, any number of them; None is (6, 12, 18) at 16, doubled at 8 and
            halved at 32.
        image_pooling: with ASPP's image-level branch.
        channels: of ASPP's branches and output, and of the decoder.
        variant: what a public head does otherwise than the papers.
        cascade_blocks: 1 to 3: a ResNet given by name gets that many copies of block 4 behind it (section 3.2). The
            paper's cascade has no ASPP: the classifier stands behind the last block, and atrous_rates, image_pooling
            and channels mean nothing. A ResNet given as a module says itself whether it has such blocks.
        aspp: False leaves ASPP out without a cascade: the "block4" column of v3 Tables 2 and 3.

    `model(images)` takes (B, 3, H, W) float32 of any size and returns (B, K, H, W) logits;
    `model(images, upsample=False)` returns them at the head's own stride (the output stride here, 4 with the decoder).

    Raises:
        ValueError: unknown backbone; a module whose output stride is not the one asked for; rates that do not divide.
        TypeError: a backbone that lacks one of the attributes above.
    """

    takes_low = False

    def __init__(
        self,
        num_classes: int,
        backbone: str | nn.Module = "resnet101",
        output_stride: int | None = None,
        atrous_rates: Sequence[int] | None = None,
        image_pooling: bool = True,
        channels: int = 256,
        variant: HeadVariant = PAPER_HEAD,
        cascade_blocks: int = 0,
        aspp: bool = True,
    ):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes = {num_classes!r}; expected at least 1")
        self.backbone = _build_backbone(backbone, output_stride, cascade_blocks)
        self.num_classes = num_classes
        self.variant = variant
        self.aspp: ASPP | None = None
        if aspp and not getattr(self.backbone, "cascade_blocks", 0):
            self._add_aspp(atrous_rates, image_pooling, channels)
        inputs = self.backbone.high_channels if self.aspp is None else self._head_channels(channels)
        self.classifier = nn.Conv2d(inputs, num_classes, 1)
        if self.aspp is not None:
            self._init_head(self.aspp, self.post_aspp)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def _add_aspp(self, atrous_rates: Sequence[int] | None, image_pooling: bool, channels: int) -> None:
        given_at = PAPER_OUTPUT_STRIDE if atrous_rates is None else self.output_stride
        self._rates_at = (tuple(PAPER_RATES if atrous_rates is None else atrous_rates), given_at)
        rates = _scaled_rates(*self._rates_at, self.output_stride)
        self.aspp = ASPP(self.backbone.high_channels, rates, channels, image_pooling, self.variant)
        self.post_aspp = nn.Identity()
        if self.variant.post_aspp != "none":
            separable = "plain" if self.variant.post_aspp == "separable" else "none"
            self.post_aspp = conv3x3_bn_relu(channels, channels, separable=separable)

    def _head_channels(self, channels: int) -> int:
        return channels

    @property
    def output_stride(self) -> int:
        """Input size over the size of the backbone's last map: 8, 16 or 32; with a cascade up to 256."""
        return self.backbone.output_stride

    def set_output_stride(self, output_stride: int) -> None:
        """Same weights, new dilations in the backbone and in ASPP: train at 16, evaluate at 8 (v3 Table 6).

        Raises:
            ValueError: output stride not offered, or rates that do not divide; nothing is changed then.
        """
        if self.aspp is None:
            self.backbone.set_output_stride(output_stride)
            return
        check_choice("output_stride", output_stride, OUTPUT_STRIDES)
        rates = _scaled_rates(*self._rates_at, output_stride)
        self.backbone.set_output_stride(output_stride)
        self.aspp.set_rates(rates)

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        logits = self.head(self._features(images))
        return self._resize(logits, images) if upsample else logits

    def _features(self, images: Tensor) -> Features:
        # a map that no decoder takes would stay in memory to the end
        return self.backbone(images, low=self.takes_low) if isinstance(self.backbone, ResNet) else self.backbone(images)

    def head(self, features: Features) -> Tensor:
        """Logits at the head's own stride from a backbone's maps. -> (B, K, H/OS, W/OS)."""
        if self.aspp is None:
            return self.classifier(features.high)
        return self.classifier(self.post_aspp(self.aspp(features.high)))

    def _resize(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=self.variant.align_corners)

    def _init_head(self, *modules: nn.Module) -> None:
        for module in modules:
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")


class DeepLabV3Plus(DeepLabV3):
    """DeepLabv3 with the decoder of v3+, section 3.1: low-level features at stride 4 refine the upsampled ASPP output.

    Args:
        variant: as DeepLabV3's; it also says what the decoder is made of (v3+ Table 2).
        decoder_channels: of the 1x1 convolution on the low-level features (v3+ Table 1: 48).
        The others are DeepLabV3's. There is no cascade with a decoder.

    Raises:
        ValueError: as DeepLabV3; cascaded blocks; decoder_conv3 with a backbone that is no ResNet.
    """

    takes_low = True

    def __init__(
        self,
        num_classes: int,
        backbone: str | nn.Module = "resnet101",
        output_stride: int | None = None,
        atrous_rates: Sequence[int] | None = None,
        image_pooling: bool = True,
        channels: int = 256,
        variant: HeadVariant = PAPER_HEAD,
        decoder_channels: int = 48,
    ):
        super().__init__(num_classes, backbone, output_stride, atrous_rates, image_pooling, channels, variant)
        if self.aspp is None:
            raise ValueError(
                "the backbone has cascaded blocks; expected one without: the decoder refines ASPP's output"
            )
        width, meets = self._head_channels(channels), channels
        if variant.decoder_conv3:
            self._add_conv3(channels, decoder_channels)
            meets = width
        self.low_projection = conv_bn_relu(self.backbone.low_channels, decoder_channels)
        self.decoder = self._convolutions(meets + decoder_channels, width)
        self._init_head(self.low_projection, self.decoder)

    def _head_channels(self, channels: int) -> int:
        return self.variant.decoder_width or channels

    def _convolutions(self, in_channels: int, channels: int) -> nn.Sequential:
        variant = self.variant
        inputs = [in_channels] + [channels] * (variant.decoder_depth - 1)
        pointwise = variant.decoder_kernel == 1
        stack = nn.Sequential(
            *(
                conv_bn_relu(n, channels) if pointwise else conv3x3_bn_relu(n, channels, separable=variant.separable)
                for n in inputs
            )
        )
        for convolution, probability in zip(stack, variant.decoder_dropout, strict=False):
            convolution.append(nn.Dropout(probability))
        return stack

    def _add_conv3(self, channels: int, decoder_channels: int) -> None:
        if not isinstance(self.backbone, ResNet):
            raise ValueError(
                f"decoder_conv3=True, backbone {type(self.backbone).__name__}; expected a ResNet: it offers its map at "
                "stride 8"
            )
        self.conv3_projection = conv_bn_relu(self.backbone.pyramid_channels[1], decoder_channels)
        self.conv3_decoder = self._convolutions(channels + decoder_channels, self._head_channels(channels))
        self._init_head(self.conv3_projection, self.conv3_decoder)

    def _features(self, images: Tensor) -> Features:
        if not self.variant.decoder_conv3:
            return super()._features(images)
        low, conv3, _, high = self.backbone.pyramid(images)
        return Conv3Features(low, high, conv3)

    def head(self, features: Features | Conv3Features) -> Tensor:
        """Logits at stride 4 from a backbone's maps; with decoder_conv3 from three of them. -> (B, K, H/4, W/4)."""
        x = self.post_aspp(self.aspp(features.high))  # (B, channels, H/OS, W/OS)
        if self.variant.decoder_conv3:
            x = self.conv3_decoder(self._joined(x, self.conv3_projection(features.conv3)))  # (B, width, H/8, W/8)
        return self.classifier(self.decoder(self._joined(x, self.low_projection(features.low))))

    def _joined(self, high: Tensor, low: Tensor) -> Tensor:
        high = self._resize(high, low)
        return torch.cat((low, high) if self.variant.decoder_order == "low_first" else (high, low), dim=1)


def _build_backbone(backbone: str | nn.Module, output_stride: int | None, cascade_blocks: int) -> nn.Module:
    if isinstance(backbone, nn.Module):
        needed = ("low_channels", "high_channels", "output_stride", "set_output_stride")
        if missing := [name for name in needed if not hasattr(backbone, name)]:
            raise TypeError(
                f"backbone {type(backbone).__name__} lacks {missing}; expected ResNet, MobileNetV2 or their like"
            )
        if output_stride not in (None, backbone.output_stride):
            raise ValueError(
                f"output_stride = {output_stride}, but the backbone was built with {backbone.output_stride}; "
                "build it with the same, or leave output_stride out"
            )
        if cascade_blocks not in (0, getattr(backbone, "cascade_blocks", 0)):
            raise ValueError(f"cascade_blocks = {cascade_blocks}, but the backbone was built with another number")
        return backbone
    output_stride = PAPER_OUTPUT_STRIDE if output_stride is None else output_stride
    resnets = {f"resnet{depth}": depth for depth in UNITS}
    if backbone in resnets:
        return ResNet(resnets[backbone], output_stride, cascade_blocks=cascade_blocks)
    xceptions = {f"xception{depth}": depth for depth in MIDDLE_UNITS}
    if backbone not in ("mobilenet_v2", *xceptions):
        raise ValueError(
            f"backbone = {backbone!r}; expected one of {[*resnets, 'mobilenet_v2', *xceptions]} or a module"
        )
    if cascade_blocks:
        raise ValueError(f"cascade_blocks = {cascade_blocks}; only a ResNet has a block 4 to copy, not {backbone!r}")
    return MobileNetV2(output_stride) if backbone == "mobilenet_v2" else Xception(xceptions[backbone], output_stride)


def _scaled_rates(rates: tuple[int, ...], given_at: int, output_stride: int) -> tuple[int, ...]:
    if any(rate * given_at % output_stride for rate in rates):
        raise ValueError(
            f"atrous_rates = {rates} at output stride {given_at} are no whole numbers at output stride {output_stride}"
        )
    return tuple(rate * given_at // output_stride for rate in rates)
