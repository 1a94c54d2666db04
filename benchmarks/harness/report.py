"""What a benchmark leaves: a table on the screen and a JSON file."""

import argparse
import hashlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seglib.files import write_json
from seglib.train.results import code_hashes, device_name

RESULTS = Path(__file__).resolve().parent.parent / "results"
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "torchmetrics", "segmentation-models-pytorch")


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rounds", type=int, default=rounds, help=f"turns of every contestant (default {rounds})")
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads on a CPU")
    options.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    options.add_argument("--output", type=Path, help="the JSON file (default: benchmarks/results/NAME-DEVICE.json)")
    return options


def add_device(options: argparse.ArgumentParser) -> None:
    """--device, CUDA where there is one."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    options.add_argument("--device", default=default, help="cpu or cuda (default: cuda where there is one)")


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their longest cell; numbers with three significant digits."""
    cells = [list(header), *([text_of(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for number, row in enumerate(cells):
        line = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(line).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def result_path(name: str, options: argparse.Namespace, device: str = "cpu") -> Path:
    """The file of a benchmark's result: the one that was asked for, or NAME-DEVICE.json."""
    described = device_name(torch.device(device)).lower()
    slug = "cpu" if device == "cpu" else re.sub(r"[^a-z0-9]+", "-", described).strip("-")
    return options.output or RESULTS / f"{name}-{slug}.json"


def save(name: str, options: argparse.Namespace, measured: dict[str, Any], device: str = "cpu") -> Path:
    """Writes what was measured with what it was measured on; prints and returns the file's path."""
    path = result_path(name, options, device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    settings = {key: value for key, value in vars(options).items() if key not in ("output", "memory_of")}
    value = {
        "benchmark": name,
        **measured,
        "settings": settings,
        "device": device_name(torch.device(device)),
        "load_at_end": load,
        "versions": {"python": platform.python_version(), **_versions()},
        "sources": hashlib.sha256("".join(sorted(code_hashes())).encode()).hexdigest()[:16],
    }
    write_json(path, value)
    print(f"-> {path.name}")
    return path


def _versions() -> dict[str, str]:
    installed = {
        dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in importlib.metadata.distributions()
    }
    return {name: installed[name] for name in PACKAGES if name in installed}


def text_of(cell: object) -> str:
    """A cell of a table: three significant digits of a number, a dash for nothing."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:#.3g}".rstrip(".")
    return str(cell)
