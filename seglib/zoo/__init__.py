"""Other people's networks: their checkpoints in our models, and the true structure of their DeepLabs."""

from seglib.zoo.checkpoints import load_checkpoint

__all__ = ["load_checkpoint"]
