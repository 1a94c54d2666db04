"""From a recipe to its network with its initial weights."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from seglib.files import PROJECT, data_folder, hash_file, read_state_dict
from seglib.models.backbones import RESNETS, build_backbone
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus, HeadVariant
from seglib.models.fcn import FCN
from seglib.models.inputs import set_in_channels
from seglib.models.layers import Backbone, load_exactly
from seglib.models.norms import GhostBatchNorm2d, group_norm_like, replace_batch_norm  # in batch norm's place
from seglib.models.resnet import UNITS
from seglib.models.unet import UNet
from seglib.models.vgg import VGG16, convolutional_vgg16
from seglib.recipe import Recipe

FCN_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
BUNDLED = PROJECT / "data" / "checkpoints"
CLASSIFIER_PREFIXES = ("fc.", "classifier.", "features.18.")  # of torchvision's classifiers
CASCADE_PREFIXES = ("layer5.", "layer6.", "layer7.")


def build_model(recipe: Recipe, num_classes: int, weights_root: Path | None = None) -> nn.Module:
    """Builds the recipe's network; initial weights are drawn from torch's current generator.

    Args:
        weights_root: folder of the file that `weights` names. A file that it does not have is one of the bundled ones
            in data/checkpoints, or a path. None: one of those, or of `weights` in the folder SEGLIB_DATA.

    Raises:
        ValueError: if settings of the recipe do not fit its model, or weights do not fit.
        FileNotFoundError: if the weights file is missing.
    """
    if recipe.source or recipe.start_from:
        raise ValueError("source, start_from: not of `build_model`; `seglib.train.start.build_network` has them")
    return adapt_network(_build_network(recipe, num_classes, weights_root), recipe)


def adapt_network(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Gives a network the recipe's input channels, its norm in batch norm's place, and the norm's momentum."""
    if recipe.in_channels != 3:
        set_in_channels(model, recipe.in_channels, trained=bool(recipe.weights))
    if recipe.norm == "group":
        replace_batch_norm(model, partial(group_norm_like, max_groups=recipe.norm_groups))
    if recipe.bn_batch is not None:
        replace_batch_norm(model, partial(GhostBatchNorm2d.like, group_size=recipe.bn_batch))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.bn_momentum
    return model


def _build_network(recipe: Recipe, num_classes: int, weights_root: Path | None) -> nn.Module:
    if recipe.model == "unet":
        return UNet(num_classes, recipe.width, depth=recipe.output_stride.bit_length() - 1)
    multi_grid = recipe.multi_grid
    if multi_grid is None and recipe.model in FCN_STRIDES and recipe.backbone in RESNETS:
        multi_grid = (1,) * UNITS[RESNETS[recipe.backbone]][1][-1]
    backbone = build_backbone(
        recipe.backbone,
        recipe.output_stride,
        width=recipe.width,
        multi_grid=multi_grid,
        stem=recipe.stem,
        stride_unit=recipe.stride_unit,
        cascade_blocks=recipe.cascade_blocks,
        pre_activation=recipe.pre_activation,
        stem_stride=recipe.stem_stride,
    )
    if recipe.weights:
        load_imagenet_weights(backbone, *_read_weights(recipe, weights_root))
    if recipe.cascade_blocks:
        backbone.copy_block4()
    if recipe.model in FCN_STRIDES:
        return FCN(num_classes, backbone, FCN_STRIDES[recipe.model])
    head = {
        "atrous_rates": recipe.atrous_rates,
        "image_pooling": recipe.image_pooling,
        "channels": recipe.channels,
        "variant": HeadVariant(
            aspp_dropout=recipe.dropout,
            separable=recipe.separable,
            decoder_depth=recipe.decoder_depth,
            decoder_kernel=recipe.decoder_kernel,
            decoder_width=recipe.decoder_width,
            decoder_conv3=recipe.decoder_conv3,
            resize=recipe.resize,
        ),
    }
    if recipe.model == "deeplabv3plus":
        return DeepLabV3Plus(num_classes, backbone, decoder_channels=recipe.decoder_channels, **head)
    return DeepLabV3(num_classes, backbone, aspp=recipe.aspp, **head)


def _read_weights(recipe: Recipe, weights_root: Path | None) -> tuple[Mapping[str, Tensor], str]:
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
    """Loads a torchvision classifier's weights into a ResNet, MobileNetV2 or VGG16, in place.

    The last layer (with it MobileNetV2's last 1x1 convolution) is dropped; VGG16's two hidden layers become
    convolutions. torchvision's ResNets stride in the first unit, so the backbone should have stride_unit="first". The
    blocks of a cascade after block 4 (DeepLabv3 sec. 3.2), which no classifier has, keep their weights.

    Args:
        state_dict: the whole state dict of `torchvision.models.resnet50`, `mobilenet_v2` or the like.
        what: names the weights in an error.

    Raises:
        ValueError: if keys are missing, left over or of another shape; lists them.
    """
    if isinstance(backbone, VGG16):
        load_exactly(backbone, convolutional_vgg16(state_dict), what)
        return
    added = {key: value for key, value in backbone.state_dict().items() if key.startswith(CASCADE_PREFIXES)}
    state = {key: value for key, value in state_dict.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    load_exactly(backbone, added | state, what)
