"""The loop: bit-identical resumption, the schedule, the loss it minimises, and what happens when things go wrong."""

import json
import math
from pathlib import Path

import pytest
import torch

from seglib.predict import evaluate
from seglib.recipe import Recipe
from seglib.train.results import code_hashes, load_result
from seglib.train.trainer import LOG_EVERY, Trainer, main

SMOKE = Recipe(
    crop_size=33,
    backbone="resnet18",
    width=8,
    channels=8,
    decoder_channels=4,
    batch_size=2,
    iterations=24,
    lr=0.05,
    dropout=0.5,
)


def trainer(run_dir: Path, recipe: Recipe = SMOKE, **options) -> Trainer:
    return Trainer(recipe, run_dir, progress=False, device="cpu", **options)


def weights(run: Trainer) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in run.model.state_dict().values()])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    return trainer(tmp_path_factory.mktemp("whole"), eval_every=12).fit()


@pytest.mark.parametrize(("stop", "workers"), [(7, 0), (10, 1), (13, 2)])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, uninterrupted: Trainer, stop: int, workers: int
) -> None:
    trainer(tmp_path, num_workers=workers, eval_every=12).fit(until=stop)
    torch.manual_seed(stop)  # a new process has another generator state
    torch.rand(stop)
    second = trainer(tmp_path, num_workers=workers, eval_every=12)
    assert second.iteration == stop
    second.fit()
    assert torch.equal(weights(second), weights(uninterrupted))
    assert second.history.equals(uninterrupted.history)
    results = [load_result(run.run_dir / "result.json") for run in (second, uninterrupted)]
    assert results[0]["scores"] == results[1]["scores"]


def test_another_seed_is_another_run(tmp_path: Path, uninterrupted: Trainer) -> None:
    other = trainer(tmp_path, SMOKE.replace(seed=1), eval_every=12).fit()
    assert not torch.equal(weights(other), weights(uninterrupted))


def test_schedule_runs_over_the_whole_run_and_does_not_restart(tmp_path: Path) -> None:
    trainer(tmp_path).fit(until=12)
    run = trainer(tmp_path).fit()
    rows = run.history.dropna(subset="lr")
    assert list(rows.iteration) == [10, 20]
    for row in rows.itertuples():  # the last step of ten was taken at index iteration - 1
        assert row.lr == pytest.approx(0.05 * (1 - (row.iteration - 1) / 24) ** 0.9)


def test_history_holds_the_loss_over_valid_pixels(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    seen = []
    forward = run.model.forward
    run.model.forward = lambda images, upsample: seen.append(forward(images, upsample)) or seen[-1]
    labels = []
    step = run._step
    run._step = lambda images, label: labels.append(label) or step(images, label)
    run.fit(until=LOG_EVERY)
    assert any((label == 255).any() for label in labels)
    by_hand = [
        float(
            torch.nn.functional.cross_entropy(logits.detach(), label.long(), ignore_index=255, reduction="none").sum()
            / (label != 255).sum()
        )
        for logits, label in zip(seen, labels, strict=True)
    ]
    assert run.history.loss[0] == pytest.approx(sum(by_hand) / LOG_EVERY, rel=1e-4)


def test_training_reduces_the_loss(tmp_path: Path) -> None:
    run = trainer(tmp_path, SMOKE.replace(batch_size=8, iterations=60, dropout=0.0)).fit(until=60)
    losses = run.history.loss.dropna().to_numpy()
    assert losses[-2:].mean() < 0.8 * losses[0]


def test_global_generator_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trainer(tmp_path).fit(until=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_run_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).fit(until=1)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: a run of another recipe \(lr: 0.05 there, 0.1 here\)"):
        trainer(tmp_path, SMOKE.replace(lr=0.1))


def test_a_step_that_fails_half_way_is_taken_back(tmp_path: Path, uninterrupted: Trainer) -> None:
    run = trainer(tmp_path, eval_every=12)
    run.fit(until=5)
    step = run.optimizer.step

    def half(*args, **kwargs):
        next(run.model.parameters()).data.zero_()
        raise KeyboardInterrupt

    run.optimizer.step = half
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    run.optimizer.step = step
    run.fit()
    assert torch.equal(weights(run), weights(uninterrupted))


def test_loss_that_is_not_finite_stops_before_it_is_stored(tmp_path: Path) -> None:
    run = trainer(tmp_path, SMOKE.replace(lr=1e12))
    with pytest.raises(FloatingPointError, match=r"the loss is .* at iteration .* A lower lr than"):
        run.fit()
    again = trainer(tmp_path, SMOKE.replace(lr=1e12))
    assert all(torch.isfinite(p).all() for p in again.model.parameters())


def test_unwritable_folder_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    run = trainer(tmp_path / "file" / "run")
    with pytest.raises(OSError, match=r"checkpoint\.pt: could not be written"):
        run.fit()
    assert run.iteration == 0


def test_result_says_what_was_measured_and_how(uninterrupted: Trainer) -> None:
    result = load_result(uninterrupted.run_dir / "result.json")
    scores = evaluate(uninterrupted.model, uninterrupted.val_set).compute()
    assert result["scores"]["miou"] == pytest.approx(scores.miou)
    assert Recipe.from_dict(result["recipe"]) == SMOKE
    assert result["name"] == SMOKE.name
    assert result["data"]["train"]["images"] == len(uninterrupted.train_set)
    assert result["evaluation"]["output_stride"] == 16
    assert result["trimap"]["widths"] == [1, 2, 3, 5, 8, 12, 20]
    assert all(0 < miou < 1 for miou in result["trimap"]["miou"])
    assert result["versions"]["torch"] == torch.__version__
    assert result["sources"] == code_hashes() and "models/deeplab.py" in result["sources"]
    confusion = torch.tensor(result["confusion"])
    assert int(confusion.sum()) == sum(
        int((label != 255).sum()) for _, label in map(uninterrupted.val_set.read, range(len(uninterrupted.val_set)))
    )


def test_weight_decay_is_on_convolutions_alone_and_the_backbone_has_its_own_rate(tmp_path: Path) -> None:
    recipe = SMOKE.replace(backbone_lr_factor=0.25)
    run = trainer(tmp_path, recipe)
    groups = run.optimizer.param_groups
    for group in groups:
        assert {p.ndim for p in group["params"]} == ({4} if group["weight_decay"] else {1})
    assert {group["weight_decay"] for group in groups} == {SMOKE.weight_decay, 0.0}
    assert sum(len(group["params"]) for group in groups) == len(list(run.model.parameters()))
    run.fit(until=1)
    inside = {id(p) for p in run.model.backbone.parameters()}
    for group in groups:
        factors = {0.25 if id(p) in inside else 1.0 for p in group["params"]}
        assert factors == {group["lr"] / SMOKE.lr}


def test_interrupted_evaluation_does_not_spoil_the_result(tmp_path: Path, uninterrupted: Trainer) -> None:
    run = trainer(tmp_path, eval_every=12)
    whole, run.evaluate = run.evaluate, lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert not (tmp_path / "result.json").exists()
    run.evaluate = whole
    run.fit()
    assert (
        load_result(tmp_path / "result.json")["scores"]["miou"]
        == load_result(uninterrupted.run_dir / "result.json")["scores"]["miou"]
    )


def test_command_line_trains_and_prints_the_result(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "smoke.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in SMOKE.replace(iterations=2).changes().items()]
    recipe.write_text("\n".join(lines))
    main([str(recipe), "--run-dir", str(tmp_path / "run"), "--seed", "3"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["seed"] == 3 and math.isfinite(printed["scores"]["miou"])
