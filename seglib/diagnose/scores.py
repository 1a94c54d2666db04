"""What predictions and scores of a list of pictures betray: nearly all of it is in one confusion matrix."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from seglib.data.base import VOID
from seglib.data.cityscapes import CITYSCAPES_CLASSES
from seglib.diagnose.report import Finding, find
from seglib.diagnose.samples import MIRRORS, Source, to_array
from seglib.files import some
from seglib.metrics.cityscapes_labels import CITYSCAPES_LABELS
from seglib.metrics.ratios import divide, mean_present

REACH = 9  # pixels by which a prediction is shifted
MOVES = {move for step in range(-REACH, REACH + 1) for move in ((step, 0), (0, step), (step, step))}  # (down, right)
CLOSE = 0.002  # scores that are the same


def to_classes(prediction: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns classes (H, W), and probabilities (K, H, W) if it holds such."""
    found = to_array(prediction)
    return (found.argmax(axis=0), found) if found.ndim == 3 else (found, None)


class Counts:
    """Predictions counted against their labels.

    Attributes:
        joint: (256, 256) int64: rows are labels, columns predictions, void left out.
        singly: of each picture, (K, K + 1), the last column for all predictions that are no class.
        sizes: "label, prediction" of pictures whose sizes differ; they are not counted.
        seen: labelled pixels of the pictures that are looked at closely; `inner`: without a border of REACH.
        shifts: of these, moved by (down, right) -> inner pixels that are right.
        turns: name of a turn -> pixels that are right; "" for none.
        noise: name, labels and probabilities of some pixels of each picture, where there are probabilities.
    """

    def __init__(
        self, source: Source, predictions: Iterable[np.ndarray], void: int | None, classes: int, close: int
    ) -> None:
        self.joint, self.seen, self.inner = np.zeros((256, 256), np.int64), 0, 0
        self.singly: list[np.ndarray] = []
        self.sizes: list[str] = []
        self.shifts, self.turns = dict.fromkeys(MOVES, 0), dict.fromkeys(["", *MIRRORS], 0)
        self.noise: list[tuple[str, np.ndarray, np.ndarray]] = []
        chosen = {*source.spread(close)}
        for index, found in enumerate(predictions):
            label, (found, probabilities) = source.given(index)[1], to_classes(found)
            if found.shape != label.shape:
                (a, b), (c, d) = label.shape, found.shape
                self.sizes.append(f"labels of {b} x {a}, predictions of {d} x {c}")
                continue
            # labels beyond 0 to 255 are told of elsewhere; a prediction beyond them is no class
            valid = (label >= 0) & (label < 256) & (label != (-1 if void is None else void))
            found = np.where((found >= 0) & (found < 256), found, VOID)
            codes = label[valid].astype(np.int64) * 256 + found[valid].astype(np.int64)
            joint = np.bincount(codes, minlength=65536).reshape(256, 256)
            self.joint += joint
            self.singly.append(np.c_[joint[:classes, :classes], joint[:classes, classes:].sum(axis=1)])
            if index in chosen:
                self._look(label, found, valid)
                if probabilities is not None:
                    name = source.files[index][0].stem if source.files else str(index)
                    places = np.flatnonzero(valid & (label < classes))
                    places = places[:: max(1, len(places) // 20_000)]
                    kept = probabilities.reshape(len(probabilities), -1)[:, places].T  # (M, K)
                    self.noise.append((name, label.ravel()[places], kept))

    def _look(self, label: np.ndarray, found: np.ndarray, valid: np.ndarray) -> None:
        self.seen += int(valid.sum())
        for name, turn in {"": np.s_[:], **MIRRORS}.items():
            self.turns[name] += int((valid & (label == found[turn])).sum())
        if min(label.shape) > 4 * REACH:
            (height, width), inner = label.shape, np.s_[REACH:-REACH, REACH:-REACH]
            self.inner += int(valid[inner].sum())
            for down, right in MOVES:
                moved = found[REACH - down : height - REACH - down, REACH - right : width - REACH - right]
                self.shifts[down, right] += int((valid[inner] & (label[inner] == moved)).sum())


def scores_of(joint: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """Computes IoU (K,), nan for absent classes, and its mean."""
    right, labelled, predicted = joint.diagonal()[:classes], joint.sum(1)[:classes], joint.sum(0)[:classes]
    iou = divide(right, labelled + predicted - right)
    return iou, mean_present(iou)


def check_predictions(counts: Counts, names: Sequence[str], score: float | None) -> Iterator[Finding]:
    """Checks predictions: their size, numbering, place, classes; and how `score`, the user's own, was averaged."""
    if counts.sizes:
        yield find("wrong_resolution", f"{len(counts.sizes)} pictures: {counts.sizes[0]}")
    joint, classes = counts.joint, len(names)
    if not joint.any():
        return
    _, miou = scores_of(joint, classes)
    yield from _check_numbering(joint, names, miou)
    labelled, predicted = joint.sum(1) / joint.sum(), joint.sum(0) / joint.sum()
    if predicted.max() > 0.95 and labelled.max() < 0.9:
        most = int(predicted.argmax())
        name = names[most] if most < classes else most
        yield find("one_class", name=name, predicted=predicted[most], labelled=labelled[most])
    if never := [f"{names[k]} ({labelled[k]:.1%})" for k in range(classes) if labelled[k] > 0.005 and not predicted[k]]:
        yield find("classes_never_predicted", names=some(never))
    yield from _check_place(counts)
    if score is not None and abs(score - miou) > CLOSE:
        yield _explain(score, counts.singly, classes, miou)
    yield from _check_noise(counts.noise, names)


def _check_place(counts: Counts) -> Iterator[Finding]:
    """Looks for a turn or a shift of the predictions that fits the labels better."""
    seen, inner, turn = max(1, counts.seen), counts.inner, max(counts.turns, key=counts.turns.get)
    there, here = counts.turns[turn] / seen, counts.turns[""] / seen
    if there > here + 0.05:
        yield find("prediction_flipped", there=there, turn=turn, here=here)
    elif inner:
        down, right = best = max(counts.shifts, key=counts.shifts.get)
        wrong, least = (1 - counts.shifts[move] / inner for move in ((0, 0), best))
        if least < 0.9 * wrong:
            yield find("prediction_shifted", down=down, right=right, least=least, wrong=wrong)


def _check_numbering(joint: np.ndarray, names: Sequence[str], miou: float) -> Iterator[Finding]:
    """Looks for a numbering of the predicted classes that fits the labels better."""
    classes = len(names)
    if tuple(names) == CITYSCAPES_CLASSES:
        train_ids = np.full(256, VOID)
        for row in CITYSCAPES_LABELS:
            train_ids[row.id] = row.train_id if row.id >= 0 else VOID
        renumbered = np.zeros_like(joint)
        np.add.at(renumbered.T, train_ids, joint.T)
        if (better := scores_of(renumbered, classes)[1]) > miou + 0.1:
            yield find("train_ids_for_ids", miou=miou, better=better)
    used = np.flatnonzero(joint.sum(0))
    union = joint.sum(1)[:classes, None] + joint.sum(0)[None, used] - joint[:classes][:, used]
    iou = np.nan_to_num(divide(joint[:classes][:, used], union))
    rows, columns = linear_sum_assignment(iou, maximize=True)
    better = float(iou[rows, columns].sum()) / max(1, np.count_nonzero(joint.sum(1)[:classes]))
    moved = {int(k): int(used[j]) for k, j in zip(rows, columns, strict=True) if used[j] != k and iou[k, j] > 0.1}
    if better > miou + 0.1 and len(moved) > 1:
        pairs = some([f"{names[k]} is predicted as {j}, expected {k}" for k, j in moved.items()], 3)
        name = "off_by_one" if {j - k for k, j in moved.items()} in ({1}, {-1}) else "classes_permuted"
        yield find(name, pairs=pairs, miou=miou, better=better)


def _explain(score: float, singly: list[np.ndarray], classes: int, miou: float) -> Finding:
    """Tells by which other average of the same predictions a score comes about."""
    whole = np.sum(singly, axis=0)
    iou, each_iou = scores_of(whole, classes)[0], np.array([scores_of(each, classes)[0] for each in singly])
    right, labelled = whole.diagonal()[:classes], whole.sum(1)[:classes]
    others = {
        "the mean over pictures": np.mean([mean_present(each) for each in each_iou]),
        "the mean over pictures, absent classes counted as 1": np.nan_to_num(each_iou, nan=1.0).mean(),
        "the mean over pictures, absent classes counted as 0": np.nan_to_num(each_iou).mean(),
        "the mean without absent classes counted as 0": np.nan_to_num(iou).mean(),
        "the mean without class 0": mean_present(iou[1:]),
        "pixel accuracy": right.sum() / whole.sum(),
        "mean accuracy": mean_present(divide(right, labelled)),
        "frequency-weighted IoU": (labelled * np.nan_to_num(iou)).sum() / whole.sum(),
    }
    for size in (2, 4, 8, 16, 32):
        parts = [np.sum(singly[start : start + size], axis=0) for start in range(0, len(singly), size)]
        if len(parts) > 1:
            others[f"the mean over batches of {size}"] = np.mean([scores_of(part, classes)[1] for part in parts])
    kind = min(others, key=lambda name: abs(others[name] - score))
    name = "metric_averaged" if abs(others[kind] - score) <= CLOSE else "score_not_reproduced"
    return find(name, score=score, miou=miou, other=others[kind], kind=kind)


def _check_noise(noise: list[tuple[str, np.ndarray, np.ndarray]], names: Sequence[str]) -> Iterator[Finding]:
    """Finds labels that the network contradicts with confidence, void left out (confident learning, arXiv 1911.00068).

    A class's threshold is the mean probability that its own pixels give it; a pixel is suspect if another class is the
    most probable one and reaches its threshold. Only predictions of pictures that were not trained on tell.
    """
    if not noise:
        return
    labels, probabilities = (np.concatenate([each[k] for each in noise]) for k in (1, 2))
    own = probabilities[np.arange(len(labels)), labels]
    thresholds = divide(np.bincount(labels, own, len(names)), np.bincount(labels, minlength=len(names)))
    shares = {}
    for name, label, found in noise:
        best = found.argmax(axis=1)
        suspect = (best != label) & (found.max(axis=1) >= np.nan_to_num(thresholds, nan=2.0)[best])
        shares[name] = float(suspect.mean())
    mean = float(np.mean([*shares.values()]))
    worst = sorted((name for name in shares if shares[name] > max(0.1, 3 * mean)), key=lambda name: -shares[name])
    if worst:
        yield find("labels_suspect", names=some([f"{name} {shares[name]:.0%}" for name in worst], 5), mean=mean)
