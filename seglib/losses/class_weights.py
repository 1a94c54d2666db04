"""Class weights from the pixel counts of a data set."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_weights(pixels: Sequence[int], images_with: Sequence[int] | None = None, rule: str = "median") -> Tensor:
    """Computes (K,) float32 factors for a loss, from the labelled pixels of each class in the training list.

    A class without a pixel gets 0: no pixel of it can ask for its weight.

    Args:
        pixels: (K,) pixels of each class, void left out.
        images_with: (K,) all pixels (void left out) of the images in which the class occurs, for "median"; None takes
            all images for every class.
        rule: "inverse": 1 / share of the pixels, scaled to a mean of 1 over the classes that occur.
            "median": median of the frequencies / frequency, where a class's frequency is its pixels / `images_with`
            (Eigen and Fergus 2015).
            "enet": 1 / ln(1.02 + share) (Paszke et al. 2016), which lies in 1.4 to 50.

    Raises ValueError if there is no pixel at all, or the rule is unknown.
    """
    counts = torch.as_tensor(pixels, dtype=torch.float64)
    if counts.sum() == 0:
        raise ValueError(f"pixels = {list(pixels)}; expected counts of which at least one is positive")
    there = counts > 0
    share = counts / counts.sum()
    if rule == "inverse":
        weights = torch.where(there, 1 / share, 0)
        weights = weights / weights[there].mean()
    elif rule == "median":
        seen_in = counts.sum() if images_with is None else torch.as_tensor(images_with, dtype=torch.float64)
        frequency = counts / seen_in
        # The median as the mean of the middle two, where `torch.median` takes the lower one.
        weights = frequency[there].quantile(0.5) / frequency
    elif rule == "enet":
        weights = 1 / torch.log(1.02 + share)
    else:
        raise ValueError(f"rule = {rule!r}; expected 'inverse', 'median' or 'enet'")
    return torch.where(there, weights, 0).float()
