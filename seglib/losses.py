"""Losses over dense logits. Every mean is taken over the valid pixels: void pixels count neither above nor below."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Cross-entropy averaged over the valid pixels of the whole batch (DeepLabv3 sec. 4.1; TF code `train_utils.py`).

    Args:
        logits: (B, K, H, W), any floating dtype; the sum is taken in float32.
        labels: (B, H, W) integers in 0..K-1, or `ignore_index` where a pixel has no class.

    Returns:
        A scalar. A batch that is all void gives 0 with zero gradients, where `F.cross_entropy` alone gives nan.

    Raises:
        ValueError: logits and labels do not have the same batch and spatial size.
    """
    if logits.shape[0] != labels.shape[0] or logits.shape[-2:] != labels.shape[-2:]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: expected (B, K, H, W) and (B, H, W)"
        )
    labels = labels.long()
    total = F.cross_entropy(logits.float(), labels, ignore_index=ignore_index, reduction="sum")
    return total / (labels != ignore_index).sum().clamp(min=1)
