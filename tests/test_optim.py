"""From the recipe's words to loss, learning rate and parameter groups; every choice trains, and resumes bit for bit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from refusal import refused
from small_set import SMALL, make_trainer, weights
from torch import nn
from torch.optim import lr_scheduler as schedulers

from seglib.data import ToyVOC
from seglib.geometry import Grid
from seglib.losses import region_mutual_information
from seglib.recipe import Recipe
from seglib.train.optim import build_loss, build_optimizer, count_pixels, learning_rate, poly

CHOICES = {
    "upsampled": {"loss": "upsampled_cross_entropy"},
    "weighted, smoothed": {"class_weights": "median", "label_smoothing": 0.1, "smoothed": "report"},
    "focal": {"loss": "focal", "class_weights": "enet"},
    "combined, cosine, Adam": {"loss": "combined", "schedule": "cosine", "optimizer": "adam", "lr": 0.002},
    "hard pixels, steps": {"loss": "hard_pixels", "keep_pixels": 0.3, "schedule": "step", "milestones": (2, 4)},
    "RMI, warm-up": {"loss": "rmi", "warm_up": 3, "optimizer": "adamw", "lr": 0.002},
    "Dice, constant": {"loss": "dice", "schedule": "constant", "bn_momentum": 0.03},
    "frozen batch norm": {"freeze_bn": True, "output_stride": 8},
    "batch norm in groups": {"batch_size": 4, "bn_batch": 2},
    "group norm": {"norm": "group", "norm_groups": 4},
    "everything in the picture": {"augmentation": "occlusion"},
    "in parts": {"batch_size": 4, "accumulate": 2},
    "a fold, noisy masks": {"folds": 3, "fold": 1, "label_noise": 2},
}


def test_a_recipe_says_how_much_of_rmi_is_the_pixels(data: Path) -> None:
    dataset = ToyVOC("train", root=data)
    logits, labels = torch.randn(2, dataset.num_classes, 24, 24), torch.randint(0, dataset.num_classes, (2, 24, 24))
    recipe = SMALL.replace(loss="rmi", rmi_weight=0.25)
    built = build_loss(recipe, dataset, torch.device("cpu"), Grid(1))(logits, labels)
    assert torch.equal(built, region_mutual_information(logits, labels, weight=0.25))


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_trains_and_resumes_bit_for_bit(name: str, tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(iterations=5, **CHOICES[name])
    whole = make_trainer(recipe, tmp_path / "whole", data)
    before = weights(whole.model)
    whole.fit(until=4)
    assert not torch.equal(weights(whole.model), before), "it learns nothing"
    for workers, until in ((0, 2), (1, 4)):
        parts = make_trainer(recipe, tmp_path / "parts", data, num_workers=workers).fit(until=until)
    assert torch.equal(weights(whole.model), weights(parts.model))


def test_the_upsampled_loss_changes_only_memory(tmp_path: Path, data: Path) -> None:
    models = [
        make_trainer(SMALL.replace(loss=loss), tmp_path / loss, data).fit(until=3).model
        for loss in ("cross_entropy", "upsampled_cross_entropy")
    ]
    torch.testing.assert_close(*map(weights, models), atol=1e-4, rtol=1e-4)


def test_frozen_batch_norm_stays_as_it_is_even_after_an_evaluation(tmp_path: Path, data: Path) -> None:
    run = make_trainer(SMALL.replace(iterations=4, freeze_bn=True), tmp_path, data, eval_every=2)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    run.fit(until=3)
    norms = {f"{n}.{k}" for n, m in run.model.named_modules() if isinstance(m, nn.BatchNorm2d) for k in m.state_dict()}
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, before[key]) == (key in norms), key


def test_frozen_blocks_stay_as_they_are_and_the_rest_is_trained(tmp_path: Path, data: Path) -> None:
    first = make_trainer(SMALL, tmp_path / "first", data)
    torch.save(first.model.state_dict(), tmp_path / "first.pth")
    recipe = SMALL.replace(iterations=4, start_from="first.pth", frozen_blocks=2)
    run = make_trainer(recipe, tmp_path / "run", data, weights_root=tmp_path, eval_every=2)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    with pytest.raises(ValueError, match="frozen_blocks = 2, and no weights: random ones would stay"):
        make_trainer(SMALL.replace(frozen_blocks=2), tmp_path / "random", data)
    run.fit(until=1)
    run = make_trainer(recipe, tmp_path / "run", data, weights_root=tmp_path, eval_every=2).fit(until=3)  # resumes
    for key, value in run.model.state_dict().items():
        frozen = key.startswith(("backbone.conv1.", "backbone.bn1.", "backbone.layer1.", "backbone.layer2."))
        assert torch.equal(value, before[key]) == frozen, key


def test_a_second_stage_starts_from_the_firsts_weights(tmp_path: Path, data: Path) -> None:
    first = make_trainer(SMALL, tmp_path / "first", data).fit(until=1)
    torch.save(first.model.state_dict(), tmp_path / "first.pth")
    stage = SMALL.replace(start_from="first.pth", freeze_bn=True, output_stride=8, lr=0.001)
    second = make_trainer(stage, tmp_path / "second", data, weights_root=tmp_path)
    assert torch.equal(weights(second.model), weights(first.model)) and second.model.output_stride == 8
    second.fit(until=1)
    (tmp_path / "first.pth").unlink()
    resumed = make_trainer(stage, tmp_path / "second", data, weights_root=tmp_path)
    assert torch.equal(weights(resumed.model), weights(second.model)), "the file is needed only once"
    torch.save(first.model.state_dict(), tmp_path / "first.pth")
    refused(r"first\.pth", make_trainer, stage.replace(width=4), tmp_path / "third", data, weights_root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "make"),
    [
        ({"schedule": "cosine", "end_lr": 0.01}, partial(schedulers.CosineAnnealingLR, T_max=50, eta_min=0.01)),
        (
            {"schedule": "step", "milestones": (3, 7), "gamma": 0.5},
            partial(schedulers.MultiStepLR, milestones=[3, 7], gamma=0.5),
        ),
        ({"schedule": "poly"}, partial(schedulers.PolynomialLR, total_iters=50, power=0.9)),
        ({"schedule": "constant"}, partial(schedulers.ConstantLR, factor=1.0)),
    ],
)
def test_schedules_are_pytorchs(changes: dict, make: Callable) -> None:
    recipe = Recipe(iterations=100, decay_steps=50, lr=0.1, **changes)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = make(optimizer)
    rates = []
    for iteration in range(51):
        rates.append(learning_rate(recipe, iteration))
        assert rates[-1] == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()
    assert learning_rate(recipe, 80) == rates[-1]
    warm = [learning_rate(recipe.replace(warm_up=10), iteration) for iteration in range(51)]
    assert warm == pytest.approx([rate * min(i / 10, 1) for i, rate in enumerate(rates)])


def test_each_step_has_the_rate_and_the_decay_of_its_group(tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(backbone_lr_factor=0.25, weight_decay=0.1, momentum=0.5)
    run = make_trainer(recipe, tmp_path, data).fit(until=2)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    buffers = {name: run.optimizer.state[p]["momentum_buffer"].clone() for name, p in run.model.named_parameters()}
    run.fit(until=3)
    rate = poly(2, SMALL.iterations, SMALL.lr)
    for name, p in run.model.named_parameters():
        factor = 0.25 if name.startswith("backbone.") else 1.0
        step = 0.5 * buffers[name] + p.grad + (0.1 * before[name] if p.ndim == 4 else 0)
        torch.testing.assert_close(p.detach(), before[name] - factor * rate * step, atol=1e-6, rtol=1e-5)


def test_class_weights_come_from_the_training_list(data: Path) -> None:
    dataset = ToyVOC("trainaug", root=data)
    pixels, images_with = count_pixels(dataset)
    labels = [dataset.read(i)[1] for i in range(len(dataset))]
    assert pixels == [sum(int((label == k).sum()) for label in labels) for k in range(9)]
    assert images_with[3] == sum(int((label != 255).sum()) for label in labels if (label == 3).any())


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_takes_momentum_as_its_first_beta(name: str) -> None:
    optimizer = build_optimizer(nn.Conv2d(3, 4, 1), Recipe(optimizer=name, momentum=0.8))
    assert type(optimizer).__name__.lower() == name
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.999)}
