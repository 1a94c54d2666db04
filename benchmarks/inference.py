"""An inference pass, images to logits at input size: DeepLabv3+ against SMP's, DeepLabv3 against torchvision's.

Both networks of a pair compute the same function, which is checked first. The floor is the time that the pass's
multiply-adds would take at the speed of a matrix product.
"""

from collections.abc import Callable

import torch
from harness.networks import compare
from torch import Tensor, nn


def prepare(model: nn.Module, images: Tensor, labels: Tensor, autocast: Callable[[], torch.autocast]) -> Callable:
    """One forward pass without gradients."""
    model.eval()

    def infer() -> None:
        with torch.inference_mode(), autocast():
            model(images)

    return infer


if __name__ == "__main__":
    compare("inference", __doc__, prepare, passes=1)
