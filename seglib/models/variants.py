"""The ways in which DeepLab's heads differ between implementations."""

from dataclasses import dataclass

from seglib.models.layers import check_choice


@dataclass(frozen=True)
class HeadVariant:
    """The ways in which heads differ between implementations. The defaults are the papers'."""

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
