"""A run's curves for TensorBoard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Curves:
    """Writes loss, learning rate and val mIoU of a run's log into an event file in its folder.

    A process that resumes begins a new file with all rows so far, in the place of the earlier ones, so that no step is
    there twice, and none is lost. Raises ModuleNotFoundError if TensorBoard is not installed.
    """

    def __init__(self, run_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"tensorboard = True: {error}; pip install tensorboard") from None
        self._make, self._folder, self._written, self._writer = SummaryWriter, run_dir, 0, None

    def write(self, log: Sequence[Mapping[str, Any]]) -> None:
        """Writes the rows of `log` that are not there yet."""
        if self._writer is None:
            for earlier in self._folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            self._writer = self._make(self._folder)
        for row in log[self._written :]:
            for name in {"loss", "lr", "miou"} & row.keys():
                if row[name] is not None:
                    self._writer.add_scalar(name, row[name], row["iteration"])
        self._written = max(self._written, len(log))
        self._writer.flush()
