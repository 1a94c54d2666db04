"""Trains a healthy recipe, and with a fault planted, three seeds each, and stores what the faults cost.

python -m tools.measure_faults [toy | photographs | seal FAULT FAULT FAULT]

"toy", the default: all faults of training and scoring on the recipe toy_short, about 25 minutes on one core.
"photographs": five faults of the data by the studies' recipe of that scale, on the pictures of SEGLIB_DATA, about 14
minutes of one core for each of 18 runs, healthy ones that are stored results left out; started several times, it shares
the runs out. "seal" keeps what three runs of another seed show, and not what their faults are, for an exercise.
Faults of scoring take the healthy runs' weights. Runs in data/results/measured/faults*.json are kept: after a change,
delete the file first. Killed, it goes on where it was.
"""

import contextlib
import copy
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout

from seglib.data import SegmentationDataset, ToyVOC
from seglib.data.augmentation import ResizeKeepAspect
from seglib.data.base import VOID
from seglib.data.fingerprint import count_labels, fingerprint
from seglib.data.open import build_dataset
from seglib.data.transforms import UNIT, Normalisation, RandomFlip, Squash
from seglib.files import PROJECT, run_folder, write_atomic, write_json
from seglib.metrics import ConfusionMatrix
from seglib.predict import ONE_VIEW, Scoring, group_equal_sizes, predict, predict_labels
from seglib.recipe import Recipe
from seglib.studies.report import paired_effect, welch_effect
from seglib.studies.results import RESULTS, find_changed_code, stored_results
from seglib.train import Trainer
from seglib.train.results import describe_machine, load_result, seal
from tools.faults import FAULTS, Altered, OnLabel, Setup, healthy, steps_of, with_recipe, with_steps
from tools.measure_crf import NINE

STORE = PROJECT / "data" / "results" / "measured" / "faults.json"
PHOTOGRAPHS = STORE.with_name("faults_photographs.json")
COSTS = PROJECT / "data" / "fault_costs.json"  # scale -> finding -> points of mIoU that it surely costs
PICTURES = STORE.with_suffix(".npz")  # "ROW|NUMBER" -> the first seed's prediction of that val picture
SEALED = STORE.with_name("sealed.npz")
RECIPE, SEEDS, SIDE, SHOWN = Recipe.load("toy_short"), (0, 1, 2), 97, range(0, 120, 10)
ON_VOC = Recipe.load("voc_short").replace(model="deeplabv3", batch_size=16, atrous_rates=(2, 4, 6))
BATCH = 3  # pictures that a network in training mode predicts together
FLIP, SQUASH, LETTERBOX = RandomFlip(RECIPE.flip), Squash((SIDE, SIDE)), ResizeKeepAspect(SIDE)
VOID_TO_0 = OnLabel((*range(VOID), 0))
Maps = list[np.ndarray]  # predictions (H, W) uint8, one for each picture


def count_from_one(setup: Setup) -> Setup:
    """Counts the classes from 1; the last one has no number left."""
    classes = setup.dataset.num_classes
    return with_steps(setup, *steps_of(setup), OnLabel((*range(1, classes), *[VOID] * (257 - classes))))


def soften(trainer: Trainer) -> None:
    """A softmax too many: cross-entropy, which takes logits, gets probabilities."""
    loss = trainer.loss
    trainer.loss = lambda logits, *labels: loss(logits.softmax(dim=1), *labels)


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

TRAININGS: dict[str, Callable[[Setup], Setup]] = {
    "healthy": lambda s: s,
    "misaligned": FAULTS["flipped_apart"].plant,
    "batch_norm_statistics": FAULTS["slow_statistics"].plant,
    "letterboxed": lambda s: with_steps(s, LETTERBOX, FLIP),
    "squashed": lambda s: with_steps(s, SQUASH, FLIP),
    "probabilities_for_logits": lambda s: s,  # see `train`
    "learning_rate": lambda s: with_recipe(s, lr=s.recipe.lr / 100),
    "label_interpolated": FAULTS["label_resized_smoothly"].plant,
    "zero_never_used": count_from_one,
    "schedule_ends_early": lambda s: with_recipe(s, decay_steps=s.recipe.iterations // 5),
    "batch_norm_few_images": lambda s: with_recipe(s, bn_batch=2),
    "list_incomplete": lambda s: replace(s, dataset=s.dataset.subset(range(0, len(s.dataset), 4))),
    "inputs_not_normalised": FAULTS["raw_pixels"].plant,
    "void_is_background": FAULTS["void_as_background"].plant,
    "padding_is_a_class": lambda s: with_steps(s, LETTERBOX, FLIP, VOID_TO_0),
}
FIRST = 8  # of these get all their seeds before the rest begins
ON_PHOTOGRAPHS = ("misaligned", "zero_never_used", "label_interpolated", "void_is_background", "list_incomplete")


def train(name: str, seed: int, recipe: Recipe = RECIPE, folder: Path | None = None) -> Trainer:
    """Trains a run in a folder of its own, or finds it there."""
    sound = healthy(recipe.replace(seed=seed))
    setup = TRAININGS[name](sound)
    if recipe.data == "toy_voc" and name == "list_incomplete":
        setup = replace(sound, dataset=ToyVOC("train", transform=sound.dataset.transform))
    sets = {"train_set": setup.dataset, "val_set": sound.val_dataset}
    folder = folder or run_folder(f"{sound.recipe.name}-{name}")
    trainer = Trainer(setup.recipe, folder, device="cpu", progress=False, **sets)
    trainer.normalisation = setup.normalisation
    if name == "probabilities_for_logits":
        soften(trainer)
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
    exchanged = np.array([0, 1, 2, 4, 3, *range(5, 256)], np.uint8)
    return {
        "train_mode": see(trainer, data, training=True),
        "channels_reversed": see(trainer, Altered(data, image=lambda image: image[..., ::-1])),
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


def measure_toy() -> None:
    """Measures and stores what is missing on the toy set."""
    rows, pictures = read_rows(STORE), dict(np.load(PICTURES)) if PICTURES.is_file() else {}
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
            write_rows("toy", rows, STORE, RECIPE)


def measure_photographs() -> None:
    """Measures and stores what is missing on photographs; mIoU over the nine classes that are frequent there."""
    for seed, name in itertools.product(SEEDS, ("healthy", *ON_PHOTOGRAPHS)):
        run_dir = run_folder(f"{ON_VOC.replace(seed=seed).name}-{name}")
        run_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Timeout), FileLock(run_dir / "lock", timeout=0):  # else another process is at it
            if str(seed) in read_rows(PHOTOGRAPHS).get(name, {}):
                continue
            known = [result for result in stored_results(ON_VOC) if name == "healthy" and result["seed"] == seed]
            known = [result for result in known if find_changed_code(result, RESULTS) == []]
            result = known[0] if known else load_result(train(name, seed, ON_VOC, run_dir).run_dir / "result.json")
            scores = ConfusionMatrix.from_matrix(np.array(result["confusion"])).compute()
            measured = {"miou": round(scores.mean_iou_over(map(result["classes"].index, NINE)), 5)}
            print(f"{name}, seed {seed}: {measured['miou']:.3f}", flush=True)
            with FileLock(run_folder(ON_VOC.name).with_suffix(".lock")):
                rows = read_rows(PHOTOGRAPHS)
                rows.setdefault(name, {})[str(seed)] = measured
                write_rows("photographs", rows, PHOTOGRAPHS, ON_VOC)


def read_rows(store: Path) -> dict[str, Any]:
    """Reads what was measured before."""
    return json.loads(store.read_text(encoding="utf-8"))["rows"] if store.is_file() else {}


def write_rows(scale: str, rows: dict[str, Any], store: Path, recipe: Recipe) -> None:
    """Stores all rows, and of findings with all seeds what they cost, where the 95 % interval leaves zero out."""
    costs = json.loads(COSTS.read_text(encoding="utf-8")) | {scale: {}}
    for row, seeds in rows.items():
        base = rows.get(BASES.get(row, "healthy"), {})
        if row in NO_FINDINGS or min(len(seeds), len(base)) < len(SEEDS):
            continue
        effect = welch_effect if row in TRAININGS else paired_effect
        effect = effect(scores_of(rows[MIXED.get(row, row)]), scores_of(base))
        if not effect.low <= 0 <= effect.high:
            costs[scale][row] = round(-100 * effect.mean, 1)
    write_json(COSTS, costs)
    data = build_dataset(recipe, recipe.val_split)
    result = {"command": f"python -m tools.measure_faults {scale}", "recipe": recipe.changes()}
    result |= {"val": fingerprint(data, count_labels(data, {})), "titles": TITLES, "rows": rows}
    write_json(store, seal(result | describe_machine(torch.device("cpu"))))


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
    torch.set_num_threads(1)
    scales = {(): measure_toy, ("toy",): measure_toy, ("photographs",): measure_photographs}
    if len(sys.argv) == 5 and sys.argv[1] == "seal":
        seal_runs(sys.argv[2:])
    elif (arguments := tuple(sys.argv[1:])) in scales:
        scales[arguments]()
    else:
        sys.exit(__doc__)
