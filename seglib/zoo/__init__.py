"""Other people's networks: their checkpoints in our models, and what their DeepLabs really are."""

from seglib.zoo.checkpoints import load_checkpoint

__all__ = ["load_checkpoint"]
