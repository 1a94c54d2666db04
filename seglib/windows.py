"""Sliding windows: a large image predicted in overlapping parts of the training crop's size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along one side, so that they cover all of 0 to `length` and at least `overlap` of each other.

    The last one is moved back to end at `length`; a side no longer than a window has one, which begins at 0.
    """
    stride = max(int(window * (1 - overlap)), 1)
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


@torch.inference_mode()
def window_probabilities(model: nn.Module, pixels: Tensor, window: tuple[int, int], overlap: float = 1 / 3) -> Tensor:
    """Class probabilities of normalised images, the mean over all windows that see a pixel.

    Beside the network's own memory for one window of every image this takes that of the result, whatever the overlap.

    Args:
        pixels: (B, 3, H, W) float32. Where a side is shorter than the window, it is padded with the mean colour at the
            bottom or right, and the prediction is cut back.
        window: (height, width). overlap: least share of a window's side that its neighbour sees too, 0 <= overlap < 1.

    Returns:
        (B, K, H, W) float32, summing to 1 over K.

    Raises:
        ValueError: an empty window, or an overlap outside its range.
    """
    if min(window) < 1:
        raise ValueError(f"window = {window}; expected (height, width), each at least 1")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap = {overlap}; expected 0 <= overlap < 1")
    height, width = pixels.shape[-2:]
    window_height, window_width = window
    rows, columns = window_starts(height, window_height, overlap), window_starts(width, window_width, overlap)
    total: Tensor | None = None
    for top in rows:
        for left in columns:
            seen = pixels[..., top : top + window_height, left : left + window_width]
            bottom, right = top + seen.shape[-2], left + seen.shape[-1]
            # 0 is the mean colour, now that it is subtracted
            padded = F.pad(seen, (0, window_width - seen.shape[-1], 0, window_height - seen.shape[-2]))
            found = model(padded).float().softmax(dim=1)[..., : bottom - top, : right - left]
            if total is None:
                total = found.new_zeros(*found.shape[:2], height, width)  # (B, K, H, W)
            total[..., top:bottom, left:right] += found
    down = _times_seen(height, rows, window_height).to(total)
    across = _times_seen(width, columns, window_width).to(total)
    return total.div_(down[:, None]).div_(across)


def _times_seen(length: int, starts: list[int], window: int) -> Tensor:
    """(length,) by how many windows each place of a side is seen."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts
