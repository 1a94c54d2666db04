"""Compute and size of a network: the Mult-Adds column of v3+ Table 3, and parameters."""

from collections.abc import Sequence
from math import ceil, prod

import torch
from torch import Tensor, nn
from torch.func import functional_call

# Two images, so that image pooling's batch norm also runs in a model that is in training mode.
BATCH = 2


def mult_adds(model: nn.Module, height: int, width: int, space_to_batch: bool = True) -> int:
    """Multiply-adds of a model's convolutions on one image of height x width, as in v3+ Table 3.

    The papers counted TensorFlow's graph. There an atrous convolution of rate r splits its input into r * r interleaved
    images, all padded to one size, and also computes the padded positions: r * r * ceil(h / r) * ceil(w / r) of them
    instead of h * w. Only with these does the column come out, to 0.4 %.

    Args:
        model: takes images (B, 3, H, W). It is run on the meta device: nothing is computed, nothing is changed.
        space_to_batch: count the padded positions; False is the ordinary count, and what torch computes.

    Returns:
        The number of multiply-adds; biases, batch norm, activations and resizes are not counted.
    """
    counts: list[int] = []

    def count(conv: nn.Conv2d | nn.ConvTranspose2d, inputs: tuple[Tensor], output: Tensor) -> None:
        # A convolution applies its kernel once per output pixel, a transposed one once per input pixel.
        size = (output if isinstance(conv, nn.Conv2d) else inputs[0]).shape[2:]
        if space_to_batch:
            size = [ceil(side / rate) * rate for side, rate in zip(size, conv.dilation, strict=True)]
        counts.append(conv.weight.numel() * prod(size))

    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [conv.register_forward_hook(count) for conv in convs]
    state = {name: torch.empty_like(value, device="meta") for name, value in model.state_dict().items()}
    try:
        functional_call(model, state, torch.empty(BATCH, 3, height, width, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)


def multi_scale_mult_adds(
    model: nn.Module, side: int, scales: Sequence[float], flip: bool = False, space_to_batch: bool = True
) -> int:
    """Multiply-adds of multi-scale inference on a square image, as in v3+ Table 3 (the MS and Flip columns).

    Args:
        side: of the image; the papers' 513. At scale s it is (side - 1) * s + 1.
        scales: the papers' VOC scales are 0.5, 0.75, 1.0, 1.25, 1.5, 1.75.
        flip: each scale is run on the mirrored image too.
    """
    sides = [int((side - 1) * scale) + 1 for scale in scales]
    return (1 + flip) * sum(mult_adds(model, scaled, scaled, space_to_batch) for scaled in sides)


def kept_bytes(model: nn.Module, images: Tensor, **options: bool) -> int:
    """Bytes that autograd keeps for the backward pass of `model(images, **options)`, the model's own tensors left out.

    On the meta device nothing is computed.
    """
    own = {value.untyped_storage()._cdata for value in model.state_dict(keep_vars=True).values()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, so that its address is not given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images, **options)
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, batch norm's included, its running statistics not."""
    return sum(parameter.numel() for parameter in model.parameters())
