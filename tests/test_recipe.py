"""Recipes: names, files, refusals."""

from pathlib import Path

import pytest
import torch
from torch import nn

from seglib.building import build_model
from seglib.models import FCN, VGG16, UNet, mult_adds
from seglib.recipe import RECIPES, Recipe

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
