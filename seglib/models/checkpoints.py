"""Public weights: ImageNet weights for the backbones, and whole networks trained with other libraries."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from seglib.models.blocks import check_choice
from seglib.models.deeplab import DeepLabV3
from seglib.models.layouts import LAYOUTS, Layout, choose_layout, suggest_source
from seglib.models.mobilenet import MobileNetV2
from seglib.models.resnet import UNITS, BottleneckUnit, ResNet
from seglib.storage import load_tensors

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "features.18.")
CASCADE_PREFIXES = ("layer5.", "layer6.", "layer7.")
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


def load_imagenet_weights(
    backbone: nn.Module, state_dict: Mapping[str, Tensor], what: str = "ImageNet weights"
) -> None:
    """Loads a torchvision classifier's weights into a ResNet or MobileNetV2, in place.

    The classifier (of any number of classes; with it MobileNetV2's last 1x1 convolution) is dropped, and every other
    key is used. torchvision's ResNets stride in the first unit, so the backbone should have stride_unit="first". The
    blocks of a cascade behind block 4 (DeepLabv3 sec. 3.2), which no classifier has, keep the weights that they have.

    Args:
        state_dict: the whole state dict of `torchvision.models.resnet50`, `mobilenet_v2` or the like.
        what: names the weights in an error.

    Raises:
        ValueError: keys missing, left over or of another shape, each named.
    """
    added = {key: value for key, value in backbone.state_dict().items() if key.startswith(CASCADE_PREFIXES)}
    state = {key: value for key, value in state_dict.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    load_exactly(backbone, added | state, what)


def load_exactly(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    what: str,
    name: Callable[[str], str] = str,
    hint: str = "",
) -> None:
    """`load_state_dict` with one message that names the keys and shapes that differ.

    Args:
        what: names the weights in an error.
        name: what the message calls a key.
        hint: what to end the message with.

    Raises:
        ValueError: anything differs; nothing is loaded then.
    """
    own = model.state_dict()
    # Files older than this counter lack it; torch's own loader accepts that too.
    counters = {key: torch.zeros_like(own[key]) for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state_dict}
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    problems = {
        "missing": sorted(name(key) for key in set(own) - set(state)),
        "unexpected": sorted(name(key) for key in set(state) - set(own)),
        "of another shape": [
            f"{name(key)} {tuple(state[key].shape)}, expected {tuple(own[key].shape)}" for key in shapes
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"{what} do not fit {type(model).__name__}: {found}{hint and '; ' + hint}")
    model.load_state_dict(state)


def read_state_dict(path: str | PathLike) -> Mapping[str, Tensor]:
    """Names to tensors from a file of `torch.save`, without executing code. Raises FileNotFoundError, ValueError."""
    # Training scripts store their best score beside the weights, and that is a numpy number.
    number = np.float64(0)
    restore = number.__reduce__()[0]
    harmless = [(restore, "numpy.core.multiarray.scalar"), (restore, "numpy._core.multiarray.scalar")]
    with torch.serialization.safe_globals([*harmless, np.dtype, type(number.dtype)]):
        content = load_tensors(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: expected a state dict, names to tensors; found {type(content).__name__}")
    return content


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
