"""Public weights: ImageNet weights for the backbones."""

from collections.abc import Mapping

from torch import Tensor, nn

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "features.18.")


def load_imagenet_weights(backbone: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Loads a torchvision classifier's weights into a ResNet or MobileNetV2, in place.

    The classifier (of any number of classes; with it MobileNetV2's last 1x1 convolution) is dropped, and every other
    key is used. torchvision's ResNets stride in the first unit, so the backbone should have stride_unit="first".

    Args:
        state_dict: the whole state dict of `torchvision.models.resnet50`, `mobilenet_v2` or the like.

    Raises:
        ValueError: keys missing, left over or of another shape, each named.
    """
    state = {key: value for key, value in state_dict.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    load_exactly(backbone, state, "ImageNet weights")


def load_exactly(model: nn.Module, state_dict: Mapping[str, Tensor], what: str) -> None:
    """`load_state_dict` with one message that names the keys and shapes that differ. Raises ValueError."""
    own = model.state_dict()
    shapes = [key for key in own if key in state_dict and own[key].shape != state_dict[key].shape]
    problems = {
        "missing": sorted(set(own) - set(state_dict)),
        "unexpected": sorted(set(state_dict) - set(own)),
        "of another shape": [
            f"{key} {tuple(state_dict[key].shape)}, expected {tuple(own[key].shape)}" for key in shapes
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"{what} do not fit {type(model).__name__}: {found}")
    model.load_state_dict(state_dict)


def _first(keys: list[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
