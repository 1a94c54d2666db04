"""Batch norm's running statistics once more, over crops as a training has them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from seglib import distributed
from seglib.data import SegmentationDataset
from seglib.data.sampling import EpochBatches, make_loader
from seglib.folds import reestimate_batch_norm
from seglib.recipe import Recipe

if TYPE_CHECKING:
    from seglib.training import Trainer


def training_crops(
    recipe: Recipe, train_set: SegmentationDataset, count: int, start: int = 0, num_workers: int = 0
) -> Iterator[Tensor]:
    """The crops (B, 3, H, W) uint8 that a training has in its `count` iterations from `start` on.

    In one of several processes: its part of each batch.
    """
    place = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    batches = EpochBatches(len(train_set), recipe.batch_size, start + count, recipe.seed, start, **place)
    return (images for images, _ in make_loader(train_set, batches, num_workers))


def reestimate(trainer: "Trainer") -> None:
    """Gives the model of a finished run the statistics of its recipe's `reestimate_bn` batches, of the next epoch on.

    Nothing happens where that is 0. The batches are those after the last epoch that the recipe's iterations reach into:
    the training has had none of these crops. The checkpoint on the disk keeps the training's statistics.
    """
    recipe = trainer.recipe
    if not recipe.reestimate_bn:
        return
    per_epoch = len(trainer.train_set) // recipe.batch_size
    start = -(-recipe.iterations // per_epoch) * per_epoch
    crops = training_crops(recipe, trainer.train_set, recipe.reestimate_bn, start, trainer.num_workers)
    reestimate_batch_norm(trainer.model, crops, trainer.normalisation)
