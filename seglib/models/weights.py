"""Initial weights: files found, identified, and loaded only if every key and shape fits; kernels for other channels."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from seglib.files import PROJECT, data_folder, hash_file, read_state_dict, some
from seglib.models.layers import Backbone
from seglib.models.vgg import VGG16, convolutional_vgg16
from seglib.recipe import Recipe

BUNDLED = PROJECT / "data" / "checkpoints"
CLASSIFIER_PREFIXES = ("fc.", "classifier.", "features.18.")  # of torchvision's classifiers
CASCADE_PREFIXES = ("layer5.", "layer6.", "layer7.")


def load_exactly(
    model: nn.Module, state_dict: Mapping[str, Tensor], what: str, name: Callable[[str], str] = str, hint: str = ""
) -> None:
    """Loads a state dict if all keys and shapes fit.

    Args:
        what: names the weights in an error.
        name: gives the name by which an error calls a key.
        hint: ends an error.

    Raises:
        ValueError: if anything differs; lists the keys and shapes. Nothing is loaded then.
    """
    own = model.state_dict()
    # Files older than this counter lack it; torch's own loader accepts that too.
    counters = {key: torch.zeros_like(own[key]) for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state_dict}
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    others = [f"{name(key)} {tuple(state[key].shape)}, expected {tuple(own[key].shape)}" for key in shapes]
    problems = {
        "missing": sorted(name(key) for key in set(own) - set(state)),
        "unexpected": sorted(name(key) for key in set(state) - set(own)),
        "of another shape": others,
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind}: {some(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"{what} do not fit {type(model).__name__}: {found}{hint and '; ' + hint}")
    model.load_state_dict(state)


def read_weights(recipe: Recipe, weights_root: Path | None) -> tuple[Mapping[str, Tensor], str]:
    """Reads the state dict that `recipe.weights` names; also returns its name for errors."""
    if recipe.weights == "torchvision":
        from torchvision.models import get_model_weights  # here, because it takes as long to import as torch itself

        weights = get_model_weights(recipe.backbone).DEFAULT
        try:
            return weights.get_state_dict(progress=False, check_hash=True), "torchvision's ImageNet weights"
        except OSError as error:
            cure = f"put the file into {torch.hub.get_dir()}/checkpoints, or take weights = 'mobilenet_v2_imagenet.pth'"
            raise OSError(f"weights = 'torchvision': {weights.url} could not be fetched ({error}); {cure}") from error
    path = find_weights(recipe.weights, weights_root)
    return read_state_dict(path), str(path)


def find_weights(name: str, weights_root: Path | None) -> Path:
    """Finds the file that `weights` or `start_from` names, as `build_model` says. Raises FileNotFoundError."""
    own = Path(name).expanduser() if len(Path(name).parts) > 1 else None
    for path in (weights_root / name if weights_root else None, BUNDLED / name, own):
        if path is not None and path.exists():
            return path
    path = (weights_root or data_folder() / "weights") / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights; weights = 'torchvision' downloads public ones")
    return path


def hash_weights(recipe: Recipe, weights_root: Path | None) -> dict[str, str]:
    """Returns name -> SHA-256 of the files that `weights` and `start_from` name, of those that are there."""
    found = {}
    for name in {recipe.weights, recipe.start_from} - {"", "torchvision"}:
        with suppress(FileNotFoundError):  # a run that resumes does not need it
            found[name] = hash_file(find_weights(name, weights_root))
    return found


def load_imagenet_weights(backbone: Backbone, state_dict: Mapping[str, Tensor], what: str = "ImageNet weights") -> None:
    """Loads a torchvision classifier's whole state dict into a ResNet, MobileNetV2 or VGG16, in place.

    The last layer (with it MobileNetV2's last 1x1 convolution) is dropped; VGG16's two hidden layers become
    convolutions. torchvision's ResNets stride in the first unit, so the backbone should have stride_unit="first". The
    blocks of a cascade after block 4 (DeepLabv3 sec. 3.2), which no classifier has, keep their weights.

    `what` names the weights in an error: ValueError as `load_exactly`.
    """
    if isinstance(backbone, VGG16):
        load_exactly(backbone, convolutional_vgg16(state_dict), what)
        return
    added = {key: value for key, value in backbone.state_dict().items() if key.startswith(CASCADE_PREFIXES)}
    state = {key: value for key, value in state_dict.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    load_exactly(backbone, added | state, what)


def adapt_kernel(kernel: Tensor, channels: int) -> Tensor:
    """Gives an RGB kernel (N, 3, h, w) other input channels, by the rule of timm's `adapt_input_conv`."""
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    # more take the three in turn, times 3 / channels, which keeps responses as large
    return kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3 / channels)


def first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    """Returns the name and the module of the convolution that sees the pictures."""
    return next((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d))


def set_in_channels(model: nn.Module, channels: int, trained: bool) -> None:
    """Gives a network other input channels, in place; a trained kernel by `adapt_kernel`, a random one drawn anew."""
    _, conv = first_convolution(model)
    kernel = conv.weight.detach()
    if trained:
        adapted = adapt_kernel(kernel, channels)
    else:  # He's deviation for so many inputs
        size = (kernel.shape[0], channels, *kernel.shape[2:])
        adapted = kernel.new_empty(size).normal_() * kernel.std() * (3 / channels) ** 0.5
    conv.weight, conv.in_channels = nn.Parameter(adapted), channels
