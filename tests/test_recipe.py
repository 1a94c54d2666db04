"""Recipes: names, files, refusals."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from seglib.models import FCN, VGG16, UNet
from seglib.models.build import build_model
from seglib.recipe import RECIPES, Recipe
from seglib.studies.cost import mult_adds

DEFAULTS = {
    "data": "toy_voc",
    "train_split": "trainaug",
    "val_split": "val",
    "quality": "fine",
    "partial": False,
    "folds": 0,
    "fold": 0,
    "label_noise": 0,
    "crop_size": 513,
    "scale_range": (0.5, 2.0),
    "scale_step": None,
    "squash": None,
    "flip": 0.5,
    "augmentation": "geometric",
    "normalisation": "imagenet",
    "model": "deeplabv3plus",
    "backbone": "resnet101",
    "width": 64,
    "stem": "7x7",
    "stride_unit": "last",
    "multi_grid": None,
    "pre_activation": False,
    "cascade_blocks": 0,
    "aspp": True,
    "output_stride": 16,
    "atrous_rates": None,
    "image_pooling": True,
    "channels": 256,
    "decoder_channels": 48,
    "decoder_depth": 2,
    "decoder_kernel": 3,
    "decoder_width": None,
    "decoder_conv3": False,
    "separable": "none",
    "dropout": 0.1,
    "norm": "batch",
    "norm_groups": 32,
    "bn_batch": None,
    "weights": "",
    "start_from": "",
    "loss": "cross_entropy",
    "class_weights": "",
    "weight_denominator": "weights",
    "label_smoothing": 0.0,
    "smoothed": "pytorch",
    "focal_gamma": 2.0,
    "alpha": 0.6,
    "keep_pixels": 1.0,
    "downsample_labels": False,
    "batch_size": 16,
    "iterations": 30000,
    "lr": 0.007,
    "end_lr": 0.0,
    "schedule": "poly",
    "power": 0.9,
    "milestones": (),
    "gamma": 0.1,
    "decay_steps": None,
    "warm_up": 0,
    "backbone_lr_factor": 1.0,
    "bias_lr_factor": 1.0,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "depthwise_decay": True,
    "freeze_bn": False,
    "bn_momentum": 0.1,
    "eval_every": None,
    "patience": 0,
    "mixed_precision": True,
    "seed": 0,
    "reestimate_bn": 0,
    "eval_output_stride": None,
    "eval_scales": (1.0,),
    "eval_flip": False,
    "eval_window": None,
}
COMPARISONS = [
    *("toy_fcn32s", "toy_fcn16s", "toy_fcn8s", "toy_unet"),
    *("toy_v3", "toy_v3_no_pooling", "toy_v3_no_atrous", "toy_v3_plain"),
]


def test_name_depends_on_every_changed_field_and_on_nothing_else() -> None:
    base = Recipe()
    assert base.changes() == {}
    assert base.replace(seed=0).name == base.name
    changed = [
        base.replace(seed=1),
        base.replace(lr=0.01),
        base.replace(atrous_rates=(6, 12, 18)),
        base.replace(flip=0.0),
    ]
    assert len({r.name for r in [base, *changed]}) == 5
    assert Recipe.from_dict(changed[2].changes()) == changed[2]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_packaged_recipes_load_and_round_trip(path: Path) -> None:
    recipe = Recipe.load(path.stem)
    assert Recipe.from_dict(recipe.changes()) == recipe


def test_refusals_name_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("output_strid = 8\n")
    with pytest.raises(ValueError, match=r"mine\.toml.*unknown fields \['output_strid'\]"):
        Recipe.load(path)
    path.write_text('crop_size = "big"\n')
    with pytest.raises(ValueError, match=r"mine\.toml.*crop_size = 'big'; expected int"):
        Recipe.load(path)
    path.write_text("crop_size = \n")
    with pytest.raises(ValueError, match=r"mine\.toml"):
        Recipe.load(path)
    with pytest.raises(FileNotFoundError, match="no such recipe; the package has"):
        Recipe.load("absent")


def test_integers_are_taken_for_floats_but_not_for_flags() -> None:
    assert Recipe.from_dict({"lr": 1}).lr == 1.0
    with pytest.raises(ValueError, match="partial = 1; expected bool"):
        Recipe.from_dict({"partial": 1})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eval_output_stride": "8"}, r"eval_output_stride = '8'; expected int \| None"),
        ({"atrous_rates": ["6"]}, r"atrous_rates = \['6'\]; expected tuple\[int, \.\.\.\] \| None"),
        ({"multi_grid": 4}, "multi_grid = 4; expected tuple"),
        ({"eval_window": [97]}, r"eval_window = \[97\]; expected tuple\[int, int\]"),
        ({"scale_range": [0.5, "2"]}, r"expected tuple\[float, float\] such as \(0\.5, 2\.0\)"),
        ({"lr": True}, "lr = True; expected float such as 0.007"),
    ],
)
def test_other_types_are_refused_inside_tuples_too(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe.from_dict(wrong)


def test_one_recipe_has_one_name_however_its_numbers_are_written() -> None:
    assert Recipe.from_dict({"eval_scales": [1, 2]}).name == Recipe.from_dict({"eval_scales": [1.0, 2.0]}).name


def test_defaults_stay_what_stored_results_were_measured_with() -> None:
    """A result is stored with the fields that differ from the defaults: another default would change what it says."""
    present = {field.name: field.default for field in dataclasses.fields(Recipe)}
    assert {name: present.get(name) for name in DEFAULTS} == DEFAULTS
    assert set(present) == set(DEFAULTS), "a new field belongs into this list"


def network(recipe: Recipe) -> nn.Module:
    with torch.device("meta"):
        return build_model(recipe, 9)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_change_only_the_network(name: str) -> None:
    """What is compared is the model: data, schedule and protocol are those of toy_v3plus."""
    model_fields = {"model", "backbone", "width", "output_stride", "channels", "decoder_channels"}
    model_fields |= {"atrous_rates", "image_pooling"} | ({"lr"} if "fcn" in name else set())
    recipe, base = Recipe.load(name), Recipe.load("toy_v3plus")
    mine, theirs = recipe.changes(), base.changes()
    assert {f for f in {*mine, *theirs} if mine.get(f) != theirs.get(f)} <= model_fields
    model = network(recipe)
    if not isinstance(model, UNet):
        backbone, reference = model.backbone.state_dict(), network(base).backbone.state_dict()
        assert {k: v.shape for k, v in backbone.items()} == {k: v.shape for k, v in reference.items()}
    assert recipe.output_stride == model.output_stride


def test_names_of_the_stored_results_have_not_changed() -> None:
    assert Recipe.load("toy_voc").name == "toy_voc-deeplabv3plus-f224985a65a7"
    assert Recipe.load("toy_fcn8s").name == "toy_voc-fcn8s-41743b5b0b09"


def test_the_compared_networks_are_what_they_are_called() -> None:
    for name, stride in (("toy_fcn32s", 32), ("toy_fcn16s", 16), ("toy_fcn8s", 8)):
        model = network(Recipe.load(name))
        assert isinstance(model, FCN) and model.stride == stride
        assert {dilation for *_, dilation in model.backbone.dilations()} == {1}
    branches = {
        "toy_v3": (3, True),
        "toy_v3_no_pooling": (3, False),
        "toy_v3_no_atrous": (0, True),
        "toy_v3_plain": (0, False),
    }
    for name, (atrous, pooling) in branches.items():
        aspp = network(Recipe.load(name)).aspp
        assert (len(aspp.atrous), aspp.pool is not None) == (atrous, pooling)
    unet, plus = (mult_adds(network(Recipe.load(name)), 97, 97, False) for name in ("toy_unet", "toy_voc"))
    assert unet == pytest.approx(plus, rel=0.1)


def test_models_by_name() -> None:
    vgg = network(Recipe(model="fcn16s", backbone="vgg16", width=8, output_stride=32))
    assert isinstance(vgg.backbone, VGG16) and vgg.stride == 16
    assert network(Recipe(model="fcn8s", backbone="resnet50", output_stride=32)).backbone.multi_grid == (1, 1, 1)
    assert len(network(Recipe(model="unet", width=8, output_stride=8)).up) == 3
    for recipe, message in [
        (Recipe(model="segnet"), "model = 'segnet'; expected one of .*'unet'"),
        (Recipe(model="fcn8s", backbone="resnet18"), "output_stride is 16; expected 32"),
        (Recipe(backbone="vgg16"), "backbone = 'vgg16'; expected .*'vgg16' for an FCN"),
        (Recipe(model="unet", output_stride=12), "output_stride = 12; a U-Net's is a power of 2"),
        (Recipe(model="unet", weights="torchvision"), "weights = 'torchvision'; there are none for a U-Net"),
    ]:
        with pytest.raises(ValueError, match=message):
            network(recipe)


@pytest.mark.parametrize("window", [(97,), (97, 0)])
def test_a_window_without_two_sides_is_refused(window: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"eval_window = \(97.*\); expected \(height, width\)"):
        Recipe(eval_window=window)
