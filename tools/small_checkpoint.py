"""Keeps the weights of a finished run as a small file that `seglib.train.checkpoint.load_run` reads, for the notebooks.

python tools/small_checkpoint.py RUN_DIR data/checkpoints/NAME.pt
"""

import sys
from pathlib import Path

import torch

from seglib.data import build_dataset
from seglib.data.transforms import Normalisation
from seglib.files import write_atomic
from seglib.predict import Scoring, evaluate
from seglib.train.checkpoint import load_run
from seglib.train.results import load_result

TOLERANCE = 1e-3  # of the mIoU, between the weights as trained and as kept


def keep(run_dir: Path, target: Path) -> float:
    """Writes the recipe and the evaluated weights of a run to `target`; returns the mIoU that these have.

    Convolutions are rounded to float16, which halves the file; vectors, those of batch norm among them, stay float32.

    Raises:
        FileNotFoundError: if the run's checkpoint or result is missing.
        ValueError: if they are damaged or of two recipes, or the kept weights do not score as the result says; nothing
            is left at `target` then.
    """
    model, recipe, *_ = load_run(run_dir / "checkpoint.pt")
    stored = load_result(run_dir / "result.json")
    if stored["name"] != recipe.name:
        raise ValueError(f"{run_dir}: result.json is of {stored['name']}, checkpoint.pt of {recipe.name}")
    weights = {name: value.half() if value.ndim > 1 else value for name, value in model.state_dict().items()}
    content = {"recipe": recipe.changes(), "model": weights}
    write_atomic(target, lambda file: torch.save(content, file))
    val = build_dataset(recipe, recipe.val_split)
    convention = Normalisation.named(recipe.normalisation)
    miou = evaluate(load_run(target)[0], val, convention, Scoring.of(recipe)).compute().miou
    if not abs(miou - stored["scores"]["miou"]) < TOLERANCE:
        target.unlink()
        raise ValueError(f"{run_dir}: rounded weights score {miou:.4f}, the run {stored['scores']['miou']:.4f}")
    return miou


def main(run_dir: str, target: str) -> None:
    """Command line."""
    print(f"mIoU {keep(Path(run_dir), Path(target)):.4f}, {Path(target).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:3] if len(sys.argv) == 3 else sys.exit(__doc__))
