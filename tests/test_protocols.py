"""The packaged protocols are what the papers and reports say: strides, rates, schedules, and memory."""

import numpy as np
import pytest
import torch
from networks import rates
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from seglib.data.open import build_dataset, build_transform
from seglib.data.transforms import RandomScaleCrop, Squash
from seglib.models import build_model
from seglib.recipe import Recipe
from seglib.train.optim import build_optimizer, learning_rate

GIB = 2**30
# By recipe: settings, the learning rate at some iterations, output stride and rates of the network.
PROTOCOLS = {
    "voc_paper": (  # v3 section 4.1, first stage
        {"train_split": "trainaug", "crop_size": 513, "batch_size": 16, "iterations": 30_000, "multi_grid": None},
        {0: 0.007, 15_000: 0.007 * 0.5**0.9, 29_999: 6.5e-7},
        (16, (6, 12, 18)),
    ),
    "voc_paper_trainval": ({"train_split": "trainval", "freeze_bn": True}, {0: 0.001}, (8, (12, 24, 36))),
    "cityscapes_paper": (  # v3 Table 12
        {"train_split": "train", "quality": "fine", "crop_size": 769, "eval_output_stride": 8, "model": "deeplabv3"},
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


def network(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(Recipe.load(name).replace(weights="", start_from=""), 21)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_the_published_ones(name: str) -> None:
    recipe, (settings, schedule, strides) = Recipe.load(name), PROTOCOLS[name]
    assert {field: getattr(recipe, field) for field in settings} == settings
    for iteration, rate in schedule.items():
        assert learning_rate(recipe, iteration) == pytest.approx(rate, rel=0.05 if rate < 1e-6 else 1e-6)
    if strides:
        model = network(name)
        assert (model.output_stride, model.aspp.atrous_rates) == strides


def test_details_of_the_protocols() -> None:
    first, second = network("voc_paper"), network("voc_paper_trainval")
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
    assert [len(getattr(backbone, f"layer{n}")) for n in (1, 2, 3, 4)] == [3, 4, 6, 3]


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
    recipe, paper = Recipe.load("voc_colab"), Recipe.load("voc_paper")
    same = ("crop_size", "batch_size", "lr", "iterations", "output_stride", "scale_range")
    assert all(getattr(recipe, field) == getattr(paper, field) for field in same)
    size = saved_for_backward(recipe)
    assert 9.4 * GIB < size < 9.6 * GIB, "the file says 9.5 GiB"
    # twice as many images keep twice as much
    assert saved_for_backward(recipe.replace(batch_size=32)) == pytest.approx(2 * size, rel=0.01)


def test_streets_are_a_recipes_data() -> None:
    recipe = Recipe(data="toy_cityscapes", train_split="train", squash=(32, 32))
    image, label = build_dataset(recipe, "train", train=True)[0]
    assert image.shape == (32, 32, 3) and set(np.unique(label)) <= {*range(19), 255}
    assert build_dataset(recipe, "val").read(0)[1].shape != (32, 32)
