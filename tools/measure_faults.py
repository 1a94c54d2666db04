"""Trains the recipe toy_short, healthy and with a fault planted, three seeds each, and stores what the faults cost.

python -m tools.measure_faults [seal FAULT FAULT FAULT]

"seal" keeps what three runs of another seed show, and not what their faults are, for an exercise. Faults of scoring
take the healthy runs' weights. Takes about 25 minutes on one core. Runs in data/results/measured/faults.json are kept:
after a change, delete the file first.
"""

import copy
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from seglib.data import SegmentationDataset, ToyVOC
from seglib.data.augmentation import ResizeKeepAspect
from seglib.data.base import VOID, Transform
from seglib.data.fingerprint import count_labels, fingerprint
from seglib.data.transforms import UNIT, Compose, Normalisation, RandomFlip, RandomScaleCrop, Sample, Squash
from seglib.files import PROJECT, run_folder, write_atomic, write_json
from seglib.metrics import ConfusionMatrix
from seglib.predict import ONE_VIEW, Scoring, group_equal_sizes, predict, predict_labels
from seglib.recipe import Recipe
from seglib.studies.report import paired_effect, welch_effect
from seglib.train import Trainer
from seglib.train.results import describe_machine, seal

STORE = PROJECT / "data" / "results" / "measured" / "faults.json"
COSTS = PROJECT / "data" / "fault_costs.json"  # finding -> points of mIoU that it surely costs; `seglib.diagnose` tells
PICTURES = STORE.with_suffix(".npz")  # "ROW|NUMBER" -> the first seed's prediction of that val picture
SEALED = STORE.with_name("sealed.npz")
RECIPE, SEEDS, SIDE, SHOWN = Recipe.load("toy_short"), (0, 1, 2), 97, range(0, 120, 10)
BATCH = 3  # pictures that a network in training mode predicts together
CROP, FLIP = RandomScaleCrop(RECIPE.crop_size, RECIPE.scale_range), RandomFlip(RECIPE.flip)
SQUASH, LETTERBOX = Squash((SIDE, SIDE)), ResizeKeepAspect(SIDE)
Maps = list[np.ndarray]  # predictions (H, W) uint8, one for each picture


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
class CropBlended:
    """As RandomScaleCrop, but the label is interpolated as the image is; a value that is no class becomes void."""

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Sample:
        blended = CROP(label[..., None].repeat(3, axis=2), label, copy.deepcopy(rng))[0][..., 0]
        return CROP(image, label, rng)[0], np.where(blended > 8, VOID, blended)


VOID_TO_0 = OnLabel((*range(VOID), 0))
FROM_ONE = OnLabel((*range(1, 9), *[VOID] * 248))  # the last class has no number left


def soften(trainer: Trainer) -> None:
    """A softmax too many: cross-entropy, which takes logits, gets probabilities."""
    loss = trainer.loss
    trainer.loss = lambda logits, *labels: loss(logits.softmax(dim=1), *labels)


def leave_pixels(trainer: Trainer) -> None:
    """Pixels of 0 to 255, as they are."""
    trainer.normalisation = Normalisation((0.0,) * 3, (1 / 255,) * 3)


TITLES = {  # the names of findings are those of `seglib.diagnose`
    "misaligned": "image mirrored, mask not",
    "batch_norm_statistics": "batch norm's momentum 0.0003",
    "zero_never_used": "classes counted from 1",
    "label_interpolated": "masks resized bilinearly",
    "learning_rate": "learning rate / 100",
    "probabilities_for_logits": "softmax before the loss",
    "batch_norm_few_images": "batch norm over 2 of 8 pictures",
    "squashed": "pictures squashed to squares",
    "letterboxed": "proportions kept, padded with void",
    "list_incomplete": "a quarter of the pictures",
    "schedule_ends_early": "schedule ends after 40 of 200 steps",
    "inputs_not_normalised": "pixels not normalised",
    "void_is_background": "void trained as background",
    "padding_is_a_class": "proportions kept, masks padded with 0",
    "train_mode": "network left in training mode",
    "channels_reversed": "blue and red exchanged",
    "pixel_convention": "normalised as for other weights",
    "prediction_shifted": "maps sampled half a cell off",
    "rates_not_scaled": "output stride 8, rates as at 16",
    "half_size": "pictures scored at half size",
    "classes_permuted": "boat and tent exchanged",
    "scored_on_crop": "only the middle 97 x 97 scored",
    "void_counted": "void counted as background",
    "metric_averaged": "mean of each picture's mIoU",
    "train_in_val": "scored on training pictures",
    "squashed_when_scored": "squashed only when scored",
    "letterboxed_when_scored": "proportions kept, put into a square when scored",
    "squashed_but_scored_in_proportion": "pictures squashed, scored in proportion",
    "healthy": "healthy",
}
BASES = {"squashed": "letterboxed", "padding_is_a_class": "letterboxed"}  # beside which a fault costs; else "healthy"
MIXED = {"squashed": "squashed_but_scored_in_proportion"}  # where the fault is one of training and scoring together
NO_FINDINGS = {
    "healthy", "letterboxed", "half_size", "void_counted", "squashed_when_scored", "letterboxed_when_scored",
    "squashed_but_scored_in_proportion",
}  # fmt: skip

# name -> changes of the recipe, transform in the place of its own, what is done to the trainer
TRAININGS: dict[str, tuple[dict[str, Any], Transform | None, Callable[[Trainer], None] | None]] = {
    "healthy": ({}, None, None),
    "misaligned": ({}, Compose((CROP, OnImage(FLIP))), None),
    "batch_norm_statistics": ({"bn_momentum": 0.0003}, None, None),
    "letterboxed": ({}, Compose((LETTERBOX, FLIP)), None),
    "squashed": ({}, Compose((SQUASH, FLIP)), None),
    "probabilities_for_logits": ({}, None, soften),
    "learning_rate": ({"lr": RECIPE.lr / 100}, None, None),
    "label_interpolated": ({}, Compose((CropBlended(), FLIP)), None),
    "zero_never_used": ({}, Compose((CROP, FLIP, FROM_ONE)), None),
    "schedule_ends_early": ({"decay_steps": 40}, None, None),
    "batch_norm_few_images": ({"bn_batch": 2}, None, None),
    "list_incomplete": ({"train_split": "train"}, None, None),
    "inputs_not_normalised": ({}, None, leave_pixels),
    "void_is_background": ({}, Compose((CROP, FLIP, VOID_TO_0)), None),
    "padding_is_a_class": ({}, Compose((LETTERBOX, FLIP, VOID_TO_0)), None),
}
FIRST = 8  # of these get all their seeds before the rest begins


def train(name: str, seed: int) -> Trainer:
    """Trains a run in a folder of its own, or finds it there."""
    changes, transform, plant = TRAININGS[name]
    recipe, sets = RECIPE.replace(seed=seed, **changes), {}
    if transform is not None:
        sets = {"train_set": ToyVOC(recipe.train_split, transform=transform), "val_set": ToyVOC("val")}
    folder = run_folder(recipe.name if name == "healthy" else f"{name}-{seed}")
    trainer = Trainer(recipe, folder, device="cpu", progress=False, **sets)
    if plant is not None:
        plant(trainer)
    return trainer.fit()


def see(
    trainer: Trainer,
    data: SegmentationDataset,
    normalisation: Normalisation | None = None,
    scoring: Scoring = ONE_VIEW,
    training: bool = False,
) -> Maps:
    """Predicts whole pictures; `training` leaves batch norm and dropout in training mode."""
    model, normalisation, maps = copy.deepcopy(trainer.model), normalisation or trainer.normalisation, {}
    pictures = [
        (torch.from_numpy(data.read(i)[0].copy()), torch.full(data.read(i)[1].shape, i)) for i in range(len(data))
    ]
    for images, numbers in group_equal_sizes(pictures, BATCH):
        batch = torch.stack(images).permute(0, 3, 1, 2)  # (B, 3, H, W)
        if training:
            with torch.inference_mode():
                found = model.train()(normalisation(batch)).argmax(dim=1)
        else:
            found = predict_labels(model, batch, normalisation, scoring)
        maps |= {int(n[0, 0]): each.numpy().astype(np.uint8) for n, each in zip(numbers, found, strict=True)}
    return [maps[index] for index in range(len(data))]


def see_through(window: Squash | ResizeKeepAspect, trainer: Trainer, data: SegmentationDataset) -> Maps:
    """Predicts resized pictures, and resizes the probabilities back."""
    maps = []
    for image, label in map(data.read, range(len(data))):
        small, inside = window(image, label)[0], window(image, np.zeros_like(label))[1] == 0
        found = predict(trainer.model, torch.from_numpy(small).permute(2, 0, 1)[None], trainer.normalisation)
        found = found[:, :, : inside[:, 0].sum(), : inside[0].sum()]  # without what was padded
        found = F.interpolate(found, label.shape, mode="bilinear", align_corners=False)
        maps.append(found.argmax(dim=1)[0].numpy().astype(np.uint8))
    return maps


def plant_in_scoring(trainer: Trainer, data: SegmentationDataset) -> dict[str, Maps]:
    """Predictions of the healthy network, seen wrongly."""
    moved, strided = copy.copy(trainer), copy.copy(trainer)
    moved.model, strided.model = copy.deepcopy(trainer.model), copy.deepcopy(trainer.model)
    moved.model.variant = replace(moved.model.variant, resize="centred")
    strided.model.backbone.set_output_stride(8)
    turned = copy.copy(data)
    turned.read_image = lambda path: data.read_image(path)[..., ::-1]
    exchanged = np.array([0, 1, 2, 4, 3, *range(5, 256)], np.uint8)
    return {
        "train_mode": see(trainer, data, training=True),
        "channels_reversed": see(trainer, turned),
        "pixel_convention": see(trainer, data, UNIT),
        "prediction_shifted": see(moved, data),
        "rates_not_scaled": see(strided, data),
        "half_size": see(trainer, data, scoring=Scoring(scales=(0.5,))),
        "squashed_when_scored": see_through(Squash((144, 144)), trainer, data),
        "letterboxed_when_scored": see_through(ResizeKeepAspect(144), trainer, data),
        "classes_permuted": [exchanged[each] for each in see(trainer, data)],
    }


def count(labels: Maps, maps: Maps) -> ConfusionMatrix:
    """Counts one matrix over all pictures."""
    matrix = ConfusionMatrix(9)
    for label, found in zip(labels, maps, strict=True):
        matrix.update(label, found)
    return matrix


def miscount(trainer: Trainer, labels: Maps, maps: Maps) -> dict[str, ConfusionMatrix | float]:
    """The healthy predictions, counted wrongly, and those of pictures that the network was trained on."""
    middle = [tuple(slice((side - SIDE) // 2, (side + SIDE) // 2) for side in label.shape) for label in labels]
    cut = [[each[window] for each, window in zip(each, middle, strict=True)] for each in (labels, maps)]
    each = [count([label], [found]).compute().miou for label, found in zip(labels, maps, strict=True)]
    seen = ToyVOC("train")
    return {
        "scored_on_crop": count(*cut),
        "void_counted": count([np.where(label == VOID, 0, label) for label in labels], maps),
        "metric_averaged": float(np.mean(each)),
        "train_in_val": count([seen.read(i)[1] for i in range(len(seen))], see(trainer, seen)),
    }


def measure(name: str, seed: int) -> tuple[dict[str, ConfusionMatrix | float], dict[str, Maps], list[float]]:
    """Trains a run and scores it: row -> matrix, or mIoU; row -> predictions; the losses."""
    trainer, data = train(name, seed), ToyVOC("val")
    torch.manual_seed(seed)  # dropout of a network in training mode
    labels = [data.read(i)[1] for i in range(len(data))]
    losses = trainer.history.loss.dropna().round(4).tolist()
    if name in ("squashed", "letterboxed", "padding_is_a_class"):
        windows = {name: SQUASH if name == "squashed" else LETTERBOX}
        windows |= {"squashed_but_scored_in_proportion": LETTERBOX} if name == "squashed" else {}
        found = {row: see_through(window, trainer, data) for row, window in windows.items()}
    else:
        found = {name: see(trainer, data)} | (plant_in_scoring(trainer, data) if name == "healthy" else {})
    counted = {row: count(labels, maps) for row, maps in found.items()}
    if name == "healthy":
        counted |= miscount(trainer, labels, found[name])
    return counted, found, losses


def scores_of(seeds: dict[str, Any]) -> dict[int, float]:
    return {int(seed): run["miou"] for seed, run in seeds.items()}


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    stored = json.loads(STORE.read_text(encoding="utf-8")) if STORE.is_file() else {"rows": {}}
    rows, pictures = stored["rows"], dict(np.load(PICTURES)) if PICTURES.is_file() else {}
    names = [*TRAININGS]
    for part in (names[:FIRST], names[FIRST:]):
        for seed, name in itertools.product(SEEDS, part):
            if str(seed) in rows.get(name, {}):
                continue
            counted, found, losses = measure(name, seed)
            for row, matrix in counted.items():
                scores = {"miou": matrix} if isinstance(matrix, float) else matrix.compute().to_dict()
                kept = {"miou": round(scores["miou"], 5), "iou": [round(x or 0.0, 4) for x in scores.get("iou", [])]}
                rows.setdefault(row, {})[str(seed)] = kept | ({"loss": losses} if row == name else {})
                print(f"{row}, seed {seed}: {kept['miou']:.3f}", flush=True)
            if seed == SEEDS[0]:
                pictures |= {f"{row}|{i}": maps[i] for row, maps in found.items() for i in SHOWN}
                write_atomic(PICTURES, partial(np.savez_compressed, **pictures))
            write_rows(rows)


def write_rows(rows: dict[str, Any]) -> None:
    """Stores all rows, and of findings with all seeds what they cost, where the 95 % interval leaves zero out."""
    costs = {}
    for row, seeds in rows.items():
        if row in NO_FINDINGS or len(seeds) < len(SEEDS):
            continue
        faulty, sound = scores_of(rows[MIXED.get(row, row)]), scores_of(rows[BASES.get(row, "healthy")])
        effect = (welch_effect if row in TRAININGS else paired_effect)(faulty, sound)
        if not effect.low <= 0 <= effect.high:
            costs[row] = round(-100 * effect.mean, 1)
    write_json(COSTS, costs)
    data = ToyVOC("val")
    identity = fingerprint(data, count_labels(data, {}))
    result = {"command": "python -m tools.measure_faults", "recipe": RECIPE.changes(), "val": identity}
    write_json(STORE, seal(result | {"titles": TITLES, "rows": rows, **describe_machine(torch.device("cpu"))}))


def seal_runs(names: Sequence[str]) -> None:
    """Stores, for each run A, B, C: four training samples, losses, and predictions of val and of training pictures."""
    kept: dict[str, Any] = {}
    for run, name in zip("ABC", names, strict=True):
        trainer = train(name if name in TRAININGS else "healthy", seed=1)
        for part in ("train", "val"):
            data = ToyVOC(part).subset(SHOWN)
            maps = see(trainer, data) if name in TRAININGS else plant_in_scoring(trainer, data)[name]
            kept |= {f"{run}|{part}|{i}": each for i, each in zip(SHOWN, maps, strict=True)}
        images, labels = zip(*(trainer.train_set[0, index] for index in SHOWN[:4]), strict=True)
        kept |= {f"{run}|images": images, f"{run}|labels": labels, f"{run}|losses": trainer.history.loss.dropna()}
    write_atomic(SEALED, partial(np.savez_compressed, **kept))


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "seal":
        seal_runs(sys.argv[2:])
    else:
        main() if len(sys.argv) == 1 else sys.exit(__doc__)
