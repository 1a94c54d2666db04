"""How other libraries name the parts of a DeepLab, and what their state dicts do not say about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from seglib.models.aspp import HeadVariant
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus
from seglib.models.mobilenet import MobileNetVariant

Names = tuple[tuple[str, str], ...]

BN_EPS = 1e-5
OWN_MARKER = "aspp.point.0.weight"
DOUBLED_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
FIXED_RATES = {8: (12, 24, 36), 16: (12, 24, 36)}


@dataclass(frozen=True)
class Layout:
    """One network of one source.

    Attributes:
        model: our class.
        markers: keys that this network has and no other of the source.
        output_stride: the source's default.
        atrous_rates: the source's, by output stride.
        names: (their prefix, our prefix); the longest that fits is used.
        variant: of the head.
        multi_grid: factors of a block 4 of three units, or None for all 1.
        dilate_first_unit: whether the first unit of a dilated block already carries the block's rate.
        mobilenet: of a MobileNetV2 backbone; None where the source's is another network than ours.
        dropped: prefixes of what plays no part in the logits.
        folded: our convolutions that have a bias in the place of a batch norm.
    """

    model: type[DeepLabV3]
    markers: tuple[str, ...]
    output_stride: int
    atrous_rates: Mapping[int, tuple[int, ...]]
    names: Names
    variant: HeadVariant = field(default_factory=HeadVariant)
    multi_grid: tuple[int, ...] | None = None
    dilate_first_unit: bool = False
    mobilenet: MobileNetVariant | None = None
    dropped: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()

    def fits(self, state_dict: Mapping[str, Tensor]) -> bool:
        return all(marker in state_dict for marker in self.markers)

    def rename(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors under our names; a key that has none keeps its own."""
        kept = {key: value for key, value in state_dict.items() if not (self.dropped and key.startswith(self.dropped))}
        renamed = {self.our_name(key): value for key, value in kept.items()}
        for convolution in self.folded:
            if (bias := renamed.pop(f"{convolution}.0.bias", None)) is not None:
                renamed |= _norm_that_adds(bias, f"{convolution}.1.")
        return renamed

    def our_name(self, key: str) -> str:
        """What we call a parameter of the source's."""
        return _swap(key, self.names)

    def their_name(self, key: str) -> str:
        """What the source calls a parameter of ours."""
        return _swap(key, tuple((ours, theirs) for theirs, ours in self.names))


def _swap(key: str, names: Names) -> str:
    fitting = [(old, new) for old, new in names if key.startswith(old)]
    if not fitting:
        return key
    old, new = max(fitting, key=lambda pair: len(pair[0]))
    return new + key.removeprefix(old)


def _norm_that_adds(bias: Tensor, prefix: str) -> dict[str, Tensor]:
    """A batch norm that, in evaluation, adds the bias of a convolution into which the true one was folded."""
    return {
        f"{prefix}weight": torch.ones_like(bias),
        f"{prefix}bias": bias,
        f"{prefix}running_mean": torch.zeros_like(bias),
        f"{prefix}running_var": torch.full_like(bias, 1 - BN_EPS),
    }


def choose_layout(source: str, state_dict: Mapping[str, Tensor]) -> Layout:
    """The network of the source that these keys belong to; its first one where none fits."""
    return next((layout for layout in LAYOUTS[source] if layout.fits(state_dict)), LAYOUTS[source][0])


def suggest_source(state_dict: Mapping[str, Tensor]) -> str:
    """Half a sentence that says whose keys these are, or nothing."""
    if OWN_MARKER in state_dict:
        return "these are this package's own keys: build the model and call model.load_state_dict"
    found = [source for source, layouts in LAYOUTS.items() if any(layout.fits(state_dict) for layout in layouts)]
    return f"these look like the keys of source={found[0]!r}" if found else ""


def _aspp(prefix: str, separable: str | None = None) -> Names:
    """torchvision's names of ASPP; `separable` is what stands between a branch and its two convolutions."""
    names = [(f"{prefix}convs.0.", "aspp.point."), (f"{prefix}project.", "aspp.project.")]
    names += [(f"{prefix}convs.4.1.", "aspp.pool.0."), (f"{prefix}convs.4.2.", "aspp.pool.1.")]
    for branch in range(3):
        theirs, ours = f"{prefix}convs.{branch + 1}.", f"aspp.atrous.{branch}."
        if separable is None:
            names.append((theirs, ours))
        else:
            names += [(f"{theirs}{separable}", ours), (f"{theirs}1.", f"{ours}2.")]
    return tuple(names)


TORCHVISION_V3 = Layout(
    model=DeepLabV3,
    markers=("classifier.0.convs.0.0.weight",),
    output_stride=8,
    atrous_rates=FIXED_RATES,
    variant=HeadVariant(aspp_dropout=0.5, post_aspp="full"),
    names=(
        *_aspp("classifier.0."),
        ("classifier.1.", "post_aspp.0."),
        ("classifier.2.", "post_aspp.1."),
        ("classifier.4.", "classifier."),
    ),
    dropped=("aux_classifier.",),
)

SMP_V3 = Layout(
    model=DeepLabV3,
    markers=("decoder.aspp.convs.1.0.weight",),
    output_stride=8,
    atrous_rates=FIXED_RATES,
    dilate_first_unit=True,
    variant=HeadVariant(aspp_dropout=0.5, post_aspp="full", align_corners=True),
    names=(
        ("encoder.", "backbone."),
        *_aspp("decoder.aspp."),
        ("decoder.conv.", "post_aspp.0."),
        ("decoder.bn.", "post_aspp.1."),
        ("segmentation_head.0.", "classifier."),
    ),
    dropped=("classification_head.",),
)
SMP_V3_SEPARABLE = replace(
    SMP_V3,
    markers=("decoder.aspp.convs.1.0.0.weight",),
    variant=HeadVariant(aspp_dropout=0.5, separable="plain", post_aspp="full", align_corners=True),
    names=(*(pair for pair in SMP_V3.names if ".convs." not in pair[0]), *_aspp("decoder.aspp.", separable="0.")),
)
SMP_V3_OLD = replace(  # files from before its release 0.4
    SMP_V3,
    markers=("decoder.0.convs.1.0.weight",),
    names=(
        ("encoder.", "backbone."),
        *_aspp("decoder.0."),
        ("decoder.1.", "post_aspp.0."),
        ("decoder.2.", "post_aspp.1."),
        ("segmentation_head.0.", "classifier."),
    ),
)
SMP_V3_PLUS = replace(
    SMP_V3,
    model=DeepLabV3Plus,
    markers=("decoder.aspp.0.convs.0.0.weight",),
    output_stride=16,
    variant=HeadVariant(
        aspp_dropout=0.5, separable="plain", post_aspp="separable", decoder_depth=1, align_corners=True
    ),
    names=(
        ("encoder.", "backbone."),
        *_aspp("decoder.aspp.0.", separable="0."),
        ("decoder.aspp.1.", "post_aspp."),
        ("decoder.aspp.2.", "post_aspp.2."),
        ("decoder.block1.", "low_projection."),
        ("decoder.block2.0.", "decoder.0."),
        ("decoder.block2.1.", "decoder.0.2."),
        ("segmentation_head.0.", "classifier."),
    ),
)

# Slices of a Sequential keep the numbers of its parts.
VAINF_MOBILENET = (
    *((f"backbone.low_level_features.{unit}.", f"backbone.features.{unit}.") for unit in range(4)),
    *((f"backbone.high_level_features.{unit}.", f"backbone.features.{unit}.") for unit in range(4, 18)),
)
VAINF_V3 = Layout(
    model=DeepLabV3,
    markers=("classifier.classifier.0.convs.1.0.weight",),
    output_stride=16,
    atrous_rates=DOUBLED_RATES,
    variant=HeadVariant(post_aspp="full"),
    mobilenet=MobileNetVariant(pad_stem=False, pad_before_expansion=True),
    names=(
        *VAINF_MOBILENET,
        *_aspp("classifier.classifier.0."),
        ("classifier.classifier.1.", "post_aspp.0."),
        ("classifier.classifier.2.", "post_aspp.1."),
        ("classifier.classifier.4.", "classifier."),
    ),
)
VAINF_V3_SEPARABLE = replace(
    VAINF_V3,
    markers=("classifier.classifier.0.convs.1.0.body.0.weight",),
    variant=HeadVariant(separable="plain", post_aspp="separable"),
    names=(
        *VAINF_MOBILENET,
        *_aspp("classifier.classifier.0.", separable="0.body."),
        ("classifier.classifier.1.body.", "post_aspp."),
        ("classifier.classifier.2.", "post_aspp.2."),
        ("classifier.classifier.4.", "classifier."),
    ),
)
VAINF_V3_PLUS = replace(
    VAINF_V3,
    model=DeepLabV3Plus,
    markers=("classifier.aspp.convs.1.0.weight",),
    variant=HeadVariant(decoder_depth=1, decoder_order="low_first"),
    names=(
        *VAINF_MOBILENET,
        *_aspp("classifier.aspp."),
        ("classifier.project.", "low_projection."),
        ("classifier.classifier.0.", "decoder.0.0."),
        ("classifier.classifier.1.", "decoder.0.1."),
        ("classifier.classifier.3.", "classifier."),
    ),
)
VAINF_V3_PLUS_SEPARABLE = replace(
    VAINF_V3_PLUS,
    markers=("classifier.aspp.convs.1.0.body.0.weight",),
    variant=HeadVariant(separable="plain", decoder_depth=1, decoder_order="low_first"),
    names=(
        *VAINF_MOBILENET,
        *_aspp("classifier.aspp.", separable="0.body."),
        ("classifier.project.", "low_projection."),
        ("classifier.classifier.0.body.", "decoder.0."),
        ("classifier.classifier.1.", "decoder.0.2."),
        ("classifier.classifier.3.", "classifier."),
    ),
)


def _flat_units() -> Names:
    """jfzhang95's inverted residuals number convolution, norm and activation in one row; torchvision nests them."""
    first = (("0.", "0.0."), ("1.", "0.1."), ("3.", "1."), ("4.", "2."))
    others = (("0.", "0.0."), ("1.", "0.1."), ("3.", "1.0."), ("4.", "1.1."), ("6.", "2."), ("7.", "3."))
    return tuple(
        (f"backbone.features.{unit}.conv.{theirs}", f"backbone.features.{unit}.conv.{ours}")
        for unit in range(1, 18)
        for theirs, ours in (first if unit == 1 else others)
    )


JFZHANG95_V3_PLUS = Layout(
    model=DeepLabV3Plus,
    markers=("aspp.aspp1.atrous_conv.weight",),
    output_stride=16,
    atrous_rates=DOUBLED_RATES,
    multi_grid=(1, 2, 4),
    dilate_first_unit=True,
    variant=HeadVariant(aspp_dropout=0.5, decoder_dropout=(0.5, 0.1), align_corners=True),
    mobilenet=MobileNetVariant(pad_before_expansion=True, late_rate=True),
    names=(
        *_flat_units(),
        ("aspp.aspp1.atrous_conv.", "aspp.point.0."),
        ("aspp.aspp1.bn.", "aspp.point.1."),
        *((f"aspp.aspp{branch + 2}.atrous_conv.", f"aspp.atrous.{branch}.0.") for branch in range(3)),
        *((f"aspp.aspp{branch + 2}.bn.", f"aspp.atrous.{branch}.1.") for branch in range(3)),
        ("aspp.global_avg_pool.1.", "aspp.pool.0."),
        ("aspp.global_avg_pool.2.", "aspp.pool.1."),
        ("aspp.conv1.", "aspp.project.0."),
        ("aspp.bn1.", "aspp.project.1."),
        ("decoder.conv1.", "low_projection.0."),
        ("decoder.bn1.", "low_projection.1."),
        ("decoder.last_conv.0.", "decoder.0.0."),
        ("decoder.last_conv.1.", "decoder.0.1."),
        ("decoder.last_conv.4.", "decoder.1.0."),
        ("decoder.last_conv.5.", "decoder.1.1."),
        ("decoder.last_conv.8.", "classifier."),
    ),
    # the same tensors as backbone.features, stored a second time
    dropped=("backbone.low_level_features.", "backbone.high_level_features."),
)

TF_MOBILENET = Layout(
    model=DeepLabV3,
    markers=("concat_projection.weight",),
    output_stride=16,
    atrous_rates={8: (), 16: (), 32: ()},
    variant=HeadVariant(aspp_order="pool_first", align_corners=True),
    mobilenet=MobileNetVariant(),
    names=(
        ("features.", "backbone.features."),
        ("aspp0.", "aspp.point.0."),
        ("image_pooling.", "aspp.pool.0."),
        ("concat_projection.", "aspp.project.0."),
        ("logits.", "classifier."),
    ),
    folded=("aspp.point", "aspp.pool", "aspp.project"),
)

LAYOUTS = {
    "torchvision": (TORCHVISION_V3,),
    "smp": (SMP_V3, SMP_V3_SEPARABLE, SMP_V3_OLD, SMP_V3_PLUS),
    "vainf": (VAINF_V3_PLUS, VAINF_V3_PLUS_SEPARABLE, VAINF_V3, VAINF_V3_SEPARABLE),
    "jfzhang95": (JFZHANG95_V3_PLUS,),
    "tf-mobilenet": (TF_MOBILENET,),
}
