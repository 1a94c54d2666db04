"""How cost grows with the side of a picture, with classes, images and processes; writes the tables of docs/growth.md.

What the formulas say stands beside it: multiply-adds grow with the area of the map, the logits with classes times area,
an epoch with the number of images. The network is DeepLabv3+ on ResNet-50 at output stride 16, in a training step of
two images. Processes share a batch of toy_v3, each with one thread. The page is written from the JSON file.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import inference
import torch
import training_step
from harness.measure import Run, Times, peak_memory, peak_of, take_turns, time_of
from harness.report import parser, print_table, save, text_of
from loader import photographs

from seglib.data import PackedDataset, SegmentationDataset, pack, voc_palette
from seglib.data.transforms import Compose, RandomFlip, RandomScaleCrop
from seglib.files import write_atomic, write_json
from seglib.models import DeepLabV3Plus
from seglib.recipe import Recipe
from seglib.studies.cost import mult_adds
from seglib.train import Trainer, distributed

PAGE = Path(__file__).resolve().parent.parent / "docs" / "growth.md"
BATCH, STEPS = 2, 5
SIDES, CLASSES, CLASSES_SIDE = (129, 257, 385, 513), (2, 21, 150, 1000), 129


def network(classes: int, smoke: bool) -> DeepLabV3Plus:
    """The network."""
    return DeepLabV3Plus(classes, "resnet18" if smoke else "resnet50").to(memory_format=torch.channels_last)


def run_of(model: DeepLabV3Plus, side: int, classes: int, script: Any = training_step) -> Run:
    """A training step, or a pass of inference, on a random batch."""
    images = torch.randn(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
    return script.prepare(model, images, torch.randint(classes, (BATCH, side, side)), nullcontext)


def measure_network(side: int, classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of a network."""
    model = network(classes, options.smoke)
    count = mult_adds(model, side, side, space_to_batch=False) / 1e9
    times = {}
    for name, script in {"inference, s": inference, "step, s": training_step}.items():
        run = run_of(model, side, classes, script)
        times[name] = take_turns({name: run}, options.rounds)[name].summary()
    memory_of = (Path(__file__), f"{side} {classes}", [f"--threads={options.threads}"])
    peak = None if options.smoke else peak_memory(*memory_of)  # because a process takes seconds
    logits = 4 * BATCH * classes * side**2 / 2**20
    return {
        "side": side,
        "classes": classes,
        "10⁹ multiply-adds": count,
        **times,
        "logits, MiB": logits,
        "peak, MiB": peak,
    }


def measure_samples(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time per sample in one thread, from files and from their packed copies."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        files, classes, _ = photographs(2 if options.smoke else 16, Path(folder))
        plain = SegmentationDataset(files, classes, voc_palette())
        packing = time_of(lambda: pack(plain, Path(folder) / "packed", progress=False))[0] / len(files)
        size = sum(path.stat().st_size for path in (Path(folder) / "packed").iterdir()) / len(files) / 2**20
        packed = PackedDataset(Path(folder) / "packed")
        for crop in SIDES[1::2]:
            plain.transform = packed.transform = Compose((RandomScaleCrop(crop), RandomFlip()))
            sets = {"from files, s": plain, "packed, s": packed}
            runs = {name: lambda d=each: [d[0, index] for index in range(len(d))] for name, each in sets.items()}
            times = take_turns(runs, options.rounds)
            row = {name: each.per(len(files)).summary() for name, each in times.items()}
            found.append({"crop": crop, **row, "packing, s": packing, "packed, MiB": size})
    return found


def measure_processes(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time of a step, and of an evaluation, that `count` processes share."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command += [__file__, f"--share={folder}", f"--rounds={options.rounds}"]
        if options.smoke:  # in this process, because another takes seconds
            share(Path(folder), options.rounds, smoke=True)
        else:
            subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
        found = json.loads((Path(folder) / "seconds.json").read_text(encoding="utf-8"))
    return {"processes": count, **{what: Times(tuple(s), tuple(s)).summary() for what, s in found.items()}}


def share(folder: Path, rounds: int, smoke: bool = False) -> None:
    """Is one of the processes: takes steps, scores, and writes the seconds."""
    torch.set_num_threads(1)
    with distributed.join():
        recipe = Recipe.load("toy_v3")
        if smoke:
            recipe = recipe.replace(
                width=4, channels=8, crop_size=33, batch_size=4, eval_scales=(0.25,), eval_flip=False
            )
        trainer = Trainer(recipe, folder / "run", device="cpu", progress=False).fit(1)
        steps = [time_of(lambda: trainer.fit(trainer.iteration + STEPS))[0] / STEPS for _ in range(rounds)]
        scores = [time_of(lambda: trainer.evaluate(progress=False))[0] for _ in range(rounds)]
        if distributed.is_main():
            write_json(folder / "seconds.json", {"step, s": steps, "evaluation, s": scores})
        distributed.end()


def table(rows: list[dict[str, Any]]) -> tuple[tuple, list[tuple]]:
    """Header and rows; of times their medians."""
    return tuple(rows[0]), [tuple(v["median_s"] if isinstance(v, dict) else v for v in row.values()) for row in rows]


def write_page(result: dict[str, Any], page: Path = PAGE) -> None:
    """Writes each table between its marks in the page."""
    text = page.read_text(encoding="utf-8")
    for name, found in result.items():
        header, rows = table(found)
        lines = [header, ["---:"] * len(header), *(map(text_of, row) for row in rows)]
        lines = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        marks = rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)"
        text = re.sub(marks, lambda _, lines=lines: lines, text, flags=re.DOTALL)
    write_atomic(page, lambda file: file.write(text.encode()))


def main() -> None:
    """Measures, prints, and writes the file and the page."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    options.add_argument("--share", type=Path, help=argparse.SUPPRESS)
    options = options.parse_args()
    if options.share:
        return share(options.share, options.rounds)
    torch.set_num_threads(options.threads)
    if options.memory_of:
        side, classes = map(int, options.memory_of.split())
        return print(json.dumps(peak_of(lambda: run_of(network(classes, options.smoke), side, classes))))
    options.rounds = 1 if options.smoke else options.rounds
    sides, classes, fixed = ((33, 65), (2,), 33) if options.smoke else (SIDES, CLASSES, CLASSES_SIDE)
    del options.share
    result = {
        "images": [measure_network(side, 21, options) for side in sides],
        "classes": [measure_network(fixed, count, options) for count in classes],
        "samples": measure_samples(options),
        "processes": [measure_processes(count, options) for count in (1, 2)[: 2 - options.smoke]],
    }
    for name in ("images", "classes"):
        last = result[name][-1]
        for row in result[name]:
            row["share of the last row, on paper"] = row["10⁹ multiply-adds"] / last["10⁹ multiply-adds"]
            row["share, measured"] = row["step, s"]["median_s"] / last["step, s"]["median_s"]
    one = result["processes"][0]
    for row in result["processes"]:
        for what in ("step", "evaluation"):
            row[f"{what}, times as fast"] = one[f"{what}, s"]["median_s"] / row[f"{what}, s"]["median_s"]
    for rows in result.values():
        print_table(*table(rows))
    save("growth", options, result)
    if not options.smoke:
        write_page(result)


if __name__ == "__main__":
    main()
