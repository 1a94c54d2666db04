"""Checkpoints: written atomically, read without executing code, and resumed only by the run that they belong to."""

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seglib.data.fingerprint import describe_difference  # says how two runs' labels differ
from seglib.data.images import PixelRange
from seglib.data.open import CLASSES  # a recipe's `data` -> class names, function that makes the palette
from seglib.data.transforms import Normalisation  # a network's pixel convention
from seglib.data.voc import voc_palette
from seglib.files import load_tensors, some, write_atomic  # some: the first few names of many
from seglib.models.weights import load_exactly  # names every key that does not fit
from seglib.recipe import Recipe, training_changes
from seglib.train import distributed
from seglib.train.start import build_network, read_run  # `build_model`, `source`, `start_from`; reads a run's file

# What a run cannot be resumed without; `Trainer._save` writes these and more (code, initial, classes, palette).
STATE = {
    "recipe", "iteration", "seconds", "model", "optimizer", "scaler", "generators", "log", "losses", "data", "labels",
    "normalisation",
}  # fmt: skip


class OtherRunError(ValueError):
    """A whole checkpoint that this run cannot resume from: of an older format, or of another recipe."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically and keeps its predecessor as `previous_path(path)`."""
    # a file that was cut off must not push a good predecessor out
    keep = previous_path(path) if zipfile.is_zipfile(path) else None
    write_atomic(path, lambda file: torch.save(state, file), keep=keep)


def previous_path(path: Path) -> Path:
    """Returns where `save_state` keeps the checkpoint before the last one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path, recipe: Recipe) -> tuple[dict[str, Any], Path] | None:
    """Reads the newest readable checkpoint of a recipe's run, `path` or its predecessor; None without either.

    Raises:
        ValueError: if no file can be read; names each.
        OtherRunError: if it is of an older format or another recipe's; names what it lacks, or the fields.
    """
    problems = []
    for candidate in (path, previous_path(path)):
        try:
            state = load_tensors(candidate)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        _check_state(state, recipe, candidate)
        return state, candidate
    if problems:
        raise ValueError("; ".join(problems) + ". Delete the run folder to start again.")
    return None


def _check_state(state: Any, recipe: Recipe, path: Path) -> None:
    if lacking := STATE - set(state if isinstance(state, dict) else ()):
        raise OtherRunError(f"{path}: not a run's checkpoint: it lacks {sorted(lacking)}")
    stored, mine = training_changes(state["recipe"]), training_changes(recipe.changes())
    if stored != mine:
        fields = [name for name in sorted({*stored, *mine}) if stored.get(name) != mine.get(name)]
        differ = ", ".join(f"{n}: {stored.get(n, 'default')} there, {mine.get(n, 'default')} here" for n in fields)
        raise OtherRunError(f"{path}: a run of another recipe ({differ}). Choose another run_dir.")


def check_data(
    stored: Mapping[str, Any], data: Mapping[str, Any], classes: Sequence[str], initial: Mapping[str, str], path: Path
) -> None:
    """Refuses, with a ValueError, to resume a run on other data, or from other initial weights, than it began with.

    Args:
        stored: a checkpoint's state or a result, from `path`; what it does not know of is not compared.
        data: "train" and "val" -> `seglib.data.fingerprint` of the data that are there now.
        classes: their names now.
        initial: file -> hash, of `seglib.models.weights.hash_weights`.
    """
    cure = "Choose another run_dir, or delete this one to train again."
    if (before := list(stored.get("classes", classes))) != list(classes):
        raise ValueError(f"{path}: a run on other classes ({some(before)} there, {some(classes)} here). {cure}")
    for part, found in data.items():
        if part in stored.get("data", {}) and (difference := describe_difference(stored["data"][part], found)):
            raise ValueError(f"{path}: a run on other {part} data ({difference}). {cure}")
    for name, before in stored.get("initial", {}).items():
        if initial.get(name, before) != before:
            raise ValueError(f"{path}: a run that began with another file {name} than is there now. {cure}")


class Run(NamedTuple):
    """What a run's checkpoint holds of the network that was trained."""

    model: nn.Module  # in evaluation mode, at its evaluation's output stride; without `reestimate_bn`
    recipe: Recipe
    classes: tuple[str, ...]  # the K names
    palette: np.ndarray  # (256, 3) uint8 RGB, a colour for each label value
    normalisation: Normalisation  # the pixel convention that it was trained with
    log: list[dict[str, Any]]  # rows of losses and of scores
    pixel_range: PixelRange | None = None  # of the pictures, if they have more than 8 bits a channel


def load_run(path: str | Path) -> Run:
    """Loads a run from its checkpoint.pt; with patience, the weights are those of best.pt beside it.

    Raises ValueError if the file is not a run's checkpoint, or its weights are not finite or do not fit its recipe.
    """
    content, recipe = read_run(Path(path))
    if recipe is None:
        raise ValueError(f"{path}: holds no recipe; expected the checkpoint.pt of a run, or name the weights' source")
    classes, make_palette = CLASSES.get(recipe.data, ((), voc_palette))
    classes = tuple(content.get("classes", classes))
    palette = torch.as_tensor(content["palette"], dtype=torch.uint8).numpy() if "palette" in content else make_palette()
    if "normalisation" in content:
        convention = Normalisation(**{name: tuple(values) for name, values in content["normalisation"].items()})
    else:
        convention = Normalisation.named(recipe.normalisation, recipe.in_channels)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and overwritten
        model = build_network(recipe, classes, initial=False)
    load_exactly(model, content["model"], f"{path}: the weights")
    if broken := find_not_finite(model):
        raise ValueError(f"{path}: {some(broken)} not finite; the run diverged. Train again with a lower lr.")
    if recipe.eval_output_stride:
        model.set_output_stride(recipe.eval_output_stride)
    pixel_range = content.get("data", {}).get("val", {}).get("pixel_range")
    log = content.get("log", [])
    return Run(model.eval(), recipe, classes, palette, convention, log, pixel_range and tuple(pixel_range))


def find_not_finite(model: nn.Module) -> list[str]:
    """Names the weights and statistics of a network that hold nan or infinity."""
    values = model.state_dict().items()
    return [name for name, value in values if value.is_floating_point() and not value.isfinite().all()]


def generator_states(cuda_devices: Sequence[torch.device]) -> list[Tensor]:
    """Returns the states of torch's generators, which dropout draws from, the CPU's first."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in cuda_devices)]


def set_generator_states(states: Sequence[Tensor], cuda_devices: Sequence[torch.device]) -> None:
    """Undoes `generator_states`; the number of devices may differ, because a CPU run may resume on a GPU."""
    torch.set_rng_state(states[0])
    for device, state in zip(cuda_devices, states[1:], strict=False):
        torch.cuda.set_rng_state(state, device)


def fresh_generator_states(seed: int, iteration: int, cuda_devices: Sequence[torch.device]) -> list[Tensor]:
    """Makes states of this process's own: a function of (seed, iteration, number of processes, rank)."""
    key = np.random.SeedSequence((seed, iteration, distributed.world_size(), distributed.rank()))
    with torch.random.fork_rng(devices=cuda_devices):
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
        return generator_states(cuda_devices)


def pack_generators(states: Sequence[Tensor]) -> dict[str, Any]:
    """Collects the generator states of all processes for a checkpoint. Every process has to call it."""
    by_device = [distributed.gather(state) for state in states]
    first, *others = (list(of_one) for of_one in zip(*by_device, strict=True))
    return {"generators": first} | ({"other_generators": others} if others else {})


def unpack_generators(state: dict[str, Any], recipe: Recipe, cuda_devices: Sequence[torch.device]) -> list[Tensor]:
    """Returns this process's states from a checkpoint; fresh ones, with a warning, for another number of processes."""
    by_rank = [state["generators"], *state.get("other_generators", [])]
    if len(by_rank) == distributed.world_size():
        return by_rank[distributed.rank()]
    if distributed.is_main():
        now = distributed.world_size()
        warnings.warn(f"{len(by_rank)} processes before, {now} now: dropout draws other numbers", stacklevel=2)
    return fresh_generator_states(recipe.seed, state["iteration"], cuda_devices)
