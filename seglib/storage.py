"""Files that survive a kill or a full disk: written beside their target, flushed, then renamed over it."""

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch


def write_atomic(path: Path, write: Callable[[BinaryIO], None], keep: Path | None = None) -> None:
    """Writes `path` so that a reader sees either the old file or the new one, never a part.

    What a write of the same file left behind when it was killed is removed first: it may be what fills the disk.

    Args:
        path: target; its folder is made if missing.
        write: called with an open binary file.
        keep: where the old file, if any, is moved to just before the new one takes its place.

    Raises:
        OSError: the folder cannot be written or the disk is full; names `path`. The old file is then untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.iterdir():
            if leftover.name.startswith(f".{path.name}.") and leftover.suffix == ".tmp":
                leftover.unlink()
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)  # mkstemp's files are for their owner alone
            if keep is not None and path.exists():
                os.replace(path, keep)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # torch.save's zip writer turns a full disk into a RuntimeError about positions in the file
        cause = error if isinstance(error, OSError) or error.__context__ is None else error.__context__
        raise OSError(f"{path}: could not be written ({cause}); what was there before is kept") from cause


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a dictionary as indented JSON, atomically. nan is refused: store None where there is no number."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically and keeps its predecessor as `previous_path(path)`."""
    # a file that was cut off must not push a good predecessor out
    keep = previous_path(path) if zipfile.is_zipfile(path) else None
    write_atomic(path, lambda file: torch.save(state, file), keep=keep)


def previous_path(path: Path) -> Path:
    """Where `save_state` keeps the checkpoint before the last one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path) -> tuple[dict[str, Any], Path] | None:
    """Reads the newest readable checkpoint without executing code.

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
            return load_tensors(candidate), candidate
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems) + ". Delete the run folder to start again.")
    return None


def load_tensors(path: str | os.PathLike) -> Any:
    """Reads a file written by `torch.save`, onto the CPU, without executing code (`weights_only=True`).

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, a checksum included, or holds more than tensors and plain values; names `path`.
    """
    try:
        # torch does not look at the checksums that it writes: a flipped bit would go on into the weights
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch.load raises what its unpickler or zip reader met, of many types
        # torch's own message is not passed on: it recommends to load the file with its code
        code = re.search(r"GLOBAL (\S+)", str(error))
        found = f"code ({code[1]}), which was not executed" if code else f"damage ({type(error).__name__})"
        raise ValueError(
            f"{path}: not a readable checkpoint; expected a whole file of torch.save that holds tensors and plain "
            f"values alone, found {found}"
        ) from None
