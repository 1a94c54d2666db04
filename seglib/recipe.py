"""What a run depends on, in one frozen dataclass; its hash names the run."""

import dataclasses
import hashlib
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from seglib.data import SegmentationDataset, ToyVOC, VOCSegmentation
from seglib.data.transforms import ColorJitter, Compose, Normalisation, RandomFlip, RandomScaleCrop
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
from seglib.models.checkpoints import read_state_dict
from seglib.models.resnet import UNITS
from seglib.models.xception import MIDDLE_UNITS

RECIPES = Path(__file__).parent / "recipes"
DEEPLABS = {"deeplabv3": DeepLabV3, "deeplabv3plus": DeepLabV3Plus}
FCN_STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}


@dataclass(frozen=True)
class Recipe:
    """Everything the result of a run depends on; the defaults are the papers' VOC protocol (v3 sec. 4.1, v3+ sec. 4).

    Two runs with equal recipes and equal files give the same weights, bit for bit on one CPU.

    Fields:
        data: "toy_voc" or "voc". train_split, val_split: lists of that data set. partial: accept fewer images than the
            official lists have.
        crop_size: side of the square training crop in pixels. scale_range: random scale; scale_step: None draws it
            continuously, 0.25 takes one of the TF code's seven steps. flip: probability. colour_jitter: 0 is off.
        normalisation: "imagenet" (mean/std) or "unit" (RGB / 127.5 - 1); must fit the weights.
        model: "deeplabv3plus", "deeplabv3", "fcn32s", "fcn16s", "fcn8s" (all three with output_stride 32) or "unet"
            (with output_stride 2 ** depth, and no backbone). backbone: "resnet18" ... "resnet152", "mobilenet_v2",
            "xception41", "xception65", "xception71", or "vgg16" for an FCN.
        width: of the ResNet, VGG16 or U-Net. stem, stride_unit, multi_grid, pre_activation: of the ResNet.
            cascade_blocks: its blocks behind block 4, which stand in ASPP's place. aspp: False leaves ASPP out of a
            deeplabv3. channels: of ASPP and decoder. decoder_channels: of the decoder's 1x1. separable: "none", "paper"
            or "plain". dropout: after ASPP.
        weights: "" for random ones, "torchvision" for its public ImageNet weights, else a file in the weights folder.
        lr, power, end_lr: poly schedule. backbone_lr_factor: times lr for the backbone. optimizer: "sgd", or "adamw",
            for which momentum is beta 1.
        mixed_precision: on CUDA only. eval_output_stride: None is the training one. eval_scales, eval_flip: test time.
    """

    data: str = "toy_voc"
    train_split: str = "trainaug"
    val_split: str = "val"
    partial: bool = False
    crop_size: int = 513
    scale_range: tuple[float, float] = (0.5, 2.0)
    scale_step: float | None = None
    flip: float = 0.5
    colour_jitter: float = 0.0
    normalisation: str = "imagenet"

    model: str = "deeplabv3plus"
    backbone: str = "resnet101"
    width: int = 64
    stem: str = "7x7"
    stride_unit: str = "last"
    multi_grid: tuple[int, ...] | None = None
    pre_activation: bool = False
    cascade_blocks: int = 0
    aspp: bool = True
    output_stride: int = 16
    atrous_rates: tuple[int, ...] | None = None
    image_pooling: bool = True
    channels: int = 256
    decoder_channels: int = 48
    separable: str = "none"
    dropout: float = 0.1
    weights: str = ""

    batch_size: int = 16
    iterations: int = 30_000
    lr: float = 0.007
    power: float = 0.9
    end_lr: float = 0.0
    backbone_lr_factor: float = 1.0
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    mixed_precision: bool = True
    seed: int = 0

    eval_output_stride: int | None = None
    eval_scales: tuple[float, ...] = (1.0,)
    eval_flip: bool = False

    def __post_init__(self) -> None:
        for name, least in (("crop_size", 1), ("batch_size", 1), ("iterations", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"recipe: {name} = {getattr(self, name)}; expected at least {least}")
        if not self.eval_scales or min(self.eval_scales) <= 0:
            raise ValueError(f"recipe: eval_scales = {self.eval_scales}; expected at least one, each more than 0")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """A recipe from plain values (lists become tuples). Raises ValueError naming a wrong field or type."""
        defaults = {field.name: field.default for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(defaults)):
            raise ValueError(f"recipe: unknown fields {unknown}; known are {sorted(defaults)}")
        return cls(**{name: _checked(name, value, defaults[name]) for name, value in values.items()})

    @classmethod
    def load(cls, name: str | Path) -> "Recipe":
        """Reads a TOML file: a path, or the name of one in `seglib/recipes`. Raises FileNotFoundError, ValueError."""
        path = Path(name)
        if path.suffix != ".toml":
            path = RECIPES / f"{name}.toml"
        if not path.exists():
            known = sorted(p.stem for p in RECIPES.glob("*.toml"))
            raise FileNotFoundError(f"{path}: no such recipe; the package has {known}")
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def replace(self, **changes: Any) -> "Recipe":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def changes(self) -> dict[str, Any]:
        """The fields that differ from the defaults, as JSON values."""
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        return json.loads(json.dumps(mine))

    @property
    def name(self) -> str:
        """Data set, model and a hash over `changes()`, which a later field with a default leaves as it is."""
        digest = hashlib.sha256(json.dumps(self.changes(), sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.data}-{self.model}-{digest}"


def _checked(name: str, value: Any, default: Any) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise ValueError(f"recipe: {name} = {value!r}; expected {type(default).__name__} such as {default!r}")
    return value


def build_dataset(
    recipe: Recipe, split: str, data_root: Path | None = None, train: bool = False
) -> SegmentationDataset:
    """The recipe's data set, with its augmentation where `train`.

    Args:
        split: name of an image list.
        data_root: the VOCdevkit folder; None is the bundled toy set, or `voc/VOCdevkit` of the folder SEGLIB_DATA.

    Raises:
        ValueError: unknown data set. FileNotFoundError: no data_root and SEGLIB_DATA is not set.
    """
    transform = training_transform(recipe) if train else None
    if recipe.data == "toy_voc":
        return ToyVOC(split, root=data_root, transform=transform, seed=recipe.seed)
    if recipe.data == "voc":
        root = data_root or data_folder() / "voc" / "VOCdevkit"
        return VOCSegmentation(root, split, transform=transform, partial=recipe.partial, seed=recipe.seed)
    raise ValueError(f"recipe: data = {recipe.data!r}; expected 'toy_voc' or 'voc'")


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
    """Random scale and crop, flip and colour jitter as the recipe says."""
    fill = normalisation(recipe).fill
    steps = [
        RandomScaleCrop(recipe.crop_size, recipe.scale_range, recipe.scale_step, fill=fill),
        RandomFlip(recipe.flip),
    ]
    if recipe.colour_jitter:
        jitter = recipe.colour_jitter
        steps.append(ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter))
    return Compose(tuple(steps))


def build_model(recipe: Recipe, num_classes: int, weights_root: Path | None = None) -> nn.Module:
    """The recipe's network with its initial weights, drawn from torch's current generator.

    Args:
        weights_root: folder of a `weights` file; None is `weights` in the folder SEGLIB_DATA.

    Raises:
        ValueError: unknown model or backbone. FileNotFoundError: the weights file is missing.
    """
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
        variant=HeadVariant(aspp_dropout=recipe.dropout, separable=recipe.separable),
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
