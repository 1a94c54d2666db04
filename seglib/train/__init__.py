"""Training: the loop, what it minimises, its checkpoints and its result."""

from seglib.train.trainer import Trainer

__all__ = ["Trainer"]
