"""Recipes: names, files, refusals, the networks that the compared ones build, and the published protocols."""

import hashlib
import json
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from networks import meta, rates
from refusal import refused
from torch import nn

from seglib.data.open import build_dataset, build_transform
from seglib.data.transforms import RandomScaleCrop, Squash
from seglib.models import FCN, VGG16, UNet, build_model
from seglib.recipe import RECIPES, Recipe
from seglib.studies.cost import mult_adds
from seglib.studies.study import Study
from seglib.train.optim import build_optimizer, learning_rate

RESULTS = Path(__file__).parents[1] / "data" / "results"
CHOICES = {name: list(get_args(k)) for name, k in get_type_hints(Recipe).items() if get_origin(k) is Literal}


def network(recipe: Recipe | str, classes: int = 9) -> nn.Module:
    recipe = Recipe.load(recipe) if isinstance(recipe, str) else recipe
    return meta(build_model, recipe.replace(weights="", start_from=""), classes)


def test_name_depends_on_every_changed_field_and_on_nothing_else() -> None:
    base = Recipe()
    assert base.changes() == {} and base.replace(seed=0).name == base.name
    changes = [{"seed": 1}, {"lr": 0.01}, {"atrous_rates": (6, 12, 18)}, {"flip": 0.0}]
    changed = [base.replace(**change) for change in changes]
    assert len({r.name for r in [base, *changed]}) == 5
    assert Recipe.from_dict(changed[2].changes()) == changed[2]


def test_one_recipe_has_one_name_however_its_numbers_are_written() -> None:
    recipe = Recipe(eval_scales=(1.0, 2.0), lr=1.0)
    for other in (Recipe.from_dict({"eval_scales": [1, 2], "lr": 1}), Recipe().replace(eval_scales=[1, 2], lr=1)):
        assert other == recipe and other.name == recipe.name and type(other.lr) is float
    assert repr(Recipe(lr=1, seed=0)) == "Recipe(lr=1.0)", "what differs"
    with pytest.raises(AttributeError):
        recipe.lr = 2.0


def test_defaults_stay_what_stored_results_were_measured_with() -> None:
    """Results are stored with what differs from the defaults; a new field's default is what the code did before."""
    defaults = dict(zip(Recipe.__struct_fields__, Recipe.__struct_defaults__, strict=True))
    assert len(defaults) == 81
    assert hashlib.sha256(json.dumps(defaults, sort_keys=True).encode()).hexdigest()[:12] == "5f3866110c09"


def test_stored_results_have_their_recipes_names() -> None:
    assert Recipe.load("toy_voc").name == "toy_voc-deeplabv3plus-f224985a65a7"
    assert Recipe.load("toy_fcn8s").name == "toy_voc-fcn8s-41743b5b0b09"
    paths = sorted(RESULTS.glob("*.json"))
    assert len(paths) > 100
    for path in paths:
        result = json.loads(path.read_text())
        assert Recipe.from_dict(result["recipe"]).name == result["name"] == path.stem


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_packaged_recipes_load_and_round_trip(path: Path) -> None:
    recipe = Recipe.load(path.stem)
    assert Recipe.from_dict(recipe.changes()) == recipe == Recipe.load(path)


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    for text, message in (
        ("output_strid = 8\n", r"mine\.toml.*unknown fields \['output_strid'\]; known are \[.*'crop_size'"),
        ('crop_size = "big"\n', r"mine\.toml.*crop_size = 'big'; expected int"),
        ("crop_size = \n", r"mine\.toml"),
        ('\ufeffcrop_size = "big"\n', r"crop_size = 'big'; expected int"),  # the mark of Windows' editors
    ):
        (tmp_path / "mine.toml").write_text(text)
        refused(message, Recipe.load, tmp_path / "mine.toml")
        refused(r"no such recipe; the package has .*'toy_voc'", Recipe.load, "absent", error=FileNotFoundError)


@pytest.mark.parametrize("name", CHOICES)
def test_another_value_than_the_choices_is_refused(name: str) -> None:
    for choice in {*CHOICES[name]} - {"vgg16", 1}:  # it needs an FCN, and a stem stride of 1 another stem
        beside = {"tf-mobilenet": {"normalisation": "unit"}, "step": {"milestones": (1,)}}.get(choice, {})
        assert getattr(Recipe.from_dict({name: choice, **beside}), name) == choice
    for wrong in (7, "other", None):
        with pytest.raises(ValueError) as refused:
            Recipe.from_dict({name: wrong})
        assert str(refused.value) == f"recipe: {name} = {wrong!r}; expected one of {CHOICES[name]}"


def test_every_way_to_make_a_recipe_refuses_it() -> None:
    for wrong, message in (
        ({"partial": 1}, "partial = 1; expected bool"),
        ({"lr": True}, "lr = True; expected float"),
        ({"lr": -0.1}, "lr = -0.1; expected float >= 0"),
        ({"crop_size": 0}, "crop_size = 0; expected int >= 1"),
        ({"weight_decay": -1e-4}, "weight_decay = -0.0001; expected float >= 0"),
        ({"end_lr": float("nan")}, "end_lr = nan; expected float >= 0"),
        ({"lr": float("inf")}, "lr = inf; expected finite numbers"),
        ({"eval_scales": [1.0, float("inf")]}, "eval_scales = .*; expected finite numbers"),
        ({"momentum": -0.1}, "momentum = -0.1; expected float >= 0"),
        ({"momentum": 1.0}, "momentum = 1.0; expected float < 1"),
        ({"gamma": float("nan")}, "gamma = nan; expected float >= 0"),
        ({"flip": 1.5}, "flip = 1.5; expected float <= 1"),
        ({"bn_momentum": 1.5}, "bn_momentum = 1.5; expected float <= 1"),
        ({"backbone_lr_factor": -1.0}, "backbone_lr_factor = -1.0; expected float >= 0"),
        ({"dropout": 1.0}, "dropout = 1.0; expected float < 1"),
        ({"eval_output_stride": "8"}, r"eval_output_stride = '8'; expected int \| None"),
        ({"atrous_rates": ["6"]}, r"atrous_rates = \['6'\]; expected int"),
        ({"multi_grid": 4}, r"multi_grid = 4; expected list \| None"),
        ({"eval_window": [97]}, r"eval_window = \[97\]; expected list of length 2"),
        ({"eval_scales": (1, 0)}, r"eval_scales = \(1, 0\); expected float > 0"),
        # fields that do not go together
        ({"scale_range": (2, 0.5)}, r"scale_range = \(2.0, 0.5\); expected 0 < smallest <= largest"),
        ({"patience": 2}, "patience = 2; .*expected an eval_every"),
        ({"patience": 2, "eval_every": 9, "iterations": 8}, "patience = 2; .*before the end, .*eval_every = 9 of 8"),
        ({"aspp": False}, "aspp = False; only a deeplabv3 can do without, found model = 'deeplabv3plus'"),
        ({"focal_gamma": -1}, "focal_gamma = -1; expected float >= 0"),
        ({"folds": 1}, "fold = 0; expected 0 <= fold < folds and folds >= 2, found folds = 1"),
        ({"folds": 3, "fold": 3}, "fold = 3; expected 0 <= fold < folds"),
        ({"val_split": "fold"}, "val_split = 'fold'; .*expected folds"),
        ({"eval_scales": ()}, r"eval_scales = \(\); expected at least one scale"),
        ({"downsample_labels": True, "model": "unet"}, "downsample_labels = True; expected a DeepLab"),
        ({"downsample_labels": True, "loss": "upsampled_cross_entropy"}, "downsample_labels = True; .*not upsample"),
        ({"class_weights": "enet", "loss": "rmi"}, "class_weights = 'enet'; loss 'rmi' takes none"),
        ({"label_smoothing": 0.1, "loss": "focal"}, "label_smoothing = 0.1; loss 'focal' takes none"),
        ({"schedule": "step"}, r"milestones = \(\); expected some with schedule 'step' .*found 'step'"),
        ({"milestones": (3,)}, r"milestones = \(3,\); expected .* none with another, found 'poly'"),
        ({"backbone": "vgg16"}, "backbone = 'vgg16'; only an FCN has it"),
        (
            {"resize": "centred", "model": "unet"},
            "resize = 'centred'; only a DeepLab has a choice, found model = 'unet'",
        ),
        ({"stem_stride": 1}, "stem_stride = 1; expected a DeepLab, a stem of 3x3 and no public weights, found .*7x7"),
        ({"stem_stride": 1, "stem": "3x3", "model": "fcn8s"}, "stem_stride = 1; expected a DeepLab, .*found fcn8s"),
        ({"stem_stride": 1, "stem": "3x3", "weights": "torchvision"}, "stem_stride = 1; .*no public weights"),
        ({"model": "unet", "output_stride": 12}, "output_stride = 12; a U-Net's is a power of 2"),
        ({"model": "unet", "weights": "torchvision"}, "weights = 'torchvision'; there are none for a U-Net"),
        ({"norm": "group", "weights": "torchvision"}, "norm = 'group'; public weights were trained with batch norm"),
        ({"norm": "group", "freeze_bn": True}, "freeze_bn = True; norm = 'group' leaves no batch norm"),
        ({"norm": "group", "bn_batch": 4}, "bn_batch = 4; norm = 'group'"),
        ({"freeze_bn": True, "backbone": "vgg16", "model": "fcn8s"}, "freeze_bn = True; VGG16 has no batch norm"),
        ({"reestimate_bn": 3, "backbone": "vgg16", "model": "fcn8s"}, "reestimate_bn = 3; VGG16 has no batch norm"),
        ({"freeze_bn": True, "reestimate_bn": 3}, "reestimate_bn = 3; freeze_bn keeps"),
        ({"frozen_blocks": 2, "backbone": "vgg16", "model": "fcn8s"}, "frozen_blocks = 2; expected a ResNet"),
        ({"frozen_blocks": 2, "weights": "x.pth", "reestimate_bn": 3}, "reestimate_bn = 3; frozen_blocks keeps"),
        ({"bn_batch": 5}, "bn_batch = 5; expected a divisor of batch_size = 16"),
        ({"accumulate": 3}, "accumulate = 3; expected a divisor of batch_size = 16"),
        ({"accumulate": 2, "loss": "dice"}, "accumulate = 2; loss 'dice' is not the sum of its parts'"),
        ({"accumulate": 4, "bn_batch": 8}, "bn_batch = 8; expected a divisor of batch_size / accumulate = 4"),
        ({"in_channels": 5}, "in_channels = 5; no colours: expected augmentation = 'geometric'"),
    ):
        for make in (Recipe.from_dict, lambda values: Recipe(**values), lambda values: Recipe().replace(**values)):
            refused(f"^recipe: {message}", make, wrong)


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "unet", "v3"])
def test_comparisons_change_only_the_network(name: str) -> None:
    """The model is compared: data, schedule and protocol are those of toy_v3plus."""
    model_fields = {"model", "backbone", "width", "output_stride", "channels", "decoder_channels"}
    model_fields |= {"atrous_rates", "image_pooling"} | ({"lr"} if name != "v3" else set())
    recipe, base = Recipe.load(f"toy_{name}"), Recipe.load("toy_v3plus")
    mine, theirs = recipe.changes(), base.changes()
    assert {f for f in {*mine, *theirs} if mine.get(f) != theirs.get(f)} <= model_fields
    model = network(recipe)
    if not isinstance(model, UNet):
        backbone, reference = model.backbone.state_dict(), network(base).backbone.state_dict()
        assert {k: v.shape for k, v in backbone.items()} == {k: v.shape for k, v in reference.items()}
    assert recipe.output_stride == model.output_stride


def test_the_compared_networks_are_what_they_are_called() -> None:
    for name, stride in (("toy_fcn32s", 32), ("toy_fcn16s", 16), ("toy_fcn8s", 8)):
        model = network(name)
        assert isinstance(model, FCN) and model.stride == stride
        assert {dilation for *_, dilation in model.backbone.dilations()} == {1}
    branches = [(0, False), (0, True), (3, False), (3, True)]
    for recipe, expected in zip(Study.load("aspp_branches").rows.values(), branches, strict=True):
        aspp = network(recipe).aspp
        assert (len(aspp.atrous), aspp.pool is not None) == expected
    unet, plus = (mult_adds(network(name), 97, 97, False) for name in ("toy_unet", "toy_voc"))
    assert unet == pytest.approx(plus, rel=0.1)
    vgg = network(Recipe(model="fcn16s", backbone="vgg16", width=8, output_stride=32))
    assert isinstance(vgg.backbone, VGG16) and vgg.stride == 16
    assert network(Recipe(model="fcn8s", backbone="resnet50", output_stride=32)).backbone.multi_grid == (1, 1, 1)
    refused("output_stride is 16; expected 32", network, Recipe(model="fcn8s", backbone="resnet18"))


# By recipe: settings, the learning rate at some iterations, output stride and rates of the network.
PROTOCOLS = {
    "voc_paper": (  # v3 section 4.1, first stage
        {"train_split": "trainaug", "crop_size": 513, "batch_size": 16, "iterations": 30_000, "multi_grid": None},
        {0: 0.007, 15_000: 0.007 * 0.5**0.9, 29_999: 6.5e-7},
        (16, (6, 12, 18)),
    ),
    "voc_paper_trainval": ({"train_split": "trainval", "freeze_bn": True}, {0: 0.001}, (8, (12, 24, 36))),
    "cityscapes_paper": (  # v3 Table 12
        {
            "train_split": "train",
            "quality": "fine",
            "crop_size": 769,
            "eval_output_stride": 8,
            "model": "deeplabv3",
            "bn_momentum": 0.0003,
        },
        {0: 0.007, 90_000 - 1: 2.4e-7},
        (16, (6, 12, 18)),
    ),
    "cityscapes_squashed": ({"patience": 8, "batch_size": 4, "eval_every": 2975 // 4}, {0: 0.001, 119_999: 0.001}, ()),
    "cityscapes_report": (
        {"batch_size": 4, "momentum": 0.9, "weight_decay": 5e-4},
        {0: 0.007, 90_000: 0.001, 119_999: 0.001},
        (),
    ),
    "cityscapes_reference": (
        {"batch_size": 16, "crop_size": 513, "iterations": 90_000, "train_split": "train_extra", "quality": "coarse"},
        {},
        (),
    ),
    "cityscapes_course": ({"dropout": 0.5}, {}, (8, (12, 24, 36))),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_the_published_ones(name: str) -> None:
    recipe, (settings, schedule, strides) = Recipe.load(name), PROTOCOLS[name]
    assert {field: getattr(recipe, field) for field in settings} == settings
    for iteration, rate in schedule.items():
        assert learning_rate(recipe, iteration) == pytest.approx(rate, rel=0.05 if rate < 1e-6 else 1e-6)
    if strides:
        model = network(name, 21)
        assert (model.output_stride, model.aspp.atrous_rates) == strides


def test_details_of_the_protocols() -> None:
    first, second = network("voc_paper", 21), network("voc_paper_trainval", 21)
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (first, second)]
    assert shapes[0] == shapes[1] and first.backbone.multi_grid == (1, 2, 4)
    squashed, report = Recipe.load("cityscapes_squashed"), Recipe.load("cityscapes_report")
    assert build_transform(squashed).steps[0] == Squash((512, 512))
    assert isinstance(build_optimizer(nn.Conv2d(3, 4, 1), squashed), torch.optim.Adam)
    window = build_transform(report).steps[0]
    assert isinstance(window, RandomScaleCrop) and window.scale_range == (0.5 * 0.5, 0.5 * 2.0)
    # "Layer 3 ... dilation rate 2, Layer 4 ... dilation rate 4", 3, 4, 6 and 3 units of two convolutions
    backbone = network("cityscapes_course").backbone
    assert {*rates(backbone, "layer3")} <= {1, 2} and rates(backbone, "layer4")[1:] == [4] * 5


def test_the_one_gpu_version_trains_as_the_paper_does() -> None:
    recipe, paper = Recipe.load("voc_colab"), Recipe.load("voc_paper")
    same = ("crop_size", "batch_size", "lr", "iterations", "output_stride", "scale_range")
    assert all(getattr(recipe, field) == getattr(paper, field) for field in same)


def test_streets_are_a_recipes_data() -> None:
    recipe = Recipe(data="toy_cityscapes", train_split="train", squash=(32, 32))
    image, label = build_dataset(recipe, "train", train=True)[0]
    assert image.shape == (32, 32, 3) and set(np.unique(label)) <= {*range(19), 255}
    assert build_dataset(recipe, "val").read(0)[1].shape != (32, 32)
