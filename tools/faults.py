"""Faults to plant in a healthy set-up, each of which `seglib.diagnose` finds by name.

    setup = healthy(recipe)                      # data sets with the recipe's augmentation, a new network, its loss
    faulty = FAULTS["flipped_apart"].plant(setup)
    print(faulty.check())                        # finds FAULTS["flipped_apart"].finding
    FILE_FAULTS["jpeg_masks"].plant(folder)      # changes a copy of a data set's files in place

A fault belongs to a stage: "data" (train with `faulty.dataset`, score on the healthy `setup.val_dataset`; the fault is
in both where `faulty.val_dataset` differs), "training" (`faulty.recipe`, or `trainer.loss = whole_loss(faulty.loss)`,
`trainer.normalisation = faulty.normalisation`), "network" (`faulty.model`), or "scores" (`faulty.predictions` and
`faulty.score` of a healthy network: set `predictions` of the set-up first). The tests plant each of them, and
`tools.measure_faults` trains with some.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seglib.data.base import VOID, SegmentationDataset, Transform
from seglib.data.masks import ClassEntry, ClassTable
from seglib.data.noise import displace
from seglib.data.open import build_dataset, choose_normalisation
from seglib.data.transforms import (
    IMAGENET,
    UNIT,
    Compose,
    Normalisation,
    RandomFlip,
    RandomScaleCrop,
    Sample,
    Squash,
    to_batch,
)  # fmt: skip
from seglib.diagnose import Report, check
from seglib.diagnose.samples import ORIENTATION, Source
from seglib.diagnose.scores import Counts, scores_of
from seglib.metrics.cityscapes_labels import train_ids_to_ids
from seglib.models.layers import set_atrous
from seglib.recipe import Recipe
from seglib.train.start import build_network

Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Setup:
    """All that `seglib.diagnose.check` takes of a training, by those names."""

    dataset: Any
    val_dataset: Any = None
    recipe: Recipe | None = None
    model: nn.Module | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    normalisation: Normalisation | None = None
    run: Any = None
    predictions: Sequence[np.ndarray] | None = None
    score: float | None = None

    def check(self, **options: Any) -> Report:
        """Checks all of it."""
        return check(**vars(self), **options)


def healthy(recipe: Recipe, data_root: Path | None = None) -> Setup:
    """Makes the set-up of a recipe: its data sets, a new network, cross-entropy over the labelled pixels."""
    train = build_dataset(recipe, recipe.train_split, data_root, train=True)
    val = build_dataset(recipe, recipe.val_split, data_root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build_network(recipe, train.classes)
    return Setup(train, val, recipe, model, labelled_cross_entropy, choose_normalisation(recipe, train))


def labelled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over labelled pixels; 0 without any."""
    total = F.cross_entropy(logits, labels.long(), ignore_index=VOID, reduction="sum")
    return total / (labels != VOID).sum().clamp(min=1)


def displaced_labels(dataset: SegmentationDataset) -> list[np.ndarray]:
    """Makes predictions as a good network does: the labels, their edges displaced at random."""
    labels = (dataset.read(index)[1] for index in range(len(dataset)))
    return [displace(_swap(VOID, 0)(label), 2, np.random.default_rng(k)) for k, label in enumerate(labels)]


class Altered(SegmentationDataset):
    """A data set whose labels, images, classes or transform are others."""

    def __init__(
        self,
        origin: SegmentationDataset,
        label: Change | None = None,
        image: Change | None = None,
        classes: Sequence[str] = (),
        transform: Transform | None = None,
    ) -> None:
        classes, transform = classes or origin.classes, transform or origin.transform
        super().__init__(origin.files, classes, origin.palette, transform, origin.seed, origin.names)
        self.origin, self.label, self.image = origin, label, image

    def read_image(self, path: Path) -> np.ndarray:
        """Reads an image, and changes it."""
        return self.image(self.origin.read_image(path)) if self.image else self.origin.read_image(path)

    def read_label(self, path: Path) -> np.ndarray:
        """Reads a label, and changes it."""
        return self.label(self.origin.read_label(path)) if self.label else self.origin.read_label(path)


@dataclass(frozen=True)
class OnImage:
    """A step that only the image goes through."""

    step: Transform

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        return self.step(image, label, rng)[0], label


@dataclass(frozen=True)
class OnLabel:
    """A step that only the label goes through: 256 values, each of which becomes another."""

    values: tuple[int, ...]

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        return image, np.array(self.values, np.uint8)[label]


@dataclass(frozen=True)
class Blended:
    """A resize that interpolates the label as it does the image; a value that is no class becomes void."""

    step: Transform
    classes: int

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        blended = self.step(label[..., None].repeat(3, axis=2), label, copy.deepcopy(rng))[0][..., 0]
        return self.step(image, label, rng)[0], np.where(blended >= self.classes, VOID, blended)


class Foreign:
    """Samples as other people's code gives them: tensors, normalised, of a class with nothing else but a length."""

    def __init__(self, origin: SegmentationDataset, divisor: int = 1) -> None:
        self.origin, self.divisor, self.classes = origin, divisor, origin.classes

    def __len__(self) -> int:
        return len(self.origin)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        images, labels = to_batch([self.origin[index]])
        return IMAGENET(images)[0], labels[0] / self.divisor if self.divisor > 1 else labels[0].long()


class WithOutput(nn.Module):
    """A network with a function of its logits as output."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change, self.num_classes = model, change, model.num_classes

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.model(images))


def _swap(before: int, after: int) -> Change:
    return lambda label: np.where(label == before, after, label).astype(np.uint8)


def _common(dataset: SegmentationDataset) -> int:
    """Returns the class above 0 that most labels hold."""
    held = np.concatenate([np.unique(dataset.read(index)[1]) for index in range(min(40, len(dataset)))])
    return int(np.bincount(held[(held > 0) & (held != VOID)]).argmax())


def _both(setup: Setup, change: Callable[[SegmentationDataset], Any]) -> Setup:
    return replace(setup, dataset=change(setup.dataset), val_dataset=change(setup.val_dataset))


def _relabel(setup: Setup, label: Change, classes: Sequence[str] = (), both: bool = True) -> Setup:
    """Changes labels; the network and loss, which are of other classes, are left out."""
    setup = replace(setup, model=None, loss=None)
    if both:
        return _both(setup, lambda part: Altered(part, label, classes=classes))
    return replace(setup, dataset=Altered(setup.dataset, label, classes=classes))


def steps_of(setup: Setup) -> tuple[Transform, ...]:
    """The steps of the training's transform."""
    return setup.dataset.transform.steps if setup.dataset.transform else ()


def with_steps(setup: Setup, *steps: Transform) -> Setup:
    """Trains through other steps."""
    return replace(setup, dataset=Altered(setup.dataset, transform=Compose(steps)))


def _flip_apart(setup: Setup) -> Setup:
    """Only the image is mirrored."""
    return with_steps(setup, *(s for s in steps_of(setup) if not isinstance(s, RandomFlip)), OnImage(RandomFlip()))


def _blend(setup: Setup) -> Setup:
    """Labels are interpolated: in the random scaling, or if there is none, by halving and enlarging them."""
    if not steps_of(setup):
        return _relabel(setup, _smooth, both=False)
    blend = partial(Blended, classes=len(setup.dataset.classes))
    steps = (blend(step) if isinstance(step, RandomScaleCrop) else step for step in steps_of(setup))
    return with_steps(replace(setup, model=None, loss=None), *steps)


def _roll(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return image, np.roll(label, [int(rng.integers(-(side // 4), side // 4 + 1)) for side in label.shape], axis=(0, 1))


def _smooth(label: np.ndarray) -> np.ndarray:
    image, kind = Image.fromarray(_swap(VOID, 0)(label)), Image.Resampling.BILINEAR
    return np.asarray(image.resize((image.width // 2, image.height // 2), kind).resize(image.size, kind))


def _pad_with_0(setup: Setup) -> Setup:
    before = setup.dataset.transform

    def pad(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        outside = before(image, np.zeros_like(label), copy.deepcopy(rng))[1] == VOID
        image, label = before(image, label, rng)
        return image, np.where(outside, 0, label).astype(np.uint8)

    return replace(setup, dataset=Altered(setup.dataset, transform=pad))


def _thin_out(common: int) -> Change:
    def change(label: np.ndarray) -> np.ndarray:
        found, places = label.copy(), np.flatnonzero(label == common)
        found.ravel()[places[np.arange(len(places)) % 1000 != 0]] = 0
        return found

    return change


def _join(train: SegmentationDataset, val: SegmentationDataset) -> SegmentationDataset:
    joined = copy.copy(train)
    joined.files, joined.names = [*train.files, *val.files[::2]], [*train.names, *val.names[::2]]
    return joined


def _loader(setup: Setup) -> Setup:
    size = setup.recipe.batch_size
    count = (len(setup.dataset) - 1) // size * size + 1
    return replace(setup, dataset=DataLoader(setup.dataset.subset(range(count)), size, collate_fn=to_batch))


def _squash(setup: Setup) -> Setup:
    side = (setup.recipe.crop_size,) * 2
    return with_recipe(with_steps(setup, Squash(side), RandomFlip(setup.recipe.flip)), squash=side)


def with_recipe(setup: Setup, **changes: Any) -> Setup:
    """Trains by another recipe."""
    return replace(setup, recipe=setup.recipe.replace(**changes))


def _model(setup: Setup, change: Callable[[nn.Module], Any]) -> Setup:
    model = copy.deepcopy(setup.model)
    change(model)
    return replace(setup, model=model, predictions=None)


def _output(setup: Setup, change: Callable[[Tensor], Tensor]) -> Setup:
    return replace(setup, recipe=None, model=WithOutput(setup.model, change))


def _unloaded(setup: Setup, share: float) -> Setup:
    """Gives the first part of the backbone's tensors the values that are drawn."""
    fresh = build_network(setup.recipe.replace(weights="", start_from=""), setup.dataset.classes).state_dict()
    keys = [key for key in fresh if key.startswith("backbone.")]
    taken = {key: fresh[key] for key in keys[: round(share * len(keys))]}
    return _model(setup, lambda model: model.load_state_dict(model.state_dict() | taken))


def _flatten(model: nn.Module) -> None:
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d) and module.dilation != (1, 1):
            set_atrous(module, module.stride[0], 1)


def _unconverged(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.mul_(0.1)
            module.running_var.mul_(0.1).add_(0.9)


def _predict(setup: Setup, change: Change) -> Setup:
    return replace(setup, model=None, predictions=[change(found) for found in setup.predictions])


def _in_train_mode(setup: Setup) -> Setup:
    model, found = copy.deepcopy(setup.model).train(), []
    for module in model.aspp.pool.modules():  # has one value per channel, which training mode refuses
        module.eval()
    for index in range(len(setup.predictions)):
        images, _ = to_batch([setup.val_dataset.read(index)])
        with torch.no_grad():
            found.append(model(setup.normalisation(images)).argmax(1)[0].numpy().astype(np.uint8))
    return replace(setup, model=model, predictions=found)


def _cut(array: np.ndarray) -> np.ndarray:
    height, width = array.shape[:2]
    return array[height // 6 : height - height // 6, width // 6 : width - width // 6]


def _averaged(setup: Setup, batch: int) -> Setup:
    classes = len(setup.val_dataset.classes)
    singly = Counts(Source(setup.val_dataset), setup.predictions, VOID, classes, 1).singly
    parts = [np.sum(singly[start : start + batch], axis=0) for start in range(0, len(singly), batch)]
    return replace(setup, model=None, score=float(np.mean([scores_of(part, classes)[1] for part in parts])))


class Fault(NamedTuple):
    """A fault: the stage it is in, the finding that names it, what goes wrong, and the function that plants it."""

    stage: str  # "data", "training", "network" or "scores"
    finding: str
    story: str
    plant: Callable[..., Any]


def _grey(setup: Setup) -> np.ndarray:
    return (setup.dataset.palette @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


FAULTS = {
    "unknown_value": Fault("data", "label_outside_classes", "the commonest object has a number that is no class",
        lambda s: _relabel(s, _swap(_common(s.dataset), 250))),
    "label_as_rgb": Fault("data", "label_in_colours", "palette PNGs are read as RGB",
        lambda s: _relabel(s, lambda y: s.dataset.palette[y])),
    "label_as_grey": Fault("data", "label_in_colours", "palette PNGs are read as the grey of their colours",
        lambda s: _relabel(s, lambda y: _grey(s)[y])),
    "label_resized_smoothly": Fault("data", "label_interpolated", "labels are scaled bilinearly", _blend),
    "label_by_to_tensor": Fault("data", "label_scaled", "labels go through ToTensor, which divides by 255",
        lambda s: _both(replace(s, model=None, loss=None), lambda part: Foreign(part, divisor=255))),
    "flipped_apart": Fault("data", "misaligned", "the image is mirrored at random, the label is not", _flip_apart),
    "cropped_apart": Fault("data", "misaligned", "the label's window is drawn anew",
        lambda s: with_steps(s, *steps_of(s), _roll)),
    "label_shifted": Fault("data", "misaligned", "every label lies four pixels too low and too far right",
        lambda s: with_steps(s, *steps_of(s), lambda x, y, rng: (x, np.roll(y, (4, 4), axis=(0, 1))))),
    "padded_with_0": Fault("data", "padding_is_a_class", "labels are padded with 0, not with void", _pad_with_0),
    "void_as_class": Fault("data", "void_is_a_class", "void is one class more",
        lambda s: _relabel(s, _swap(VOID, len(s.dataset.classes)), (*s.dataset.classes, "void"))),
    "void_as_background": Fault("data", "void_is_background", "void is class 0", lambda s: _relabel(s, _swap(VOID, 0))),
    "object_is_255": Fault("data", "masks_of_0_and_255", "of two classes, the object is stored as 255",
        lambda s: _relabel(s, lambda y: ((y > 0) * 255).astype(np.uint8), ("ground", "object"))),
    "one_based": Fault("data", "zero_never_used", "labels are 1 to K, of K + 1 classes",
        lambda s: _relabel(s, lambda y: np.where(y == VOID, y, y + 1), ("nothing", *s.dataset.classes))),
    "class_not_labelled": Fault("data", "class_only_in_val", "no training label has the commonest object",
        lambda s: _relabel(s, _swap(_common(s.dataset), VOID), both=False)),
    "imbalanced": Fault("data", "classes_rare", "a thousandth of the commonest object is labelled, the rest background",
        lambda s: _relabel(s, _thin_out(_common(s.dataset)), both=False)),
    "squashed": Fault("data", "squashed", "pictures are resized to a square, whatever their proportions", _squash),
    "blue_first": Fault("data", "channels_reversed", "images are read blue first, as OpenCV does",
        lambda s: _both(s, lambda part: Altered(part, image=lambda x: x[..., ::-1]))),
    "blank_images": Fault("data", "inputs_constant", "images of 16 bits are clipped to white",
        lambda s: _both(s, lambda part: Altered(part, image=lambda x: np.full_like(x, 255)))),
    "val_in_train": Fault("data", "train_in_val", "half of val is in the training list too",
        lambda s: replace(s, dataset=_join(s.dataset, s.val_dataset))),
    "short_list": Fault("data", "list_incomplete", "a seventh of the training list, as train is of VOC's trainaug",
        lambda s: replace(s, dataset=s.dataset.subset(range(0, len(s.dataset), 7)))),
    "last_batch_of_one": Fault("data", "batch_of_one", "the loader's last batch has one image", _loader),
    "raw_pixels": Fault("training", "inputs_not_normalised", "the network gets 0 to 255",
        lambda s: replace(s, normalisation=Normalisation((0.0,) * 3, (1 / 255,) * 3))),
    "pixels_0_to_1": Fault("training", "inputs_0_to_1", "the network gets 0 to 1",
        lambda s: replace(s, normalisation=Normalisation((0.0,) * 3, (1.0,) * 3))),
    "other_convention": Fault("training", "pixel_convention", "pixels as other weights expect them",
        lambda s: replace(s, normalisation=UNIT if s.normalisation == IMAGENET else IMAGENET)),
    "tiny_batches": Fault("training", "batch_norm_few_images", "batches of two",
        lambda s: with_recipe(s, batch_size=2)),
    "frozen_norms": Fault("training", "batch_norm_frozen", "batch norm is frozen as it is drawn",
        lambda s: with_recipe(s, freeze_bn=True)),
    "short_schedule": Fault("training", "schedule_ends_early", "the learning rate is 0 after half of the run",
        lambda s: with_recipe(s, decay_steps=max(1, s.recipe.iterations // 2))),
    "long_schedule": Fault("training", "schedule_cut_off", "the run stops at a third of its schedule",
        lambda s: with_recipe(s, decay_steps=3 * s.recipe.iterations)),
    "lr_too_high": Fault("training", "learning_rate", "the learning rate is thirty times too large",
        lambda s: with_recipe(s, lr=30 * s.recipe.lr)),
    "slow_statistics": Fault("training", "batch_norm_statistics", "batch norm's momentum is that of a long training",
        lambda s: with_recipe(s, bn_momentum=0.06 / s.recipe.iterations)),
    "lr_too_low": Fault("training", "learning_rate", "the learning rate is a thousandth",
        lambda s: with_recipe(s, lr=s.recipe.lr / 1000)),
    "few_steps": Fault("training", "too_few_steps", "the run sees each picture twice",
        lambda s: with_recipe(s, iterations=max(1, 2 * len(s.dataset) // s.recipe.batch_size))),
    "loss_over_void": Fault("training", "loss_counts_void", "the loss is a mean over all pixels, void's zeros too",
        lambda s: replace(s, loss=lambda x, y: F.cross_entropy(x, y, ignore_index=VOID, reduction="none").mean())),
    "loss_without_void": Fault("training", "loss_fails_on_void", "the loss takes 255 for a class",
        lambda s: replace(s, loss=F.cross_entropy)),
    "weights_not_loaded": Fault("network", "weights_missing", "with strict=False no pretrained weight arrived",
        lambda s: _unloaded(s, 1)),
    "half_loaded": Fault("network", "weights_half_loaded", "a third of the pretrained weights did not arrive",
        lambda s: _unloaded(s, 1 / 3)),
    "no_dilations": Fault("network", "dilations", "strides are taken out, and no dilation put in their place",
        lambda s: _model(s, _flatten)),
    "rates_not_doubled": Fault("network", "rates_not_scaled", "half the output stride, and ASPP keeps its rates",
        lambda s: _model(s, lambda model: model.backbone.set_output_stride(model.output_stride // 2))),
    "output_for_void": Fault("network", "classes_of_the_network", "the network has an output for void",
        lambda s: replace(s, recipe=None, model=build_network(s.recipe, (*s.dataset.classes, "void")))),
    "softmax_twice": Fault("network", "probabilities_for_logits", "a softmax before that of cross-entropy",
        lambda s: _output(s, lambda x: x.softmax(dim=1))),
    "detached": Fault("network", "no_gradient", "the output is detached", lambda s: _output(s, torch.detach)),
    "tiny_logits": Fault("network", "batch_not_learnt", "logits are divided by ten thousand",
        lambda s: _output(s, lambda x: x * 1e-4)),
    "large_classifier": Fault("network", "loss_at_start", "the last layer is drawn a thousand times too large",
        lambda s: _model(s, lambda model: model.classifier.weight.data.mul_(1000))),
    "unconverged": Fault("network", "batch_norm_statistics", "a trained network's statistics are near where they began",
        lambda s: _model(s, _unconverged)),
    "train_mode": Fault("scores", "train_mode", "predictions are made in training mode", _in_train_mode),
    "half_size": Fault("scores", "wrong_resolution", "predictions have half the labels' size",
        lambda s: _predict(s, lambda y: y[::2, ::2])),
    "centre_crop": Fault("scores", "scored_on_crop", "only the middle of each picture is scored",
        lambda s: replace(_predict(s, _cut),
            val_dataset=Altered(s.val_dataset, transform=lambda x, y, rng: (_cut(x), _cut(y))))),
    "half_a_cell": Fault("scores", "prediction_shifted", "maps at stride 8 are sampled half a cell off",
        lambda s: _predict(s, lambda y: np.roll(y, (4, 4), axis=(0, 1)))),
    "left_mirrored": Fault("scores", "prediction_flipped", "a mirrored picture's prediction is not turned back",
        lambda s: _predict(s, lambda y: y[:, ::-1])),
    "counted_backwards": Fault("scores", "classes_permuted", "the checkpoint counts its classes from the other end",
        lambda s: _predict(s, lambda y: len(s.val_dataset.classes) - 1 - y)),
    "counted_from_1": Fault("scores", "off_by_one", "predictions count from 1", lambda s: _predict(s, lambda y: y + 1)),
    "mapped_to_ids": Fault("scores", "train_ids_for_ids", "labels are trainIds, predictions Cityscapes' ids",
        lambda s: _predict(s, train_ids_to_ids)),
    "background_only": Fault("scores", "one_class", "class 0 is predicted everywhere",
        lambda s: _predict(s, np.zeros_like)),
    "class_forgotten": Fault("scores", "classes_never_predicted", "the commonest object is never predicted",
        lambda s: _predict(s, _swap(_common(s.val_dataset), 0))),
    "miou_per_image": Fault("scores", "metric_averaged", "the score is the mean of the pictures' own mIoU",
        lambda s: _averaged(s, 1)),
    "miou_per_batch": Fault("scores", "metric_averaged", "the score is the mean of the mIoU of batches of four",
        lambda s: _averaged(s, 4)),
}  # fmt: skip


# --- files: faults of a folder with images/SPLIT, masks/SPLIT and classes.toml, which is changed in place


def write_folder(dataset: SegmentationDataset, folder: Path, split: str, count: int) -> None:
    """Writes the first samples of a data set as such a folder's split: JPEGs and palette PNGs."""
    images, masks = places = [folder / part / split for part in ("images", "masks")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(dataset.names[:count]):
        image, label = dataset.read(index)
        Image.fromarray(image).save(images / f"{name}.jpg", quality=92)
        mask = Image.fromarray(label)
        mask.putpalette(dataset.palette.tobytes())
        mask.save(masks / f"{name}.png")
    classes = tuple(ClassEntry(name, k) for k, name in enumerate(dataset.classes))
    ClassTable(classes=classes, void_values=(VOID,)).save(folder / "classes.toml")


def _each(folder: Path, part: str, change: Callable[[Image.Image, Path], Any], count: int | None = None) -> None:
    for path in sorted((folder / part).rglob("*.*"))[:count]:
        with Image.open(path) as image:
            image.load()
        path.unlink()
        change(image, path)


def _turn(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(path, exif=exif)


def _quantize(mask: Image.Image, path: Path) -> None:
    colours = mask.convert("RGB")
    colours.quantize(len(colours.getcolors())).save(path)


def _deepen(image: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200).save(path.with_suffix(".png"))


def _across(folder: Path, write: Callable[[Path, Path], Any]) -> None:
    """Puts a training picture, with its mask, in the place of one of val."""
    source, target = (sorted((folder / "images" / split).iterdir())[0] for split in ("train", "val"))
    write(source, target)
    masks = [folder / "masks" / path.parent.name / f"{path.stem}.png" for path in (source, target)]
    masks[1].write_bytes(masks[0].read_bytes())


def _encode_again(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).resize(image.size).save(target, quality=80)


FILE_FAULTS = {
    "jpeg_masks": Fault("files", "mask_lossy", "masks are saved as JPEG", lambda f: _each(f, "masks",
        lambda mask, path: Image.fromarray(np.asarray(mask)).save(path.with_suffix(".jpg"), quality=95))),
    "palettes_differ": Fault("files", "palette_differs", "the colours of each mask are renumbered",
        lambda f: _each(f, "masks", _quantize)),
    "exif_turn": Fault("files", "exif_mask", "a telephone's picture is stored turned, its mask drawn on it as stored",
        lambda f: _each(f, "images", _turn, 1)),
    "sixteen_bits": Fault("files", "deep_pixels", "pictures have 16 bits", lambda f: _each(f, "images", _deepen)),
    "four_bits": Fault("files", "mask_few_bits", "masks have four bits of grey", lambda f: _each(f, "masks",
        lambda mask, path: Image.fromarray(np.minimum(np.asarray(mask), 15)).convert("L").save(path, bits=4))),
    "small_masks": Fault("files", "size_differs", "masks have half their pictures' size", lambda f: _each(f, "masks",
        lambda mask, path: mask.resize((mask.width // 2, mask.height // 2), 0).save(path))),
    "mask_missing": Fault("files", "picture_without_mask", "a mask is missing",
        lambda f: _each(f, "masks", lambda mask, path: None, 1)),
    "cut_off": Fault("files", "unreadable", "a picture is cut off", lambda f: _each(f, "images",
        lambda image, path: path.write_bytes(b"\xff\xd8\xff\xe0"), 1)),
    "same_file_twice": Fault("files", "train_in_val", "a picture of train is in val under another name",
        lambda f: _across(f, lambda source, target: target.write_bytes(source.read_bytes()))),
    "encoded_again": Fault("files", "copies_across_splits", "a picture of train, resized and encoded again, is in val",
        lambda f: _across(f, _encode_again)),
}  # fmt: skip
