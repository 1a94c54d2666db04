"""Which code a result was measured with: a hash per file that decides on it, blind to comments and docstrings."""

import ast
import hashlib
import io
import json
import tokenize
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from seglib.storage import write_json

PACKAGE = Path(__file__).parent

# What a run's numbers come from. `recipe.py` is left out: a recipe is stored with its result.
_FILES = {
    "": "building distributed folds history inference metrics optimisation reestimation "
    "runtime schedules training windows",
    "data/": "augmentation camvid cityscapes dataset noise resampling sampling transforms voc",
    "losses/": "class_weights pixel region upsampled",
    "models/": "aspp blocks checkpoints deeplab fcn mobilenet norms residual resnet unet vgg xception",
}
MEASURING = tuple(f"{folder}{name}.py" for folder, names in _FILES.items() for name in names.split())


def code_hashes() -> dict[str, str]:
    """File in the package -> hash of its code, for the model, data, loss, metric and training sources."""
    return {name: code_hash((PACKAGE / name).read_text(encoding="utf-8")) for name in MEASURING}


@cache
def code_hash(source: str) -> str:
    """A hash of Python source that comments, docstrings and blank lines leave as it is."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            for row in range(body[0].lineno, body[0].end_lineno + 1):
                lines[row - 1] = ""
    code = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(code.encode()).hexdigest()[:8]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def changed_sources(stored: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """The files whose code is not what a result was measured with, or that are gone.

    A file that the result does not know counts as unchanged: to matter it has to be used by one that the result knows.
    """
    return sorted(name for name, code in stored.items() if present.get(name) != code)


def of_whole_run(path: Path, present: Mapping[str, str]) -> dict[str, str]:
    """The hashes for a training that may have begun with other code: a file that changed since has both of its hashes.

    path: a JSON file beside the run's checkpoint, in which they are kept from call to call.
    """
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else present
    both = {name: _joined(before.get(name, code), code) for name, code in present.items()}
    write_json(path, both)
    return both


def _joined(before: str, now: str) -> str:
    return before if now in before.split("+") else f"{before}+{now}"


def sources_hash() -> str:
    """A hash over every Python source of seglib: two results with different ones were computed by different code."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
