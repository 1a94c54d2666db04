"""ASPP, DeepLabv3 (arXiv 1706.05587) and DeepLabv3+ (arXiv 1802.02611)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from seglib.geometry import Grid  # where the values of a map lie
from seglib.models.backbones import build_backbone  # makes a Backbone by its name
from seglib.models.layers import (
    Backbone,
    Features,
    check_choice,
    conv3x3_bn_relu,
    conv_bn_relu,
    init_convolutions,
    set_atrous,
)

PAPER_RATES = (6, 12, 18)
PAPER_OUTPUT_STRIDE = 16


@dataclass(frozen=True)
class HeadVariant:
    """The ways in which heads differ between implementations.

    The defaults are the papers', but for `aspp_order` and `resize`; the dropout is that of their code.
    """

    aspp_dropout: float = 0.1  # probability after ASPP's projection; torchvision has 0.5
    separable: str = "none"  # or "paper": depthwise, BN, ReLU, pointwise, BN, ReLU; "plain": without the first BN, ReLU
    post_aspp: str = "none"  # a 3x3 convolution, BN, ReLU after ASPP: "full" (torchvision) or "separable" (plain)
    decoder_depth: int = 2  # number of convolutions in the decoder (v3+ Table 2)
    decoder_kernel: int = 3  # side of their kernels, 3 or 1
    decoder_width: int | None = None  # their output channels; None is the head's
    decoder_conv3: bool = False  # ASPP's output meets block 2's map at stride 8 first (Table 2, Conv2 and Conv3)
    decoder_dropout: tuple[float, ...] = ()  # probability after each of them; () is none
    aspp_order: str = "pool_last"  # or "pool_first", as in the papers' code: image pooling in the concatenation
    decoder_order: str = "aspp_first"  # as in the papers' code, or "low_first", in the concatenation
    # Of every map: sampled where its values lie; or "centred", `align_corners=False` whatever the backbone, as many
    # public implementations have it; or "stretched", `align_corners=True`, as the papers' code, on sizes 16 k + 1.
    resize: str = "aligned"

    def __post_init__(self) -> None:
        check_choice("separable", self.separable, ("none", "paper", "plain"))
        check_choice("post_aspp", self.post_aspp, ("none", "full", "separable"))
        check_choice("aspp_order", self.aspp_order, ("pool_last", "pool_first"))
        check_choice("decoder_order", self.decoder_order, ("aspp_first", "low_first"))
        check_choice("decoder_kernel", self.decoder_kernel, (1, 3))
        check_choice("resize", self.resize, ("aligned", "centred", "stretched"))
        if self.decoder_depth < 1:
            raise ValueError(f"decoder_depth = {self.decoder_depth}; expected at least 1")
        if len(self.decoder_dropout) not in (0, self.decoder_depth):
            raise ValueError(f"decoder_dropout = {self.decoder_dropout!r}; expected () or {self.decoder_depth} values")


PAPER_HEAD = HeadVariant()


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: parallel 1x1, atrous 3x3 and image-level branches, concatenated and projected.

    (B, in_channels, H, W) -> (B, channels, H, W) (v3, section 3.3).

    Args:
        atrous_rates: rate of each 3x3 branch, any number of them; the papers' (6, 12, 18) belong to output stride 16.
        channels: of every branch and of the output.
        image_pooling: with the image-level branch (global mean, 1x1, BN, ReLU, spread over the map).
        variant: dropout, separable convolutions, concatenation order.

    Raises:
        ValueError: if a rate is below 1; in `forward`, if the image-level branch leaves its norm a single value.
    """

    def __init__(
        self,
        in_channels: int,
        atrous_rates: Sequence[int] = PAPER_RATES,
        channels: int = 256,
        image_pooling: bool = True,
        variant: HeadVariant = PAPER_HEAD,
    ):
        super().__init__()
        self.point = conv_bn_relu(in_channels, channels)
        self.atrous = nn.ModuleList(conv3x3_bn_relu(in_channels, channels, variant.separable) for _ in atrous_rates)
        self.pool = conv_bn_relu(in_channels, channels) if image_pooling else None
        self.pool_first = variant.aspp_order == "pool_first"
        self.project = conv_bn_relu((1 + len(self.atrous) + image_pooling) * channels, channels)
        self.dropout = nn.Dropout(variant.aspp_dropout)
        self.set_rates(atrous_rates)

    def set_rates(self, atrous_rates: Sequence[int]) -> None:
        """Gives the 3x3 branches other rates in place; weights stay. Raises ValueError for a wrong number or rate."""
        if len(atrous_rates) != len(self.atrous) or any(rate < 1 for rate in atrous_rates):
            raise ValueError(f"atrous_rates = {tuple(atrous_rates)}; expected {len(self.atrous)} rates of at least 1")
        for branch, rate in zip(self.atrous, atrous_rates, strict=True):
            conv = next(m for m in branch.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
            set_atrous(conv, rate=rate)
        self.atrous_rates = tuple(atrous_rates)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.point(x), *(branch(x) for branch in self.atrous)]
        if self.pool is not None:
            self._check_norm(x.shape[0])
            pooled = self.pool(x.mean(dim=(2, 3), keepdim=True))  # (B, channels, 1, 1)
            # A bilinear resize of one pixel gives the same. `expand` would lose channels_last in the concatenation.
            spread = torch.zeros_like(branches[0]) + pooled
            branches.insert(0 if self.pool_first else len(branches), spread)
        return self.dropout(self.project(torch.cat(branches, dim=1)))  # (B, channels, H, W)

    def _check_norm(self, batch_size: int) -> None:
        norm, single = self.pool[1], "ASPP's image pooling leaves one value per channel"
        if isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels:
            cure = "Use fewer groups than channels (a recipe's norm_groups), or image_pooling=False"
            found = f"group norm with {norm.num_groups} groups of one channel"
            raise ValueError(f"{found}: {single}, and a group of one value becomes zero. {cure}")
        # A synchronised norm is no BatchNorm2d: it sees the other processes' images, so one image each is enough.
        ghost = getattr(norm, "group_size", None) == 1  # a `GhostBatchNorm2d`, of a recipe's bn_batch
        if isinstance(norm, nn.BatchNorm2d) and norm.training and (ghost or batch_size == 1):
            found = "groups of one image (a recipe's bn_batch)" if ghost else "a batch of one image"
            cure = "(drop_last=True in the loader), model.eval(), freeze_bn=True in a recipe, or image_pooling=False"
            why = "of which batch norm has no variance. Use batches of two or more"
            raise ValueError(f"training on {found}: {single}, {why} {cure}")


class DeepLabV3(nn.Module):
    """Backbone, ASPP, 1x1 classifier, bilinear upsampling; or the cascade, which has blocks 5 to 7 in place of ASPP.

    `model(images)` takes (B, 3, H, W) float32 of any size and returns (B, K, H, W) logits;
    `model(images, upsample=False)` returns them at the head's own stride (the output stride here, 4 with the decoder).

    Args:
        num_classes: number of classes K, background included.
        backbone: a `Backbone`, or a name of `build_backbone`, such as "resnet101": the papers' but for its stem.
        output_stride: 8, 16 or 32; None is 16 for a backbone given by name, and a module's own.
        atrous_rates: of ASPP at this output stride, any number of them; None is (6, 12, 18) at 16, doubled at 8 and
            halved at 32.
        image_pooling: with ASPP's image-level branch.
        channels: of ASPP's branches and output, and of the decoder.
        variant: what a public head does otherwise than the papers.
        cascade_blocks: 1 to 3: a ResNet given by name gets that many copies of block 4 (section 3.2), and no ASPP: the
            classifier comes after the last block. A ResNet given as a module brings its own.
        aspp: False leaves ASPP out without a cascade: the "block4" column of v3 Tables 2 and 3.

    Raises:
        ValueError: if the backbone is unknown, was built with another output stride, or a rate would not be whole.
    """

    taps: tuple[int, ...] = ()  # strides of the maps that the head takes besides the last one

    def __init__(
        self,
        num_classes: int,
        backbone: str | Backbone = "resnet101",
        output_stride: int | None = None,
        atrous_rates: Sequence[int] | None = None,
        image_pooling: bool = True,
        channels: int = 256,
        variant: HeadVariant = PAPER_HEAD,
        cascade_blocks: int = 0,
        aspp: bool = True,
    ):
        super().__init__()
        if isinstance(backbone, str):
            stride = PAPER_OUTPUT_STRIDE if output_stride is None else output_stride
            backbone = build_backbone(backbone, stride, cascade_blocks=cascade_blocks)
        elif output_stride not in (None, backbone.output_stride) or cascade_blocks:
            given, own = f"output_stride = {output_stride}, cascade_blocks = {cascade_blocks}", backbone.output_stride
            raise ValueError(f"{given}; the backbone was built with {own} and its own blocks: leave both out")
        self.backbone, self.num_classes, self.variant = backbone, num_classes, variant
        self.aspp: ASPP | None = None
        if aspp and not getattr(backbone, "cascade_blocks", 0):
            self._rates_at = (PAPER_RATES, PAPER_OUTPUT_STRIDE)  # rates, and the output stride that they are for
            if atrous_rates is not None:
                self._rates_at = (tuple(atrous_rates), self.output_stride)
            rates = _scale_rates(*self._rates_at, self.output_stride)
            self.aspp = ASPP(backbone.high_channels, rates, channels, image_pooling, variant)
            self.post_aspp = nn.Identity()
            if variant.post_aspp != "none":
                separable = "plain" if variant.post_aspp == "separable" else "none"
                self.post_aspp = conv3x3_bn_relu(channels, channels, separable)
        inputs = backbone.high_channels if self.aspp is None else self._classifier_inputs(channels)
        self.classifier = nn.Conv2d(inputs, num_classes, 1)
        if self.aspp is not None:
            init_convolutions(self.aspp, self.post_aspp)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def _classifier_inputs(self, channels: int) -> int:
        return channels

    @property
    def output_stride(self) -> int:
        """That of the backbone: 8, 16 or 32; with a cascade up to 256."""
        return self.backbone.output_stride

    def set_output_stride(self, output_stride: int) -> None:
        """Gives backbone and ASPP other dilations in place, weights stay: train at 16, evaluate at 8 (v3 Table 6).

        Raises:
            ValueError: if the output stride is not offered, or a rate would not be whole; nothing is changed then.
        """
        rates = () if self.aspp is None else _scale_rates(*self._rates_at, output_stride)
        self.backbone.set_output_stride(output_stride)
        if self.aspp is not None:
            self.aspp.set_rates(rates)

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        logits = self.head(self.backbone(images, taps=self.taps))
        return self.logits_grid.resize(logits, images.shape[2:]) if upsample else logits

    @property
    def backbone_grid(self) -> Grid:
        """The grid of the backbone's last map, with the rule by which the head takes it."""
        grid = self.backbone.grid()
        return grid if self.variant.resize == "aligned" else replace(grid, rule=self.variant.resize)

    @property
    def logits_grid(self) -> Grid:
        """The grid of the logits at the head's own stride."""
        return self.backbone_grid

    def head(self, features: Features) -> Tensor:
        """Computes logits at the head's own stride from a backbone's maps. -> (B, K, H/OS, W/OS)."""
        if self.aspp is None:
            return self.classifier(features.high)
        return self.classifier(self.post_aspp(self.aspp(features.high)))


class DeepLabV3Plus(DeepLabV3):
    """DeepLabv3 with the decoder of v3+, section 3.1: low-level features at stride 4 refine the upsampled ASPP output.

    Args:
        variant: as DeepLabV3's; it also says what the decoder is made of (v3+ Table 2).
        decoder_channels: of the 1x1 convolution on the low-level features (v3+ Table 1: 48).
        The others are DeepLabV3's. There is no cascade with a decoder: ValueError.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str | Backbone = "resnet101",
        output_stride: int | None = None,
        atrous_rates: Sequence[int] | None = None,
        image_pooling: bool = True,
        channels: int = 256,
        variant: HeadVariant = PAPER_HEAD,
        decoder_channels: int = 48,
    ):
        super().__init__(num_classes, backbone, output_stride, atrous_rates, image_pooling, channels, variant)
        if self.aspp is None:
            raise ValueError("the backbone has cascaded blocks; expected none: the decoder refines ASPP's output")
        self.taps = (4, 8) if variant.decoder_conv3 else (4,)
        offered = self.backbone.tap_channels
        if missing := [tap for tap in self.taps if tap not in offered]:
            raise ValueError(f"the decoder takes maps at strides {missing}; {type(self.backbone).__name__} lacks them")
        width, meets = self._classifier_inputs(channels), channels  # meets: channels of the map that joins the one at 4
        if variant.decoder_conv3:
            self.conv3_projection = conv_bn_relu(offered[8], decoder_channels)
            self.conv3_decoder = self._convolutions(channels + decoder_channels, width)
            init_convolutions(self.conv3_projection, self.conv3_decoder)
            meets = width
        self.low_projection = conv_bn_relu(offered[4], decoder_channels)
        self.decoder = self._convolutions(meets + decoder_channels, width)
        init_convolutions(self.low_projection, self.decoder)

    def _classifier_inputs(self, channels: int) -> int:
        return self.variant.decoder_width or channels

    def _convolutions(self, in_channels: int, channels: int) -> nn.Sequential:
        variant = self.variant
        make = conv_bn_relu if variant.decoder_kernel == 1 else partial(conv3x3_bn_relu, separable=variant.separable)
        stack = [make(inputs, channels) for inputs in [in_channels] + [channels] * (variant.decoder_depth - 1)]
        for convolution, probability in zip(stack, variant.decoder_dropout, strict=False):
            convolution.append(nn.Dropout(probability))
        return nn.Sequential(*stack)

    def head(self, features: Features) -> Tensor:
        """Computes logits at stride 4 from the backbone's maps. -> (B, K, H/4, W/4)."""
        x, stride = self.post_aspp(self.aspp(features.high)), self.output_stride  # (B, channels, H/OS, W/OS)
        if self.variant.decoder_conv3:
            joined = self._join(x, self.conv3_projection(features.taps[1]), stride // 8)
            x, stride = self.conv3_decoder(joined), 8  # (B, width, H/8, W/8)
        return self.classifier(self.decoder(self._join(x, self.low_projection(features.taps[0]), stride // 4)))

    @property
    def logits_grid(self) -> Grid:
        return replace(self.backbone_grid, stride=self.backbone.grid(4).stride)

    def _join(self, high: Tensor, low: Tensor, factor: int) -> Tensor:
        # `low` takes the image's place: the values of `high` lie `factor` of its pixels apart
        high = replace(self.backbone_grid, stride=factor).resize(high, low.shape[2:])
        return torch.cat((low, high) if self.variant.decoder_order == "low_first" else (high, low), dim=1)


def _scale_rates(rates: tuple[int, ...], given_at: int, output_stride: int) -> tuple[int, ...]:
    if any(rate * given_at % output_stride for rate in rates):
        raise ValueError(
            f"atrous_rates = {rates} at output stride {given_at} are no whole numbers at output stride {output_stride}"
        )
    return tuple(rate * given_at // output_stride for rate in rates)
