"""What a run goes on from: whether a checkpoint is its own, whose generator states are whose, what to change if not."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seglib import distributed
from seglib.recipe import Recipe, training_changes
from seglib.runtime import generator_states
from seglib.storage import load_state

if TYPE_CHECKING:
    from seglib.training import Trainer

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
