"""Atrous spatial pyramid pooling (DeepLabv3, section 3.3), and the ways in which the public heads differ from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seglib.models.blocks import check_choice, conv3x3_bn_relu, conv_bn_relu, set_atrous
from seglib.models.norms import GhostBatchNorm2d

CHOICES = {
    "separable": ("none", "paper", "plain"),
    "post_aspp": ("none", "full", "separable"),
    "aspp_order": ("pool_last", "pool_first"),
    "decoder_order": ("aspp_first", "low_first"),
    "decoder_kernel": (1, 3),
}


@dataclass(frozen=True)
class HeadVariant:
    """How a head differs between implementations. The defaults are the papers'.

    Attributes:
        aspp_dropout: probability behind ASPP's projection; the papers' code has 0.1, torchvision 0.5.
        separable: 3x3 convolutions of ASPP and decoder: "none" full; "paper" depthwise, BN, ReLU, pointwise, BN, ReLU;
            "plain" depthwise, pointwise, BN, ReLU (segmentation_models.pytorch).
        post_aspp: 3x3 convolution, BN, ReLU behind ASPP: "none", "full" (torchvision) or "separable" (plain).
        decoder_depth: number of convolutions in the decoder (v3+ Table 2).
        decoder_kernel: side of their kernels, 3 or 1. decoder_width: their output channels; None is the head's.
        decoder_conv3: two such stacks, as in Table 2's row of Conv2 and Conv3, which has one convolution each: ASPP's
            output meets block 2's map at stride 8 first (Conv3), and what comes of it block 1's at stride 4 (Conv2).
        decoder_dropout: probability behind each of them, () for none, which is the papers'.
        aspp_order: image pooling "pool_last", or "pool_first" as in the papers' code, in the concatenation.
        decoder_order: "aspp_first" as in the papers' code, or "low_first", in the concatenation.
        align_corners: of every bilinear resize. The papers' code has True (on sizes 16 k + 1); False here and in
            torchvision, so that any size works alike.

    Raises:
        ValueError: a value that is none of these.
    """

    aspp_dropout: float = 0.1
    separable: str = "none"
    post_aspp: str = "none"
    decoder_depth: int = 2
    decoder_kernel: int = 3
    decoder_width: int | None = None
    decoder_conv3: bool = False
    decoder_dropout: tuple[float, ...] = ()
    aspp_order: str = "pool_last"
    decoder_order: str = "aspp_first"
    align_corners: bool = False

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if not 0 <= self.aspp_dropout < 1:
            raise ValueError(f"aspp_dropout = {self.aspp_dropout!r}; expected 0 <= p < 1")
        if self.decoder_depth < 1:
            raise ValueError(f"decoder_depth = {self.decoder_depth!r}; expected at least 1")
        if self.decoder_width is not None and self.decoder_width < 1:
            raise ValueError(f"decoder_width = {self.decoder_width!r}; expected at least 1 channel")
        if len(self.decoder_dropout) not in (0, self.decoder_depth) or not all(
            0 <= p < 1 for p in self.decoder_dropout
        ):
            raise ValueError(
                f"decoder_dropout = {self.decoder_dropout!r}; expected () or {self.decoder_depth} probabilities below 1"
            )


PAPER_HEAD = HeadVariant()


class ASPP(nn.Module):
    """Parallel 1x1, atrous 3x3 and image-level branches, concatenated and projected.

    Args:
        in_channels: channels of the input.
        atrous_rates: rate of each 3x3 branch, any number of them; the papers' (6, 12, 18) belong to output stride 16.
        channels: of every branch and of the output.
        image_pooling: with the image-level branch (global mean, 1x1, BN, ReLU, spread over the map).
        variant: dropout, separable convolutions, concatenation order.

    (B, in_channels, H, W) -> (B, channels, H, W).

    Raises:
        ValueError: a rate below 1; with image pooling, a norm that has one value to normalise: in training a batch of
            one image, or ghost batch norm's groups of one; always group norm with a channel per group.
    """

    def __init__(
        self,
        in_channels: int,
        atrous_rates: Sequence[int] = (6, 12, 18),
        channels: int = 256,
        image_pooling: bool = True,
        variant: HeadVariant = PAPER_HEAD,
    ):
        super().__init__()
        self.pool_first = variant.aspp_order == "pool_first"
        self.point = conv_bn_relu(in_channels, channels)
        self.atrous = nn.ModuleList(
            conv3x3_bn_relu(in_channels, channels, separable=variant.separable) for _ in atrous_rates
        )
        self.pool = conv_bn_relu(in_channels, channels) if image_pooling else None
        branches = 1 + len(self.atrous) + image_pooling
        self.project = conv_bn_relu(branches * channels, channels)
        self.dropout = nn.Dropout(variant.aspp_dropout)
        self.set_rates(atrous_rates)

    def set_rates(self, atrous_rates: Sequence[int]) -> None:
        """Gives the 3x3 branches other rates in place; weights stay. Raises ValueError."""
        if len(atrous_rates) != len(self.atrous) or any(rate < 1 for rate in atrous_rates):
            raise ValueError(f"atrous_rates = {tuple(atrous_rates)}; expected {len(self.atrous)} rates of at least 1")
        for branch, rate in zip(self.atrous, atrous_rates, strict=True):
            conv = next(m for m in branch.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
            set_atrous(conv, rate=rate)
        self.atrous_rates = tuple(atrous_rates)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.point(x), *(branch(x) for branch in self.atrous)]
        if self.pool is not None:
            branches.insert(0 if self.pool_first else len(branches), self._image_level(x, branches[0]))
        return self.dropout(self.project(torch.cat(branches, dim=1)))  # (B, channels, H, W)

    def _image_level(self, x: Tensor, like: Tensor) -> Tensor:
        norm = self.pool[1]
        if isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels:
            raise ValueError(
                f"group norm with {norm.num_groups} groups of one channel: ASPP's image pooling leaves one value per "
                "channel, and a group of one value becomes zero. Use fewer groups than channels (a recipe's "
                "norm_groups), or image_pooling=False"
            )
        if isinstance(norm, GhostBatchNorm2d) and norm.group_size == 1 and norm.training:
            raise ValueError(
                "batch norm over groups of one image: ASPP's image pooling leaves one value per channel, of which "
                "batch norm has no variance. Use groups of two or more (a recipe's bn_batch), or image_pooling=False"
            )
        # A synchronised norm also sees the other processes' images, so one image each is enough there.
        if x.shape[0] == 1 and isinstance(norm, nn.BatchNorm2d) and norm.training:
            raise ValueError(
                "training on a batch of one image: ASPP's image pooling leaves one value per channel, of which batch "
                "norm has no variance. Use batches of two or more (drop_last=True in the loader), image_pooling=False, "
                "or model.eval()"
            )
        pooled = self.pool(x.mean(dim=(2, 3), keepdim=True))  # (B, channels, 1, 1)
        # What a bilinear resize of one pixel gives. `expand` would lose channels_last in the concatenation.
        return torch.empty_like(like).copy_(pooled)
