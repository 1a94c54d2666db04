"""Checkpoints: written atomically, read without executing code, resumed only by the run they belong to."""

from typing import TYPE_CHECKING

from seglib.files import load_tensors, write_atomic

if TYPE_CHECKING:
    from seglib.train.trainer import Trainer

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seglib.files import read_state_dict
from seglib.models.build import build_model
from seglib.models.layers import load_exactly
from seglib.recipe import Recipe, training_changes
from seglib.train import distributed


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically and keeps its predecessor as `previous_path(path)`."""
    # a file that was cut off must not push a good predecessor out
    keep = previous_path(path) if zipfile.is_zipfile(path) else None
    write_atomic(path, lambda file: torch.save(state, file), keep=keep)


def previous_path(path: Path) -> Path:
    """Where `save_state` keeps the checkpoint before the last one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path) -> tuple[dict[str, Any], Path] | None:
    """Reads the newest readable checkpoint without executing code.

    Returns:
        The state and the file it came from: `path`, or its predecessor where `path` is damaged or missing.
        None where neither exists.

    Raises:
        ValueError: files exist but none can be read; names each with what is wrong.
    """
    problems = []
    for candidate in (path, previous_path(path)):
        if not candidate.exists():
            continue
        try:
            return load_tensors(candidate), candidate
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems) + ". Delete the run folder to start again.")
    return None


def generator_states(cuda_devices: Sequence[torch.device]) -> list[Tensor]:
    """The states of torch's generators, the CPU's first."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in cuda_devices)]


def set_generator_states(states: Sequence[Tensor], cuda_devices: Sequence[torch.device]) -> None:
    """Undoes `generator_states`; the number of devices may differ, because a CPU run may go on on a GPU."""
    torch.set_rng_state(states[0])
    for device, state in zip(cuda_devices, states[1:], strict=False):
        torch.cuda.set_rng_state(state, device)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 or float16, whichever the GPU is fast at; None for a CPU."""
    if device.type != "cuda":
        return None
    # older GPUs, such as Colab's T4, only emulate bfloat16, slowly
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


STATE = {"recipe", "iteration", "seconds", "model", "optimizer", "scaler", "generators", "log", "losses"}


def stored_state(checkpoint: Path, recipe: Recipe) -> tuple[dict[str, Any], Path] | None:
    """The newest readable state of a run and the file it came from; None where the run has not begun.

    Raises:
        ValueError: no checkpoint is whole, or it is that of something else or of a training with another recipe (names
            the fields).
    """
    if (found := load_state(checkpoint)) is None:
        return None
    state, path = found
    if lacking := STATE - set(state if isinstance(state, dict) else ()):
        raise ValueError(f"{path}: expected the checkpoint of a run, which holds {sorted(lacking)} too")
    stored, mine = training_changes(state["recipe"]), training_changes(recipe.changes())
    if stored != mine:
        fields = [name for name in sorted({*stored, *mine}) if stored.get(name) != mine.get(name)]
        differ = ", ".join(f"{n}: {stored.get(n, 'default')} there, {mine.get(n, 'default')} here" for n in fields)
        raise ValueError(f"{path}: a run of another recipe ({differ}). Choose another run_dir.")
    return found


@contextmanager
def advice_on_memory(run: "Trainer") -> Iterator[None]:
    """Adds to CUDA's error about memory what to do about it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        recipe = run.recipe
        small = recipe.loss.startswith("upsampled") or recipe.downsample_labels
        upsampled = "" if small else ', or take loss = "upsampled_cross_entropy"'
        raise torch.OutOfMemoryError(
            f"{run.run_dir}: the GPU's memory does not hold iteration {run.iteration + 1}, with batch_size = "
            f"{recipe.batch_size} and crop_size = {recipe.crop_size}. Lower one of them{upsampled}: that is another "
            "recipe, in a run_dir of its own. The last checkpoint is kept; on a larger GPU, or on several, this run "
            f"goes on from it. ({str(error).splitlines()[0] if str(error) else 'no details'})"
        ) from None


def pack_generators(states: Sequence[Tensor]) -> dict[str, Any]:
    """What a checkpoint holds of generators; `other_generators`, those of processes 1 and up, where there are any.

    Every process has to call it.
    """
    first, *others = distributed.gather_states(states)
    return {"generators": first} | ({"other_generators": others} if others else {})


def unpack_generators(state: dict[str, Any], recipe: Recipe, cuda_devices: Sequence[torch.device]) -> list[Tensor]:
    """This process's states from a checkpoint; fresh ones, with a warning, where it is that of fewer or more processes.

    The run then goes on well, but not as it would have with the number of processes that it began with.
    """
    by_rank = [state["generators"], *state.get("other_generators", [])]
    if len(by_rank) == distributed.world_size():
        return by_rank[distributed.rank()]
    if distributed.is_main():
        warnings.warn(
            f"the run had {len(by_rank)} processes, now {distributed.world_size()}: dropout goes on with new random "
            "numbers",
            stacklevel=2,
        )
    return fresh_generators(recipe.seed, state["iteration"], cuda_devices)


def fresh_generators(seed: int, iteration: int, cuda_devices: Sequence[torch.device]) -> list[Tensor]:
    """States of this process's own, a function of (seed, iteration, number of processes, rank)."""
    key = np.random.SeedSequence((seed, iteration, distributed.world_size(), distributed.rank()))
    with torch.random.fork_rng(devices=cuda_devices):
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
        return generator_states(cuda_devices)


CLASSIFIERS = ("classifier.weight", "scores.0.weight")  # of the DeepLabs and U-Net, of the FCNs


def load_run(path: str | Path) -> tuple[nn.Module, Recipe]:
    """The network of a run as it is evaluated, at its evaluation's output stride, and the recipe of the run.

    Args:
        path: the run's checkpoint.pt. A run with patience ends with its best weights: they are in best.pt beside it.

    Raises:
        FileNotFoundError: no such file. ValueError: not a run's checkpoint, or its weights do not fit its recipe.
    """
    path = Path(path)
    content = read_state_dict(path)
    if not {"recipe", "model"} <= content.keys():
        raise ValueError(f"{path}: holds no recipe; expected the checkpoint.pt of a run, or name the weights' source")
    recipe, state = Recipe.from_dict(content["recipe"]), content["model"]
    if recipe.patience and path.with_name("best.pt").exists():
        path = path.with_name("best.pt")
        state = read_state_dict(path)
    num_classes = next((state[key].shape[0] for key in CLASSIFIERS if key in state), 1)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and overwritten
        model = build_model(recipe.replace(weights="", start_from=""), num_classes)
    load_exactly(model, state, f"{path}: the weights")
    if recipe.eval_output_stride:
        model.set_output_stride(recipe.eval_output_stride)
    return model.eval(), recipe
