"""Stored results run again: a random sample of them, or, after a change of code, one of each kind."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seglib.recipe import Recipe
from seglib.studies.report import prediction_interval
from seglib.studies.results import RESULTS, find_changed_code, record_equal_code, stored_results
from seglib.train.results import device_name, load_result
from seglib.train.trainer import Trainer

KIND = ("data", "model", "backbone", "loss", "norm")  # fields of a recipe that choose the code that it runs


@dataclass(frozen=True)
class Comparison:
    """A stored result beside its repetition."""

    stored: dict[str, Any]
    again: dict[str, Any]
    expected: tuple[float, float]  # the interval of one run more beside those stored of this recipe; nan for one seed
    code: list[str] | None  # definitions that changed in between; None where the stored result does not know its own

    @property
    def same(self) -> bool:
        """True if the confusion matrices are equal, pixel by pixel, and the scores but for rounding."""
        old, new = self.stored["scores"], self.again["scores"]
        if self.stored["confusion"] != self.again["confusion"] or not set(old) <= set(new):
            return False
        # None is the score of a class that is not there
        pair = (np.hstack([np.array(scores[name], float) for name in old]) for scores in (old, new))
        return np.allclose(*pair, rtol=1e-12, atol=0, equal_nan=True)

    @property
    def agrees(self) -> bool:
        """True if they are the same, as on one machine with the same code, or the new one lies in the interval."""
        return self.same or self.expected[0] <= self.again["scores"]["miou"] <= self.expected[1]

    def __str__(self) -> str:
        before, after = (100 * result["scores"]["miou"] for result in (self.stored, self.again))
        low, high = (100 * end for end in self.expected)
        found = "the same, pixel by pixel"
        if not self.same:
            word = "inside" if self.agrees else "OUTSIDE"
            found = f"{after - before:+.2f} points, {word} the interval for one run more, {low:.1f} to {high:.1f}"
        devices = self.stored["device"], self.again["device"]  # the last digits depend on the number of threads
        if devices[0] != devices[1]:
            found += f" (on {devices[0]}, again on {devices[1]})"
        changed = "unknown" if self.code is None else ", ".join(self.code)
        found += f" (code changed: {changed})" if changed else ""
        return f"{self.stored['name']}: {before:.2f}, again {after:.2f}: {found}"


def run_again(path: Path) -> Comparison:
    """Trains a stored result's recipe from its beginning. Raises as `load_result` and `Trainer`."""
    stored = load_result(path)
    recipe = Recipe.from_dict(stored["recipe"])
    expected = prediction_interval([result["scores"]["miou"] for result in stored_results(recipe, path.parent)])
    with tempfile.TemporaryDirectory() as run_dir:
        Trainer(recipe, Path(run_dir), progress=False).fit()
        again = load_result(Path(run_dir) / "result.json")
    return Comparison(stored, again, expected, find_changed_code(stored, path.parent))


def sample(folder: Path, count: int | None, seed: int | None, pattern: str, renew: bool = False) -> list[Path]:
    """Chooses stored results at random, arguments as of `rerun`.

    Raises ValueError if `count` makes no sense, FileNotFoundError if none has such a name.
    """
    if renew and count is not None:
        raise ValueError(f"count = {count}; with renew one result of each kind and code is run: leave it out")
    if count is not None and count < 1:
        raise ValueError(f"count = {count}; expected at least 1")
    paths = sorted(folder.glob(f"{pattern}.json"))
    if not paths:
        raise FileNotFoundError(f"{folder / pattern}.json: no stored result; expected at least one")
    generator = random.Random(seed)
    here = device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))  # as of `Trainer`
    if renew:
        kinds: dict[tuple[str, ...], list[Path]] = {}
        for path in paths:
            # another device gives other last digits, whatever the code
            if find_changed_code(result := load_result(path), folder) and result.get("device") == here:
                recipe = Recipe.from_dict(result["recipe"])
                kinds.setdefault((result["code"], *(getattr(recipe, name) for name in KIND)), []).append(path)
        paths = [min(of_kind, key=lambda path: load_result(path).get("train_seconds", 0)) for of_kind in kinds.values()]
    return generator.sample(paths, min(len(paths) if renew else count or 3, len(paths)))


def rerun(
    count: int | None = None,
    /,
    *,
    seed: int | None = None,
    pattern: str = "toy_*",
    renew: bool = False,
    folder: Path = RESULTS,
) -> int:
    """Runs some stored results again and compares: with the same code and number of threads they are equal.

    Args:
        count: number of results; default 3; with renew none: one of each code and kind (data, model, loss, ...) is run.
        seed: of the choice; default: another one each time. With renew the shortest runs are chosen.
        pattern: of their names; "*" takes those on real data too.
        renew: run results of this device whose code has changed since; if all are equal, note that this code gives what
            theirs gave.
        folder: where results are stored.

    Returns:
        The number of results that do not agree or cannot be run, at most 100.
    """
    paths, failed = sample(folder, count, seed, pattern, renew), []
    for path in paths:
        try:
            compared = run_again(path)
            agrees = compared.same if renew else compared.agrees
        except (OSError, ValueError, FloatingPointError) as error:  # the others are still worth their time
            compared, agrees = f"{path.stem}: {error}", False
        print(compared, flush=True)
        failed += [] if agrees else [path.stem]
    if renew and failed:
        print(f"nothing is renewed; not the same: {', '.join(failed)}")
    elif renew and paths:
        print(f"renewed: {record_equal_code([load_result(path) for path in paths], folder)}")
    elif renew:
        print("nothing to renew: no stored result of this device has code that has changed since")
    return min(len(failed), 100)
