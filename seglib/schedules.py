"""Learning-rate schedules as pure functions of the iteration, so that a resumed run cannot restart one."""


def poly(iteration: int, iterations: int, lr: float, power: float = 0.9, end_lr: float = 0.0) -> float:
    """The "poly" policy, (lr - end_lr) * (1 - iteration / iterations) ** power + end_lr (DeepLabv3 sec. 4.1).

    Args:
        iteration: 0-based number of the step about to be taken; clipped at `iterations`.
        iterations: length of the schedule in steps.
        lr, end_lr: learning rate at the start and at the end.

    Raises:
        ValueError: iteration is negative or iterations is not positive.
    """
    if iteration < 0 or iterations <= 0:
        raise ValueError(f"poly: iteration {iteration} of {iterations}; expected 0 <= iteration, 1 <= iterations")
    progress = min(iteration / iterations, 1.0)
    return (lr - end_lr) * (1.0 - progress) ** power + end_lr
