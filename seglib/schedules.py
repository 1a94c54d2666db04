"""Learning-rate schedules as pure functions of the iteration, so that a resumed run cannot restart one."""

import math
from collections.abc import Sequence


def poly(iteration: int, iterations: int, lr: float, power: float = 0.9, end_lr: float = 0.0) -> float:
    """The "poly" policy, (lr - end_lr) * (1 - iteration / iterations) ** power + end_lr (DeepLabv3 sec. 4.1).

    Args:
        iteration: 0-based number of the step about to be taken; clipped at `iterations`.
        iterations: length of the schedule in steps; where it is shorter than the run, the rest runs at `end_lr`.
        lr, end_lr: learning rate at the start and at the end.

    Raises:
        ValueError: iteration is negative or iterations is not positive.
    """
    return (lr - end_lr) * (1.0 - _progress("poly", iteration, iterations)) ** power + end_lr


def cosine(iteration: int, iterations: int, lr: float, end_lr: float = 0.0) -> float:
    """Half a cosine from lr to end_lr (Loshchilov and Hutter 2017, eq. 5, without restarts). Arguments as `poly`."""
    progress = _progress("cosine", iteration, iterations)
    return end_lr + (lr - end_lr) * (1 + math.cos(math.pi * progress)) / 2


def step(iteration: int, milestones: Sequence[int], lr: float, gamma: float = 0.1) -> float:
    """lr times gamma for every milestone (an iteration) that has been reached. Raises ValueError as `poly`."""
    _progress("step", iteration, 1)
    return lr * gamma ** sum(iteration >= milestone for milestone in milestones)


def warm_up(iteration: int, iterations: int, lr: float, start: float = 0.0) -> float:
    """`lr` scaled from the share `start` linearly to 1 over the first `iterations`; 0 iterations leave it as it is.

    `lr` is what another schedule gives for the same iteration, so that warming up shifts no later step.
    """
    if iterations == 0:
        return lr
    return lr * (start + (1 - start) * _progress("warm_up", iteration, iterations))


def _progress(name: str, iteration: int, iterations: int) -> float:
    if iteration < 0 or iterations <= 0:
        raise ValueError(f"{name}: iteration {iteration} of {iterations}; expected 0 <= iteration, 1 <= iterations")
    return min(iteration / iterations, 1.0)
