"""What is minimised and how: schedules, the loss, the optimiser and its parameter groups, batch norm's modes."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglib import losses
from seglib.data import SegmentationDataset
from seglib.data.transforms import Normalisation
from seglib.losses.pixel import valid_total
from seglib.recipe import Recipe
from seglib.train import distributed


def poly(iteration: int, iterations: int, lr: float, power: float = 0.9, end_lr: float = 0.0) -> float:
    """The "poly" policy, (lr - end_lr) * (1 - iteration / iterations) ** power + end_lr (DeepLabv3 sec. 4.1).

    Args:
        iteration: 0-based number of the step about to be taken; clipped at `iterations`.
        iterations: length of the schedule in steps; where it is shorter than the run, the rest runs at `end_lr`.
        lr, end_lr: learning rate at the start and at the end.

    Raises:
        ValueError: iteration is negative or iterations is not positive.
    """
    return (lr - end_lr) * (1.0 - _progress("poly", iteration, iterations)) ** power + end_lr


def cosine(iteration: int, iterations: int, lr: float, end_lr: float = 0.0) -> float:
    """Half a cosine from lr to end_lr (Loshchilov and Hutter 2017, eq. 5, without restarts). Arguments as `poly`."""
    progress = _progress("cosine", iteration, iterations)
    return end_lr + (lr - end_lr) * (1 + math.cos(math.pi * progress)) / 2


def step(iteration: int, milestones: Sequence[int], lr: float, gamma: float = 0.1) -> float:
    """lr times gamma for every milestone (an iteration) that has been reached. Raises ValueError as `poly`."""
    _progress("step", iteration, 1)
    return lr * gamma ** sum(iteration >= milestone for milestone in milestones)


def warm_up(iteration: int, iterations: int, lr: float, start: float = 0.0) -> float:
    """`lr` scaled from the share `start` linearly to 1 over the first `iterations`; 0 iterations leave it as it is.

    `lr` is what another schedule gives for the same iteration, so that warming up shifts no later step.
    """
    if iterations == 0:
        return lr
    return lr * (start + (1 - start) * _progress("warm_up", iteration, iterations))


def _progress(name: str, iteration: int, iterations: int) -> float:
    if iteration < 0 or iterations <= 0:
        raise ValueError(f"{name}: iteration {iteration} of {iterations}; expected 0 <= iteration, 1 <= iterations")
    return min(iteration / iterations, 1.0)


Loss = Callable[[Tensor, Tensor], Tensor]
SUMS_OVER_PIXELS = ("cross_entropy", "upsampled_cross_entropy", "focal")


def build_loss(recipe: Recipe, dataset: SegmentationDataset, device: torch.device) -> Loss:
    """The recipe's loss, (logits, labels) -> scalar; class weights come from the data set's pixels.

    In one of several processes: its share of the loss over the global batch (`shared_loss`). With downsample_labels:
    of logits at the head's stride (`at_logits_size`).

    Raises:
        ValueError: a loss, or a combination of its fields, that there is not.
    """
    ignore_index = dataset.ignore_index
    weights = None
    if recipe.class_weights:
        if recipe.loss in ("dice", "hard_pixels", "rmi"):
            raise ValueError(f"recipe: class_weights = {recipe.class_weights!r}; loss {recipe.loss!r} takes none")
        weights = losses.class_weights(*pixel_counts(dataset), rule=recipe.class_weights).to(device)
    smoothing = {"smoothing": recipe.label_smoothing, "class_weights": weights, "ignore_index": ignore_index}
    plain = {"smoothed": recipe.smoothed, "denominator": recipe.weight_denominator, **smoothing}
    known: dict[str, Loss] = {
        "cross_entropy": partial(losses.cross_entropy, **plain),
        "upsampled_cross_entropy": partial(losses.upsampled_cross_entropy, **plain),
        "focal": partial(losses.focal, gamma=recipe.focal_gamma, class_weights=weights, ignore_index=ignore_index),
        "dice": partial(losses.dice, ignore_index=ignore_index),
        "combined": partial(losses.combined, alpha=recipe.alpha, **smoothing),
        "hard_pixels": partial(losses.hard_pixel_cross_entropy, keep=recipe.keep_pixels, ignore_index=ignore_index),
        "rmi": partial(losses.region_mutual_information, ignore_index=ignore_index),
    }
    if recipe.loss not in known:
        raise ValueError(f"recipe: loss = {recipe.loss!r}; expected one of {sorted(known)}")
    loss = known[recipe.loss]
    if distributed.world_size() > 1:
        divisor = partial(valid_total, ignore_index=ignore_index)
        if recipe.loss.endswith("cross_entropy"):
            divisor = partial(divisor, class_weights=weights, denominator=recipe.weight_denominator)
        loss = shared_loss(loss, divisor if recipe.loss in SUMS_OVER_PIXELS else None)
    return at_logits_size(loss) if recipe.downsample_labels else loss


def at_logits_size(loss: Loss) -> Loss:
    """A loss of logits (B, K, h, w) that takes labels (B, H, W) of any size: nearest neighbours of theirs.

    Each logit gets the label of the pixel in which its centre lies, at (i + 0.5) * H / h from the top, which is where
    an upsampling with align_corners=False puts it. No label is mixed or lost to void.
    """

    def at_size(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits, F.interpolate(labels[:, None], logits.shape[-2:], mode="nearest-exact")[:, 0])  # (B, h, w)

    return at_size


def shared_loss(loss: Loss, divisor: Callable[[Tensor], Tensor] | None) -> Loss:
    """A process's share of a loss over the global batch: over the processes, values and gradients sum to that loss's.

    Args:
        divisor: of a loss that is a sum over pixels divided by a number, that number as a function of the labels. Only
            labels are sent then. None, for any other loss: every process computes it over everyone's logits, and has
            the global batch's logits in memory for that.
    """

    def share(logits: Tensor, labels: Tensor) -> Tensor:
        all_labels = torch.cat(distributed.gather(labels))
        if divisor is not None:
            return loss(logits, labels) * (divisor(labels) / divisor(all_labels))
        all_logits = distributed.gather(logits)
        all_logits[distributed.rank()] = logits  # the gradient is that of the own logits alone
        whole = loss(torch.cat(all_logits), all_labels)
        return whole - whole.detach() * (1 - 1 / distributed.world_size())  # the value is shared out as well

    return share


def pixel_counts(dataset: SegmentationDataset) -> tuple[list[int], list[int]]:
    """Of each class of a data set: its pixels, and all labelled pixels of the images in which it occurs."""
    pixels = np.zeros(dataset.num_classes, dtype=np.int64)
    images_with = np.zeros(dataset.num_classes, dtype=np.int64)
    for index in range(len(dataset)):
        counts = np.bincount(dataset.read(index)[1].ravel(), minlength=256)[: dataset.num_classes]
        pixels += counts
        images_with += np.where(counts > 0, counts.sum(), 0)
    return pixels.tolist(), images_with.tolist()


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """The recipe's learning rate of a 0-based step. Raises ValueError: an unknown schedule."""
    steps = recipe.decay_steps or recipe.iterations
    if recipe.schedule == "poly":
        rate = poly(iteration, steps, recipe.lr, recipe.power, recipe.end_lr)
    elif recipe.schedule == "cosine":
        rate = cosine(iteration, steps, recipe.lr, recipe.end_lr)
    elif recipe.schedule == "step":
        rate = step(iteration, recipe.milestones, recipe.lr, recipe.gamma)
    elif recipe.schedule == "constant":
        rate = recipe.lr
    else:
        raise ValueError(f"recipe: schedule = {recipe.schedule!r}; expected 'poly', 'cosine', 'step' or 'constant'")
    return warm_up(iteration, recipe.warm_up, rate)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group of `build_optimizer` the rate times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW over `parameter_groups`. Raises ValueError: an unknown optimiser."""
    groups = parameter_groups(model, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    adams = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if recipe.optimizer not in adams:
        raise ValueError(f"recipe: optimizer = {recipe.optimizer!r}; expected 'sgd', 'adam' or 'adamw'")
    return adams[recipe.optimizer](groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups by learning-rate factor and weight decay; every trainable parameter is in exactly one.

    Weight decay is on the convolutions' weights alone: the TF code regularises neither batch norm nor biases, nor, with
    `depthwise_decay` off, depthwise weights. `backbone_lr_factor` and `bias_lr_factor` multiply.
    """
    backbone = set(model.backbone.parameters()) if hasattr(model, "backbone") else set()
    depthwise = {m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1}
    biases = {p for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for p in (m.bias,)} - {None}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        factor = recipe.backbone_lr_factor if parameter in backbone else 1.0
        factor *= recipe.bias_lr_factor if parameter in biases else 1.0
        decays = parameter.ndim > 1 and (recipe.depthwise_decay or parameter not in depthwise)
        groups.setdefault((factor, recipe.weight_decay if decays else 0.0), []).append(parameter)
    return [{"params": p, "weight_decay": decay, "lr_factor": factor} for (factor, decay), p in groups.items()]


def freeze_batch_norm(model: nn.Module) -> None:
    """Batch norm keeps its statistics, scale and shift (v3 sec. 4.1, second stage). Call it after `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # synchronised ones too
            module.eval()
            module.requires_grad_(False)


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
