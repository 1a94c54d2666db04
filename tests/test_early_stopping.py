"""Early stopping, folds and noisy masks: fields of a recipe that decide what is trained on, and for how long."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refused
from small_set import SMALL, make_trainer, weights

from seglib.data import ToyVOC
from seglib.data.noise import NoisyMasks, displace
from seglib.data.open import build_dataset, split_into_folds
from seglib.metrics import ConfusionMatrix
from seglib.train import Trainer
from seglib.train.results import load_result

# a rate of 0 changes no weight, and running statistics that do not move keep the score: the first one stays the best
STUCK = SMALL.replace(lr=0.0, bn_momentum=0.0, eval_every=2, patience=2, iterations=40)
LEARNING = SMALL.replace(eval_every=2, patience=3, iterations=20)


class Scripted(Trainer):
    """Scores as written here, by the iteration in which the weights were first seen: the best is at 6."""

    script: ClassVar = {2: 1, 4: 3, 6: 7, 8: 2, 10: 7, 12: 4, 14: 9}
    seen: ClassVar[dict[float, int]] = {}

    def evaluate(self, progress: bool | None = None, trimap: dict | None = None) -> ConfusionMatrix:
        key = float(self.model.classifier.weight.detach().double().sum())
        right = self.seen.setdefault(key, self.script[self.iteration])
        return ConfusionMatrix.from_matrix(torch.eye(9, dtype=torch.int64) * right + 1)


def scripted(run_dir: Path, data: Path, num_workers: int = 0) -> Scripted:
    return Scripted(LEARNING, run_dir, data_root=data, num_workers=num_workers, device="cpu", progress=False)


def test_a_run_stops_when_its_score_stays(tmp_path: Path, data: Path) -> None:
    run = make_trainer(STUCK, tmp_path, data).fit()
    assert run.finished and run.iteration == 2 * (1 + 2)
    assert load_result(tmp_path / "result.json")["scores"]["miou"] == run.history["miou"].dropna().iloc[0]
    assert make_trainer(STUCK, tmp_path, data).fit().iteration == 6, "a stopped run is not resumed"
    endless = make_trainer(STUCK.replace(patience=0, iterations=8), tmp_path / "endless", data)
    assert endless.fit(until=8).iteration == 8
    unscored = make_trainer(STUCK, tmp_path / "unscored", data)
    unscored.log = [{"iteration": i, "miou": None, "iou": [None]} for i in range(2)]
    assert not unscored.finished
    refused("eval_every = 5; the recipe's, 2", make_trainer, STUCK, tmp_path, data, eval_every=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Scripted:
    return scripted(tmp_path_factory.mktemp("whole"), data).fit()


def test_the_result_is_the_best_scores(tmp_path: Path, data: Path, whole: Scripted) -> None:
    scores = whole.history["miou"].dropna().tolist()
    assert whole.iteration == 12 and scores.index(max(scores)) == 2, "the first of two equal scores"
    assert load_result(whole.run_dir / "result.json")["scores"]["miou"] == max(scores)
    assert whole.class_history.shape == (len(scores), 9)
    assert whole.class_history.mean(axis=1).tolist() == pytest.approx(scores)
    third = make_trainer(LEARNING.replace(patience=0, eval_every=None), tmp_path, data).fit(until=6)
    assert torch.equal(weights(third.model), weights(whole.model))
    third.model.load_state_dict(torch.load(whole.best, weights_only=True))
    assert torch.equal(weights(third.model), weights(whole.model))


@pytest.mark.parametrize("cut", [3, 6])
def test_an_interrupted_run_stops_with_the_same(cut: int, tmp_path: Path, data: Path, whole: Scripted) -> None:
    scripted(tmp_path, data).fit(until=cut)
    parts = scripted(tmp_path, data, num_workers=1).fit()
    assert parts.iteration == 12 and torch.equal(weights(parts.model), weights(whole.model))


@given(length=st.integers(2, 60), data=st.data())
def test_folds_partition_the_list(length: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, length))
    parts = split_into_folds(length, count, seed=1)
    assert sorted(index for part in parts for index in part) == list(range(length))
    sizes = [len(part) for part in parts]
    assert len(parts) == count and max(sizes) - min(sizes) <= 1
    assert parts == split_into_folds(length, count, seed=1)
    assert split_into_folds(40, 4, seed=0) != split_into_folds(40, 4, seed=1)
    refused("folds = 1", split_into_folds, length, 1)


def test_folds_of_a_recipe_partition_the_training_list(data: Path) -> None:
    everything, left_out = build_dataset(SMALL, "trainaug", data).names, []
    for fold in range(5):
        recipe = SMALL.replace(folds=5, fold=fold, val_split="fold", seed=fold)
        rest = build_dataset(recipe, "trainaug", data, train=True).names
        part = build_dataset(recipe, "fold", data).names
        assert sorted(rest + part) == sorted(everything) and not set(rest) & set(part)
        left_out += part
    assert sorted(left_out) == sorted(everything)
    assert len(build_dataset(recipe, "val", data)) == 4, "another list is not divided"


def test_noise_moves_only_boundaries() -> None:
    clean = ToyVOC("val")
    noisy = NoisyMasks(clean, 3)
    (image, label), (original, truth) = noisy.read(0), clean.read(0)
    assert np.array_equal(image, original)
    for again in (noisy.read(0), noisy.subset([0]).read(0)):
        assert np.array_equal(label, again[1]), "the same error at every reading"
    assert not np.array_equal(label, NoisyMasks(ToyVOC("val", seed=1), 3).read(0)[1])
    changed = label != truth
    assert 0.005 < changed.mean() < 0.2
    for row, column in zip(*np.nonzero(changed), strict=True):
        near = truth[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
        assert label[row, column] in near, "from at most three pixels away"
    flat = np.full((20, 30), 4, dtype=np.uint8)
    assert np.array_equal(displace(flat, 5, np.random.default_rng(0)), flat)
    refused("pixels: expected at least 1", NoisyMasks, clean, 0)


def test_noise_is_only_for_training(data: Path) -> None:
    recipe = SMALL.replace(label_noise=2)
    clean = build_dataset(SMALL, "val", data).read(0)[1]
    assert np.array_equal(build_dataset(recipe, "val", data).read(0)[1], clean)
    assert not np.array_equal(build_dataset(recipe, "val", data, train=True).read(0)[1], clean)
