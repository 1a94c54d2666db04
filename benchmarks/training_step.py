"""A training step (forward, loss, backward, SGD): DeepLabv3+ against SMP's, DeepLabv3 against torchvision's.

Both networks of a pair compute the same function, which is checked first. The floor is the time that a training step's
multiply-adds (three forward passes' worth) would take at the speed of a matrix product.
"""

from collections.abc import Callable

import torch
from harness.networks import compare
from torch import Tensor, nn
from torch.nn import functional as F


def prepare(model: nn.Module, images: Tensor, labels: Tensor, autocast: Callable[[], torch.autocast]) -> Callable:
    """One step of SGD on one batch."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=4e-5)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            logits = model(images)
        F.cross_entropy(logits.float(), labels, ignore_index=255).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    compare("training_step", __doc__, prepare, passes=3)
