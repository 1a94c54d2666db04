"""Runs killed with SIGKILL, twenty times in all, end with the weights of a run that nobody killed.

Run as a program, this file is the killer: it imports the package once and forks a child for each attempt, so that
twenty restarts do not cost twenty imports. Some kills come after a random time; others strike at the points where a
half-finished step would do most harm, which a random time would hardly ever hit.
"""

import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_set import SMALL, make_trainer, write_small_set

from seglib.metrics import ConfusionMatrix
from seglib.train.results import load_result

POINTS = ("half written", "not flushed", "between the renames", "amid an evaluation", "before the result is in place")
# Number of loader workers -> what kills the attempts, in this order. "late" is a random time.
PLAN = {
    0: ("late", POINTS[0], "late", POINTS[2], POINTS[3], "late", POINTS[4]),
    1: (POINTS[1], "late", POINTS[0], "late", POINTS[3], "late", POINTS[4]),
    2: ("late", POINTS[2], "late", POINTS[1], "late", POINTS[4]),
}
RECIPE = SMALL.replace(iterations=10)
LINUX = sys.platform.startswith("linux")
pytestmark = pytest.mark.skipif(not LINUX, reason="forks, and reads from /proc which workers are left: Linux only")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kills")
    write_small_set(folder / "data")
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    environment = {**os.environ, **threads, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, __file__, str(folder)]
    with (folder / "stderr.txt").open("w") as errors:  # a pipe would be waited for as long as an orphan holds it
        done = subprocess.run(command, env=environment, stderr=errors, timeout=900, check=False)
    assert done.returncode == 0, (folder / "stderr.txt").read_text()[-3000:]
    return {"folder": folder, **json.loads((folder / "report.json").read_text())}


def stored(run_dir: Path) -> dict[str, Any]:
    """A finished run's last checkpoint, less the seconds it took."""
    state = torch.load(run_dir / "checkpoint.pt", weights_only=True)
    del state["seconds"]
    return state


def differences(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """Names of the leaves of two nested containers that are not equal bit for bit."""
    if isinstance(ours, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [name]
    if isinstance(ours, dict):
        if ours.keys() != theirs.keys():
            return [f"{name}: keys"]
        return [found for key in ours for found in differences(ours[key], theirs[key], f"{name}.{key}")]
    if isinstance(ours, (list, tuple)) and len(ours) == len(theirs):
        return [found for i in range(len(ours)) for found in differences(ours[i], theirs[i], f"{name}[{i}]")]
    return [] if ours == theirs else [name]


@pytest.mark.parametrize("workers", PLAN)
def test_killed_runs_end_as_an_uninterrupted_one(report: dict[str, Any], workers: int) -> None:
    whole = stored(report["folder"] / "whole")
    assert whole["iteration"] == RECIPE.iterations and len(whole["log"]) == 3
    finished = report[str(workers)]["finished"]
    assert finished
    for name in finished:
        run_dir = report["folder"] / name
        assert differences(stored(run_dir), whole) == []
        result, expected = (load_result(folder / "result.json") for folder in (run_dir, report["folder"] / "whole"))
        for key in ("scores", "confusion", "history", "recipe", "data"):
            assert result[key] == expected[key]


@pytest.mark.parametrize("workers", PLAN)
def test_nothing_is_left_behind(report: dict[str, Any], workers: int) -> None:
    for name in report[str(workers)]["finished"]:
        names = sorted(path.name for path in (report["folder"] / name).iterdir())
        assert names == ["checkpoint.previous.pt", "checkpoint.pt", "result.json"]
    assert max(len(kill["temporary"]) for kill in report[str(workers)]["kills"]) <= 1, "they pile up"
    assert report[str(workers)]["orphans"] == [], "loader processes outlive the run that started them"


def test_the_kills_were_what_they_claim(report: dict[str, Any]) -> None:
    kills = [kill for workers in PLAN for kill in report[str(workers)]["kills"]]
    assert len(kills) == 20
    by_cause = {cause: [kill for kill in kills if kill["cause"] == cause] for cause in ("late", *POINTS)}
    assert all(kill["temporary"] == [".checkpoint.pt"] for kill in by_cause["half written"] + by_cause["not flushed"])
    assert all(not kill["checkpoint"] and kill["previous"] for kill in by_cause["between the renames"])
    assert all(kill["temporary"] == [".result.json"] for kill in by_cause["before the result is in place"])
    assert len(by_cause["late"]) == 9 and all(by_cause.values())


# What follows runs in the killer and in the children it forks.


def arm(point: str, nth: int) -> None:
    """Makes this process kill itself when it passes a point for the nth time."""
    passings = itertools.count(1)

    def passed() -> None:
        if next(passings) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    if point == "half written":
        torch.save = half_then(passed, torch.save)
    elif point == "not flushed":
        os.fsync = after(passed, os.fsync)
    elif point == "amid an evaluation":
        ConfusionMatrix.update = after(passed, ConfusionMatrix.update)
    else:
        replace = os.replace

        def replaced(source: str | Path, target: str | Path) -> None:
            name = Path(target).name
            if point == "before the result is in place" and name == "result.json":
                passed()
            replace(source, target)
            if point == "between the renames" and name == "checkpoint.previous.pt":
                passed()

        os.replace = replaced


def after(passed: Callable[[], None], function: Callable) -> Callable:
    """The function, with a point just before it."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        passed()
        return function(*args, **kwargs)

    return wrapped


def half_then(passed: Callable[[], None], save: Callable) -> Callable:
    """torch.save with a point when half of the file is on the disk."""

    def wrapped(state: dict[str, Any], file: Any) -> None:
        buffer = io.BytesIO()
        save(state, buffer)
        half = buffer.tell() // 2
        file.write(buffer.getvalue()[:half])
        file.flush()
        passed()
        file.write(buffer.getvalue()[half:])

    return wrapped


def start(run_dir: Path, data: Path, workers: int, point: str | None = None, nth: int = 1) -> int:
    """Forks a child, leader of a process group, that trains in run_dir. Returns its process id."""
    if child := os.fork():
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        torch.set_num_threads(1)
        random.seed(os.getpid())
        torch.manual_seed(os.getpid())  # a new process has another generator state
        if point in POINTS:
            arm(point, nth)
        make_trainer(RECIPE, run_dir, data, num_workers=workers, eval_every=5, checkpoint_seconds=0.0).fit()
        status = 0
    finally:
        os._exit(status)


def killed(child: int, seconds: float | None) -> bool:
    """Waits for a child, killing it after so many seconds. Returns whether it was killed, by us or by itself."""
    deadline = time.monotonic() + (seconds if seconds is not None else 600)
    while True:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            break
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"a run failed with status {status}")
    return False


def living(groups: list[int]) -> list[int]:
    """Process groups that still hold a process which is no zombie."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            found.add(int(fields[2]))
    return sorted(found & set(groups))


def main(folder: Path) -> None:
    """Kills runs by the plan and writes report.json."""
    data, rng, report = folder / "data", random.Random(3), {}
    began = time.monotonic()
    killed(start(folder / "whole", data, 0), None)
    typical = time.monotonic() - began
    for workers, causes in PLAN.items():
        kills, finished, groups, runs = [], [], [], itertools.count()
        run_dir = folder / f"{workers}-{next(runs)}"
        waiting = list(causes)
        while waiting or not finished or finished[-1] != run_dir.name:
            cause = waiting[0] if waiting else None
            seconds = rng.uniform(0.05, 0.8) * typical if cause == "late" else None
            nth = 1 if cause == POINTS[4] else rng.randint(1, 3)
            child = start(run_dir, data, workers, cause, nth)
            groups.append(child)
            if killed(child, seconds):
                names = sorted(path.name for path in run_dir.iterdir()) if run_dir.exists() else []
                temporary = [name.rpartition(".tmp")[0].rpartition(".")[0] for name in names if name.endswith(".tmp")]
                has = {"checkpoint": "checkpoint.pt" in names, "previous": "checkpoint.previous.pt" in names}
                kills.append({"cause": waiting.pop(0), "temporary": temporary, **has})
            else:
                finished.append(run_dir.name)
                if waiting:  # it was through before the kill came
                    run_dir = folder / f"{workers}-{next(runs)}"
        deadline = time.monotonic() + 60  # torch's workers look every five seconds whether their parent is alive
        while (orphans := living(groups)) and time.monotonic() < deadline:
            time.sleep(0.1)
        report[str(workers)] = {"kills": kills, "finished": finished, "orphans": orphans}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
