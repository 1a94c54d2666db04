"""What a training run remembers of its way: losses, learning rates, scores, and which score was the best."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from seglib.metrics import Scores

SCORES = ("miou", "pixel_accuracy", "iou")


class History:
    """Rows in the order in which they came: losses (iteration, loss, lr) and scores (iteration and `SCORES`).

    Losses wait on their device until a row is made of them, so that a GPU is not waited for at every step.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.waiting: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {"log": list(self.rows), "losses": [float(loss) for loss in self.waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undoes `state_dict`."""
        self.rows, self.waiting = list(state["log"]), [torch.tensor(loss) for loss in state["losses"]]

    def mean_loss(self) -> float:
        """The mean of the waiting losses; nan where one is, 0 where none waits."""
        return float(torch.stack(self.waiting).double().mean()) if self.waiting else 0.0

    def log_losses(self, iteration: int, lr: float) -> dict[str, Any]:
        """Makes a row of the waiting losses and returns it."""
        self.rows.append({"iteration": iteration, "loss": self.mean_loss(), "lr": lr})
        self.waiting = []
        return self.rows[-1]

    def log_scores(self, iteration: int, scores: Scores) -> None:
        """Makes a row of scores on the val list."""
        values = scores.to_dict()
        self.rows.append({"iteration": iteration} | {name: values[name] for name in SCORES})

    @property
    def score_rows(self) -> list[dict[str, Any]]:
        """The rows of scores alone."""
        return [row for row in self.rows if "miou" in row]

    @property
    def since_best(self) -> int | None:
        """How many scores came after the best mIoU, the first of equals; None before the first score."""
        mious = [row["miou"] or 0.0 for row in self.score_rows]  # None: nothing was scored
        return len(mious) - 1 - mious.index(max(mious)) if mious else None

    def out_of_patience(self, patience: int) -> bool:
        """Whether `patience` scores in succession were no new best; never for a patience of 0."""
        return bool(patience) and (self.since_best or 0) >= patience

    def frame(self) -> pd.DataFrame:
        """A row per ten iterations (iteration, loss, lr) and per evaluation (iteration, miou, pixel_accuracy)."""
        return pd.DataFrame(self.rows, columns=["iteration", "loss", "lr", "miou", "pixel_accuracy"])

    def class_frame(self, classes: tuple[str, ...]) -> pd.DataFrame:
        """Per-class IoU: a row per evaluation, indexed by the iteration, a column per class."""
        rows = self.score_rows
        iterations = pd.Index([row["iteration"] for row in rows], name="iteration")
        return pd.DataFrame([row["iou"] for row in rows], iterations, classes, dtype=float)
