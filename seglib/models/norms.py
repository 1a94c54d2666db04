"""Norms that can take batch norm's place: group norm, and batch norm over parts of the batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def replace_batch_norm(model: nn.Module, make: Callable[[nn.BatchNorm2d], nn.Module]) -> None:
    """Puts `make(norm)` in the place of every `nn.BatchNorm2d` of a model. Raises ValueError if it has none."""
    norms = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        raise ValueError(f"{type(model).__name__}: expected batch norm to replace, found none")
    for name, norm in norms:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, make(norm))


def adopt_batch_norm(new: nn.Module, norm: nn.BatchNorm2d) -> nn.Module:
    """Gives a norm the parameters, buffers and mode of a batch norm, and returns it."""
    new.weight, new.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        setattr(new, name, buffer)
    return new.train(norm.training)


def group_norm_like(norm: nn.BatchNorm2d, max_groups: int = 32) -> nn.GroupNorm:
    """Makes a group norm (arXiv 1803.08494) with the channels and epsilon of a batch norm, scale 1 and shift 0.

    It has as many groups as the largest divisor of the channels that is at most `max_groups`; the paper has 32.
    """
    channels = norm.num_features
    groups = max(number for number in range(1, min(max_groups, channels) + 1) if channels % number == 0)
    return nn.GroupNorm(groups, channels, norm.eps)


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over groups of consecutive images (arXiv 1705.08741), as if each were a batch of its own.

    In training mode (B, C, H, W) is normalised in groups of `group_size` images, the last one smaller where that does
    not divide B, and the running statistics are updated once per group, in order. In evaluation mode it is
    `nn.BatchNorm2d`, whose state_dict it has.
    """

    def __init__(self, num_features: int, group_size: int, eps: float = 1e-5, momentum: float | None = 0.1):
        super().__init__(num_features, eps, momentum)
        self.group_size = group_size

    @classmethod
    def like(cls, norm: nn.BatchNorm2d, group_size: int) -> "GhostBatchNorm2d":
        """Makes a module with the parameters, buffers and settings of a batch norm."""
        return adopt_batch_norm(cls(norm.num_features, group_size, norm.eps, norm.momentum), norm)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        groups = [super(GhostBatchNorm2d, self).forward(group) for group in x.split(self.group_size)]
        return torch.cat(groups)  # (B, C, H, W)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, group_size={self.group_size}"
