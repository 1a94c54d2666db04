"""What a run has of its process and device: states of random generators, mixed precision's dtype, its last word."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


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


@contextmanager
def one_line_errors() -> Iterator[None]:
    """For a command line: an error that says what was expected and what was found ends the process with that alone.

    Raises:
        SystemExit: for OSError, ValueError, FloatingPointError and torch.OutOfMemoryError; others pass.
    """
    try:
        yield
    except (OSError, ValueError, FloatingPointError, torch.OutOfMemoryError) as error:
        raise SystemExit(f"error: {error}") from error
