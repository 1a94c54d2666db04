"""What a finished run leaves behind: its recipe, its scores, and what they were measured with."""

import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seglib.data import SegmentationDataset
from seglib.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from seglib.recipe import Recipe
    from seglib.training import Trainer


TRIMAP_WIDTHS = (1, 2, 3, 5, 8, 12, 20)  # pixels


def result_of(trainer: "Trainer", matrix: ConfusionMatrix, trimap: dict[int, ConfusionMatrix]) -> dict[str, Any]:
    """The JSON value of a finished run.

    Args:
        matrix: of the whole val list. trimap: a band's width in pixels to the matrix of that band.

    Returns:
        name, recipe (its non-default fields), scores, confusion matrix (rows are labels), trimap (widths, and the mIoU
        within each; None where no pixel lies within), evaluation protocol, the image lists with their hashes, history
        and class_history as the trainer's, seconds of training, peak memory in MiB, device, versions, hashes of the
        sources; not yet sealed.
    """
    recipe = trainer.recipe
    return {
        "name": recipe.name,
        "recipe": recipe.changes(),
        "seed": recipe.seed,
        "scores": matrix.compute().to_dict(),
        "confusion": matrix.matrix.tolist(),
        "trimap": {
            "widths": list(trimap),
            "miou": [band.compute().to_dict()["miou"] for band in trimap.values()],
        },
        "classes": list(trainer.val_set.classes),
        "evaluation": {
            "split": recipe.val_split,
            "resolution": "the label's own",
            "output_stride": recipe.eval_output_stride or recipe.output_stride,
            "scales": list(recipe.eval_scales),
            "flip": recipe.eval_flip,
            "window": recipe.eval_window,
        },
        "data": {"train": _image_list(trainer.train_set), "val": _image_list(trainer.val_set)},
        "history": json.loads(trainer.history.to_json(orient="records")),
        "class_history": json.loads(trainer.class_history.to_json(orient="split")),
        "train_seconds": round(trainer.seconds, 1),
        "peak_memory_mib": peak_memory_mib(trainer.device),
        "device": device_name(trainer.device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
        },
        "sources": trainer.sources,
    }


def sealed(result: dict[str, Any]) -> dict[str, Any]:
    """The result with a hash over all the rest, by which `load_result` finds that a file was edited."""
    return {**result, "digest": _digest(result)}


def _digest(result: dict[str, Any]) -> str:
    content = {name: value for name, value in result.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def load_result(path: str | Path) -> dict[str, Any]:
    """Reads a result. Raises FileNotFoundError; ValueError where the file is no result, or was edited since."""
    path = Path(path)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a result of a run; expected JSON ({error})") from None
    if not isinstance(result, dict):
        raise ValueError(f"{path}: not a result of a run; expected a JSON object, found {type(result).__name__}")
    if missing := {"name", "recipe", "scores"} - set(result):
        raise ValueError(f"{path}: not a result of a run; lacks {sorted(missing)}")
    if result.get("digest") != (digest := _digest(result)):
        raise ValueError(
            f"{path}: edited after the run wrote it: its content has the hash {digest}, expected "
            f"{result.get('digest')}. Take the file back from where it came, or delete it and run again."
        )
    return result


def is_result_of(path: Path, recipe: "Recipe") -> bool:
    """Whether the file is there and holds the result of this recipe. Raises ValueError as `load_result`."""
    return path.exists() and load_result(path)["name"] == recipe.name


RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"


def stored_results(recipe: "Recipe", folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of a recipe with any seed, by seed, all other fields equal; empty where it has not been run."""
    wanted = recipe.replace(seed=0).changes()
    found = [load_result(path) for path in sorted(folder.glob("*.json"))]
    found = [result for result in found if {k: v for k, v in result["recipe"].items() if k != "seed"} == wanted]
    return sorted(found, key=lambda result: result["seed"])


def _image_list(dataset: SegmentationDataset) -> dict[str, Any]:
    digest = hashlib.sha256("\n".join(dataset.names).encode()).hexdigest()
    return {"images": len(dataset), "list_sha256": digest}


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's architecture with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory_mib(device: torch.device) -> int | None:
    """Peak memory so far: allocated on the GPU, or resident in this process; None where it cannot be read (Windows)."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
