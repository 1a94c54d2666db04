"""Cross-entropy of bilinearly upsampled logits without the full-resolution logits in memory."""

from typing import Any

import torch
from torch import Tensor

from seglib.geometry import Grid
from seglib.losses.pixel import check_labels, cross_entropy_sum, valid_total

CHUNK_PIXELS = 64 * 1024  # of one chunk, over the batch: a few MB of logits, which stay in the cache


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    grid: Grid,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    smoothed: str = "pytorch",
    chunk_pixels: int = CHUNK_PIXELS,
) -> Tensor:
    """`cross_entropy(grid.resize(logits, labels' size), labels)`, computed a band of rows at a time.

    The full-resolution logits of 16 crops of 513 x 513 with 21 classes take 0.35 GB, their softmax and gradient as much
    again each. Here value and gradient of a band are computed together and the band is dropped.

    Args:
        logits: (B, K, h, w) at the head's stride, `model(images, upsample=False)`.
        labels: (B, H, W), of any size.
        grid: where the logits lie on the labels, `model.logits_grid`.
        chunk_pixels: about how many label pixels a band has; changes memory and time, not the value.
        The others are those of `cross_entropy`.
    """
    check_labels(labels, logits.shape[1], ignore_index)
    if logits.shape[0] != labels.shape[0]:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: expected one batch size")
    grid.check_size(logits, labels.shape[1:], (grid.stride, grid.stride))
    total = valid_total(labels, ignore_index, class_weights)
    options = (ignore_index, class_weights, smoothing, smoothed)
    rows = max(1, chunk_pixels // (labels.shape[0] * labels.shape[2]))
    return _ByBands.apply(logits, labels, grid, total, options, rows)


class _ByBands(torch.autograd.Function):
    """Forward keeps the gradient of the low-resolution logits, so that backward has only to scale it."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, grid: Grid, total: Tensor, options: tuple, rows: int
    ) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]
        # Classes last: a pixel's logits lie side by side, for interpolation and softmax alike.
        source = logits.detach().float().permute(0, 2, 3, 1).contiguous()  # (B, h, w, K)
        gradient = torch.zeros_like(source) if needs_gradient else None
        loss = source.new_zeros((), dtype=torch.float64 if source.device.type == "cpu" else torch.float32)
        for top in range(0, labels.shape[1], rows):
            band = labels[:, top : top + rows]
            pixels = torch.arange(top, top + band.shape[1], dtype=torch.float64)
            neighbours = grid.neighbours(pixels, source.shape[1], labels.shape[1])
            low, high, share = (x.to(source.device) for x in neighbours)
            share = share[:, None, None]
            mixed = torch.lerp(source[:, low], source[:, high], share).requires_grad_(needs_gradient)
            with torch.set_grad_enabled(needs_gradient):
                wide = grid.resize_columns(mixed.permute(0, 3, 1, 2), labels.shape[2])
                flat = wide.permute(0, 2, 3, 1).flatten(0, 2)  # (B * rows * W, K)
                band_sum = cross_entropy_sum(flat, band.flatten(), *options)
            loss += band_sum.detach()
            if needs_gradient:
                (of_rows,) = torch.autograd.grad(band_sum, mixed)
                gradient.index_add_(1, low, of_rows * (1 - share))
                gradient.index_add_(1, high, of_rows * share)
        if needs_gradient:
            ctx.save_for_backward((gradient / total).permute(0, 3, 1, 2).to(logits.dtype))
        return (loss / total).float()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output, None, None, None, None, None
