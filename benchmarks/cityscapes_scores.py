"""Scores of full-size Cityscapes predictions, as whole processes: seglib's command against the evaluation script.

Both read the same labelIds, instanceIds and predictions, and end with the same scores, which is checked first. The
script runs without its Cython part, as its package installs it. The floor is a process that decodes the three PNGs of
every frame with Pillow and does no more.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness.measure import Run, compare_times, take_turns, times_as_fast
from harness.report import parser, print_table, save
from PIL import Image

from tools.toy_data import street_scene

ROOT = Path(__file__).resolve().parent.parent
OURS, TWO, FLOOR, SCRIPT = "seglib", "seglib, 2 workers", "decode the PNGs", "cityscapesScripts"
PAINTINGS = 4  # one for each row of special guests: together they hold every class
DECODE = """
import sys
from pathlib import Path
from PIL import Image
for folder in sys.argv[1:]:
    for path in Path(folder).rglob("*.png"):
        Image.open(path).load()
"""
RUN_OURS = """
import sys
from pathlib import Path
from seglib.metrics.cityscapes import score_cityscapes
ground_truth, predictions, output, workers = sys.argv[1:]
score_cityscapes(Path(ground_truth), Path(predictions), output=Path(output), workers=int(workers))
"""
# The script calls np.in1d, which NumPy 2.4 removed.
RUN_SCRIPT = """
import numpy as np
np.in1d = getattr(np, "in1d", np.isin)
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import main
main()
"""
LISTS = {
    "iou": "classScores",
    "iiou": "classInstScores",
    "category_iou": "categoryScores",
    "category_iiou": "categoryInstScores",
}
MEANS = {
    "miou": "averageScoreClasses",
    "miiou": "averageScoreInstClasses",
    "category_miou": "averageScoreCategories",
    "category_miiou": "averageScoreInstCategories",
}


def write_frames(folder: Path, count: int, height: int) -> None:
    """Streets of (height, 2 height) with predictions like those of a network at stride 4, in Cityscapes' layout."""
    labels, results = folder / "gtFine" / "val" / "town", folder / "results"
    for each in (labels, results):
        each.mkdir(parents=True)
    scenes = [street_scene(np.random.default_rng(k), k, (height, 2 * height)) for k in range(min(PAINTINGS, count))]
    for index in range(count):
        rng, scene = np.random.default_rng(index), scenes[index % len(scenes)]
        shift = int(rng.integers(2 * height))
        label, instances = (np.roll(plane, shift, axis=1) for plane in (scene.label_ids, scene.instance_ids))
        coarse = np.roll(label[::4, ::4], 1, axis=(0, 1))
        for _ in range(30):
            top, left = rng.integers(coarse.shape[0]), rng.integers(coarse.shape[1])
            coarse[top : top + height // 64, left : left + height // 32] = rng.integers(7, 34)
        prediction = coarse.repeat(4, axis=0).repeat(4, axis=1)
        name = f"town_{index:06d}_000019"
        Image.fromarray(label).save(labels / f"{name}_gtFine_labelIds.png")
        Image.fromarray(instances).save(labels / f"{name}_gtFine_instanceIds.png")
        Image.fromarray(prediction).save(results / f"{name}.png")


def contestants(folder: Path) -> dict[str, Run]:
    """What is timed: a process each, from its start to its end."""
    places = [str(folder / "gtFine"), str(folder / "results")]
    named = {"DATASET": folder, "RESULTS": folder / "results", "EXPORT_DIR": folder}
    environment = {**os.environ, **{f"CITYSCAPES_{name}": str(path) for name, path in named.items()}}

    def process(*arguments: str) -> Run:
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)

    def ours(workers: int) -> Run:
        return process("-c", RUN_OURS, *places, str(folder / "ours.json"), str(workers))

    return {
        FLOOR: process("-c", DECODE, *places),
        OURS: ours(1),
        TWO: ours(2),
        SCRIPT: process("-c", RUN_SCRIPT),
    }


def check_equal(folder: Path) -> None:
    """Raises AssertionError unless both have written the same matrix and the same scores."""
    ours = json.loads((folder / "ours.json").read_text(encoding="utf-8"))
    theirs = json.loads((folder / "resultPixelLevelSemanticLabeling.json").read_text(encoding="utf-8"))
    assert ours["matrix"] == theirs["confMatrix"], "the matrices differ"
    pairs = {name: (ours[name], theirs[their]) for name, their in MEANS.items()}
    for mine, their in LISTS.items():
        pairs |= {f"{mine} of {name}": (value, theirs[their][name]) for name, value in ours[mine].items()}
    for name, (value, expected) in pairs.items():
        same = math.isnan(expected) if value is None else math.isclose(value, expected, rel_tol=1e-9)
        assert same, f"{name}: {value} here, {expected} there"


def measure(folder: Path, count: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds for a frame of every contestant, its share of the process's start included."""
    runs = contestants(folder)
    runs[SCRIPT]()
    for name in (OURS, TWO):
        runs[name]()
        check_equal(folder)
    times = {name: each.per(count) for name, each in take_turns(runs, rounds).items()}
    found = compare_times(times, FLOOR, OURS)
    return {
        name: row | {"two_workers_times_as_fast": times_as_fast(times[TWO], times[name])} for name, row in found.items()
    }


def main() -> None:
    """Measures both on twenty frames of 1024 x 2048."""
    options = parser(__doc__, rounds=5).parse_args()
    count, height = (2, 64) if options.smoke else (20, 1024)
    options.rounds = 1 if options.smoke else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder), count, height)
        measured = measure(Path(folder), count, options.rounds)
    print_table(
        ("what", "ms/frame", "CPU ms", "x floor", "seglib is faster by", "by CPU", "with 2 workers by"),
        [
            (
                name,
                1e3 * row["median_s"],
                1e3 * row["cpu_s"],
                row["times_the_floor"],
                *(row["seglib_times_as_fast"][ratio] for ratio in ("ratio", "ratio_cpu")),
                row["two_workers_times_as_fast"]["ratio"],
            )
            for name, row in measured.items()
        ],
    )
    save("cityscapes_scores", options, {"frames": count, "size": [height, 2 * height], "contestants": measured})


if __name__ == "__main__":
    main()
