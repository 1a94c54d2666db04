"""Cross-validation over an image list, and what can be made of the folds' networks: their mean."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from seglib.data.transforms import Normalisation


def fold_indices(length: int, folds: int, seed: int = 0) -> list[list[int]]:
    """Splits range(length) at random into `folds` parts whose sizes differ by at most one, each in ascending order.

    Train on all parts but one and validate on that one; every sample is then validated on exactly once.

    Raises:
        ValueError: fewer than two folds, or more than samples.
    """
    if not 2 <= folds <= length:
        raise ValueError(f"folds = {folds}; expected 2 to {length}, the number of samples")
    order = np.random.default_rng((seed, length, folds)).permutation(length)
    return [sorted(part.tolist()) for part in np.array_split(order, folds)]


def mean_weights(state_dicts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the same network's weights from several trainings, key by key, summed in float64.

    Batch norm's running statistics are averaged with them, which is *not* what the mean network would see: estimate
    them again with `reestimate_batch_norm` (Izmailov et al. 2018, sec. 3.2). Integers (counters) are the first's.

    Raises:
        ValueError: no network, or their keys or shapes differ.
    """
    if not state_dicts:
        raise ValueError("mean_weights: expected at least one state dict, found none")
    first = state_dicts[0]
    shapes = {key: value.shape for key, value in first.items()}
    for number, other in enumerate(state_dicts):
        found = {key: value.shape for key, value in other.items()}
        if found != shapes:
            differ = sorted(key for key in {*found, *shapes} if found.get(key) != shapes.get(key))
            raise ValueError(f"mean_weights: network {number} differs from the first in {differ[:3]}")
    return {key: _mean([other[key] for other in state_dicts]) for key in first}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0].clone()
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0].dtype)


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor], normalisation: Normalisation) -> None:
    """Sets every batch norm's running statistics, in place, to the mean over these batches; weights stay.

    Dropout is off meanwhile; the model is left in the mode it was in.

    Args:
        batches: (B, 3, H, W) uint8 crops as in training; the batch size should be that of the training.

    Raises:
        ValueError: no batch.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    device = next(model.parameters()).device
    try:
        model.eval()
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # PyTorch's sign for a plain mean over all batches
        count = 0
        for images in batches:
            model(normalisation(images.to(device)))
            count += 1
    finally:
        for module, training in modes.items():
            module.training = training
        for norm, momentum in momenta.items():
            norm.momentum = momentum
    if not count:
        raise ValueError("reestimate_batch_norm: expected at least one batch, found none")
