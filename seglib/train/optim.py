"""The loss, and how it is minimised: learning rate, optimiser and its parameter groups, modes of batch norm."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seglib import losses  # each loss by its name
from seglib.data import SegmentationDataset
from seglib.data.transforms import Normalisation
from seglib.geometry import Grid
from seglib.losses.pixel import valid_total
from seglib.models.resnet import ResNet
from seglib.recipe import SUMS_OVER_PIXELS, Recipe
from seglib.train import distributed  # sums and shares over processes; in one process, nothing

Loss = Callable[..., Tensor]


def poly(iteration: int, iterations: int, lr: float, power: float = 0.9, end_lr: float = 0.0) -> float:
    """The "poly" schedule, (lr - end_lr) * (1 - iteration / iterations) ** power + end_lr (DeepLabv3 sec. 4.1).

    `iteration` is 0-based, of the step about to be taken. After `iterations` the rate stays at `end_lr`.
    """
    return (lr - end_lr) * (1.0 - min(iteration / iterations, 1.0)) ** power + end_lr


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Computes the learning rate of a 0-based step: a pure function, so that a resumed run cannot restart a schedule.

    "cosine" is that of arXiv 1608.03983, eq. 5, without restarts. Warm-up multiplies the schedule, without delaying it.
    """
    steps = recipe.decay_steps or recipe.iterations
    rate = recipe.lr  # of "constant"
    if recipe.schedule == "poly":
        rate = poly(iteration, steps, recipe.lr, end_lr=recipe.end_lr)
    elif recipe.schedule == "cosine":
        share = (1 + math.cos(math.pi * min(iteration / steps, 1.0))) / 2
        rate = recipe.end_lr + (recipe.lr - recipe.end_lr) * share
    elif recipe.schedule == "step":
        rate = recipe.lr * recipe.gamma ** sum(iteration >= milestone for milestone in recipe.milestones)
    return rate * min(iteration / recipe.warm_up, 1.0) if recipe.warm_up else rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group of `build_optimizer` the rate times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Builds the recipe's optimiser; its learning rate is set before each step."""
    groups = group_parameters(model, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    adam = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return adam(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))


def group_parameters(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups parameters by learning rate and weight decay; kernels decay, biases and norms do not, as in the TF code.

    There depthwise kernels do not decay either, and the classifier's bias has twice the gradient.
    """
    backbone = set(model.backbone.parameters()) if hasattr(model, "backbone") else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        factor = recipe.backbone_lr_factor if parameter in backbone else 1.0
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return [{"params": p, "weight_decay": decay, "lr_factor": factor} for (factor, decay), p in groups.items()]


def build_loss(recipe: Recipe, dataset: SegmentationDataset, device: torch.device, grid: Grid) -> Loss:
    """Builds the recipe's loss, (logits, labels) -> scalar; class weights come from the data set's pixels.

    A third argument, the labels of the whole batch, makes it the share of a part of that batch (`accumulate`).
    In one of several processes it is this process's share of the loss over the global batch. A loss that upsamples by
    itself, and with downsample_labels every loss, takes logits at the head's stride, which lie on `grid`.
    """
    void, upsampled, weights = dataset.ignore_index, losses.upsampled_cross_entropy, None
    if recipe.class_weights:
        weights = losses.class_weights(*count_pixels(dataset), rule=recipe.class_weights).to(device)
    smoothing = {"smoothing": recipe.label_smoothing, "class_weights": weights, "ignore_index": void}
    known: dict[str, Loss] = {
        "cross_entropy": partial(losses.cross_entropy, smoothed=recipe.smoothed, **smoothing),
        "upsampled_cross_entropy": partial(upsampled, grid=grid, smoothed=recipe.smoothed, **smoothing),
        "focal": partial(losses.focal, gamma=recipe.focal_gamma, class_weights=weights, ignore_index=void),
        "dice": partial(losses.dice, ignore_index=void),
        "combined": partial(losses.combined, alpha=recipe.alpha, **smoothing),
        "hard_pixels": partial(losses.hard_pixel_cross_entropy, keep=recipe.keep_pixels, ignore_index=void),
        "rmi": partial(losses.region_mutual_information, weight=recipe.rmi_weight, ignore_index=void),
    }
    loss = known[recipe.loss]
    if distributed.world_size() == recipe.accumulate == 1:
        loss = whole_loss(loss)
    elif recipe.loss in SUMS_OVER_PIXELS:
        weighted = weights if recipe.loss != "focal" else None
        loss = share_loss(loss, partial(valid_total, ignore_index=void, class_weights=weighted))
    else:
        loss = share_loss(loss, None)
    return compare_on_grid(loss, grid) if recipe.downsample_labels else loss


def compare_on_grid(loss: Loss, grid: Grid) -> Loss:
    """Makes a loss that takes logits (B, K, h, w) with labels (B, H, W): each logit gets its own pixel's label."""

    def compare(logits: Tensor, *labels: Tensor) -> Tensor:
        return loss(logits, *(grid.pick(each, logits.shape[-2:]) for each in labels))  # (B, h, w)

    return compare


def whole_loss(loss: Loss) -> Loss:
    """Makes a loss over a batch that is one part take that batch's labels as a third argument."""
    return lambda logits, labels, batch_labels=None: loss(logits, labels)


def share_loss(loss: Loss, divisor: Callable[[Tensor], Tensor] | None) -> Loss:
    """Makes a process's share of a loss over the global batch: values and gradients sum to that loss's.

    Its third argument is the labels of this process's whole batch, where `labels` are a part of it. Of a sum over
    pixels, `divisor` is what it is divided by, as a function of the labels; only labels are sent then. None is for any
    other loss, for which every process needs the global batch's logits in memory.
    """

    def share(logits: Tensor, labels: Tensor, batch_labels: Tensor | None = None) -> Tensor:
        all_labels = torch.cat(distributed.gather(labels if batch_labels is None else batch_labels))
        if divisor is not None:
            return loss(logits, labels) * (divisor(labels) / divisor(all_labels))
        all_logits = distributed.gather(logits)
        all_logits[distributed.rank()] = logits  # only its own logits carry a gradient
        whole = loss(torch.cat(all_logits), all_labels)
        return whole - whole.detach() * (1 - 1 / distributed.world_size())  # the whole gradient, a share of the value

    return share


def count_pixels(dataset: SegmentationDataset) -> tuple[list[int], list[int]]:
    """Counts, for each class, its pixels and all labelled pixels of the images in which it occurs."""
    pixels = np.zeros(dataset.num_classes, dtype=np.int64)
    images_with = np.zeros(dataset.num_classes, dtype=np.int64)
    for index in range(len(dataset)):
        counts = np.bincount(dataset.read(index)[1].ravel(), minlength=256)[: dataset.num_classes]
        pixels += counts
        images_with += np.where(counts > 0, counts.sum(), 0)
    return pixels.tolist(), images_with.tolist()


def freeze_batch_norm(model: nn.Module) -> None:
    """Keeps batch norm's statistics, scale and shift (v3 sec. 4.1, second stage). Call it after `model.train()`.

    In the TF code scale and shift go on learning.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # synchronised ones too
            module.eval()
            module.requires_grad_(False)


def freeze_blocks(backbone: ResNet, count: int) -> None:
    """Keeps a ResNet's stem and first blocks as they are, weights and batch norm: they need no backward pass.

    Call it after `model.train()`. The papers train all layers; detectron2 freezes a stem and one block.
    """
    stem = (backbone.conv1, backbone.bn1) if backbone.stem is None else (backbone.stem,)
    for part in (*stem, *(getattr(backbone, f"layer{block}") for block in range(1, count + 1))):
        part.eval().requires_grad_(False)


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor], normalisation: Normalisation) -> None:
    """Sets every batch norm's running statistics, in place, to the mean over these batches; weights stay.

    Dropout is off meanwhile; the model is left in the mode that it came in. `batches` are (B, 3, H, W) uint8 crops as
    in training, at least one, and of the training's batch size.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    device, count = next(model.parameters()).device, 0
    try:
        model.eval()
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # PyTorch's sign for a plain mean over all batches
        for images in batches:
            model(normalisation(images.to(device)))
            count += 1
    finally:
        for module, training in modes:
            module.training = training
        for norm, momentum in momenta:
            norm.momentum = momentum
    if not count:
        raise ValueError("reestimate_batch_norm: expected at least one batch, found none")
