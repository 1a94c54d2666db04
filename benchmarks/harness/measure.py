"""Time and memory, measured so that a busy machine does not decide: turns for time, a process each for memory."""

import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seglib.train.results import peak_memory_mib

Run = Callable[[], object]

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# glibc then returns every larger block at once; otherwise its own thresholds, which drift, decide what stays resident.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


@dataclass(frozen=True)
class Times:
    """Seconds of each round: on the clock, and of processor time, which other programs on the machine leave alone."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def per(self, count: int) -> "Times":
        """The times of one of `count` equal parts."""
        return Times(tuple(s / count for s in self.wall), tuple(s / count for s in self.cpu))

    def summary(self) -> dict[str, float]:
        """Median and quartiles on the clock, median of processor time, number of rounds."""
        low, median, high = _quartiles(self.wall)
        return {
            "median_s": median,
            "quartile_low_s": low,
            "quartile_high_s": high,
            "cpu_s": statistics.median(self.cpu),
            "rounds": len(self.wall),
        }

    def times_the(self, floor: "Times", share: float = 1.0) -> dict[str, float]:
        """How often `share` of the floor fits into this, by the clock and by processor time; medians over rounds."""
        wall = statistics.median(mine / its for mine, its in zip(self.wall, floor.wall, strict=True))
        cpu = statistics.median(mine / its for mine, its in zip(self.cpu, floor.cpu, strict=True))
        return {"times_the_floor": wall / share, "times_the_floor_cpu": cpu / share}


def time_of(run: Run, device: str = "cpu") -> tuple[float, float]:
    """Seconds of one call, the device's queue and ended child processes included: on the clock, of processor time."""
    _wait(device)
    start, start_cpu = time.perf_counter(), _processor_seconds()
    run()
    _wait(device)
    return time.perf_counter() - start, _processor_seconds() - start_cpu


def take_turns(contestants: Mapping[str, Run], rounds: int, device: str = "cpu") -> dict[str, Times]:
    """Times of every contestant, after one call each that is not counted.

    All run once per round, forwards and backwards in turn, so that a slow minute or a warm cache favours none.
    """
    for run in contestants.values():
        time_of(run, device)
    names = list(contestants)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            taken[name].append(time_of(contestants[name], device))
    return {name: Times(*zip(*pairs, strict=True)) for name, pairs in taken.items()}


def times_as_fast(ours: Times, theirs: Times) -> dict[str, float]:
    """How often ours runs while theirs runs once; above 1 ours is faster.

    Each ratio is of two times from one round, which is what a change of load between rounds leaves alone; medians over
    the rounds, with quartiles by the clock.
    """
    low, median, high = _quartiles([their / our for our, their in zip(ours.wall, theirs.wall, strict=True)])
    cpu = statistics.median(their / our for our, their in zip(ours.cpu, theirs.cpu, strict=True))
    return {"ratio": median, "quartile_low": low, "quartile_high": high, "ratio_cpu": cpu}


def compare_times(times: Mapping[str, Times], floor: str, ours: str) -> dict[str, dict[str, Any]]:
    """What a result says of each contestant: its seconds, beside the floor's and beside ours."""
    return {
        name: {
            **each.summary(),
            **each.times_the(times[floor]),
            "seglib_times_as_fast": times_as_fast(times[ours], each),
        }
        for name, each in times.items()
    }


def matrix_multiply(device: str, dtype: torch.dtype = torch.float32, side: int | None = None) -> tuple[Run, float]:
    """A square matrix product, what the machine does at best, and its number of floating-point operations."""
    side = side or (8192 if device.startswith("cuda") else 1536)
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    return lambda: torch.mm(a, b), 2 * side**3


def peak_memory(script: Path, contestant: str, arguments: Sequence[str]) -> float | None:
    """Peak MiB of a contestant: `script --memory-of CONTESTANT ARGUMENTS`, a fresh process, prints the number."""
    command = [sys.executable, str(script), "--memory-of", contestant, *arguments]
    done = subprocess.run(command, env={**os.environ, **CHILD_ENVIRONMENT}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_of(build: Callable[[], Run], device: str = "cpu") -> float | None:
    """Peak MiB that `build` and the third call of what it returns add to this process, libraries not counted.

    On CUDA what torch has allocated; on a CPU resident memory. Weights count, the work of building does not where the
    system lets the mark be set back (Linux). None where nothing can be read (Windows).
    """
    resident_before = _resident_mib()
    run = build()
    for _ in range(2):  # gradients, momentum and the libraries' own buffers exist from then on
        run()
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5", encoding="ascii")  # the peak is the present resident memory again
    run()
    if device.startswith("cuda"):
        return peak_memory_mib(torch.device(device))
    if STATUS.exists():
        return _status_mib("VmHWM") - resident_before
    peak = peak_memory_mib(torch.device("cpu"))
    return None if peak is None else peak - resident_before


def _resident_mib() -> float:
    return _status_mib("VmRSS") if STATUS.exists() else peak_memory_mib(torch.device("cpu")) or 0.0


def _status_mib(name: str) -> float:
    return int(re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)[1]) / 2**10


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def _processor_seconds() -> float:
    try:
        import resource
    except ImportError:  # Windows: this process alone
        return time.process_time()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
