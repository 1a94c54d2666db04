"""From the recipe's words to loss, learning rate and parameter groups; every choice trains, and resumes bit for bit."""

from pathlib import Path

import pytest
import torch
from small_set import SMALL, write_small_set
from torch import nn

from seglib.data import ToyVOC
from seglib.models import DeepLabV3Plus, MobileNetV2
from seglib.models.build import build_model
from seglib.recipe import Recipe
from seglib.train.optim import build_loss, learning_rate, parameter_groups, pixel_counts, poly
from seglib.train.trainer import Trainer

CHOICES = {
    "upsampled": {"loss": "upsampled_cross_entropy"},
    "weighted, smoothed": {"class_weights": "median", "label_smoothing": 0.1, "smoothed": "report"},
    "focal": {"loss": "focal", "class_weights": "enet"},
    "combined, cosine, Adam": {"loss": "combined", "schedule": "cosine", "optimizer": "adam", "lr": 0.002},
    "hard pixels, steps": {"loss": "hard_pixels", "keep_pixels": 0.3, "schedule": "step", "milestones": (2, 4)},
    "RMI, warm-up": {"loss": "rmi", "warm_up": 3, "optimizer": "adamw", "lr": 0.002},
    "Dice, constant": {"loss": "dice", "schedule": "constant", "bias_lr_factor": 2.0, "bn_momentum": 0.03},
    "frozen batch norm": {"freeze_bn": True, "output_stride": 8},
    "batch norm in groups": {"batch_size": 4, "bn_batch": 2},
    "group norm": {"norm": "group", "norm_groups": 4},
    "everything in the picture": {"augmentation": "occlusion"},
    "a fold, noisy masks": {"folds": 3, "fold": 1, "label_noise": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("data"))


def trainer(recipe: Recipe, run_dir: Path, data: Path, **options: object) -> Trainer:
    return Trainer(recipe, run_dir, data_root=data, device="cpu", progress=False, **options)


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    states = ours.state_dict(), theirs.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_trains_and_resumes_bit_for_bit(name: str, tmp_path: Path, data: Path) -> None:
    recipe = SMALL.replace(iterations=5, **CHOICES[name])
    whole = trainer(recipe, tmp_path / "whole", data)
    before = build_model(recipe, 9)
    before.load_state_dict(whole.model.state_dict())
    whole.fit(until=5)
    assert not same(whole.model, before), "it learns something"
    for workers, until in enumerate((2, 4, 5)):
        parts = trainer(recipe, tmp_path / "parts", data, num_workers=workers).fit(until=until)
    assert same(whole.model, parts.model)


def test_the_upsampled_loss_changes_memory_alone(tmp_path: Path, data: Path) -> None:
    plain = trainer(SMALL.replace(iterations=3), tmp_path / "plain", data).fit(until=3)
    bands = trainer(SMALL.replace(iterations=3, loss="upsampled_cross_entropy"), tmp_path / "bands", data).fit(until=3)
    for key, value in plain.model.state_dict().items():
        torch.testing.assert_close(bands.model.state_dict()[key], value, atol=1e-4, rtol=1e-4)


def test_frozen_batch_norm_stays_as_it_is_even_after_an_evaluation(tmp_path: Path, data: Path) -> None:
    run = trainer(SMALL.replace(iterations=4, freeze_bn=True), tmp_path, data, eval_every=2)
    norms = {key: value.clone() for key, value in run.model.state_dict().items() if "bn" in key or "running" in key}
    weight = run.model.classifier.weight.clone()
    run.fit(until=4)
    state = run.model.state_dict()
    assert norms and all(torch.equal(state[key], value) for key, value in norms.items())
    assert not torch.equal(run.model.classifier.weight, weight)


def test_a_second_stage_starts_from_the_firsts_weights(tmp_path: Path, data: Path) -> None:
    first = trainer(SMALL.replace(iterations=2), tmp_path / "first", data).fit(until=2)
    (tmp_path / "weights").mkdir()
    torch.save(first.model.state_dict(), tmp_path / "weights" / "first.pth")
    stage = SMALL.replace(start_from="first.pth", freeze_bn=True, output_stride=8, lr=0.001)
    second = trainer(stage, tmp_path / "second", data, weights_root=tmp_path / "weights")
    assert same(second.model, first.model)
    assert second.model.output_stride == 8
    whole = second.fit(until=3)
    for until in (2, 3):
        parts = trainer(stage, tmp_path / "parts", data, weights_root=tmp_path / "weights").fit(until=until)
    assert same(whole.model, parts.model) and not same(whole.model, first.model)
    with pytest.raises(ValueError, match=r"first\.pth"):
        trainer(stage.replace(width=4), tmp_path / "third", data, weights_root=tmp_path / "weights")


def test_learning_rates() -> None:
    recipe = Recipe(iterations=100, lr=0.1)
    assert learning_rate(recipe, 30) == poly(30, 100, 0.1)
    shorter = recipe.replace(decay_steps=50, end_lr=0.01)
    assert learning_rate(shorter, 70) == pytest.approx(0.01)
    assert learning_rate(recipe.replace(warm_up=10), 5) == pytest.approx(0.5 * poly(5, 100, 0.1))
    assert learning_rate(recipe.replace(schedule="step", milestones=(50,)), 50) == pytest.approx(0.01)
    assert learning_rate(recipe.replace(schedule="cosine"), 50) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="schedule = 'linear'"):
        learning_rate(recipe.replace(schedule="linear"), 0)


def test_every_parameter_is_in_one_group_and_gets_its_factors() -> None:
    model = DeepLabV3Plus(5, MobileNetV2(), channels=16)
    recipe = Recipe(backbone_lr_factor=0.1, bias_lr_factor=2.0, depthwise_decay=False, weight_decay=0.01)
    groups = parameter_groups(model, recipe)
    where = {id(p): group for group in groups for p in group["params"]}
    assert len(where) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))

    def of(parameter: nn.Parameter) -> tuple[float, float]:
        group = where[id(parameter)]
        return group["lr_factor"], group["weight_decay"]

    assert of(model.backbone.features[0][0].weight) == (0.1, 0.01)
    assert of(model.backbone.features[1].conv[0][0].weight) == (0.1, 0.0), "depthwise"
    assert of(model.backbone.features[0][1].weight) == (0.1, 0.0), "batch norm"
    assert of(model.classifier.weight) == (1.0, 0.01)
    assert of(model.classifier.bias) == (2.0, 0.0)
    kept = {id(p): g for g in parameter_groups(model, recipe.replace(depthwise_decay=True)) for p in g["params"]}
    assert kept[id(model.backbone.features[1].conv[0][0].weight)]["weight_decay"] == 0.01


def test_class_weights_come_from_the_training_list(data: Path) -> None:
    dataset = ToyVOC("trainaug", root=data)
    pixels, images_with = pixel_counts(dataset)
    labels = [dataset.read(i)[1] for i in range(len(dataset))]
    assert pixels[0] == sum(int((label == 0).sum()) for label in labels)
    assert images_with[3] == sum(int((label != 255).sum()) for label in labels if (label == 3).any())


def test_nonsense_is_refused(data: Path) -> None:
    dataset, cpu = ToyVOC("trainaug", root=data), torch.device("cpu")
    with pytest.raises(ValueError, match="loss = 'hinge'"):
        build_loss(Recipe(loss="hinge"), dataset, cpu)
    with pytest.raises(ValueError, match="'dice' takes none"):
        build_loss(Recipe(loss="dice", class_weights="median"), dataset, cpu)
