"""The loop: bit-identical resumption, the schedule, the loss it minimises, and the result that it writes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_set import SMALL, make_trainer, weights
from torch import Tensor, nn

from seglib.data import SegmentationDataset
from seglib.metrics import ConfusionMatrix
from seglib.predict import evaluate
from seglib.recipe import Recipe
from seglib.train import Trainer
from seglib.train.results import code_hashes, load_result
from seglib.train.trainer import LOG_EVERY


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Trainer:
    """An uninterrupted run."""
    return make_trainer(SMALL, tmp_path_factory.mktemp("whole"), data, eval_every=6).fit()


@pytest.mark.parametrize(("stop", "workers"), [(3, 0), (10, 2)])
def test_resumed_equals_whole_bit_for_bit(tmp_path: Path, data: Path, whole: Trainer, stop: int, workers: int) -> None:
    make_trainer(SMALL, tmp_path, data, num_workers=workers, eval_every=6).fit(until=stop)
    torch.manual_seed(stop)  # a new process has another generator state
    second = make_trainer(SMALL, tmp_path, data, num_workers=workers, eval_every=6)
    assert second.iteration == stop
    assert torch.equal(weights(second.fit().model), weights(whole.model))
    assert second.history.equals(whole.history) and second.class_history.equals(whole.class_history)
    results = [load_result(run.run_dir / "result.json") for run in (second, whole)]
    assert results[0]["scores"] == results[1]["scores"]


def test_a_compiled_run_trains_the_same_network(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, compile_model, steps = SMALL.replace(iterations=3, dropout=0.0), torch.compile, []

    def compile_without_a_compiler(model: nn.Module) -> Callable[..., Tensor]:
        compiled = compile_model(model, backend="aot_eager")
        return lambda *args, **options: (steps.append(args), compiled(*args, **options))[1]

    monkeypatch.setattr(torch, "compile", compile_without_a_compiler)
    plain = make_trainer(recipe, tmp_path / "plain", data).fit()
    assert not steps
    compiled = make_trainer(recipe.replace(compile=True), tmp_path / "compiled", data)
    compiled.fit(until=1)
    resumed = make_trainer(recipe.replace(compile=True), tmp_path / "compiled", data).fit()
    assert len(steps) == 3
    torch.testing.assert_close(weights(resumed.model), weights(plain.model), rtol=1e-4, atol=1e-5)


def test_another_seed_is_another_run_and_leaves_the_global_generator(
    tmp_path: Path, data: Path, whole: Trainer
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    other = make_trainer(SMALL.replace(seed=1), tmp_path, data, num_workers=1).fit()
    assert not torch.equal(weights(other.model), weights(whole.model))
    assert torch.equal(torch.get_rng_state(), before)


def test_history_holds_the_loss_over_valid_pixels(tmp_path: Path, data: Path) -> None:
    run = make_trainer(SMALL, tmp_path, data)
    forward, step, logits, labels = run.model.forward, run._step, [], []
    run.model.forward = lambda images, upsample: logits.append(forward(images, upsample)) or logits[-1]
    run._step = lambda images, label: labels.append(label) or step(images, label)
    run.fit(until=LOG_EVERY)
    assert any((label == 255).any() for label in labels)
    by_hand = [
        torch.nn.functional.cross_entropy(found.detach(), label.long(), ignore_index=255, reduction="none").sum()
        / (label != 255).sum()
        for found, label in zip(logits, labels, strict=True)
    ]
    assert run.history.loss[0] == pytest.approx(float(sum(by_hand)) / LOG_EVERY, rel=1e-4)


def test_a_step_that_fails_half_way_is_taken_back(tmp_path: Path, data: Path, whole: Trainer) -> None:
    run = make_trainer(SMALL, tmp_path, data, eval_every=6).fit(until=5)
    step = run.optimizer.step

    def half() -> None:
        next(run.model.parameters()).data.zero_()
        raise KeyboardInterrupt

    run.optimizer.step = half
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    run.optimizer.step = step
    assert torch.equal(weights(run.fit().model), weights(whole.model))
    assert run.history.equals(whole.history)


def test_result_says_what_was_measured_and_how(whole: Trainer) -> None:
    result, val, band = load_result(whole.run_dir / "result.json"), whole.val_set, ConfusionMatrix(9)
    assert result["scores"]["miou"] == pytest.approx(evaluate(whole.model, val, trimap={5: band}).compute().miou)
    assert (Recipe.from_dict(result["recipe"]), result["name"]) == (SMALL, SMALL.name)
    assert result["data"]["train"]["images"] == len(whole.train_set) == 12
    assert result["evaluation"]["output_stride"] == 16
    assert result["trimap"]["widths"] == [1, 2, 3, 5, 8, 12, 20]
    assert result["trimap"]["miou"][3] == pytest.approx(band.compute().miou)
    assert result["versions"]["torch"] == torch.__version__
    assert result["code"] == code_hashes() and {"DeepLabV3Plus", "poly", "CLASSES"} <= set(result["code"].values())
    labelled = sum(int((val.read(index)[1] != 255).sum()) for index in range(len(val)))
    assert int(torch.tensor(result["confusion"]).sum()) == labelled


def test_another_scoring_of_a_training_scores_anew(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_trainer(SMALL.replace(iterations=2), tmp_path, data).fit()
    first = load_result(tmp_path / "result.json")
    flipped = make_trainer(run.recipe.replace(eval_flip=True), tmp_path, data).fit()
    assert torch.equal(weights(flipped.model), weights(run.model)) and flipped.recipe.name != run.recipe.name
    second = load_result(tmp_path / "result.json")
    assert (first["evaluation"]["flip"], second["evaluation"]["flip"]) == (False, True)
    assert second["name"] == flipped.recipe.name
    monkeypatch.setattr(SegmentationDataset, "read", lambda *_: pytest.fail("scored again"))
    flipped.fit()
