"""What a network costs: the Mult-Adds column of v3+ Table 3, memory, parameters; and how long a training takes."""

import copy
from collections.abc import Iterable
from functools import cache
from math import ceil, prod
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from seglib.models.build import build_model
from seglib.recipe import Recipe, training_changes
from seglib.studies.results import RESULTS
from seglib.train.results import load_result

# A time or a spread is taken from another recipe only if these are equal.
ALIKE = ("data", "backbone", "width")
# The settings of a network: those between these two fields.
SHAPE = Recipe.__struct_fields__[Recipe.__struct_fields__.index("model") : Recipe.__struct_fields__.index("norm")]
UNCOUNTED = (nn.BatchNorm2d, nn.GroupNorm, nn.ReLU, nn.ReLU6, nn.Dropout)
# Two images, so that image pooling's batch norm also runs in a model that is in training mode.
BATCH = 2


def mult_adds(model: nn.Module, height: int, width: int, space_to_batch: bool = True) -> int:
    """Multiply-adds of a model's convolutions on one image of height x width, as in v3+ Table 3.

    The papers counted TensorFlow's graph. There an atrous convolution of rate r splits its input into r * r interleaved
    images, all padded to one size, and also computes the padded positions: r * r * ceil(h / r) * ceil(w / r) of them
    instead of h * w. Only with these does the column come out, to 0.4 %.

    Args:
        model: takes images (B, 3, H, W). A copy is run on the meta device: nothing is computed, nothing is changed.
        space_to_batch: count the padded positions; False is the ordinary count, and what torch computes.

    Returns:
        The number of multiply-adds; biases, batch norm, activations and resizes are not counted.
    """
    counts: list[int] = []

    def count(conv: nn.Conv2d | nn.ConvTranspose2d, inputs: tuple[Tensor], output: Tensor) -> None:
        # A convolution applies its kernel once per output pixel, a transposed one once per input pixel.
        size = (output if isinstance(conv, nn.Conv2d) else inputs[0]).shape[2:]
        if space_to_batch:
            size = [ceil(side / rate) * rate for side, rate in zip(size, conv.dilation, strict=True)]
        counts.append(conv.weight.numel() * prod(size))

    twin = copy.deepcopy(model).to("meta")
    for module in twin.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    twin(torch.empty(BATCH, 3, height, width, device="meta"))
    return sum(counts)


def kept_bytes(model: nn.Module, images: Tensor, **options: bool) -> int:
    """Bytes that autograd keeps for the backward pass of `model(images, **options)`, the model's own tensors left out.

    On the meta device nothing is computed.
    """
    own = {value.untyped_storage()._cdata for value in model.state_dict(keep_vars=True).values()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, so that its address is not given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images, **options)
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, batch norm's included, its running statistics not."""
    return sum(parameter.numel() for parameter in model.parameters())


# --- the time of trainings, by stored ones

Times = dict[Recipe, list[float]]  # recipe with seed 0 -> seconds of its trainings


def read_times(folder: Path = RESULTS) -> Times:
    """Reads how long the trainings of the stored results took."""
    found: Times = {}
    for path in sorted(folder.glob("*.json")):
        if "train_seconds" in (result := load_result(path)):
            recipe = Recipe.from_dict(result["recipe"] | {"seed": 0})
            found.setdefault(recipe, []).append(result["train_seconds"])
    return found


def find_nearest(recipe: Recipe, known: Iterable[Recipe]) -> Recipe | None:
    """Finds the recipe whose training differs in the fewest settings; None if none is `ALIKE`."""
    wanted = _settings(recipe.replace(seed=0))

    def distance(other: Recipe) -> int:
        theirs = _settings(other.replace(seed=0))
        return sum(wanted.get(name) != theirs.get(name) for name in {*wanted, *theirs})

    alike = [other for other in known if all(getattr(other, name) == getattr(recipe, name) for name in ALIKE)]
    return min(alike, key=distance, default=None)


def tell_seconds(recipe: Recipe, known: Times) -> float:
    """Returns how long a training takes by the known one that differs in the fewest settings; nan without one.

    Where they differ, the time is taken in proportion to the Mult-Adds.
    """
    if (nearest := find_nearest(recipe, known)) is None:
        return float("nan")
    seconds = median(known[nearest])
    if _settings(nearest) == _settings(recipe.replace(seed=0)):
        return seconds
    return seconds * training_mult_adds(recipe) / training_mult_adds(nearest)


@cache
def _settings(recipe: Recipe) -> dict[str, Any]:
    return training_changes(recipe.changes())


def training_mult_adds(recipe: Recipe) -> int:
    """Counts the forward passes of a whole training; a backward pass takes about twice as many."""
    network = Recipe(in_channels=recipe.in_channels, **{name: getattr(recipe, name) for name in SHAPE})
    sides = recipe.squash or (recipe.crop_size, recipe.crop_size)
    return _count_forward(network, *sides) * recipe.batch_size * recipe.iterations


@cache
def _count_forward(network: Recipe, height: int, width: int) -> int:
    with torch.device("meta"):
        model = build_model(network, num_classes=21)
    for parent in [*model.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, UNCOUNTED):
                setattr(parent, name, nn.Identity())  # a third of the time
    return mult_adds(model, height, width, space_to_batch=False)
