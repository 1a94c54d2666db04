"""Metrics: the confusion matrix and its scores, the trimap, and Cityscapes' own scores."""

from typing import Any

__all__ = ["ConfusionMatrix", "Scores", "boundary_band", "update_trimap"]


def __getattr__(name: str) -> Any:
    # Imported on first use: Cityscapes' evaluator lies beside and does without torch, which takes seconds to load.
    if name in __all__:
        from seglib.metrics import confusion, trimap

        return getattr(confusion if hasattr(confusion, name) else trimap, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
