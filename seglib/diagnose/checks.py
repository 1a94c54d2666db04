"""All checks in one call, and the command `python -m seglib diagnose DATA_ROOT`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seglib.data.base import VOID
from seglib.diagnose import data as data_checks
from seglib.diagnose.folder import open_parts
from seglib.diagnose.report import Finding, Report, find, find_by_messages
from seglib.diagnose.samples import Source

if TYPE_CHECKING:
    from torch import nn

    from seglib.diagnose.network import Loss
    from seglib.recipe import Recipe


def check(
    dataset: Any = None,
    val_dataset: Any = None,
    *,
    model: "nn.Module | None" = None,
    recipe: "Recipe | None" = None,
    run: Any = None,
    predictions: Iterable[np.ndarray] | None = None,
    score: float | None = None,
    loss: "Loss | None" = None,
    normalisation: Any = None,
    classes: Sequence[str] | int | None = None,
    ignore_index: int | None = VOID,
    samples: int = 100,
    steps: int = 40,
    workers: int = 1,
) -> Report:
    """Looks for what makes a score low, in all that is given; what is not given is not looked at.

    Nothing that is given is changed. Data sets are this package's or anyone's: with `__getitem__` and `__len__`, of
    pairs or dictionaries of arrays, PIL images or tensors (C, H, W); or a DataLoader of one.

    Args:
        dataset: what is trained on, with its augmentation.
        val_dataset: what is scored.
        model: any network that returns logits (B, K, h, w), or a dictionary with them as "out".
        recipe: the run's settings, if it is this package's.
        run: checkpoint.pt of a run; or its history, rows of iteration, loss and lr.
        predictions: of val_dataset's samples in their order (without it, dataset's): (H, W) classes, or (K, H, W)
            probabilities, which find labels that are wrong too.
        score: the mIoU, 0 to 1, that was computed of these predictions.
        loss: called with logits (B, K, H, W) and labels (B, H, W) int64; default: cross-entropy over labelled pixels.
        normalisation: makes (B, C, H, W) float32 of uint8 images, where the data set leaves that to the training.
        classes: names of the K classes, or K; default: the data set's `classes`.
        ignore_index: the label of void; None for none.
        samples: how many samples, of each set, are looked at closely; of ours, all labels are read.
        steps: of training on one batch; 0 for none.
        workers: threads that read the labels of a data set of ours.
    """
    history = run
    stored: Mapping[str, Any] = {}
    names: tuple[str, ...] = ()
    if isinstance(run, str | Path):
        from seglib.train.checkpoint import load_run
        from seglib.train.start import read_run

        loaded, stored = load_run(run), read_run(Path(run))[0]
        model, recipe, history = model or loaded.model, recipe or loaded.recipe, loaded.log
        normalisation = normalisation or loaded.normalisation
        names = loaded.classes
    parts = {part: Source(each) for part, each in (("train", dataset), ("val", val_dataset)) if each is not None}
    own = next((source.classes for source in parts.values() if source.classes), ())
    if classes is not None:
        own = tuple(f"class {k}" for k in range(classes)) if isinstance(classes, int) else tuple(classes)
    findings, checked = [], []
    if parts:
        findings += _check_data(parts, own or names, ignore_index, recipe, samples, workers)
        checked += [f"{part}: {len(source)} samples" for part, source in parts.items()]
    if names and own and names != own:
        differ = [f"{k} is {a} there, {b} here" for k, (a, b) in enumerate(zip(names, own, strict=False)) if a != b]
        findings.append(
            find("class_order", f"{run}: {'; '.join(differ[:3]) or f'{len(names)} classes, {len(own)} here'}")
        )
    if stored and "train" in parts and parts["train"].own:
        findings += _check_identity(stored, parts["train"])
    if recipe is not None:
        from seglib.diagnose.training import check_recipe

        findings += check_recipe(recipe, len(parts["train"]) if "train" in parts else 0)
        checked.append("recipe")
    if history is not None:
        from seglib.diagnose.training import check_history

        rows = history.to_dict("records") if hasattr(history, "to_dict") else list(history)
        findings += check_history(rows, len(own or names))
        checked += [f"history of {len(rows)} rows"] if rows else []
    if model is not None or loss is not None:
        findings += _check_network(
            model,
            loss,
            parts,
            recipe,
            own or names,
            ignore_index,
            normalisation,
            run is not None or predictions is not None,
            steps,
        )
        checked.append("network and loss on one batch")
    elif parts and (normalisation is not None or not next(iter(parts.values())).own):
        findings += _check_network(None, None, parts, recipe, own or names, ignore_index, normalisation, False, 0)
    if predictions is not None:
        from seglib.diagnose.scores import Counts, check_predictions

        source = parts.get("val") or parts["train"]
        predictions = list(predictions)
        found = Counts(source, predictions, ignore_index, len(own or names), samples)
        findings += check_predictions(found, own or names, score)
        if model is not None:
            findings += _check_mode(model, source, predictions, recipe, normalisation)
        checked.append(f"{len(predictions)} predictions")
    return Report.of(findings, checked)


def _check_data(
    parts: dict[str, Source],
    names: Sequence[str],
    void: int | None,
    recipe: "Recipe | None",
    samples: int,
    workers: int,
) -> Iterator[Finding]:
    scans = {part: source.scan(workers) for part, source in parts.items()}
    yield from data_checks.check_labels(scans, names, void, all(source.own for source in parts.values()))
    yield from data_checks.check_frames(scans)
    if len(scans) == 2:
        yield from data_checks.check_splits(scans)
    if "train" in parts:
        yield from data_checks.check_lists(parts["train"], recipe.train_split if recipe is not None else "")
    stride = recipe.output_stride * recipe.stem_stride // 4 if recipe is not None else 16
    for part, source in parts.items():
        yield from data_checks.check_samples(source, part, void, stride, names, samples)


def _check_identity(stored: Mapping[str, Any], source: Source) -> Iterator[Finding]:
    from seglib.data.fingerprint import count_labels, describe_difference, fingerprint

    before = stored.get("data", {}).get("train")
    try:
        now = fingerprint(source.dataset, count_labels(source.dataset, {}))
    except (OSError, ValueError):
        return  # told of elsewhere
    if before and (difference := describe_difference(before, now)):
        yield find("other_data", f"the run began on other labels than are there now: {difference}")


def _check_network(
    model: "nn.Module | None",
    loss: "Loss | None",
    parts: dict[str, Source],
    recipe: "Recipe | None",
    names: Sequence[str],
    void: int | None,
    normalisation: Any,
    trained: bool,
    steps: int,
) -> Iterator[Finding]:
    from torch.nn.functional import cross_entropy

    from seglib.data.transforms import Normalisation
    from seglib.diagnose import network

    if model is not None:
        yield from network.check_weights(model, recipe, trained)
    if not parts:
        return
    source = next(iter(parts.values()))
    yield from network.check_loader(source, model)
    if normalisation is None and recipe is not None and recipe.normalisation != "measured":
        normalisation = Normalisation.named(recipe.normalisation, recipe.in_channels)
    try:
        batch = network.Batch(source, 8, normalisation)
    except ValueError:  # told of elsewhere
        return
    if normalisation is not None or not batch.raw:
        yield from network.check_inputs(batch)
    classes = len(names) or (model.num_classes if hasattr(model, "num_classes") else 0)
    if loss is not None and classes:
        yield from network.check_loss(loss, batch, classes, void)
    if model is None:
        return
    batch.move_to(model)
    yield from network.check_structure(model, recipe, names, batch)
    yield from network.check_convention(model, batch)
    yield from network.check_outputs(model, batch, classes, void, trained)
    if steps and classes:
        ignored = -100 if void is None else void
        own = loss or (lambda logits, labels: cross_entropy(logits, labels, ignore_index=ignored))
        yield from network.check_learning(model, batch, own, steps)


def _check_mode(
    model: "nn.Module", source: Source, predictions: list, recipe: "Recipe | None", normalisation: Any
) -> Iterator[Finding]:
    """Predicts a few pictures again, in evaluation mode."""
    from seglib.data.transforms import IMAGENET, Normalisation
    from seglib.diagnose.network import predict_again

    if normalisation is None:
        named = recipe is not None and recipe.normalisation != "measured"
        normalisation = Normalisation.named(recipe.normalisation, recipe.in_channels) if named else IMAGENET
    differ = []
    for index in np.linspace(0, len(predictions) - 1, min(8, len(predictions))).astype(int).tolist():
        found = predictions[index]
        found = np.asarray(found.cpu() if hasattr(found, "cpu") else found)
        found = found.argmax(axis=0) if found.ndim == 3 else found
        again = predict_again(model, source.given(index)[0], normalisation, recipe)
        if again.shape == found.shape:
            differ.append(float((again != found).mean()))
    if differ and np.mean(differ) > 0.05:
        mode = "; it was given in training mode" if model.training else ""
        text = f"{np.mean(differ):.0%} of the pixels are predicted otherwise when the model is in evaluation mode{mode}"
        yield find("train_mode", text)


def diagnose(
    data_root: Path,
    /,
    *,
    checkpoint: Path | None = None,
    data: str = "folder",
    samples: int = 100,
    workers: int = 1,
) -> int:
    """Look for what makes a score low, in data and in a run on them; exit status 1 if there is an error.

    Args:
        data_root: a folder with images, masks and classes.toml; or the folder of the data set that `data` names.
        checkpoint: checkpoint.pt of a run: its network, history, and predictions of val pictures.
        data: the data set, such as voc.
        samples: pictures of each split that are looked at closely.
        workers: threads that read labels.
    """
    report = check_root(data_root, checkpoint, data, samples, workers)
    print(report)
    return int(bool(report.errors))


def check_root(
    data_root: Path, checkpoint: Path | None = None, data: str = "folder", samples: int = 100, workers: int = 1
) -> Report:
    """Checks a data set by its folder, and a run on it; the arguments are those of the command `diagnose`."""
    from seglib.recipe import Recipe

    run, recipe, faults = None, Recipe(data=data), []
    if checkpoint is not None:
        from seglib.train.checkpoint import load_run

        run = load_run(checkpoint)
        recipe = run.recipe.replace(data=data)
    if data == "folder":
        parts, faults = open_parts(data_root)
    else:
        from seglib.data.open import build_dataset

        recipe = recipe.replace(partial=True) if data == "voc" else recipe
        splits = {"train": recipe.train_split, "val": recipe.val_split}
        parts = {part: build_dataset(recipe, split, data_root) for part, split in splits.items()}
    train, val = parts.get("train"), parts.get("val")
    predictions = None
    if run is not None and val is not None:
        from seglib.diagnose.network import predict_again

        val = val.subset(Source(val).spread(samples))
        predictions = [predict_again(run.model, val.read(i)[0], run.normalisation, recipe) for i in range(len(val))]
    report = check(
        train, val, run=checkpoint, predictions=predictions, samples=samples, workers=workers,
        recipe=None if run is None else run.recipe,
    )  # fmt: skip
    found = [*find_by_messages(faults, sum(map(len, parts.values()))), *report.findings]
    return Report.of(found, report.checked)
