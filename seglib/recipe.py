"""Every setting of a run, in one frozen struct; its hash names the run.

"v3" is the paper of DeepLabv3 (arXiv 1706.05587), "v3+" that of DeepLabv3+ (1802.02611), and "the TF code" their
authors'. A head is all that comes after the backbone. Atrous is dilated; a rate is a dilation. A ResNet is a stem and
blocks (torchvision's `layer1` to `layer4`) of residual units; a multi-grid gives each unit of block 4 a factor for
its rate. ASPP, atrous spatial pyramid pooling, is a set of convolutions of several rates, side by side; the decoder
joins its output with a low-level map, that of stride 4.
"""

import hashlib
import json
import math
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

RECIPES = Path(__file__).parent / "recipes"
# The fields that say how a trained network is scored, and not how it is trained.
SCORING = (
    "eval_output_stride", "eval_scales", "eval_flip", "eval_window", "eval_squash", "eval_continued", "reestimate_bn",
)  # fmt: skip

CONVENTIONS = {  # `weights` -> the normalisation that they were trained with
    "torchvision": "imagenet", "toy_mini_pretrained.pth": "imagenet", "mobilenet_v2_imagenet.pth": "unit",
}  # fmt: skip
FIXED_BY_SOURCE = (  # the fields that a network of another library (`source`) leaves no choice of
    "width", "stem", "stem_stride", "stride_unit", "multi_grid", "pre_activation", "cascade_blocks", "aspp",
    "image_pooling", "decoder_channels", "decoder_depth", "decoder_kernel", "decoder_width", "decoder_conv3", "resize",
    "dropout", "norm", "weights",
)  # fmt: skip

SUMS_OVER_PIXELS = ("cross_entropy", "upsampled_cross_entropy", "focal")  # losses that parts of a batch add up to

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Size = tuple[Positive, Positive]  # (height, width) in pixels


class Recipe(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Everything that the result of a run depends on.

    The defaults follow the papers' VOC protocol (v3 sec. 4.1), but for random weights, the momentum of
    batch norm, which is PyTorch's, and a ResNet's stem, which is "3x3" in the authors' code.

    Two runs with equal recipes and equal files give the same weights, bit for bit on one CPU.

    Raises:
        ValueError: if a field is unknown, has a wrong type or value, or does not go together with another one.
    """

    # --- data
    data: Literal["toy_voc", "toy_mini", "voc", "toy_cityscapes", "cityscapes", "camvid", "folder"] = "toy_voc"
    train_split: str = "trainaug"  # the image list that is trained on; "trainaug" is VOC's "train" and what SBD adds
    val_split: str = "val"  # the list that is scored; "fold" is the part that `fold` leaves out
    quality: Literal["fine", "coarse"] = "fine"  # of Cityscapes' training labels
    partial: bool = False  # accept fewer images than VOC's official lists have
    folds: Count = 0  # split train_split at random into so many parts; 0 does not split it
    fold: Count = 0  # the part that is left out of the training
    label_noise: Count = 0  # pixels by which the boundaries of the training masks are displaced

    # --- augmentation
    crop_size: Positive = 513  # side of the square training crop, in pixels
    scale_range: tuple[float, float] = (0.5, 2.0)  # smallest and largest random scale
    squash: Size | None = None  # resize to this size, in place of random scale and crop
    flip: Share = 0.5  # probability of a mirror image
    augmentation: Literal["geometric", "photometric", "occlusion"] = "geometric"  # each adds to the one before it
    in_channels: Positive = 3  # of the pictures; 1 is grey
    # Mean and deviation of ImageNet or of the training pictures, or value / 127.5 - 1; as the weights ask
    normalisation: Literal["imagenet", "unit", "measured"] = "imagenet"

    # --- network
    model: Literal["deeplabv3plus", "deeplabv3", "fcn32s", "fcn16s", "fcn8s", "unet"] = "deeplabv3plus"
    backbone: Literal[
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2", "xception41", "xception65",
        "xception71", "vgg16",
    ] = "resnet101"  # fmt: skip  # vgg16 only for an FCN; a U-Net has none
    width: Positive = 64  # channels of the first block: of a ResNet's 3x3 convolutions, of all in VGG16 or U-Net
    stem: Literal["7x7", "3x3"] = "7x7"  # this field, and those down to `cascade_blocks`, apply only to ResNets
    stem_stride: Literal[4, 1] = 4  # 1, for small crops: maps four times as fine, and the same names for their strides
    stride_unit: Literal["last", "first"] = "last"  # "first" with torchvision's weights
    multi_grid: tuple[Positive, ...] | None = None  # rate factors of block 4's units; None is (1, 2, 4)
    pre_activation: bool = False  # batch norm and ReLU in front of the convolutions
    cascade_blocks: Count = 0  # blocks after block 4, in ASPP's place (v3 sec. 3.2)
    aspp: bool = True  # False leaves ASPP out of a deeplabv3
    output_stride: Positive = 16  # sides: input / backbone's last map; 32 for an FCN, 2 ** depth for a U-Net
    atrous_rates: tuple[Positive, ...] | None = None  # of ASPP, at `output_stride`; None: (6, 12, 18) at 16
    image_pooling: bool = True  # ASPP's image-level branch
    channels: Positive = 256  # of ASPP and the decoder
    decoder_channels: Positive = 48  # of the decoder's 1x1 convolution on the low-level map
    decoder_depth: Positive = 2  # convolutions in the decoder (v3+ Table 2)
    decoder_kernel: Literal[1, 3] = 3  # their side
    decoder_width: Positive | None = None  # their channels; None is `channels`
    decoder_conv3: bool = False  # a second such stack at stride 8, joined with the ResNet's block 2 (v3+ Table 2)
    separable: Literal["none", "paper", "plain"] = "none"  # 3x3 convolutions of ASPP and decoder
    # A DeepLab's maps are sampled where their values lie ("aligned"), or by their sizes: with align_corners=False
    # ("centred", as in many public implementations) or True ("stretched", as in the papers' code, at 16 k + 1 pixels).
    resize: Literal["aligned", "centred", "stretched"] = "aligned"
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.1  # probability after ASPP
    norm: Literal["batch", "group"] = "batch"  # group norm: arXiv 1803.08494
    norm_groups: Positive = 32  # group norm has the largest divisor of the channels that is at most this many
    bn_batch: Positive | None = None  # batch norm over groups of so many images (arXiv 1705.08741); None is the batch
    # Of the backbone: "" random, "torchvision" its ImageNet ones, or a file in data/checkpoints or SEGLIB_DATA/weights
    weights: str = ""
    start_from: str = ""  # such a file of the whole network, or a path: of a run, a state dict, or of `source`
    # The library whose network this is (`zoo/checkpoints.py` has them): it fixes all that `model`, `backbone`,
    # `separable`, `output_stride`, `atrous_rates` and `channels` do not say
    source: Literal["", "torchvision", "smp", "vainf", "jfzhang95", "tf-mobilenet"] = ""

    # --- loss
    loss: Literal[
        "cross_entropy", "upsampled_cross_entropy", "focal", "dice", "combined", "hard_pixels", "rmi"
    ] = "cross_entropy"  # fmt: skip  # upsampled_cross_entropy: the same in less memory; rmi: region mutual information
    class_weights: Literal["", "inverse", "median", "enet"] = ""  # rules on the classes' pixels, `losses.class_weights`
    label_smoothing: Share = 0.0
    smoothed: Literal["pytorch", "report"] = "pytorch"  # the rule of label smoothing; "combined" has "report"'s
    focal_gamma: Annotated[float, Meta(ge=0)] = 2.0  # "focal": how much less a sure pixel counts
    alpha: Share = 0.6  # "combined": share of cross-entropy; the rest is Dice
    keep_pixels: Annotated[float, Meta(gt=0, le=1)] = 1.0  # "hard_pixels": share of the pixels that count
    rmi_weight: Share = 0.5  # "rmi": share of binary cross-entropy; the rest is the region term
    downsample_labels: bool = False  # compare at the head's stride, not at the label's (v3 Table 8)

    # --- optimisation
    batch_size: Positive = 16  # over all processes together
    accumulate: Positive = 1  # parts that a batch is computed in, for small GPUs: batch norm sees a part at a time
    iterations: Positive = 30_000
    lr: Annotated[float, Meta(ge=0)] = 0.007
    end_lr: Annotated[float, Meta(ge=0)] = 0.0  # of poly and cosine
    schedule: Literal["poly", "cosine", "step", "constant"] = "poly"
    milestones: tuple[Count, ...] = ()  # "step": the iterations at which lr is multiplied by gamma
    gamma: Annotated[float, Meta(ge=0)] = 0.1
    decay_steps: Positive | None = None  # length of the schedule; None is `iterations`
    warm_up: Count = 0  # iterations over which lr rises from 0 to the schedule's value
    backbone_lr_factor: Annotated[float, Meta(ge=0)] = 1.0  # times lr
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9  # beta 1 of adam and adamw
    weight_decay: Annotated[float, Meta(ge=0)] = 1e-4
    freeze_bn: bool = False  # keep batch norm as it starts (v3 sec. 4.1, second stage)
    frozen_blocks: Annotated[int, Meta(ge=0, le=4)] = 0  # so many blocks of a ResNet, and its stem, stay as they start
    # share of a new batch in the running statistics; PyTorch's. v3 has 0.0003, the TF code in heads; in ResNets 0.05
    bn_momentum: Share = 0.1
    eval_every: Positive | None = None  # iterations between scores on val_split
    patience: Count = 0  # stop after so many scores without a new best, keep the best weights; 0 never stops
    mixed_precision: bool = True  # only on CUDA
    compile: bool = False  # train by torch.compile: fewer passes over memory, after a minute of compiling
    seed: Count = 0

    # --- scoring
    reestimate_bn: Count = 0  # batches of fresh crops over which batch norm's statistics are estimated again
    eval_output_stride: Positive | None = None  # None is the training's
    eval_scales: tuple[Annotated[float, Meta(gt=0)], ...] = (1.0,)
    eval_flip: bool = False  # average with the mirror image
    eval_window: Size | None = None  # of sliding windows that overlap by a third; None predicts whole images
    eval_squash: Size | None = None  # resize pictures and labels to this size, and count there
    eval_continued: bool | None = None  # repeat edge pixels, as `Scoring` says; None: if values lie on first pixels

    def __post_init__(self) -> None:
        for name, kind in _types().items():  # a constructor neither checks types nor makes 1 a 1.0
            given = getattr(self, name)
            if (value := _convert(name, given, kind)) is not given and repr(value) != repr(given):
                msgspec.structs.force_setattr(self, name, value)
        _check_pairs(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Makes a recipe of plain values; lists become tuples. Raises ValueError naming the field."""
        if unknown := sorted(set(values) - set(cls.__struct_fields__)):
            raise ValueError(f"recipe: unknown fields {unknown}; known are {sorted(cls.__struct_fields__)}")
        return cls(**values)

    @classmethod
    def load(cls, name: str | Path) -> "Recipe":
        """Reads a TOML file: a path, or the name of one in `seglib/recipes`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no recipe; names the file.
        """
        path = toml_path(name, RECIPES, "recipe")
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not a text in UTF-8 (is it UTF-16?); save it as UTF-8") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def replace(self, **changes: Any) -> "Recipe":
        """Returns a copy with some fields changed. Raises ValueError as the constructor does."""
        return Recipe.from_dict({**msgspec.structs.asdict(self), **changes})

    def changes(self) -> dict[str, Any]:
        """Returns the fields that differ from the defaults, as JSON values."""
        defaults = zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
        mine = {name: getattr(self, name) for name, default in defaults if getattr(self, name) != default}
        return json.loads(json.dumps(mine))

    @property
    def name(self) -> str:
        """Data set, model and a hash of `changes()`. A new field renames no existing run."""
        return f"{self.data}-{self.model}-{_digest(self.changes())}"

    @property
    def training_name(self) -> str:
        """As `name`, but equal for recipes that differ only in scoring: they share one training."""
        return f"{self.data}-{self.model}-{_digest(training_changes(self.changes()))}"


def toml_path(name: str | Path, folder: Path, what: str) -> Path:
    """Finds a TOML file by its path, or by its name in a folder of the package.

    Raises:
        FileNotFoundError: if there is none; lists the package's own.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = folder / f"{name}.toml"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.toml"))
        raise FileNotFoundError(f"{path}: no such {what}; the package has {known}")
    return path


def training_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a recipe's `changes()` that affects the weights.

    Scoring fields belong to it only if scores steer or accompany the training (`eval_every`).
    """
    if changes.get("eval_every"):
        return changes
    return {name: value for name, value in changes.items() if name not in SCORING}


def _digest(changes: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:12]


@cache
def _types() -> dict[str, Any]:
    return get_type_hints(Recipe, include_extras=True)


def _convert(name: str, value: Any, kind: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(number, float) and math.isinf(number) for number in numbers):
        raise ValueError(f"recipe: {name} = {value!r}; expected finite numbers")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if get_origin(kind) is Literal:
            expected = f"expected one of {list(get_args(kind))}"
        else:
            expected = str(error).replace("Expected", "expected").replace("`", "")
            expected = expected.replace("array", "list").replace("null", "None")
        raise ValueError(f"recipe: {name} = {value!r}; {expected}") from None


def _check_pairs(r: Recipe) -> None:
    """Raises ValueError for fields that do not go together."""

    def refuse(name: str, why: str) -> None:
        raise ValueError(f"recipe: {name} = {getattr(r, name)!r}; {why}")

    if r.patience and not r.eval_every:
        refuse("patience", "it counts scores: expected an eval_every, found none")
    if r.patience and r.eval_every > r.iterations:
        refuse("patience", f"expected a score before the end, found eval_every = {r.eval_every} of {r.iterations}")
    if not r.aspp and r.model != "deeplabv3":
        refuse("aspp", f"only a deeplabv3 can do without, found model = {r.model!r}")
    if (r.folds or r.fold) and not 0 <= r.fold < r.folds >= 2:
        refuse("fold", f"expected 0 <= fold < folds and folds >= 2, found folds = {r.folds}")
    if r.val_split == "fold" and not r.folds:
        refuse("val_split", "the part that is left out: expected folds, found 0")
    if not 0 < r.scale_range[0] <= r.scale_range[1]:
        refuse("scale_range", "expected 0 < smallest <= largest")
    if not r.eval_scales:
        refuse("eval_scales", "expected at least one scale")
    if r.downsample_labels and (r.loss.startswith("upsampled") or not r.model.startswith("deeplab")):
        refuse("downsample_labels", f"expected a DeepLab and a loss that does not upsample, found {r.model}, {r.loss}")
    if r.resize != "aligned" and not r.model.startswith("deeplab"):
        refuse("resize", f"only a DeepLab has a choice, found model = {r.model!r}")
    if r.class_weights and r.loss in ("dice", "hard_pixels", "rmi"):
        refuse("class_weights", f"loss {r.loss!r} takes none")
    if r.label_smoothing and r.loss in ("focal", "dice", "hard_pixels", "rmi"):
        refuse("label_smoothing", f"loss {r.loss!r} takes none")
    if (r.schedule == "step") != bool(r.milestones):
        refuse("milestones", f"expected some with schedule 'step' and none with another, found {r.schedule!r}")
    if r.backbone == "vgg16" and not r.model.startswith("fcn") and r.model != "unet":
        refuse("backbone", f"only an FCN has it, found model = {r.model!r}")
    if r.in_channels not in (1, 3) and (r.normalisation == "imagenet" or r.augmentation != "geometric"):
        refuse("in_channels", "no colours: expected augmentation = 'geometric', normalisation 'unit' or 'measured'")
    if r.model == "unet" and r.output_stride.bit_count() != 1:
        refuse("output_stride", "a U-Net's is a power of 2")
    if r.model == "unet" and r.weights:
        refuse("weights", "there are none for a U-Net")
    if r.stem_stride == 1 and (r.weights == "torchvision" or not r.model.startswith("deeplab") or r.stem != "3x3"):
        found = f"found {r.model}, {r.stem}, {r.weights!r}"
        refuse("stem_stride", f"expected a DeepLab, a stem of 3x3 and no public weights, {found}")
    if r.norm == "group" and r.weights:
        refuse("norm", f"public weights were trained with batch norm: expected weights = '', found {r.weights!r}")
    for name in ("freeze_bn", "bn_batch", "reestimate_bn"):
        if r.norm == "group" and getattr(r, name):
            refuse(name, "norm = 'group' leaves no batch norm")
        if r.backbone == "vgg16" and r.model.startswith("fcn") and getattr(r, name):
            refuse(name, "VGG16 has no batch norm")
    if r.freeze_bn and r.reestimate_bn:
        refuse("reestimate_bn", "freeze_bn keeps all of batch norm")
    if r.frozen_blocks and (r.model == "unet" or not r.backbone.startswith("resnet")):
        refuse("frozen_blocks", f"expected a ResNet, found {r.model if r.model == 'unet' else r.backbone}")
    if r.frozen_blocks and r.reestimate_bn:
        refuse("reestimate_bn", "frozen_blocks keeps the first statistics")
    if r.batch_size % r.accumulate:
        refuse("accumulate", f"expected a divisor of batch_size = {r.batch_size}")
    if r.accumulate > 1 and r.loss not in SUMS_OVER_PIXELS:
        refuse("accumulate", f"loss {r.loss!r} is not the sum of its parts': expected one of {SUMS_OVER_PIXELS}")
    if r.bn_batch is not None and (part := r.batch_size // r.accumulate) % r.bn_batch:
        refuse("bn_batch", f"expected a divisor of batch_size{' / accumulate' * (r.accumulate > 1)} = {part}")
    if r.weights == "torchvision" and r.backbone.startswith("xception"):
        refuse("weights", f"it has none for {r.backbone}: expected a ResNet, mobilenet_v2 or vgg16")
    if r.weights == "torchvision" and r.backbone.startswith("resnet") and r.stride_unit == "last":
        refuse("stride_unit", "these weights were trained with the stride in the first unit: expected 'first'")
    trained = "unit" if r.source == "tf-mobilenet" else "imagenet" if r.source else CONVENTIONS.get(r.weights)
    if trained and r.normalisation not in (trained, "measured"):
        refuse("normalisation", f"weights of {r.source or r.weights!r} were trained with {trained!r}")
    if r.source and (given := [name for name in FIXED_BY_SOURCE if name in r.changes()]):
        refuse("source", f"it fixes {', '.join(given)}: leave them out")
