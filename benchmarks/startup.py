"""Seconds to import seglib in fresh processes, and with --notebooks seconds to run each notebook.

The floor is `import torch`, which everything here needs.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from harness.measure import Run, take_turns
from harness.report import parser, print_table, save

ROOT = Path(__file__).resolve().parent.parent
FLOOR = "torch"
MODULES = (
    "seglib",
    "seglib.metrics",
    "seglib.models",
    "seglib.data",
    "seglib.train.trainer",
    "segmentation_models_pytorch",
)
RUN_NOTEBOOK = """
import sys, nbformat
from pathlib import Path
from tools.notebooks import execute
path = Path(sys.argv[1])
execute(nbformat.read(path, as_version=4), path.parent)
"""


def importing(module: str) -> Run:
    """A fresh interpreter that imports one module."""
    return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)


def notebook_seconds(path: Path) -> float:
    """Seconds to run a notebook from start of kernel to last cell, on the bundled data."""
    environment = {name: value for name, value in os.environ.items() if name != "SEGLIB_DATA"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", RUN_NOTEBOOK, str(path)], cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measures the imports, and the notebooks if asked to."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--notebooks", action="store_true", help="run every notebook too, once; takes minutes")
    options = options.parse_args()
    modules = ("seglib",) if options.smoke else MODULES
    options.rounds = 1 if options.smoke else options.rounds
    times = take_turns({"nothing": importing("sys"), **{m: importing(m) for m in (FLOOR, *modules)}}, options.rounds)
    imports = {name: {**each.summary(), **each.times_the(times[FLOOR])} for name, each in times.items()}
    columns = ("median_s", "cpu_s", "times_the_floor", "times_the_floor_cpu")
    print_table(
        ("import", "seconds", "CPU s", "x import torch", "by CPU"),
        [(name, *(row[column] for column in columns)) for name, row in imports.items()],
    )
    measured: dict[str, object] = {"imports": imports}
    if options.notebooks:
        measured["notebooks_s"] = {p.stem: notebook_seconds(p) for p in sorted((ROOT / "notebooks").glob("*.ipynb"))}
        print_table(("notebook", "seconds"), list(measured["notebooks_s"].items()))
    save("startup", options, measured)


if __name__ == "__main__":
    main()
