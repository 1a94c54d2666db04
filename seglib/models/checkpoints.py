"""Public weights: ImageNet weights for the backbones, and whole networks trained with other libraries."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import torch
from torch import Tensor, nn

from seglib.models.aspp import HeadVariant
from seglib.models.blocks import check_choice
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus
from seglib.models.resnet import UNITS, BottleneckUnit, ResNet
from seglib.storage import load_tensors

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "features.18.")
SOURCES = ("torchvision", "smp")


@dataclass(frozen=True)
class Layout:
    """What a state dict does not say about the network it belongs to, and how its source names the parts of it.

    Attributes:
        model: our class.
        output_stride: the source's default.
        atrous_rates: the source's default; neither source changes it with the output stride.
        dilate_first_unit: whether the first unit of a dilated block already carries the block's rate.
        variant: of the head.
        names: (its prefix, our prefix); the first that fits is used.
        dropped: prefixes of what plays no part in the logits.
    """

    model: type[DeepLabV3]
    output_stride: int
    atrous_rates: tuple[int, ...]
    dilate_first_unit: bool
    variant: HeadVariant
    names: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]

    def rename(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors under our names; a key that has none keeps its own."""
        kept = {key: value for key, value in state_dict.items() if not key.startswith(self.dropped)}
        return {self._our_name(key): value for key, value in kept.items()}

    def _our_name(self, key: str) -> str:
        for theirs, ours in self.names:
            if key.startswith(theirs):
                return ours + key.removeprefix(theirs)
        return key


def _aspp_names(prefix: str) -> tuple[tuple[str, str], ...]:
    return (
        (f"{prefix}convs.0.", "aspp.point."),
        *((f"{prefix}convs.{branch + 1}.", f"aspp.atrous.{branch}.") for branch in range(3)),
        (f"{prefix}convs.4.1.", "aspp.pool.0."),
        (f"{prefix}convs.4.2.", "aspp.pool.1."),
        (f"{prefix}project.", "aspp.project."),
    )


TORCHVISION_V3 = Layout(
    model=DeepLabV3,
    output_stride=8,
    atrous_rates=(12, 24, 36),
    dilate_first_unit=False,
    variant=HeadVariant(aspp_dropout=0.5, post_aspp="full"),
    names=(
        *_aspp_names("classifier.0."),
        ("classifier.1.", "post_aspp.0."),
        ("classifier.2.", "post_aspp.1."),
        ("classifier.4.", "classifier."),
    ),
    dropped=("aux_classifier.",),
)
SMP_V3 = Layout(
    model=DeepLabV3,
    output_stride=8,
    atrous_rates=(12, 24, 36),
    dilate_first_unit=True,
    variant=HeadVariant(aspp_dropout=0.5, post_aspp="full", align_corners=True),
    names=(
        ("encoder.", "backbone."),
        *_aspp_names("decoder.aspp."),
        ("decoder.conv.", "post_aspp.0."),
        ("decoder.bn.", "post_aspp.1."),
        ("segmentation_head.0.", "classifier."),
    ),
    dropped=("classification_head.",),
)
SMP_V3_PLUS = Layout(
    model=DeepLabV3Plus,
    output_stride=16,
    atrous_rates=(12, 24, 36),
    dilate_first_unit=True,
    variant=HeadVariant(
        aspp_dropout=0.5, separable="plain", post_aspp="separable", decoder_depth=1, align_corners=True
    ),
    names=(
        ("encoder.", "backbone."),
        # A separable branch nests depthwise and pointwise one level deeper than ours.
        *((f"decoder.aspp.0.convs.{branch + 1}.0.", f"aspp.atrous.{branch}.") for branch in range(3)),
        *((f"decoder.aspp.0.convs.{branch + 1}.1.", f"aspp.atrous.{branch}.2.") for branch in range(3)),
        *_aspp_names("decoder.aspp.0."),
        ("decoder.aspp.1.", "post_aspp."),
        ("decoder.aspp.2.", "post_aspp.2."),
        ("decoder.block1.", "low_projection."),
        ("decoder.block2.0.", "decoder.0."),
        ("decoder.block2.1.", "decoder.0.2."),
        ("segmentation_head.0.", "classifier."),
    ),
    dropped=("classification_head.",),
)


def load_checkpoint(
    path_or_state_dict: str | PathLike | Mapping[str, Tensor],
    source: str = "torchvision",
    output_stride: int | None = None,
) -> DeepLabV3:
    """A network that computes the same logits as the one these weights were trained in.

    Dilations, rates and the like are not in a state dict; they are the source's. Depth of the ResNet, number of classes
    and width of the head are read off the tensors.

    Args:
        path_or_state_dict: a file written by `torch.save(model.state_dict(), ...)`, or the state dict.
        source: "torchvision" (deeplabv3_resnet50 and 101; its auxiliary classifier is left out) or "smp"
            (segmentation_models.pytorch: DeepLabV3 and DeepLabV3Plus with a ResNet encoder).
        output_stride: the one the network was built with; None is the source's default (8; smp's DeepLabV3Plus 16). To
            run it at another, call `set_output_stride` on the result.

    Returns:
        A DeepLabV3 or DeepLabV3Plus in evaluation mode.

    Raises:
        ValueError: unknown source; a file that holds no state dict; another architecture, with the keys that differ.
    """
    check_choice("source", source, SOURCES)
    is_state = isinstance(path_or_state_dict, Mapping)
    state_dict = path_or_state_dict if is_state else read_state_dict(path_or_state_dict)
    what = f"{source} weights" if is_state else str(path_or_state_dict)
    if strange := [key for key, value in state_dict.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{what}: expected a state dict, names to tensors; {_first(strange)} are no tensors")
    layout = TORCHVISION_V3
    if source == "smp":
        layout = SMP_V3_PLUS if any(key.startswith("decoder.block1.") for key in state_dict) else SMP_V3
    state = layout.rename(state_dict)
    for key in ("classifier.weight", "aspp.point.0.weight"):
        if key not in state:
            raise ValueError(f"{what}: no DeepLab of {source}; it has {_first(list(state_dict))}")
    output_stride = layout.output_stride if output_stride is None else output_stride
    with torch.device("meta"):  # no initial weights: they would cost seconds and move the caller's random generator
        model = layout.model(
            num_classes=state["classifier.weight"].shape[0],
            backbone=ResNet(
                _resnet_depth(state, what),
                output_stride,
                multi_grid=(1,) * _units(state, "layer4"),
                stride_unit="first",
                dilate_first_unit=layout.dilate_first_unit,
            ),
            atrous_rates=layout.atrous_rates,
            channels=state["aspp.point.0.weight"].shape[0],
            variant=layout.variant,
        )
    model.to_empty(device="cpu")
    load_exactly(model, state, what)
    return model.eval()


def load_imagenet_weights(
    backbone: nn.Module, state_dict: Mapping[str, Tensor], what: str = "ImageNet weights"
) -> None:
    """Loads a torchvision classifier's weights into a ResNet or MobileNetV2, in place.

    The classifier (of any number of classes; with it MobileNetV2's last 1x1 convolution) is dropped, and every other
    key is used. torchvision's ResNets stride in the first unit, so the backbone should have stride_unit="first".

    Args:
        state_dict: the whole state dict of `torchvision.models.resnet50`, `mobilenet_v2` or the like.
        what: names the weights in an error.

    Raises:
        ValueError: keys missing, left over or of another shape, each named.
    """
    state = {key: value for key, value in state_dict.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    load_exactly(backbone, state, what)


def load_exactly(model: nn.Module, state_dict: Mapping[str, Tensor], what: str) -> None:
    """`load_state_dict` with one message that names the keys and shapes that differ. Raises ValueError."""
    own = model.state_dict()
    # Files older than this counter lack it; torch's own loader accepts that too.
    counters = {key: torch.zeros_like(own[key]) for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state_dict}
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    problems = {
        "missing": sorted(set(own) - set(state)),
        "unexpected": sorted(set(state) - set(own)),
        "of another shape": [f"{key} {tuple(state[key].shape)}, expected {tuple(own[key].shape)}" for key in shapes],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"{what} do not fit {type(model).__name__}: {found}")
    model.load_state_dict(state)


def read_state_dict(path: str | PathLike) -> Mapping[str, Tensor]:
    """Names to tensors from a file of `torch.save`, without executing code. Raises FileNotFoundError, ValueError."""
    content = load_tensors(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a state dict, names to tensors; found {type(content).__name__}")
    return content


def _units(state: Mapping[str, Tensor], block: str) -> int:
    prefix = f"backbone.{block}."
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _resnet_depth(state: Mapping[str, Tensor], what: str) -> int:
    counts = tuple(_units(state, f"layer{block}") for block in range(1, 5))
    bottleneck = "backbone.layer1.0.conv3.weight" in state
    for depth, (unit, depth_counts) in UNITS.items():
        if counts == depth_counts and bottleneck == (unit is BottleneckUnit):
            return depth
    kind = "bottleneck" if bottleneck else "basic"
    raise ValueError(f"{what}: expected a ResNet-{', '.join(map(str, UNITS))}; found blocks of {counts} {kind} units")


def _first(keys: list[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
