"""The network that a run starts with: the recipe's, with the weights of an earlier run or of another library."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from seglib.data.open import CLASSES
from seglib.files import find_state_dict, read_state_dict, tell
from seglib.models.build import adapt_network, build_model
from seglib.models.weights import adapt_kernel, find_weights, first_convolution, load_exactly
from seglib.recipe import Recipe
from seglib.train import distributed
from seglib.zoo.checkpoints import build_layout, translate

# The fields of a run's recipe that its weights need, and that no shape shows.
NEEDED = ("source", "normalisation", "stride_unit", "stem_stride", "norm_groups")
HEADS = ("classifier.", "scores.", "upsamplings.", "last_upsampling.")  # what has a channel for each class


def build_network(
    recipe: Recipe, classes: Sequence[str], weights_root: Path | None = None, initial: bool = True
) -> nn.Module:
    """Builds a run's network; what is drawn is drawn from torch's current generator.

    Args:
        weights_root: see `seglib.models.build.build_model`, which also says what is raised.
        initial: load what `weights` and `start_from` name; False draws all weights, as for a run that resumes.
    """
    if not initial:
        recipe = recipe.replace(weights="", start_from="")
    elif recipe.frozen_blocks and not (recipe.weights or recipe.start_from or recipe.source):
        found = f"frozen_blocks = {recipe.frozen_blocks}, and no weights"
        raise ValueError(f"recipe: {found}: random ones would stay; expected weights, start_from or source")
    if recipe.source:
        model = adapt_network(build_layout(recipe, len(classes)), recipe)
    else:
        model = build_model(recipe.replace(start_from=""), len(classes), weights_root)
    if recipe.start_from:
        _load_start(model, recipe, classes, find_weights(recipe.start_from, weights_root))
    return model


def read_run(path: Path) -> tuple[Mapping[str, Any], Recipe | None]:
    """Reads a file of weights; of a run, its recipe too, and as "model" the weights that it ends with."""
    content = read_state_dict(path)
    if not {"recipe", "model"} <= content.keys():
        return content, None
    recipe = Recipe.from_dict(content["recipe"])
    # only beside a run's own checkpoint: elsewhere it may be another run's
    own = path.name in ("checkpoint.pt", "checkpoint.previous.pt")
    if recipe.patience and own and path.with_name("best.pt").exists():
        content = {**content, "model": read_state_dict(path.with_name("best.pt"))}
    return content, recipe


def _load_start(model: nn.Module, recipe: Recipe, classes: Sequence[str], path: Path) -> None:
    content, theirs = read_run(path)
    known, name, hint, what = (), str, "", str(path)
    if theirs is not None:
        for field in NEEDED:
            if (before := getattr(theirs, field)) != (now := getattr(recipe, field)):
                found = f"trained with {field} = {before!r}, found {now!r}"
                raise ValueError(f"start_from = {recipe.start_from!r}: {found}")
        state, known = dict(content["model"]), content.get("classes") or CLASSES.get(theirs.data, ((),))[0]
    else:
        state, what = find_state_dict(content, what)
        _, state, name, hint = translate(state, recipe.source)
    own, first = model.state_dict(), f"{first_convolution(model)[0]}.weight"
    if recipe.in_channels != 3 and first in state and state[first].shape[1] == 3:
        state[first] = adapt_kernel(state[first], recipe.in_channels)
        if distributed.is_main():
            tell(f"{what}: of RGB pictures; its first kernel is adapted to in_channels = {recipe.in_channels}")
    heads = [key for key in own if key.startswith(HEADS)]
    number = next((len(state[key]) for key in heads if key in state), len(classes))
    if number != len(classes) or (known and tuple(known) != tuple(classes)):
        state |= {key: own[key] for key in heads}
        if distributed.is_main():
            found = f"{number} classes, the data have {len(classes)}" if number != len(classes) else "other classes"
            tell(f"{what}: {found}: the classifier is drawn anew")
    load_exactly(model, state, what, name, hint)
