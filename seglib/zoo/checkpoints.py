"""Whole networks trained with other libraries: how they name the parts of a DeepLab, and what their state dicts do not say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike

import torch
from torch import Tensor, nn

from seglib.files import read_state_dict
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus, HeadVariant
from seglib.models.layers import check_choice, load_exactly
from seglib.models.mobilenet import MobileNetV2, MobileNetVariant
from seglib.models.resnet import UNITS, BottleneckUnit, ResNet

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
CONTAINERS = ("model_state", "state_dict", "model")
PARALLEL_PREFIX = "module."


def load_checkpoint(
    path_or_state_dict: str | PathLike | Mapping[str, Tensor],
    source: str = "torchvision",
    output_stride: int | None = None,
    atrous_rates: Sequence[int] | None = None,
) -> DeepLabV3:
    """A network that computes the same logits as the one these weights were trained in.

    Dilations, rates and the like are not in a state dict; they are the source's. Depth of the ResNet, number of classes
    and width of the head are read off the tensors.

    Args:
        path_or_state_dict: a file of `torch.save`, or its content: a state dict, or a training checkpoint that holds
            one as "model_state", "state_dict" or "model". A "module." before every key is taken off.
        source: "torchvision" (deeplabv3_resnet50 and 101; its auxiliary classifier is left out), "smp"
            (segmentation_models.pytorch: DeepLabV3 and DeepLabV3Plus with a ResNet encoder), "vainf"
            (VainF/DeepLabV3Plus-Pytorch: both, with ResNet or MobileNetV2, separable or not), "jfzhang95"
            (jfzhang95/pytorch-deeplab-xception: v3+ with ResNet or MobileNetV2), or "tf-mobilenet" (the DeepLabv3 on
            MobileNetV2 of the papers' authors, batch norm folded, converted to torchvision's names: for evaluation).
        output_stride: the one the network was built with; None is the source's default (16; torchvision, and smp's
            DeepLabV3, 8). To run it at another, call `set_output_stride` on the result.
        atrous_rates: those it was built with; None is the source's default at that output stride.

    Returns:
        A DeepLabV3 or DeepLabV3Plus in evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown source; an output stride it does not offer; a file that holds no state dict; another
            architecture, with the keys and shapes that differ.
    """
    check_choice("source", source, tuple(LAYOUTS))
    if isinstance(path_or_state_dict, Mapping):
        state_dict, what = _unpacked(path_or_state_dict, f"{source} weights")
    else:
        state_dict, what = _unpacked(read_state_dict(path_or_state_dict), str(path_or_state_dict))
    layout = choose_layout(source, state_dict)
    hint = "" if layout.fits(state_dict) else suggest_source(state_dict)
    state = layout.rename(state_dict)
    output_stride = layout.output_stride if output_stride is None else output_stride
    check_choice("output_stride", output_stride, tuple(layout.atrous_rates))
    with torch.device("meta"):  # no initial weights: they would cost seconds and move the caller's random generator
        model = layout.model(
            num_classes=_rows(state, "classifier.weight", 1),
            backbone=_backbone(layout, state, output_stride, what, hint),
            atrous_rates=layout.atrous_rates[output_stride] if atrous_rates is None else atrous_rates,
            channels=_rows(state, "aspp.point.0.weight", 256),
            variant=layout.variant,
        )
    model.to_empty(device="cpu")
    original = {layout.our_name(key): key for key in state_dict}
    load_exactly(model, state, what, lambda key: original.get(key) or layout.their_name(key), hint)
    return model.eval()


def _unpacked(content: Mapping, what: str) -> tuple[dict[str, Tensor], str]:
    """The state dict in a training checkpoint, without a parallel wrapper's prefix, and what to call it."""
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            content, what = content[container], f"{what} (its {container!r})"
            break
    if strange := [str(key) for key, value in content.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{what}: expected a state dict, names to tensors; {_first(strange)} are no tensors")
    if content and all(key.startswith(PARALLEL_PREFIX) for key in content):
        content = {key.removeprefix(PARALLEL_PREFIX): value for key, value in content.items()}
    return dict(content), what


def _rows(state: Mapping[str, Tensor], key: str, default: int) -> int:
    return state[key].shape[0] if key in state else default


def _backbone(layout: Layout, state: Mapping[str, Tensor], output_stride: int, what: str, hint: str) -> nn.Module:
    if layout.mobilenet is not None and any(key.startswith("backbone.features.") for key in state):
        return MobileNetV2(output_stride, variant=layout.mobilenet)
    depth = _resnet_depth(state)
    if depth is None:
        offered = "a ResNet" if layout.mobilenet is None else "a MobileNetV2 or a ResNet"
        keys = [layout.their_name(key) for key in state if key.startswith("backbone.")] or list(state)
        raise ValueError(
            f"{what} do not fit {layout.model.__name__}: expected {offered} (18, 34, 50, 101 or 152) as backbone, "
            f"with keys such as {layout.their_name('backbone.layer1.0.conv1.weight')}; found {len(keys)} keys: "
            f"{_first(keys)}{hint and '; ' + hint}"
        )
    units = UNITS[depth][1][3]
    multi_grid = layout.multi_grid if layout.multi_grid and len(layout.multi_grid) == units else (1,) * units
    return ResNet(depth, output_stride, multi_grid, stride_unit="first", dilate_first_unit=layout.dilate_first_unit)


def _resnet_depth(state: Mapping[str, Tensor]) -> int | None:
    counts = tuple(_units(state, f"backbone.layer{block}.") for block in range(1, 5))
    bottleneck = "backbone.layer1.0.conv3.weight" in state
    for depth, (unit, depth_counts) in UNITS.items():
        if counts == depth_counts and bottleneck == (unit is BottleneckUnit):
            return depth
    return None


def _units(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _first(keys: Sequence[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
