"""From a recipe to its data set, augmentation and network."""

import os
import sys
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from seglib import distributed
from seglib.data import (
    CamVid,
    CityscapesSegmentation,
    PackedDataset,
    SegmentationDataset,
    ToyCityscapes,
    ToyVOC,
    VOCSegmentation,
    pack,
)
from seglib.data.augmentation import augmentation
from seglib.data.dataset import Transform
from seglib.data.noise import NoisyMasks
from seglib.data.transforms import Compose, Normalisation
from seglib.folds import fold_indices
from seglib.models import (
    FCN,
    VGG16,
    DeepLabV3,
    DeepLabV3Plus,
    HeadVariant,
    MobileNetV2,
    ResNet,
    UNet,
    Xception,
    load_imagenet_weights,
    load_vgg16_weights,
)
from seglib.models.checkpoints import load_exactly, read_state_dict
from seglib.models.norms import GhostBatchNorm2d, group_norm_like, replace_batch_norm
from seglib.models.resnet import UNITS
from seglib.models.xception import MIDDLE_UNITS
from seglib.recipe import Recipe

DEEPLABS = {"deeplabv3": DeepLabV3, "deeplabv3plus": DeepLabV3Plus}
FCN_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}


def build_dataset(
    recipe: Recipe, split: str, data_root: Path | None = None, train: bool = False, packed_root: Path | None = None
) -> SegmentationDataset:
    """The recipe's data set, with its augmentation where `train`.

    Args:
        split: name of an image list, or "fold", the part of `recipe.train_split` that is not trained on.
        data_root: the data set's folder, such as VOCdevkit; None is the bundled toy set, or that folder in SEGLIB_DATA.
        train: with the recipe's augmentation and label noise, and without the part that its `fold` leaves out.
        packed_root: keeps decoded copies, a folder for each image list: a list is packed when it is first asked for,
            and read from there (`seglib.data.pack`). The samples are the same bit for bit. None reads the files.

    Raises:
        ValueError: unknown data set. FileNotFoundError: no data_root and SEGLIB_DATA is not set.
        OSError: too little room in packed_root.
    """
    transform = training_transform(recipe) if train else None
    images = recipe.train_split if split == "fold" else split
    dataset = _open_dataset(recipe, images, data_root, transform)
    if packed_root is not None:
        folder = packed_root / "-".join((recipe.data, *_quality(recipe, images), images))
        dataset = PackedDataset(pack(dataset, folder, progress=sys.stderr.isatty()), transform, recipe.seed)
    if recipe.folds and (train or split == "fold"):
        left_out = fold_indices(len(dataset), recipe.folds)[recipe.fold]
        dataset = dataset.subset(sorted({*range(len(dataset))} - {*left_out}) if train else left_out)
    return NoisyMasks(dataset, recipe.label_noise) if train and recipe.label_noise else dataset


def _open_dataset(
    recipe: Recipe, split: str, data_root: Path | None, transform: Transform | None
) -> SegmentationDataset:
    if recipe.data == "toy_voc":
        return ToyVOC(split, root=data_root, transform=transform, seed=recipe.seed)
    if recipe.data == "toy_cityscapes":
        return ToyCityscapes(split, root=data_root, transform=transform, seed=recipe.seed)
    if recipe.data == "voc":
        root = data_root or data_folder() / "voc" / "VOCdevkit"
        return VOCSegmentation(root, split, transform=transform, partial=recipe.partial, seed=recipe.seed)
    if recipe.data == "cityscapes":
        root = data_root or data_folder() / "cityscapes"
        return CityscapesSegmentation(root, split, *_quality(recipe, split), transform=transform, seed=recipe.seed)
    if recipe.data == "camvid":
        return CamVid(data_root or data_folder() / "camvid", split, transform=transform, seed=recipe.seed)
    known = ("toy_voc", "voc", "toy_cityscapes", "cityscapes", "camvid")
    raise ValueError(f"recipe: data = {recipe.data!r}; expected one of {known}")


def _quality(recipe: Recipe, split: str) -> tuple[str, ...]:
    """Of a list's labels; nothing for data sets whose labels are of one quality."""
    if recipe.data != "cityscapes":
        return ()
    return (recipe.quality if split == recipe.train_split else "fine",)


def data_folder() -> Path:
    """The folder that SEGLIB_DATA names. Raises FileNotFoundError where it is not set or does not exist."""
    folder = os.environ.get("SEGLIB_DATA", "")
    if not folder or not Path(folder).is_dir():
        found = f"SEGLIB_DATA = {folder!r}, which is no folder" if folder else "SEGLIB_DATA is not set"
        raise FileNotFoundError(f"{found}; expected a folder with voc/VOCdevkit and weights/ (data/README.md)")
    return Path(folder)


def normalisation(recipe: Recipe) -> Normalisation:
    """The recipe's pixel convention."""
    return Normalisation.named(recipe.normalisation)


def training_transform(recipe: Recipe) -> Compose:
    """The recipe's augmentation. Raises ValueError: an unknown level."""
    fill = normalisation(recipe).fill
    scale = recipe.scale_range, recipe.scale_step
    return augmentation(recipe.augmentation, recipe.crop_size, *scale, recipe.flip, fill, recipe.squash)


def build_model(recipe: Recipe, num_classes: int, weights_root: Path | None = None) -> nn.Module:
    """The recipe's network with its initial weights, drawn from torch's current generator.

    Args:
        weights_root: folder of a `weights` file; None is `weights` in the folder SEGLIB_DATA.

    Raises:
        ValueError: unknown model or backbone; weights that do not fit; bn_batch in one of several processes.
        FileNotFoundError: the weights file is missing.
    """
    model = _build_network(recipe, num_classes, weights_root)
    _replace_norms(model, recipe)
    if recipe.start_from:
        path = (weights_root or data_folder() / "weights") / recipe.start_from
        load_exactly(model, read_state_dict(path), str(path))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.bn_momentum
    return model


def _replace_norms(model: nn.Module, recipe: Recipe) -> None:
    if recipe.norm == "group":
        replace_batch_norm(model, partial(group_norm_like, max_groups=recipe.norm_groups))
    if recipe.bn_batch is None:
        return
    if (processes := distributed.world_size()) > 1:
        raise ValueError(
            f"recipe: bn_batch = {recipe.bn_batch} in {processes} processes; expected one: several take batch norm's "
            "statistics over all of the batch"
        )
    replace_batch_norm(model, partial(GhostBatchNorm2d.like, group_size=recipe.bn_batch))


def _build_network(recipe: Recipe, num_classes: int, weights_root: Path | None) -> nn.Module:
    if recipe.model == "unet":
        return _build_unet(recipe, num_classes)
    if recipe.model not in (*DEEPLABS, *FCN_STRIDES):
        raise ValueError(f"recipe: model = {recipe.model!r}; expected one of {[*DEEPLABS, *FCN_STRIDES, 'unet']}")
    backbone = _build_backbone(recipe)
    if recipe.weights:
        public = recipe.weights == "torchvision"
        what = "torchvision's ImageNet weights" if public else str(weights_path(recipe, weights_root))
        load = load_vgg16_weights if isinstance(backbone, VGG16) else load_imagenet_weights
        load(backbone, read_weights(recipe, weights_root), what)
    if recipe.model in FCN_STRIDES:
        return FCN(num_classes, backbone, FCN_STRIDES[recipe.model])
    plus = recipe.model == "deeplabv3plus"
    options = {"decoder_channels": recipe.decoder_channels} if plus else {"aspp": recipe.aspp}
    return DEEPLABS[recipe.model](
        num_classes,
        backbone=backbone,
        output_stride=recipe.output_stride,
        atrous_rates=recipe.atrous_rates,
        image_pooling=recipe.image_pooling,
        channels=recipe.channels,
        variant=HeadVariant(
            aspp_dropout=recipe.dropout,
            separable=recipe.separable,
            decoder_depth=recipe.decoder_depth,
            decoder_kernel=recipe.decoder_kernel,
            decoder_width=recipe.decoder_width,
            decoder_conv3=recipe.decoder_conv3,
        ),
        **options,
    )


def _build_unet(recipe: Recipe, num_classes: int) -> UNet:
    depth = recipe.output_stride.bit_length() - 1
    if 2**depth != recipe.output_stride:
        raise ValueError(f"recipe: output_stride = {recipe.output_stride}; a U-Net's is a power of 2")
    if recipe.weights:
        raise ValueError(f"recipe: weights = {recipe.weights!r}; there are none for a U-Net")
    return UNet(num_classes, recipe.width, depth)


def _build_backbone(recipe: Recipe) -> nn.Module:
    if recipe.backbone == "vgg16" and recipe.model in FCN_STRIDES:
        return VGG16(recipe.width)
    if recipe.backbone == "mobilenet_v2":
        return MobileNetV2(output_stride=recipe.output_stride)
    if recipe.backbone in (names := {f"xception{depth}": depth for depth in MIDDLE_UNITS}):
        return Xception(names[recipe.backbone], recipe.output_stride)
    depth = recipe.backbone.removeprefix("resnet")
    if not depth.isdigit():
        raise ValueError(
            f"recipe: backbone = {recipe.backbone!r}; expected 'resnet18' ... 'resnet152', 'mobilenet_v2', "
            "'xception65', or 'vgg16' for an FCN"
        )
    multi_grid = recipe.multi_grid
    if multi_grid is None and recipe.model in FCN_STRIDES:
        multi_grid = (1,) * UNITS[int(depth)][1][-1]
    return ResNet(
        depth=int(depth),
        output_stride=recipe.output_stride,
        multi_grid=multi_grid,
        width=recipe.width,
        stem=recipe.stem,
        stride_unit=recipe.stride_unit,
        cascade_blocks=recipe.cascade_blocks,
        pre_activation=recipe.pre_activation,
    )


def read_weights(recipe: Recipe, weights_root: Path | None = None) -> dict[str, Tensor]:
    """The state dict that `recipe.weights` names. Raises FileNotFoundError or ValueError naming the file."""
    if recipe.weights == "torchvision":
        from torchvision.models import get_model_weights

        return get_model_weights(recipe.backbone).DEFAULT.get_state_dict(progress=False, check_hash=True)
    path = weights_path(recipe, weights_root)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights; weights = 'torchvision' downloads public ones")
    return read_state_dict(path)


def weights_path(recipe: Recipe, weights_root: Path | None = None) -> Path:
    """Where a `weights` file is looked for."""
    return (weights_root or data_folder() / "weights") / recipe.weights
