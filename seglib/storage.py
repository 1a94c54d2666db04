"""Files that survive a kill or a full disk: written beside their target, flushed, then renamed over it."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch


def write_atomic(path: Path, write: Callable[[BinaryIO], None], keep: Path | None = None) -> None:
    """Writes `path` so that a reader sees either the old file or the new one, never a part.

    Args:
        path: target; its folder is made if missing.
        write: called with an open binary file.
        keep: where the old file, if any, is moved to just before the new one takes its place.

    Raises:
        OSError: the folder cannot be written or the disk is full; names `path`. The old file is then untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                os.replace(path, keep)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # torch.save reports a full disk as a RuntimeError of its zip writer
        raise OSError(f"{path}: could not be written ({error}); what was there before is kept") from error


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a dictionary as indented JSON, atomically. nan is refused: store None where there is no number."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically and keeps its predecessor as `previous_path(path)`."""
    write_atomic(path, lambda file: torch.save(state, file), keep=previous_path(path))


def previous_path(path: Path) -> Path:
    """Where `save_state` keeps the checkpoint before the last one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path) -> tuple[dict[str, Any], Path] | None:
    """Reads the newest readable checkpoint without executing code (`weights_only=True`).

    Returns:
        The state and the file it came from: `path`, or its predecessor where `path` is damaged or missing.
        None where neither exists.

    Raises:
        ValueError: files exist but none can be read; names each with what is wrong.
    """
    problems = []
    for candidate in (path, previous_path(path)):
        if not candidate.exists():
            continue
        try:
            return torch.load(candidate, map_location="cpu", weights_only=True), candidate
        except Exception as error:  # torch.load raises what its unpickler or zip reader met, of many types
            problems.append(f"{candidate}: not a readable checkpoint ({type(error).__name__})")
    if problems:
        raise ValueError("; ".join(problems) + ". Delete the run folder to start again.")
    return None
