"""The result of a finished run: its recipe, its scores, and the code, data and device that they were measured with."""

import ast
import hashlib
import io
import json
import platform
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from seglib.metrics import ConfusionMatrix
from seglib.recipe import Recipe, training_changes

PACKAGE = Path(__file__).parents[1]
# The code that decides on a result. A recipe is not in it, because it is stored with the result.
MEASURING = ("geometry.py", "models", "data", "losses", "metrics", "zoo", "train", "predict.py")
NOT_MEASURING = {
    "models/fields.py", "zoo/audit.py", "data/cache.py", "data/download.py", "data/convert_camvid.py",
    "data/make_table.py", "data/convert_masks.py", "data/folder.py", "metrics/cityscapes.py", "train/results.py",
}  # fmt: skip


def collect(
    recipe: Recipe, matrix: ConfusionMatrix, trimap: Mapping[int, ConfusionMatrix], classes: Sequence[str]
) -> dict[str, Any]:
    """Collects a run's settings and scores as JSON values; `trimap`: width of a band -> its matrix."""
    bands = [band.compute().to_dict()["miou"] for band in trimap.values()]  # None: no pixel in the band
    return {
        "name": recipe.name,
        "recipe": recipe.changes(),
        "seed": recipe.seed,
        "scores": matrix.compute().to_dict(),
        "confusion": matrix.matrix.tolist(),  # rows are labels
        "trimap": {"widths": list(trimap), "miou": bands},
        "classes": list(classes),
        "evaluation": {
            "split": recipe.val_split,
            "resolution": "{} x {}".format(*recipe.eval_squash) if recipe.eval_squash else "the label's own",
            "output_stride": recipe.eval_output_stride or recipe.output_stride,
            "scales": list(recipe.eval_scales),
            "flip": recipe.eval_flip,
            "window": recipe.eval_window,
        },
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Names the device, its peak memory so far, and the versions that a result was measured with."""
    torchvision, python = metadata.version("torchvision"), platform.python_version()
    versions = {"torch": torch.__version__, "torchvision": torchvision, "python": python}
    return {"peak_memory_mib": peak_memory_mib(device), "device": device_name(device), "versions": versions}


def seal(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the result with a hash over all the rest, by which `load_result` finds that a file was edited."""
    return {**result, "digest": _digest(result)}


def load_result(path: str | Path) -> dict[str, Any]:
    """Reads a result. Raises ValueError if it is none, or was edited after the run wrote it; FileNotFoundError."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are
        raise ValueError(f"{path}: not a result of a run; expected JSON ({error})") from None
    missing = {"name", "recipe", "scores"} - set(result if isinstance(result, dict) else ())
    if missing:
        expected = "expected a JSON object with name, recipe, scores"
        raise ValueError(f"{path}: not a result of a run; {expected}; it lacks {sorted(missing)}")
    if result.get("digest") != (digest := _digest(result)):
        found = f"its content has the hash {digest}, expected {result.get('digest')}"
        cure = "Take the file back from where it came, or delete it and run again."
        raise ValueError(f"{path}: edited after the run wrote it: {found}. {cure}")
    return result


def is_result_of(path: Path, recipe: Recipe) -> bool:
    """Tells whether the file exists and holds the result of this recipe. Raises ValueError as `load_result` does."""
    return path.exists() and load_result(path)["name"] == recipe.name


def is_training_of(path: Path, recipe: Recipe) -> bool:
    """Tells whether the file holds a result of this recipe's training, scored in whatever way; raises likewise."""
    return path.exists() and training_changes(load_result(path)["recipe"]) == training_changes(recipe.changes())


def _digest(result: dict[str, Any]) -> str:
    content = {name: value for name, value in result.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_hashes() -> dict[str, str]:
    """Returns hash -> name of every top-level definition that decides on a result, as the files are when first asked.

    Comments, docstrings, imports and the file that a definition is in do not count: code may be moved.
    """
    files = [path for part in MEASURING for path in sorted((PACKAGE / part).rglob("*.py")) or [PACKAGE / part]]
    counted = [path for path in files if path.relative_to(PACKAGE).as_posix() not in NOT_MEASURING]
    found = [pair for path in counted for pair in definitions(path.read_text(encoding="utf-8"))]
    tables = [path for part in MEASURING for path in sorted((PACKAGE / part).rglob("*.csv"))]  # Cityscapes' labels
    found += [(path.name, path.read_text(encoding="utf-8")) for path in tables]
    return {hashlib.sha256(f"{name}\n{code}".encode()).hexdigest()[:8]: name for name, code in found}


def definitions(source: str) -> Iterator[tuple[str, str]]:
    """Yields (name, code) of each function, class and constant of a module, without comments and docstrings."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            lines[text.lineno - 1 : text.end_lineno] = [""] * (text.end_lineno - text.lineno + 1)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = ast.unparse(target)
        else:
            continue  # imports and the module's docstring
        if name != "__all__":
            first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
            code = (line.rstrip() for line in lines[first - 1 : node.end_lineno])
            yield name, "\n".join(line for line in code if line)


def advise_on_memory(where: str, recipe: Recipe, error: Exception) -> str:
    """Says which settings need less of a GPU's memory, after a run has asked for more than there is."""
    upsampled = recipe.loss == "cross_entropy" and not recipe.downsample_labels
    other = ', or take loss = "upsampled_cross_entropy"' if upsampled else ""
    return (
        f"{where}, with batch_size = {recipe.batch_size} and crop_size = {recipe.crop_size}. Lower one of them, raise "
        f"accumulate{other}: that is another recipe, in a run_dir of its own. The last checkpoint is kept; on a larger "
        f"GPU, or on several, this run resumes from it. ({(str(error) or 'no details').splitlines()[0]})"
    )


def device_name(device: torch.device) -> str:
    """Returns the GPU's name, or the processor's with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {_processor_name()}, {torch.get_num_threads()} threads"


def _processor_name() -> str:
    """Returns the model as Linux knows it, or as far as Python tells: results of two models differ in last digits."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        described = ""
    found = re.search(r"^model name\s*:\s*(\S.*)$", described, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def peak_memory_mib(device: torch.device) -> int | None:
    """Returns the peak memory so far, allocated on the GPU or resident in this process; None on Windows."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
