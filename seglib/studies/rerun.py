"""Runs a random sample of stored results again and compares: `python -m seglib.studies.rerun`."""

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglib.recipe import Recipe
from seglib.studies.report import mean_and_sd
from seglib.studies.results import RESULTS, stored_results
from seglib.train.results import changed_sources, load_result
from seglib.train.trainer import Trainer


@dataclass(frozen=True)
class Comparison:
    """A stored result beside its repetition.

    Attributes:
        name: of the run. stored, again: mIoU in 0..1.
        same: confusion matrices (pixel by pixel) and scores are equal.
        spread: sd of the mIoU over the seeds that are stored of this recipe, nan for fewer than two.
        sources: files whose code changed in between; None where the stored result does not know its own.
    """

    name: str
    stored: float
    again: float
    same: bool
    spread: float
    sources: list[str] | None

    @property
    def agrees(self) -> bool:
        """Equal, as on one machine with the same sources and versions; or apart by at most twice the seeds' spread."""
        return self.same or abs(self.again - self.stored) <= 2 * self.spread

    def __str__(self) -> str:
        if self.same:
            found = "the same, pixel by pixel"
        else:
            word = "within" if self.agrees else "BEYOND"
            found = (
                f"{100 * (self.again - self.stored):+.2f} points, {word} twice the seeds' sd of {100 * self.spread:.2f}"
            )
        other = "unknown" if self.sources is None else ", ".join(self.sources)
        return f"{self.name}: {100 * self.stored:.2f}, again {100 * self.again:.2f}: {found}" + (
            f" (sources changed: {other})" if other else ""
        )


def run_again(path: Path, run_dir: Path, data_root: Path | None = None, progress: bool = True) -> Comparison:
    """Trains a stored result's recipe from its beginning in an empty folder. Raises as `load_result` and `Trainer`."""
    stored = load_result(path)
    recipe = Recipe.from_dict(stored["recipe"])
    _, spread = mean_and_sd([_miou(result) for result in stored_results(recipe, path.parent)])
    Trainer(recipe, run_dir, data_root=data_root, progress=progress).fit()
    again = load_result(run_dir / "result.json")
    sources = stored.get("sources")
    changed = changed_sources(sources, again["sources"]) if isinstance(sources, dict) else None
    same = all(stored.get(name) == again[name] for name in ("confusion", "scores"))
    return Comparison(stored["name"], _miou(stored), _miou(again), same, spread, changed)


def sample(folder: Path, count: int, seed: int | None, pattern: str = "*") -> list[Path]:
    """`count` stored results at random, or all where there are fewer. Raises FileNotFoundError: there is none."""
    paths = sorted(folder.glob(f"{pattern}.json"))
    if not paths:
        raise FileNotFoundError(f"{folder / pattern}.json: no stored result; expected at least one")
    return random.Random(seed).sample(paths, min(count, len(paths)))


def _miou(result: dict[str, Any]) -> float:
    return float(result["scores"]["miou"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status is the number of results that do not agree or cannot be run, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m seglib.studies.rerun", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=3, help="how many (default 3)")
    parser.add_argument("--names", default="toy_*", help='pattern of their names; "*" takes those on real data too')
    parser.add_argument("--seed", type=int, help="of the sample; default: another one each time")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results are stored")
    options = parser.parse_args(arguments)
    failed = 0
    for path in sample(options.folder, options.count, options.seed, options.names):
        try:
            with tempfile.TemporaryDirectory() as folder:
                compared = run_again(path, Path(folder), progress=False)
            failed += not compared.agrees
        except (OSError, ValueError, FloatingPointError) as error:  # the others are still worth their time
            compared, failed = f"{path.stem}: {error}", failed + 1
        print(compared, flush=True)
    return min(failed, 100)


if __name__ == "__main__":
    raise SystemExit(main())
