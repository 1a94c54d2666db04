"""From a recipe to its network with its initial weights."""

from functools import partial
from pathlib import Path

from torch import nn

from seglib.models.backbones import RESNETS, build_backbone
from seglib.models.deeplab import DeepLabV3, DeepLabV3Plus, HeadVariant
from seglib.models.fcn import FCN
from seglib.models.norms import GhostBatchNorm2d, group_norm_like, replace_batch_norm  # in batch norm's place
from seglib.models.resnet import UNITS
from seglib.models.unet import UNet
from seglib.models.weights import load_imagenet_weights, read_weights, set_in_channels  # files of initial weights
from seglib.recipe import Recipe

FCN_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}


def build_model(recipe: Recipe, num_classes: int, weights_root: Path | None = None) -> nn.Module:
    """Builds the recipe's network; initial weights are drawn from torch's current generator.

    Every network has `num_classes`, `output_stride` and `set_output_stride`, the grids of its maps (`backbone_grid`,
    `logits_grid`), and `forward(images, upsample=True)`: all that training and scoring ask of one.

    Args:
        weights_root: folder that is searched for the file that `weights` names, before data/checkpoints. A path is
            taken as it is. None: data/checkpoints, then the folder `weights` in SEGLIB_DATA.

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
        # an FCN is not dilated: factor 1 for each unit of block 4
        multi_grid = (1,) * UNITS[RESNETS[recipe.backbone]][1][-1]
    fields = ("stem", "stride_unit", "cascade_blocks", "pre_activation", "stem_stride")
    resnet = {name: getattr(recipe, name) for name in fields}
    backbone = build_backbone(recipe.backbone, recipe.output_stride, recipe.width, multi_grid=multi_grid, **resnet)
    if recipe.weights:
        load_imagenet_weights(backbone, *read_weights(recipe, weights_root))
    if recipe.cascade_blocks:
        backbone.copy_block4()
    if recipe.model in FCN_STRIDES:
        return FCN(num_classes, backbone, FCN_STRIDES[recipe.model])
    fields = ("separable", "decoder_depth", "decoder_kernel", "decoder_width", "decoder_conv3", "resize")
    variant = HeadVariant(recipe.dropout, **{name: getattr(recipe, name) for name in fields})
    head = (num_classes, backbone, None, recipe.atrous_rates, recipe.image_pooling, recipe.channels, variant)
    if recipe.model == "deeplabv3plus":
        return DeepLabV3Plus(*head, recipe.decoder_channels)
    return DeepLabV3(*head, aspp=recipe.aspp)
