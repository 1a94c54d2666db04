"""Whole networks trained with other libraries: their names of a DeepLab's parts, and what their state dicts omit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglib.files import find_state_dict, read_state_dict, some
from seglib.models.backbones import RESNETS
from seglib.models.deeplab import PAPER_HEAD, DeepLabV3, DeepLabV3Plus, HeadVariant
from seglib.models.layers import check_choice
from seglib.models.mobilenet import MobileNetV2, find_depthwise
from seglib.models.resnet import UNITS, BasicUnit, BottleneckUnit, ResNet
from seglib.models.weights import load_exactly
from seglib.recipe import Recipe

State = Mapping[str, Tensor]
Names = dict[str, str]  # their prefix -> our prefix; of those that fit a key, the longest is used
BN_EPS = 1e-5
DOUBLED_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
FIXED_RATES = {8: (12, 24, 36), 16: (12, 24, 36)}
OURS = "aspp.point.0.weight"  # a key of this package's own state dicts


def load_checkpoint(
    path_or_state_dict: str | PathLike | State,
    source: str = "torchvision",
    output_stride: int | None = None,
    atrous_rates: Sequence[int] | None = None,
) -> DeepLabV3:
    """Builds a network, in evaluation mode, that computes the same logits as the one these weights were trained in.

    Dilations, rates and the like are not in a state dict; they are the source's. Depth of the ResNet, number of classes
    and width of the head are read off the tensors.

    Args:
        path_or_state_dict: a file of `torch.save` or safetensors, or its content: a state dict, or a training
            checkpoint that holds one; see `seglib.files.find_state_dict`.
        source: "torchvision" (deeplabv3_resnet50 and 101; its auxiliary classifier is left out), "smp"
            (segmentation_models.pytorch: DeepLabV3 and DeepLabV3Plus with a ResNet encoder), "vainf"
            (VainF/DeepLabV3Plus-Pytorch: both, with ResNet or MobileNetV2, separable or not), "jfzhang95"
            (jfzhang95/pytorch-deeplab-xception: v3+ with ResNet or MobileNetV2), or "tf-mobilenet" (the DeepLabv3 on
            MobileNetV2 of the papers' authors, batch norm folded, converted to torchvision's names: for evaluation).
        output_stride: the one the network was built with; None is the source's default (16; torchvision, and smp's
            DeepLabV3, 8). To run it at another, call `set_output_stride` on the result.
        atrous_rates: those it was built with; None is the source's default at that output stride.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source is unknown or does not offer the output stride, the file holds no state dict, or its
            network is another; the message names the keys and shapes that differ.
    """
    check_choice("source", source, tuple(LAYOUTS))
    if isinstance(path_or_state_dict, nn.Module):
        found = f"the network {type(path_or_state_dict).__name__} itself"
        raise TypeError(f"expected a file or a state dict, found {found}")
    content, what = path_or_state_dict, f"{source} weights"
    if not isinstance(content, Mapping):
        content, what = read_state_dict(path_or_state_dict), str(path_or_state_dict)
    state_dict, what = find_state_dict(content, what)
    layout, state, name, hint = translate(state_dict, source)
    output_stride = layout.output_stride if output_stride is None else output_stride
    check_choice("output_stride", output_stride, tuple(layout.atrous_rates))
    depth = _read_depth(layout, state, what, hint)
    num_classes = len(state.get("classifier.weight", (1,)))
    channels = len(state.get(OURS, range(256)))
    with torch.device("meta"):  # no initial weights: they would cost seconds and move the caller's random generator
        model = layout.build(num_classes, depth, output_stride, atrous_rates, channels)
    model.to_empty(device="cpu")
    load_exactly(model, state, what, name, hint)
    return model.eval()


def translate(state_dict: State, source: str) -> tuple["Layout | None", dict[str, Tensor], Callable[[str], str], str]:
    """Gives a source's tensors our names; source "" leaves them.

    Returns its layout, the state dict, a function from our names to theirs, and a hint if they are another source's.
    """
    layouts = LAYOUTS.get(source, ())
    layout = next((layout for layout in layouts if layout.marker in state_dict), next(iter(layouts), None))
    if layout is None:
        return None, dict(state_dict), str, "" if OURS in state_dict else _suggest_source(state_dict)
    hint = "" if layout.marker in state_dict else _suggest_source(state_dict)
    original = {layout.our_name(key): key for key in state_dict}
    return layout, layout.rename(state_dict), lambda key: original.get(key) or layout.their_name(key), hint


def build_layout(recipe: Recipe, num_classes: int) -> DeepLabV3:
    """Builds the network of a recipe's `source`, with weights drawn at random. Raises ValueError if it has none."""
    plus = recipe.model == "deeplabv3plus"
    for layout in LAYOUTS[recipe.source]:
        alike = (layout.model is DeepLabV3Plus) == plus and layout.variant.separable == recipe.separable
        mobilenet = recipe.backbone == "mobilenet_v2" and layout.mobilenet is not None
        if alike and recipe.output_stride in layout.atrous_rates and (mobilenet or recipe.backbone in RESNETS):
            depth = RESNETS.get(recipe.backbone)
            return layout.build(num_classes, depth, recipe.output_stride, recipe.atrous_rates, recipe.channels)
    has = {(layout.model.__name__, layout.variant.separable, *layout.atrous_rates) for layout in LAYOUTS[recipe.source]}
    asked = f"separable = {recipe.separable!r} and output_stride = {recipe.output_stride}"
    found = f"its networks, their separable and output strides: {sorted(has)}"
    raise ValueError(f"source = {recipe.source!r}: has no {recipe.model} on {recipe.backbone} with {asked}; {found}")


def _suggest_source(state_dict: State) -> str:
    if OURS in state_dict:
        return "these are this package's own keys: build the model and call model.load_state_dict"
    found = [source for source, layouts in LAYOUTS.items() if any(layout.marker in state_dict for layout in layouts)]
    return f"these look like the keys of source={found[0]!r}" if found else ""


def _read_depth(layout: "Layout", state: State, what: str, hint: str) -> int | None:
    """Reads a ResNet's depth off its tensors; None for a MobileNetV2."""
    if layout.mobilenet is not None and any(key.startswith("backbone.features.") for key in state):
        return None
    blocks = [f"backbone.layer{block}." for block in range(1, 5)]
    counts = tuple(len({key.split(".")[2] for key in state if key.startswith(block)}) for block in blocks)
    unit = BottleneckUnit if "backbone.layer1.0.conv3.weight" in state else BasicUnit
    depth = next((depth for depth, kind in UNITS.items() if kind == (unit, counts)), None)
    if depth is None:
        offered = "a ResNet" if layout.mobilenet is None else "a MobileNetV2 or a ResNet"
        expected = f"expected {offered} (18, 34, 50, 101 or 152) as backbone, with keys such as"
        keys = [layout.their_name(key) for key in state if key.startswith("backbone.")] or list(state)
        found = f"{layout.their_name('backbone.layer1.0.conv1.weight')}; found {len(keys)} keys: {some(keys)}"
        raise ValueError(f"{what} do not fit {layout.model.__name__}: {expected} {found}{hint and '; ' + hint}")
    return depth


class PeerMobileNetV2(MobileNetV2):
    """MobileNetV2 as VainF and jfzhang95 have it: zeros are put around a unit's input, before its expansion.

    Batch norm's shift has turned them into other values when the depthwise convolution sees them, so the map's border
    differs. Without `pad_stem` the first convolution is not padded: a side of 513 gives 256 instead of 257. With
    `late_rate` the rate of a removed stride holds from the next group of units on, not from the next unit on.
    """

    def __init__(self, output_stride: int, pad_stem: bool = True, late_rate: bool = False):
        self.late_rate = late_rate  # first, because the base class calls set_output_stride
        super().__init__(output_stride)
        for unit in self.features[1:]:
            unit.conv = _PaddedLayers(*unit.conv)
        if not pad_stem:
            self.features[0][0].padding = (0, 0)

    def set_output_stride(self, output_stride: int) -> None:
        super().set_output_stride(output_stride)
        for unit in self.features[1:]:
            conv = find_depthwise(unit.conv)
            conv.padding = (0, 0)
            if not unit.use_res_connect:  # only a group's first unit changes the number of channels
                group_dilation = conv.dilation
            if self.late_rate:
                conv.dilation = group_dilation


class _PaddedLayers(nn.Sequential):
    """The layers of an inverted residual, with their input padded for the depthwise convolution among them."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, [find_depthwise(self).dilation[0]] * 4))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One network of one source."""

    model: type[DeepLabV3]
    marker: str  # a key that this network has and no other of the source
    names: Names
    variant: HeadVariant = PAPER_HEAD
    output_stride: int = 16  # the source's default
    atrous_rates: Mapping[int, tuple[int, ...]]  # the source's, by output stride
    multi_grid: tuple[int, ...] = ()  # factors of a block 4 of three units; without, and for other blocks, all 1
    dilate_first_unit: bool = False  # the first unit of a dilated block already carries the block's rate
    mobilenet: Callable[[int], MobileNetV2] | None = None  # by output stride; None if there is none like ours
    dropped: tuple[str, ...] = ()  # prefixes of what plays no part in the logits
    folded: tuple[str, ...] = ()  # our convolutions that have a bias in the place of a batch norm

    def build(
        self, num_classes: int, depth: int | None, output_stride: int, atrous_rates: Sequence[int] | None, channels: int
    ) -> DeepLabV3:
        """Builds the network, on a ResNet of this depth or, None, a MobileNetV2; its weights are drawn."""
        if depth is None:
            backbone = self.mobilenet(output_stride)
        else:
            units = UNITS[depth][1][3]
            grid = self.multi_grid if len(self.multi_grid) == units else (1,) * units
            backbone = ResNet(depth, output_stride, grid, stride_unit="first", dilate_first_unit=self.dilate_first_unit)
        rates = self.atrous_rates[output_stride] if atrous_rates is None else atrous_rates
        return self.model(num_classes, backbone, None, rates, channels=channels, variant=self.variant)

    def rename(self, state_dict: State) -> dict[str, Tensor]:
        """Gives the tensors our names; a key that has none keeps its own."""
        state = {self.our_name(key): value for key, value in state_dict.items() if not key.startswith(self.dropped)}
        for convolution in self.folded:
            if (bias := state.pop(f"{convolution}.0.bias", None)) is not None:  # a batch norm that only adds it
                mean, variance = torch.zeros_like(bias), torch.full_like(bias, 1 - BN_EPS)
                norm = {"weight": torch.ones_like(bias), "bias": bias, "running_mean": mean, "running_var": variance}
                state |= {f"{convolution}.1.{name}": value for name, value in norm.items()}
        return state

    def our_name(self, key: str) -> str:
        """Returns our name of a parameter of the source's."""
        return _swap(key, self.names)

    def their_name(self, key: str) -> str:
        """Returns the source's name of a parameter of ours."""
        return _swap(key, {ours: theirs for theirs, ours in self.names.items()})


def _swap(key: str, names: Names) -> str:
    prefix = max((prefix for prefix in names if key.startswith(prefix)), key=len, default="")
    return names.get(prefix, "") + key.removeprefix(prefix)


def _name_convolution(conv: str, norm: str, ours: str, separable: bool = False) -> Names:
    """Names a convolution, or a depthwise and pointwise pair, with the batch norm that our Sequential puts after it."""
    return {conv: ours, norm: f"{ours}2."} if separable else {conv: f"{ours}0.", norm: f"{ours}1."}


def _name_aspp(prefix: str, separable: bool = False, pair: str = "") -> Names:
    """Names ASPP as torchvision does; `pair` stands before the numbers of a branch's depthwise and pointwise half."""
    names = {f"{prefix}convs.0.": "aspp.point.", f"{prefix}project.": "aspp.project."}
    names |= _name_convolution(f"{prefix}convs.4.1.", f"{prefix}convs.4.2.", "aspp.pool.")
    for branch in range(3):
        theirs = f"{prefix}convs.{branch + 1}."
        names |= _name_convolution(f"{theirs}0.{pair}", f"{theirs}1.", f"aspp.atrous.{branch}.", separable)
    return names


TORCHVISION_V3 = Layout(
    model=DeepLabV3,
    marker="classifier.0.convs.0.0.weight",
    names=_name_aspp("classifier.0.")
    | _name_convolution("classifier.1.", "classifier.2.", "post_aspp.")
    | {"classifier.4.": "classifier."},
    variant=HeadVariant(aspp_dropout=0.5, post_aspp="full", resize="centred"),
    output_stride=8,
    atrous_rates=FIXED_RATES,
    dropped=("aux_classifier.",),
)


def _describe_smp_v3(aspp: str, post_conv: str, post_norm: str, separable: bool = False) -> Layout:
    marker, kind = (f"{aspp}convs.1.0.0.weight", "plain") if separable else (f"{aspp}convs.1.0.weight", "none")
    return Layout(
        model=DeepLabV3,
        marker=marker,
        names={"encoder.": "backbone.", "segmentation_head.0.": "classifier."}
        | _name_aspp(aspp, separable)
        | _name_convolution(post_conv, post_norm, "post_aspp."),
        variant=HeadVariant(aspp_dropout=0.5, separable=kind, post_aspp="full", resize="stretched"),
        output_stride=8,
        atrous_rates=FIXED_RATES,
        dilate_first_unit=True,
        dropped=("classification_head.",),
    )


SMP_V3_PLUS = Layout(
    model=DeepLabV3Plus,
    marker="decoder.aspp.0.convs.0.0.weight",
    names={"encoder.": "backbone.", "segmentation_head.0.": "classifier.", "decoder.block1.": "low_projection."}
    | _name_aspp("decoder.aspp.0.", separable=True)
    | _name_convolution("decoder.aspp.1.", "decoder.aspp.2.", "post_aspp.", separable=True)
    | _name_convolution("decoder.block2.0.", "decoder.block2.1.", "decoder.0.", separable=True),
    variant=HeadVariant(
        aspp_dropout=0.5, separable="plain", post_aspp="separable", decoder_depth=1, resize="stretched"
    ),
    atrous_rates=FIXED_RATES,
    dilate_first_unit=True,
    dropped=("classification_head.",),
)


def _describe_vainf(plus: bool, separable: bool) -> Layout:
    aspp, ours = ("classifier.aspp.", "decoder.0.") if plus else ("classifier.classifier.0.", "post_aspp.")
    first = 0 if plus else 1  # number of the 3x3 convolution; its norm and, after a ReLU, the classifier follow
    conv, norm, last = (f"classifier.classifier.{first + step}." for step in (0, 1, 3))
    pair, kind = ("body.", "plain") if separable else ("", "none")
    low, high = "backbone.low_level_features", "backbone.high_level_features"
    # Slices of a Sequential keep the numbers of its parts.
    names = {f"{low if unit < 4 else high}.{unit}.": f"backbone.features.{unit}." for unit in range(18)}
    names |= _name_aspp(aspp, separable, pair) | _name_convolution(f"{conv}{pair}", norm, ours, separable)
    names |= {"classifier.project.": "low_projection.", last: "classifier."}
    v3_plus = HeadVariant(separable=kind, decoder_depth=1, decoder_order="low_first", resize="centred")
    v3 = HeadVariant(separable=kind, post_aspp="separable" if separable else "full", resize="centred")
    return Layout(
        model=DeepLabV3Plus if plus else DeepLabV3,
        marker=f"{aspp}convs.1.0.{'body.0.' if separable else ''}weight",
        names=names,
        variant=v3_plus if plus else v3,
        atrous_rates=DOUBLED_RATES,
        mobilenet=partial(PeerMobileNetV2, pad_stem=False),
    )


def _name_flat_units() -> Names:
    """Names inverted residuals whose convolutions, norms and activations stand in one row; torchvision nests them."""
    first = {"0.": "0.0.", "1.": "0.1.", "3.": "1.", "4.": "2."}
    others = {"0.": "0.0.", "1.": "0.1.", "3.": "1.0.", "4.": "1.1.", "6.": "2.", "7.": "3."}
    return {
        f"backbone.features.{unit}.conv.{theirs}": f"backbone.features.{unit}.conv.{ours}"
        for unit in range(1, 18)
        for theirs, ours in (first if unit == 1 else others).items()
    }


JFZHANG95_V3_PLUS = Layout(
    model=DeepLabV3Plus,
    marker="aspp.aspp1.atrous_conv.weight",
    names=_name_flat_units()
    | _name_convolution("aspp.aspp1.atrous_conv.", "aspp.aspp1.bn.", "aspp.point.")
    | _name_convolution("aspp.aspp2.atrous_conv.", "aspp.aspp2.bn.", "aspp.atrous.0.")
    | _name_convolution("aspp.aspp3.atrous_conv.", "aspp.aspp3.bn.", "aspp.atrous.1.")
    | _name_convolution("aspp.aspp4.atrous_conv.", "aspp.aspp4.bn.", "aspp.atrous.2.")
    | _name_convolution("aspp.global_avg_pool.1.", "aspp.global_avg_pool.2.", "aspp.pool.")
    | _name_convolution("aspp.conv1.", "aspp.bn1.", "aspp.project.")
    | _name_convolution("decoder.conv1.", "decoder.bn1.", "low_projection.")
    | _name_convolution("decoder.last_conv.0.", "decoder.last_conv.1.", "decoder.0.")
    | _name_convolution("decoder.last_conv.4.", "decoder.last_conv.5.", "decoder.1.")
    | {"decoder.last_conv.8.": "classifier."},
    variant=HeadVariant(aspp_dropout=0.5, decoder_dropout=(0.5, 0.1), resize="stretched"),
    atrous_rates=DOUBLED_RATES,
    multi_grid=(1, 2, 4),
    dilate_first_unit=True,
    mobilenet=partial(PeerMobileNetV2, late_rate=True),
    # the same tensors as backbone.features, stored a second time
    dropped=("backbone.low_level_features.", "backbone.high_level_features."),
)
TF_MOBILENET = Layout(
    model=DeepLabV3,
    marker="concat_projection.weight",
    names={"features.": "backbone.features.", "logits.": "classifier."}
    | {"aspp0.": "aspp.point.0.", "image_pooling.": "aspp.pool.0.", "concat_projection.": "aspp.project.0."},
    variant=HeadVariant(aspp_order="pool_first", resize="stretched"),
    atrous_rates={8: (), 16: (), 32: ()},
    mobilenet=MobileNetV2,
    folded=("aspp.point", "aspp.pool", "aspp.project"),
)
LAYOUTS = {
    "torchvision": (TORCHVISION_V3,),
    "smp": (
        _describe_smp_v3("decoder.aspp.", "decoder.conv.", "decoder.bn."),
        _describe_smp_v3("decoder.aspp.", "decoder.conv.", "decoder.bn.", separable=True),
        _describe_smp_v3("decoder.0.", "decoder.1.", "decoder.2."),  # files from before its release 0.4
        SMP_V3_PLUS,
    ),
    "vainf": tuple(_describe_vainf(plus, separable) for plus in (True, False) for separable in (False, True)),
    "jfzhang95": (JFZHANG95_V3_PLUS,),
    "tf-mobilenet": (TF_MOBILENET,),
}
