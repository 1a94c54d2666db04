"""What a run depends on, in one frozen dataclass; its hash names the run."""

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

RECIPES = Path(__file__).parent / "recipes"
# Fields that say how a trained network is scored, and not how it is trained.
SCORING = ("eval_output_stride", "eval_scales", "eval_flip", "eval_window", "reestimate_bn")


@dataclass(frozen=True)
class Recipe:
    """Everything the result of a run depends on; the defaults are the papers' VOC protocol (v3 sec. 4.1, v3+ sec. 4).

    Two runs with equal recipes and equal files give the same weights, bit for bit on one CPU.

    Fields:
        data: "toy_voc", "voc", "toy_cityscapes", "cityscapes" or "camvid". train_split, val_split: its lists.
            quality: of Cityscapes' training labels, "fine" or "coarse". partial: accept fewer images than VOC's
            official lists have. folds, fold: train on all but part `fold` of train_split's `folds` random parts; that
            part is val_split "fold". label_noise: pixels by which the training masks' boundaries are displaced.
        crop_size: side of the square training crop in pixels. scale_range: random scale; scale_step: None draws it
            continuously, 0.25 takes one of the TF code's seven steps. squash: (height, width) of a plain resize in
            place of scale and crop. flip: probability. augmentation: the level, "geometric", "photometric" or
            "occlusion" (`seglib.data.augmentation`).
        normalisation: "imagenet" (mean/std) or "unit" (RGB / 127.5 - 1); must fit the weights.
        model: "deeplabv3plus", "deeplabv3", "fcn32s", "fcn16s", "fcn8s" (all three with output_stride 32) or "unet"
            (with output_stride 2 ** depth, and no backbone). backbone: "resnet18" ... "resnet152", "mobilenet_v2",
            "xception41", "xception65", "xception71", or "vgg16" for an FCN.
        width: of the ResNet, VGG16 or U-Net. stem, stride_unit, multi_grid, pre_activation: of the ResNet.
            cascade_blocks: its blocks behind block 4, which stand in ASPP's place. aspp: False leaves ASPP out of a
            deeplabv3. channels: of ASPP and decoder. decoder_channels: of the decoder's 1x1. separable: "none", "paper"
            or "plain". dropout: after ASPP.
        decoder_depth: number of convolutions in the decoder, with kernels of side decoder_kernel, 3 or 1, and
            decoder_width channels, None is `channels`. decoder_conv3: so many at stride 8 too, on the ResNet's block 2
            (v3+ Table 2; its row of Conv2 and Conv3 has decoder_depth 1).
        norm: "batch", or "group" for group norm (arXiv 1803.08494) in place of every batch norm, with as many groups as
            the largest divisor of the channels that is at most norm_groups; public weights, freeze_bn, bn_batch and
            reestimate_bn belong to batch norm. bn_batch: batch norm in training takes its statistics over groups of so
            many images of the batch, a divisor of batch_size ("ghost" batch norm, arXiv 1705.08741); None is the whole
            batch. In one process only.
        weights: "" for random ones, "torchvision" for its public ImageNet weights, else a file in the weights folder.
        start_from: file in the weights folder with a whole network's state dict, for a later stage; "" is none.
        loss: "cross_entropy", "upsampled_cross_entropy" (the same in less memory), "focal" (focal_gamma), "dice",
            "combined" (alpha), "hard_pixels" (keep_pixels) or "rmi". class_weights: "" or "inverse", "median", "enet".
            weight_denominator, label_smoothing, smoothed: of `seglib.losses.cross_entropy`. downsample_labels: a
            DeepLab's logits are not upsampled in training, the labels are brought to their size (v3 Table 8); scores
            are at full size as ever.
        batch_size: of all processes together. lr, end_lr; schedule: "poly" (power), "cosine", "step" (milestones,
            gamma) or "constant". decay_steps: its length, None is iterations. warm_up: steps from 0 to the schedule.
            optimizer: "sgd", "adam" or "adamw", for which momentum is beta 1. backbone_lr_factor, bias_lr_factor: times
            lr. depthwise_decay: weight decay on depthwise weights too, which the TF code has off. freeze_bn: keep all
            of batch norm as it starts. bn_momentum: share of a new batch in its running statistics (1 - the TF code's
            decay).
        eval_every: iterations between scores on val_split. patience: stop after so many of them without a new best, and
            end with the best's weights; 0 never stops.
        reestimate_bn: batches of fresh training crops over which batch norm's running statistics are estimated again
            before the evaluation at the end; 0 keeps the training's, as the checkpoint does in any case.
        mixed_precision: on CUDA only. eval_output_stride: None is the training one. eval_scales, eval_flip: test time.
            eval_window: (height, width) of sliding windows that overlap by a third; None predicts whole images.
    """

    data: str = "toy_voc"
    train_split: str = "trainaug"
    val_split: str = "val"
    quality: str = "fine"
    partial: bool = False
    folds: int = 0
    fold: int = 0
    label_noise: int = 0
    crop_size: int = 513
    scale_range: tuple[float, float] = (0.5, 2.0)
    scale_step: float | None = None
    squash: tuple[int, int] | None = None
    flip: float = 0.5
    augmentation: str = "geometric"
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
    decoder_depth: int = 2
    decoder_kernel: int = 3
    decoder_width: int | None = None
    decoder_conv3: bool = False
    separable: str = "none"
    dropout: float = 0.1
    norm: str = "batch"
    norm_groups: int = 32
    bn_batch: int | None = None
    weights: str = ""
    start_from: str = ""

    loss: str = "cross_entropy"
    class_weights: str = ""
    weight_denominator: str = "weights"
    label_smoothing: float = 0.0
    smoothed: str = "pytorch"
    focal_gamma: float = 2.0
    alpha: float = 0.6
    keep_pixels: float = 1.0
    downsample_labels: bool = False

    batch_size: int = 16
    iterations: int = 30_000
    lr: float = 0.007
    end_lr: float = 0.0
    schedule: str = "poly"
    power: float = 0.9
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    decay_steps: int | None = None
    warm_up: int = 0
    backbone_lr_factor: float = 1.0
    bias_lr_factor: float = 1.0
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    depthwise_decay: bool = True
    freeze_bn: bool = False
    bn_momentum: float = 0.1
    eval_every: int | None = None
    patience: int = 0
    mixed_precision: bool = True
    seed: int = 0

    reestimate_bn: int = 0
    eval_output_stride: int | None = None
    eval_scales: tuple[float, ...] = (1.0,)
    eval_flip: bool = False
    eval_window: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        least_values = {"crop_size": 1, "batch_size": 1, "iterations": 1, "seed": 0, "label_noise": 0, "patience": 0}
        least_values |= {"norm_groups": 1, "reestimate_bn": 0}
        for name, least in least_values.items():
            if getattr(self, name) < least:
                raise ValueError(f"recipe: {name} = {getattr(self, name)}; expected at least {least}")
        if self.patience and not self.eval_every:
            raise ValueError(f"recipe: patience = {self.patience} counts scores; expected an eval_every, found none")
        if (self.folds or self.fold) and not 0 <= self.fold < self.folds >= 2:
            raise ValueError(
                f"recipe: fold = {self.fold}, folds = {self.folds}; expected 0 <= fold < folds, folds >= 2"
            )
        if self.val_split == "fold" and not self.folds:
            raise ValueError("recipe: val_split = 'fold' is the part that is left out; expected folds, found 0")
        if not self.eval_scales or min(self.eval_scales) <= 0:
            raise ValueError(f"recipe: eval_scales = {self.eval_scales}; expected at least one, each more than 0")
        if self.downsample_labels and (self.loss.startswith("upsampled") or not self.model.startswith("deeplab")):
            raise ValueError(
                f"recipe: downsample_labels with loss = {self.loss!r}, model = {self.model!r}; expected a loss that "
                "does not upsample, and a DeepLab"
            )
        if self.eval_window is not None and (len(self.eval_window) != 2 or min(self.eval_window) < 1):
            raise ValueError(f"recipe: eval_window = {self.eval_window}; expected (height, width), each at least 1")
        self._check_norm()

    def _check_norm(self) -> None:
        if self.norm not in ("batch", "group"):
            raise ValueError(f"recipe: norm = {self.norm!r}; expected 'batch' or 'group'")
        if self.norm == "group" and self.weights:
            raise ValueError(
                f"recipe: norm = 'group' with weights = {self.weights!r}; public weights were trained with batch norm, "
                "expected weights = ''"
            )
        of_batch_norm = [name for name in ("freeze_bn", "bn_batch", "reestimate_bn") if getattr(self, name)]
        if self.norm == "group" and of_batch_norm:
            raise ValueError(f"recipe: norm = 'group' leaves no batch norm; expected {of_batch_norm} at their defaults")
        if self.freeze_bn and self.reestimate_bn:
            raise ValueError(
                f"recipe: reestimate_bn = {self.reestimate_bn} with freeze_bn, which keeps all of batch norm"
            )
        if self.bn_batch is not None and (self.bn_batch < 1 or self.batch_size % self.bn_batch):
            raise ValueError(
                f"recipe: bn_batch = {self.bn_batch}; expected a divisor of batch_size = {self.batch_size}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """A recipe from plain values (lists become tuples). Raises ValueError naming a wrong field or type."""
        types = get_type_hints(cls)
        if unknown := sorted(set(values) - set(types)):
            raise ValueError(f"recipe: unknown fields {unknown}; known are {sorted(types)}")
        return cls(**{name: _checked(name, value, types[name]) for name, value in values.items()})

    @classmethod
    def load(cls, name: str | Path) -> "Recipe":
        """Reads a TOML file: a path, or the name of one in `seglib/recipes`. Raises FileNotFoundError, ValueError."""
        path = toml_path(name, RECIPES, "recipe")
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
        return f"{self.data}-{self.model}-{_digest(self.changes())}"

    @property
    def training_name(self) -> str:
        """As `name`, the same for recipes that differ in how the trained network is scored: they share its training."""
        return f"{self.data}-{self.model}-{_digest(training_changes(self.changes()))}"


def toml_path(name: str | Path, folder: Path, what: str) -> Path:
    """A file by its path, or by its name alone from a folder of the package. Raises FileNotFoundError."""
    path = Path(name)
    if path.suffix != ".toml":
        path = folder / f"{name}.toml"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.toml"))
        raise FileNotFoundError(f"{path}: no such {what}; the package has {known}")
    return path


def training_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """What of a recipe's `changes()` the weights depend on: all, where scores during training are part of it."""
    if changes.get("eval_every"):
        return changes
    return {name: value for name, value in changes.items() if name not in SCORING}


def _digest(changes: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:12]


def _checked(name: str, value: Any, kind: Any) -> Any:
    try:
        return _fitted(value, kind)
    except TypeError:
        expected = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
        default = getattr(Recipe, name, None)
        such = f" such as {default!r}" if default not in (None, "", ()) else ""
        raise ValueError(f"recipe: {name} = {value!r}; expected {expected}{such}") from None


def _fitted(value: Any, kind: Any) -> Any:
    """The value as a field's type has it: lists as tuples, whole numbers as floats. Raises TypeError: it is another."""
    if isinstance(kind, UnionType):  # X | None
        return None if value is None else _fitted(value, get_args(kind)[0])
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        kinds = kinds[:1] * len(value) if kinds[-1] is ... and isinstance(value, list | tuple) else kinds
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            raise TypeError
        return tuple(map(_fitted, value, kinds))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError
    return value
