"""All checks in one call, and the command `python -m seglib diagnose DATA_ROOT`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from seglib.data.base import VOID
from seglib.data.fingerprint import count_labels, describe_difference, fingerprint
from seglib.data.open import build_dataset
from seglib.data.transforms import Normalisation
from seglib.diagnose import data as of_data
from seglib.diagnose.folder import check_division, open_parts
from seglib.diagnose.network import Loss, check_mode, check_network
from seglib.diagnose.report import Finding, Report, find, find_by_messages
from seglib.diagnose.samples import Source, describe_pictures
from seglib.diagnose.scores import Counts, check_predictions
from seglib.diagnose.training import check_history, check_recipe
from seglib.files import find_checkpoint, some
from seglib.predict import Scoring, predict_image
from seglib.recipe import Recipe
from seglib.train.checkpoint import Run, load_run
from seglib.train.start import read_run


class Loaded(NamedTuple):
    """A run as `check` looks at it, read once."""

    path: Path
    run: Run
    stored: Mapping[str, Any]  # all that its checkpoint holds

    @classmethod
    def read(cls, path: Path) -> "Loaded":
        """Reads a run's folder or checkpoint; raises as `load_run`."""
        return cls(path := find_checkpoint(path), load_run(path), read_run(path)[0])


def check(
    dataset: Any = None,
    val_dataset: Any = None,
    *,
    model: nn.Module | None = None,
    recipe: Recipe | None = None,
    run: Any = None,
    predictions: Iterable[np.ndarray] | None = None,
    score: float | None = None,
    loss: Loss | None = None,
    normalisation: Any = None,
    classes: Sequence[str] | int | None = None,
    ignore_index: int | None = VOID,
    samples: int = 100,
    steps: int = 40,
) -> Report:
    """Looks for what makes a score low, in all that is given; what is not given is not looked at.

    Nothing that is given is changed. Data sets are this package's or anyone's: with `__getitem__` and `__len__`, of
    pairs or dictionaries of arrays, PIL images or tensors (C, H, W); or a DataLoader of one.

    Args:
        dataset: what is trained on, with its augmentation.
        val_dataset: what is scored.
        model: any network that returns logits (B, K, h, w), or a dictionary with them as "out".
        recipe: the run's settings, if it is this package's.
        run: the folder of a run, or its checkpoint.pt; or its history, rows of iteration, loss and lr.
        predictions: of val_dataset's samples in their order (without it, dataset's): (H, W) classes, or (K, H, W)
            probabilities, which find labels that are wrong too.
        score: the mIoU, 0 to 1, that was computed of these predictions.
        loss: called with logits (B, K, H, W) and labels (B, H, W) int64; default: cross-entropy over labelled pixels.
        normalisation: makes (B, C, H, W) float32 of uint8 images, where the data set leaves that to the training.
        classes: names of the K classes, or K; default: the data set's `classes`.
        ignore_index: the label of void; None for none.
        samples: how many samples, of each set, are looked at closely; of ours, all labels are read.
        steps: of training on one batch; 0 for none.
    """
    history, stored, trained_on = run, {}, ()
    if isinstance(run, str | Path):
        run = Loaded.read(Path(run))
    if isinstance(run, Loaded):
        run, loaded, stored = run
        model, recipe, history = model or loaded.model, recipe or loaded.recipe, loaded.log
        normalisation, trained_on = normalisation or loaded.normalisation, loaded.classes
    sources = {part: Source(each) for part, each in (("train", dataset), ("val", val_dataset)) if each is not None}
    checked, findings = [f"{part}: {len(source)} samples" for part, source in sources.items()], []
    own = next((source.classes for source in sources.values() if source.classes), ())
    if classes is not None:
        own = tuple(f"class {k}" for k in range(classes)) if isinstance(classes, int) else tuple(classes)
    names = own or trained_on
    named = bool(own) and not isinstance(classes, int)  # numbers alone tell of no order
    if trained_on and (names != trained_on if named else len(names) != len(trained_on)):
        pairs = enumerate(zip(trained_on, names, strict=False))
        text = some([f"{k} is {a} there, {b} here" for k, (a, b) in pairs if a != b], 3)
        findings.append(find("class_order", f"{run}: {text or f'{len(trained_on)} classes, {len(names)} here'}"))
    findings += _check_data(sources, names, ignore_index, recipe, samples)
    if stored and "train" in sources and sources["train"].own:
        findings += _check_identity(stored, sources["train"])
    if recipe is not None:
        findings += check_recipe(recipe, len(sources["train"]) if "train" in sources else 0)
        checked.append("recipe")
    if history is not None and len(rows := history.to_dict("records") if hasattr(history, "to_dict") else history):
        findings += check_history(rows, len(names), recipe is not None and bool(recipe.start_from))
        checked.append(f"history of {len(rows)} rows")
    if normalisation is None and recipe is not None and recipe.normalisation != "measured":
        normalisation = Normalisation.named(recipe.normalisation, recipe.in_channels)
    first = next(iter(sources.values()), None)
    if first is not None and (model or loss or normalisation or not first.own):
        trained = run is not None or predictions is not None
        findings += check_network(model, loss, first, recipe, names, ignore_index, normalisation, trained, steps)
        checked += ["network and loss on one batch"] if model or loss else []
    if predictions is not None:
        source, predictions = sources.get("val", first), list(predictions)
        if len(predictions) > (number := 0 if source is None else len(source)):
            raise ValueError(f"predictions: {len(predictions)} of {number} samples; expected those of val_dataset")
        findings += check_predictions(Counts(source, predictions, ignore_index, len(names), samples), names, score)
        if model is not None:
            scoring = Scoring() if recipe is None else Scoring.of(recipe)
            findings += check_mode(model, source, predictions, normalisation, scoring)
        checked.append(f"{len(predictions)} predictions")
    return Report.of(findings, checked)


def _check_data(
    sources: dict[str, Source], names: Sequence[str], void: int | None, recipe: Any, samples: int
) -> Iterator[Finding]:
    scans = {part: source.scan() for part, source in sources.items()}
    own = all(source.own for source in sources.values())
    stride = recipe.output_stride * recipe.stem_stride // 4 if recipe is not None else 16
    if folders := [source.dataset for source in sources.values() if hasattr(source.dataset, "table")]:
        number = sum(len(scan.rows) for scan in scans.values())
        yield from find_by_messages(describe_pictures(scans, folders[0].table), number)
        yield from check_division(folders, folders[0].table.split, number)
    for part, source in sources.items():
        found = [*of_data.check_labels(scans[part], names, void, own)]
        found += of_data.check_samples(source, part == "val", void, stride, names, samples)
        yield from (replace(each, evidence=f"{part}: {each.evidence}") for each in found)
    yield from of_data.check_classes(scans, names)
    yield from of_data.check_splits(scans)
    if "train" in sources:
        yield from of_data.check_lists(sources["train"], recipe.train_split if recipe is not None else "")


def _check_identity(stored: Mapping[str, Any], source: Source) -> Iterator[Finding]:
    before = stored.get("data", {}).get("train")
    with suppress(OSError, ValueError):  # told of elsewhere
        now = fingerprint(source.dataset, count_labels(source.dataset, {}))
        if before and (difference := describe_difference(before, now)):
            yield find("other_data", difference=difference)


def diagnose(data_root: Path, /, *, checkpoint: Path | None = None, data: str = "folder", samples: int = 100) -> int:
    """Look for what makes a score low, in data and in a run on them; exit status 1 if there is an error.

    Args:
        data_root: a folder with images, masks and classes.toml; or the folder of the data set that `data` names.
        checkpoint: the folder of a run, or its checkpoint.pt: its network, history, and predictions of val pictures.
        data: the data set, such as voc.
        samples: pictures of each split that are looked at closely.
    """
    report = check_root(data_root, checkpoint, data, samples)
    print(report)
    return int(bool(report.errors))


def check_root(data_root: Path, checkpoint: Path | None = None, data: str = "folder", samples: int = 100) -> Report:
    """Checks a data set by its folder, and a run on it; the arguments are those of the command `diagnose`."""
    run, loaded, recipe, faults, number = None, None, Recipe(data=data, partial=True), [], 0
    if checkpoint is not None:
        loaded = Loaded.read(checkpoint)
        run, recipe = loaded.run, loaded.run.recipe.replace(data=data, partial=True)
    if data == "folder":
        parts, faults, number = open_parts(data_root)
    else:
        splits = {"train": recipe.train_split, "val": recipe.val_split}
        parts = {part: build_dataset(recipe, split, data_root) for part, split in splits.items()}
    train, val = parts.get("train"), parts.get("val")
    for part in parts.values() if run else ():
        if (found := getattr(part, "in_channels", 3)) != (expected := len(run.normalisation.mean)):
            raise ValueError(f"{data_root}: pictures of {found} channels; expected {expected}, as {checkpoint} takes")
    report = check(train, val, run=loaded, samples=samples)
    findings, checked = [*find_by_messages(faults, number), *report.findings], [*report.checked]
    if run is not None and val is not None:  # of some pictures; the labels of all were read above
        part, scoring = val.subset(Source(val).spread(samples)), Scoring.of(run.recipe)
        maps = [predict_image(run.model, part.read(k)[0], run.normalisation, scoring) for k in range(len(part))]
        counts = Counts(Source(part), maps, part.ignore_index, len(part.classes), samples)
        findings += check_predictions(counts, part.classes, None)
        checked.append(f"{len(maps)} predictions")
    return Report.of(findings, checked)
