# ruff: noqa: E402
"""What the course does on a machine with a GPU: its tests, its speed beside other libraries', its notebooks.

    python tools/gpu_check.py                     # all parts, about ten minutes, no network
    python tools/gpu_check.py --parts notebooks   # one part again; the file keeps the others
    python tools/gpu_check.py --smoke             # tiny sizes on the CPU: shows that it runs, measures nothing

Every part is a process with a time limit. One that fails, or takes too long, is reported with what it had found, and
the next one begins. After each part benchmarks/results/gpu_check-DEVICE.json and the same tables as .md are written.
Where SEGLIB_DATA names Pascal VOC, the loader and the comparison of precisions use its photographs.
"""

import argparse
import gc
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import torch
from harness.measure import matrix_multiply, take_turns
from harness.report import add_device, parser, result_path, save, text_of

from seglib.data import EpochBatches, PackedDataset, SegmentationDataset, make_loader, pack, voc_palette
from seglib.data.transforms import Compose, RandomFlip, RandomScaleCrop
from seglib.files import write_atomic, write_json
from seglib.recipe import Recipe
from seglib.train import Trainer, distributed
from seglib.train.checkpoint import load_state
from seglib.train.results import load_result, peak_memory_mib
from tools import notebooks as tool

Row = dict[str, Any]  # a line of a part's table: "what" was measured, and the values
NEEDS_GPU = "needs a GPU"  # the reason with which tests are skipped elsewhere; their names have "gpu" in them
CROP, CELL_SECONDS = 513, 120


def attempt(what: str, measure: Callable[[], Row]) -> Row:
    """A row; of what raised, with the error in place of values. Memory on the GPU is given back."""
    try:
        return {"what": what, **measure()}
    except Exception as error:
        return {"what": what, "error": f"{type(error).__name__}: {first_line(str(error))}"}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def timed(run: Callable[[], object], options: argparse.Namespace) -> dict[str, float]:
    """Median and quartiles of seconds, after a call that is not counted."""
    return take_turns({"run": run}, options.rounds, options.device)["run"].summary()


def peak_memory(options: argparse.Namespace, reset: bool = False) -> int | None:
    """MiB that torch has allocated at most; `reset` sets the mark back. None on a CPU."""
    if not options.device.startswith("cuda"):
        return None
    if reset:
        torch.cuda.reset_peak_memory_stats(options.device)
    return peak_memory_mib(torch.device(options.device))


def first_line(text: str) -> str:
    """The first line that says something, cut to 300 characters."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:300]


# --- the parts: each yields rows, which are kept as they come


def machine(options: argparse.Namespace) -> Iterator[Row]:
    """The device, and what it does at best: matrix products and a copy."""
    row = {"what": "device", "processors": os.cpu_count()}
    if options.device.startswith("cuda"):
        found = torch.cuda.get_device_properties(options.device)
        row |= {"name": found.name, "capability": f"{found.major}.{found.minor}", "gib": found.total_memory / 2**30}
        row |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "gpus": torch.cuda.device_count()}
    yield row
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        yield attempt(f"matrix product, {str(dtype).removeprefix('torch.')}", lambda dtype=dtype: peak(options, dtype))
    block = torch.zeros(2**16 if options.smoke else 2**28, device=options.device)
    target = torch.empty_like(block)
    times = timed(lambda: target.copy_(block), options)
    yield {"what": "copy", "gb_per_s": 8 * block.numel() / times["median_s"] / 1e9, **times}


def peak(options: argparse.Namespace, dtype: torch.dtype) -> Row:
    """TFLOP/s of a large matrix product."""
    product, operations = matrix_multiply(options.device, dtype, 128 if options.smoke else None)
    times = timed(product, options)
    return {"tflops": operations / times["median_s"] / 1e12, **times}


def gpu_tests(options: argparse.Namespace) -> Iterator[Row]:
    """The tests that are skipped without a GPU."""
    files = [p for p in sorted((ROOT / "tests").glob("test_*.py")) if NEEDS_GPU in p.read_text(encoding="utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", "-k", "gpu"]
    command += map(str, files[: 1 if options.smoke else None])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    yield {"what": "pytest -k gpu", "exit_code": done.returncode, "summary": lines[-1], "failed": failed}


def networks(options: argparse.Namespace, compiled: bool = False) -> Iterator[Row]:
    """Training step and inference in bfloat16 and channels_last beside the other libraries' networks of equal layers.

    Of every pair the peer comes first; our default at the papers' crop, which no peer has, comes last.
    """
    from harness.networks import PAIRS, PUBLISHED, check_equal, names_of

    pairs = list(PAIRS)[: 1 if options.smoke else None]
    for pair in pairs if not compiled else ():
        yield attempt(f"{pair}: both compute the same", lambda pair=pair: check_equal(pair) or {})
    speed = peak(options, torch.bfloat16)["tflops"] * 1e12
    contestants = [name for pair in pairs for name in reversed(names_of(pair))]
    contestants = contestants[compiled if options.smoke else 0 :]
    for kind in ("inference",) if compiled and options.smoke else ("training step", "inference"):
        peers = None
        for name in contestants if options.smoke else [*contestants, PUBLISHED]:
            side = 32 if options.smoke else CROP if name == PUBLISHED else CROP - 1  # SMP asks for multiples of 16
            settings = {"name": name, "kind": kind, "side": side, "compiled": compiled, "speed": speed}
            row = attempt(f"{kind}, {name}", lambda settings=settings: network(**settings, options=options))
            ours = name.endswith("seglib")
            if ours and peers and name != PUBLISHED and "images_per_s" in row:
                row["times_as_fast"] = row["images_per_s"] / peers
            peers = None if ours else row.get("images_per_s")
            yield row


def compiled(options: argparse.Namespace) -> Iterator[Row]:
    """The same by torch.compile, and a short training with `compile = true`."""
    yield from networks(options, compiled=True)
    if not options.smoke:
        recipe = Recipe.load("toy_v3").replace(compile=True, iterations=40)
        yield attempt("training, compile = true", lambda: train(recipe, options))


def network(name: str, kind: str, side: int, compiled: bool, speed: float, options: argparse.Namespace) -> Row:
    """Times one contestant; `speed` is a matrix product's, in FLOP/s."""
    import inference
    import training_step
    from harness.networks import build, prepared

    from seglib.studies.cost import mult_adds

    script, passes = (training_step, 3) if kind == "training step" else (inference, 1)
    model = build(name)
    operations = 2 * passes * options.batch * mult_adds(model, side, side, space_to_batch=False)
    if compiled:
        model.compile(backend="eager" if options.smoke else "inductor")
    settings = argparse.Namespace(device=options.device, dtype="bfloat16", side=side, batch=options.batch)
    run = prepared(model, "channels_last", script.prepare, settings)
    started = time.perf_counter()
    run()  # compiles
    first = time.perf_counter() - started
    peak_memory(options, reset=True)
    times = timed(run, options)
    speeds = {
        "images_per_s": options.batch / times["median_s"],
        "share_of_peak": operations / times["median_s"] / speed,
    }
    return {"side": side, **speeds, "peak_memory_mib": peak_memory(options), "first_call_s": first, **times}


def loader(options: argparse.Namespace) -> Iterator[Row]:
    """Augmented crops of files and of packed copies per second, beside the images of a training step."""
    from harness.networks import PUBLISHED
    from loader import photographs

    count, side = (4, 65) if options.smoke else (64, CROP)
    step = attempt("step", lambda: network(PUBLISHED, "training step", side, False, float("inf"), options))
    yield {"what": "training step", "samples_per_s": step.get("images_per_s"), "error": step.get("error")}
    with tempfile.TemporaryDirectory() as folder:
        files, classes, source = photographs(count, Path(folder))
        transform = Compose((RandomScaleCrop(side), RandomFlip()))
        from_files = SegmentationDataset(files, classes, voc_palette(), transform)
        packed = PackedDataset(pack(from_files, Path(folder) / "packed", progress=False), transform)
        for workers in sorted({0, *(n for n in (2, 4, 8, 16) if n <= (os.cpu_count() or 1) and not options.smoke)}):
            for name, dataset in {source: from_files, f"{source}, packed": packed}.items():
                row = attempt(f"{name}, {workers} workers", lambda d=dataset, w=workers: load(d, w, options))
                if "samples_per_s" in row and "images_per_s" in step:
                    row["times_the_step"] = row["samples_per_s"] / step["images_per_s"]
                yield row


def load(dataset: SegmentationDataset, workers: int, options: argparse.Namespace) -> Row:
    """Times batches on their way to the device, after the first, for which the workers start."""
    batch = min(4, len(dataset))
    total = len(dataset) // batch * (2 if options.smoke else 6)
    started = 0.0
    for index, (images, labels) in enumerate(
        make_loader(dataset, EpochBatches(len(dataset), batch, total, 0), workers)
    ):
        images.to(options.device, non_blocking=True)
        labels.to(options.device, non_blocking=True)
        started = started if index else time.perf_counter()
    return {"samples_per_s": batch * (total - 1) / (time.perf_counter() - started)}


def precision(options: argparse.Namespace) -> Iterator[Row]:
    """Whole trainings in float32 and in mixed precision, two seeds each: scores, time, memory."""
    named = os.environ.get("SEGLIB_DATA")
    recipe = Recipe.load("voc_short" if named and (Path(named) / "voc").is_dir() else "toy_v3")
    if options.smoke:
        recipe = recipe.replace(iterations=1, batch_size=2, crop_size=33, eval_scales=(0.25,), eval_flip=False)
    for seed in (0,) if options.smoke else (0, 1):
        for mixed in (True,) if options.smoke else (False, True):
            changed = recipe.replace(seed=seed, mixed_precision=mixed)
            what = f"{recipe.data}, {'mixed precision' if mixed else 'float32'}, seed {seed}"
            yield attempt(what, lambda changed=changed: train(changed, options))


def train(recipe: Recipe, options: argparse.Namespace) -> Row:
    """Trains and scores."""
    workers = 0 if options.smoke else min(4, os.cpu_count() or 1)
    peak_memory(options, reset=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, folder, device=options.device, num_workers=workers, progress=False).fit()
        miou = load_result(Path(folder) / "result.json")["scores"]["miou"]
    loss = float(trainer.history["loss"].dropna().iloc[-1]) if len(trainer.history) else None
    return {"miou": miou, "last_loss": loss, "train_s": trainer.seconds, "peak_memory_mib": peak_memory(options)}


def processes(options: argparse.Namespace) -> Iterator[Row]:
    """Two processes here: as the trainer joins them, which one GPU refuses, and by gloo on the same device."""
    with tempfile.TemporaryDirectory() as folder:
        alone = shared_training(Path(folder) / "alone", options.device)
        for how in ("join",) if options.smoke else ("join", "gloo"):
            yield attempt(f"two processes, {how}", lambda how=how: two(how, alone, Path(folder) / how, options))


def two(how: str, alone: Trainer, run_dir: Path, options: argparse.Namespace) -> Row:
    """Trains in two processes; how far their weights are from those of one process."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [__file__, f"--device={options.device}", f"--join-by={how}", f"--file={run_dir}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    row = {"exit_code": done.returncode, "seconds": time.perf_counter() - started}
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if re.match(r"(\[rank\d\]: ?)?\w+(\.\w+)*Error\b", line)]
        return row | {"error": first_line("\n".join(errors) or done.stderr)}
    stored = load_state(run_dir / "checkpoint.pt", alone.recipe)[0]["model"]
    ours = alone.model.state_dict()
    return row | {"largest_difference": max(float((ours[k].cpu() - v.cpu()).abs().max()) for k, v in stored.items())}


def shared_training(run_dir: Path, device: str) -> Trainer:
    """Takes a few steps that one process and several take alike: without dropout, in float32."""
    recipe = Recipe.load("toy_v3").replace(dropout=0.0, mixed_precision=False, batch_size=4, crop_size=65, lr=0.001)
    return Trainer(recipe, run_dir, device=device, progress=False).fit(4)


def join(options: argparse.Namespace) -> None:
    """Is one of two processes."""
    if options.join_by == "gloo":
        torch.distributed.init_process_group("gloo")  # `distributed.join` then does nothing
    with distributed.join():
        shared_training(options.file, options.device)
        distributed.end()


def notebooks(options: argparse.Namespace) -> Iterator[Row]:
    """Every notebook from top to bottom, past cells that raise; the cells that raised and should not have."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [tiny_notebook(Path(folder))] if options.smoke else sorted(tool.NOTEBOOKS.glob("*.ipynb"))
        with ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 2) // 2))) as pool:
            runs = [pool.submit(attempt, path.stem, lambda path=path: run_notebook(path)) for path in paths]
            for run in as_completed(runs):
                yield run.result()


def run_notebook(path: Path) -> Row:
    """Runs a notebook in memory."""
    import nbformat

    nb = nbformat.read(path, as_version=4)
    expected = {index for index, cell in enumerate(nb.cells) if tool.RAISES_TAG in cell.metadata.get("tags", [])}
    for cell in nb.cells:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), tool.RAISES_TAG]
    started, stopped = time.perf_counter(), None
    try:
        tool.execute(nb, path.parent, CELL_SECONDS)
    except (tool.CellTimeoutError, tool.DeadKernelError, tool.KernelStartError) as error:
        stopped = f"{type(error).__name__}: {first_line(str(error))}"
    failed = [
        f"cell {index}: {output.ename}: {first_line(output.evalue)}"
        for index, cell in enumerate(nb.cells)
        for output in cell.get("outputs", [])
        if output.output_type == "error" and index not in expected
    ]
    return {"seconds": time.perf_counter() - started, "failed": failed, "error": stopped}


def tiny_notebook(folder: Path) -> Path:
    """Writes a notebook of which cell 1 fails, and cell 2 raises on purpose."""
    from nbformat import v4, write

    sources = ("import seglib", "raise ValueError('too small')", "1 / 0", "assert seglib")
    nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    nb.cells[2].metadata["tags"] = [tool.RAISES_TAG]
    write(nb, folder / "tiny.ipynb")
    return folder / "tiny.ipynb"


# Seconds that a part may take; together more than ten minutes, because few parts take all of theirs.
PARTS: dict[str, tuple[Callable[[argparse.Namespace], Iterator[Row]], int]] = {
    "machine": (machine, 60), "tests": (gpu_tests, 90), "networks": (networks, 150), "loader": (loader, 60),
    "processes": (processes, 120), "precision": (precision, 150), "notebooks": (notebooks, 300),
    "compiled": (compiled, 240),
}  # fmt: skip


def run_part(name: str, seconds: float, options: argparse.Namespace) -> Row:
    """Runs a part in a process, which is ended after `seconds`; returns its rows and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        file, errors = Path(folder) / "rows.json", Path(folder) / "stderr"
        kept = {key: getattr(options, key) for key in ("rounds", "threads", "device", "batch")}
        command = [sys.executable, __file__, f"--parts={name}", f"--file={file}"]
        command += [f"--{key}={value}" for key, value in kept.items()] + ["--smoke"] * options.smoke
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        started = time.perf_counter()
        with errors.open("wb") as stderr:
            places = {"env": {**os.environ, "PYTHONPATH": paths}, "start_new_session": True, "stderr": stderr}
            process = subprocess.Popen(command, **places)
            try:
                code = process.wait(seconds)
                said = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
                ended = "whole" if code == 0 else f"exit code {code}: {said[-1][:300] if said else 'nothing said'}"
            except subprocess.TimeoutExpired:
                ended = f"stopped after {seconds:.0f} s"
            finally:
                if hasattr(os, "killpg"):
                    with suppress(ProcessLookupError):  # those that the part started
                        os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.wait()
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {"ended": ended, "seconds": time.perf_counter() - started, **versions, "rows": rows}


def keep_rows(options: argparse.Namespace) -> None:
    """Does what a part's process does: it writes the rows so far after each of them."""
    rows: list[Row] = []
    for row in PARTS[options.parts[0]][0](options):
        rows.append({key: value for key, value in row.items() if value not in (None, [])})
        print(" ", rows[-1], flush=True)
        write_json(options.file, {"rows": rows})


def tables(parts: dict[str, Row]) -> str:
    """The parts as Markdown."""
    lines = ["# What the course does on this device", ""]
    for name, part in parts.items():
        about = f"{part['ended']}, {part['seconds']:.0f} s, Python {part['python']}, torch {part['torch']}"
        columns = list(dict.fromkeys(key for row in part["rows"] for key in row if not key.startswith("quartile")))
        lines += [f"## {name}", "", about, ""]
        if columns:
            lines += [table_row(columns), table_row(["---"] * len(columns))]
            lines += [table_row(map(row.get, columns)) for row in part["rows"]] + [""]
    return "\n".join(lines)


def table_row(values: Iterable[object]) -> str:
    """A line of a Markdown table."""
    texts = ["; ".join(map(str, value)) if isinstance(value, list) else text_of(value) for value in values]
    return f"| {' | '.join(text.replace('|', '/') for text in texts)} |"


def main() -> None:
    """Runs the parts one after the other."""
    options = parser(__doc__, rounds=10)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    add_device(options)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which parts")
    options.add_argument("--minutes", type=float, default=10, help="for all parts together (default 10)")
    options.add_argument("--batch", type=int, default=16, help="images per step; fewer for a small GPU (default 16)")
    options.add_argument("--file", type=Path, help=argparse.SUPPRESS)  # where a part's process writes
    options.add_argument("--join-by", choices=("join", "gloo"), help=argparse.SUPPRESS)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    if options.smoke:
        options.device, options.batch, options.rounds = "cpu", 2, 1
    if options.join_by or options.file:
        return join(options) if options.join_by else keep_rows(options)
    if not (options.smoke or options.device.startswith("cuda")):
        sys.exit("no CUDA device found; expected one, or --smoke, which runs tiny sizes on the CPU")
    path = result_path("gpu_check", options, options.device)
    parts = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}
    del options.file, options.join_by  # which are no settings
    end = time.monotonic() + 60 * options.minutes
    for name in options.parts:
        seconds = min(PARTS[name][1], end - time.monotonic())
        if seconds < 10:
            print(f"{name}: no time left; --parts {name} runs it")
            continue
        print(f"{name}: at most {seconds:.0f} s", flush=True)
        parts[name] = run_part(name, seconds, options)
        print(f"{name}: {parts[name]['ended']}, {parts[name]['seconds']:.0f} s", flush=True)
        ordered = {known: parts[known] for known in PARTS if known in parts}
        save("gpu_check", options, {"parts": ordered}, options.device)
        write_atomic(path.with_suffix(".md"), lambda file, found=ordered: file.write(tables(found).encode()))


if __name__ == "__main__":
    main()
