"""The packaged protocols are what the papers and reports say: strides, rates, schedules, and memory."""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from seglib.data.open import build_dataset, build_transform
from seglib.data.transforms import RandomScaleCrop, Squash
from seglib.models.build import build_model
from seglib.recipe import Recipe
from seglib.train.optim import build_optimizer, learning_rate

GIB = 2**30


def network(recipe: Recipe) -> nn.Module:
    with torch.device("meta"):
        return build_model(recipe.replace(weights="", start_from=""), 21)


def rates(name: str, at: tuple[int, ...]) -> list[float]:
    return [learning_rate(Recipe.load(name), iteration) for iteration in at]


def test_the_papers_first_stage() -> None:
    recipe = Recipe.load("voc_paper")
    assert (recipe.train_split, recipe.crop_size, recipe.batch_size, recipe.iterations) == ("trainaug", 513, 16, 30_000)
    assert rates("voc_paper", (0, 15_000)) == pytest.approx([0.007, 0.007 * 0.5**0.9])
    assert rates("voc_paper", (29_999,))[0] < 1e-6
    model = network(recipe)
    assert model.output_stride == 16 and model.aspp.atrous_rates == (6, 12, 18)
    assert model.backbone.multi_grid == (1, 2, 4)


def test_the_papers_second_stage() -> None:
    recipe = Recipe.load("voc_paper_trainval")
    model = network(recipe)
    assert model.output_stride == 8 and model.aspp.atrous_rates == (12, 24, 36)
    assert recipe.freeze_bn and recipe.train_split == "trainval" and recipe.lr == 0.001
    first = network(Recipe.load("voc_paper")).state_dict()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in first.items()}


def test_cityscapes_as_in_table_12() -> None:
    recipe = Recipe.load("cityscapes_paper")
    assert (recipe.train_split, recipe.quality, recipe.crop_size, recipe.iterations) == ("train", "fine", 769, 90_000)
    model = network(recipe)
    assert model.output_stride == 16 and not hasattr(model, "decoder")
    model.set_output_stride(recipe.eval_output_stride)
    assert model.output_stride == 8


def test_the_reports_first_experiment_squashes() -> None:
    recipe = Recipe.load("cityscapes_squashed")
    window = build_transform(recipe).steps[0]
    assert isinstance(window, Squash) and window.size == (512, 512)
    optimizer = build_optimizer(nn.Conv2d(3, 4, 1), recipe)
    assert isinstance(optimizer, torch.optim.Adam) and rates("cityscapes_squashed", (0, 119_999)) == [0.001, 0.001]
    assert recipe.patience == 8 and recipe.eval_every == 2975 // recipe.batch_size


def test_the_reports_second_experiment_is_its_table() -> None:
    recipe = Recipe.load("cityscapes_report")
    window = build_transform(recipe).steps[0]
    assert isinstance(window, RandomScaleCrop) and window.scale_range == (0.5 * 0.5, 0.5 * 2.0)
    assert (recipe.batch_size, recipe.momentum, recipe.weight_decay, recipe.power) == (4, 0.9, 5e-4, 0.9)
    assert rates("cityscapes_report", (0, 90_000, 119_999)) == pytest.approx([0.007, 0.001, 0.001])
    reference = Recipe.load("cityscapes_reference")
    assert (reference.batch_size, reference.crop_size, reference.iterations) == (16, 513, 90_000)
    assert (reference.train_split, reference.quality) == ("train_extra", "coarse")


def test_the_course_reports_network() -> None:
    model = network(Recipe.load("cityscapes_course"))
    assert model.output_stride == 8 and model.aspp.atrous_rates == (12, 24, 36) and model.aspp.dropout.p == 0.5
    # "Layer 3 ... dilation rate 2, Layer 4 ... dilation rate 4", 3, 4, 6 and 3 units of two convolutions
    dilations = [(name, rate) for name, _, rate in model.backbone.dilations()]
    assert {rate for name, rate in dilations if name.startswith("layer3")} <= {1, 2}
    assert [rate for name, rate in dilations if name.startswith("layer4")][1:] == [4] * 5
    assert [len(getattr(model.backbone, f"layer{n}")) for n in (1, 2, 3, 4)] == [3, 4, 6, 3]


def saved_for_backward(recipe: Recipe) -> int:
    """Bytes that a training step keeps for its backward pass, in float32, the parameters left out."""
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with FakeTensorMode(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model = build_model(recipe.replace(weights=""), 21).train()
        model(torch.empty(recipe.batch_size, 3, recipe.crop_size, recipe.crop_size), upsample=False)
    parameters = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in parameters)


def test_the_one_gpu_version_fits_15_gb() -> None:
    recipe = Recipe.load("voc_colab")
    paper = Recipe.load("voc_paper")
    same = ("crop_size", "batch_size", "lr", "iterations", "output_stride", "scale_range")
    assert all(getattr(recipe, field) == getattr(paper, field) for field in same)
    size = saved_for_backward(recipe)
    assert 9.4 * GIB < size < 9.6 * GIB, "the file says 9.5 GiB"
    # twice as many images keep twice as much
    assert saved_for_backward(recipe.replace(batch_size=32)) == pytest.approx(2 * size, rel=0.01)


def test_squashing_loses_the_proportions_and_invents_no_label() -> None:
    image = np.zeros((8, 16, 3), dtype=np.uint8)
    label = np.zeros((8, 16), dtype=np.uint8)
    image[:, 8:], label[:, 8:], label[0] = 200, 7, 255
    squashed, classes = Squash((8, 8))(image, label)
    assert squashed.shape == (8, 8, 3) and classes.shape == (8, 8)
    assert (squashed[:, :3] == 0).all() and (squashed[:, 5:] == 200).all()
    assert (classes[1:, :4] == 0).all() and (classes[1:, 4:] == 7).all() and (classes[0] == 255).all()
    with pytest.raises(ValueError, match="size: expected"):
        Squash((0, 8))


def test_streets_are_a_recipes_data() -> None:
    recipe = Recipe(data="toy_cityscapes", train_split="train", squash=(32, 32))
    image, label = build_dataset(recipe, "train", train=True)[0]
    assert image.shape == (32, 32, 3) and set(np.unique(label)) <= {*range(19), 255}
    whole = build_dataset(recipe, "val").read(0)[1]
    assert whole.shape != (32, 32)
