"""Early stopping, folds and noisy masks: fields of a recipe that decide what is trained on, and for how long."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from small_set import SMALL, write_small_set

from seglib.data import ToyVOC
from seglib.data.noise import NoisyMasks, displaced
from seglib.data.open import build_dataset
from seglib.metrics import ConfusionMatrix
from seglib.recipe import Recipe
from seglib.train.results import load_result
from seglib.train.trainer import History, Trainer

# a rate of 0 changes no weight, and running statistics that do not move keep the score: the first one stays the best
STUCK = SMALL.replace(lr=0.0, bn_momentum=0.0, eval_every=2, patience=3, iterations=40)
LEARNING = SMALL.replace(eval_every=2, patience=3, iterations=20)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("data"))


class Scripted(Trainer):
    """Scores as written here, by the iteration in which the weights were first seen: the best is at 6."""

    script: ClassVar = {2: 1, 4: 3, 6: 7, 8: 2, 10: 7, 12: 4, 14: 9}
    seen: ClassVar[dict[float, int]] = {}

    def evaluate(self, progress: bool | None = None, trimap: dict | None = None) -> ConfusionMatrix:
        weights = float(self.model.classifier.weight.detach().double().sum())
        right = self.seen.setdefault(weights, self.script[self.iteration])
        return ConfusionMatrix.from_matrix(torch.eye(9, dtype=torch.int64) * right + 1)


def trainer(recipe: Recipe, run_dir: Path, data: Path, **options: object) -> Trainer:
    return Trainer(recipe, run_dir, data_root=data, device="cpu", progress=False, **options)


def test_a_run_stops_when_its_score_stays(tmp_path: Path, data: Path) -> None:
    run = trainer(STUCK, tmp_path, data).fit()
    assert run.finished and run.iteration == 2 * (1 + 3)
    assert load_result(tmp_path / "result.json")["scores"]["miou"] == run.history["miou"].dropna().iloc[0]
    again = trainer(STUCK, tmp_path, data).fit()
    assert again.iteration == 8, "a stopped run does not go on"


def test_without_patience_it_goes_to_the_end(tmp_path: Path, data: Path) -> None:
    assert trainer(STUCK.replace(patience=0, iterations=12), tmp_path, data).fit().iteration == 12


def test_the_result_is_the_best_scores(tmp_path: Path, data: Path) -> None:
    run = Scripted(LEARNING, tmp_path, data_root=data, device="cpu", progress=False).fit()
    scores = run.history["miou"].dropna().tolist()
    assert run.iteration == 12 and scores.index(max(scores)) == 2
    assert load_result(tmp_path / "result.json")["scores"]["miou"] == max(scores)
    best = torch.load(run.best, weights_only=True)
    assert all(torch.equal(value, best[key]) for key, value in run.model.state_dict().items())
    third = trainer(LEARNING.replace(patience=0, eval_every=None), tmp_path / "third", data).fit(until=6).model
    assert torch.equal(third.classifier.weight, run.model.classifier.weight)
    assert run.class_history.shape == (len(scores), 9)
    assert run.class_history.mean(axis=1).tolist() == pytest.approx(scores)


@pytest.mark.parametrize("cut", [3, 6, 9])
def test_an_interrupted_run_stops_at_the_same_place_with_the_same_weights(cut: int, tmp_path: Path, data: Path) -> None:
    places = {"data_root": data, "device": "cpu", "progress": False}
    whole = Scripted(LEARNING, tmp_path / "whole", **places).fit()
    Scripted(LEARNING, tmp_path / "parts", **places).fit(until=cut)
    parts = Scripted(LEARNING, tmp_path / "parts", num_workers=1, **places).fit()
    assert parts.iteration == whole.iteration == 12
    states = whole.model.state_dict(), parts.model.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def scored(*mious: float) -> History:
    history = History()
    for iteration, miou in enumerate(mious):
        history.rows.append({"iteration": iteration, "miou": miou, "pixel_accuracy": 0.5, "iou": [miou]})
    return history


def test_patience_counts_scores_since_the_first_best() -> None:
    assert scored().since_best is None and not scored().out_of_patience(1)
    assert scored(0.1, 0.3, 0.3, 0.2).since_best == 2
    assert scored(0.1, 0.3, 0.3, 0.2).out_of_patience(2) and not scored(0.1, 0.3, 0.3, 0.2).out_of_patience(3)
    assert not scored(0.1, 0.1, 0.1).out_of_patience(0)
    empty = History()
    empty.log_scores(2, ConfusionMatrix(2).compute())
    assert empty.since_best == 0 and empty.rows[0]["miou"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 2}, "patience = 2 counts scores; expected an eval_every"),
        ({"folds": 1}, "fold = 0, folds = 1"),
        ({"folds": 3, "fold": 3}, "fold = 3, folds = 3"),
        ({"fold": 1}, "fold = 1, folds = 0"),
        ({"val_split": "fold"}, "expected folds, found 0"),
        ({"label_noise": -1}, "label_noise = -1"),
    ],
)
def test_nonsense_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SMALL.replace(**changes)


def test_another_eval_every_is_refused_beside_patience(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ValueError, match="eval_every = 5; the recipe's, 2"):
        trainer(STUCK, tmp_path, data, eval_every=5)


def test_folds_of_a_recipe_partition_the_training_list(data: Path) -> None:
    everything = build_dataset(SMALL, "trainaug", data).names
    left_out = []
    for fold in range(5):
        recipe = SMALL.replace(folds=5, fold=fold, val_split="fold", seed=fold)
        rest = build_dataset(recipe, "trainaug", data, train=True).names
        part = build_dataset(recipe, "fold", data).names
        assert sorted(rest + part) == sorted(everything) and not set(rest) & set(part)
        left_out += part
    assert sorted(left_out) == sorted(everything)
    assert len(build_dataset(recipe, "val", data)) == 4, "another list is not divided"


def test_noise_moves_boundaries_and_nothing_else(data: Path) -> None:
    clean = ToyVOC("val")
    noisy = NoisyMasks(clean, 3)
    image, label = noisy.read(0)
    original, truth = clean.read(0)
    assert np.array_equal(image, original)
    assert np.array_equal(label, noisy.read(0)[1]), "the same error at every reading"
    assert not np.array_equal(label, NoisyMasks(ToyVOC("val", seed=1), 3).read(0)[1])
    assert np.array_equal(label, noisy.subset([0]).read(0)[1])
    changed = label != truth
    assert 0.005 < changed.mean() < 0.2
    for row, column in zip(*np.nonzero(changed), strict=True):
        window = truth[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
        assert label[row, column] in window, "from at most three pixels away"
    flat = np.full((20, 30), 4, dtype=np.uint8)
    assert np.array_equal(displaced(flat, 5, np.random.default_rng(0)), flat)


def test_noise_is_for_training_alone(data: Path) -> None:
    recipe = SMALL.replace(label_noise=2)
    clean = build_dataset(SMALL, "val", data)
    assert np.array_equal(build_dataset(recipe, "val", data).read(0)[1], clean.read(0)[1])
    assert not np.array_equal(build_dataset(recipe, "val", data, train=True).read(0)[1], clean.read(0)[1])
    with pytest.raises(ValueError, match="pixels: expected at least 1"):
        NoisyMasks(clean, 0)
