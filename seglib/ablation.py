"""Studies: rows of recipes, each run with the same seeds, every run stored once and never repeated."""

import argparse
import dataclasses
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from seglib.recipe import Recipe
from seglib.results import RESULTS, load_result
from seglib.storage import write_json
from seglib.training import Trainer

STUDIES = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class Study:
    """A comparison: named rows of recipes, and the seeds that each of them runs with.

    Args:
        title: what is compared.
        rows: name -> recipe; the recipe's own seed does not matter.
        seeds: of every row, so that rows can be compared seed by seed.
        base: the row that differences are taken to; "" takes the first.
        folder: where results are stored, one JSON file per run. runs: where unfinished runs have their checkpoints.
        data_root: as of `Trainer`.

    Raises:
        ValueError: no row, a base that is no row, a seed given twice.
    """

    title: str
    rows: dict[str, Recipe]
    seeds: tuple[int, ...] = (0, 1, 2)
    base: str = ""
    folder: Path = RESULTS
    runs: Path = Path("runs")
    data_root: Path | None = None

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"study: {len(self.rows)} rows, seeds {self.seeds}; expected some of each, no seed twice")
        if not self.base:
            object.__setattr__(self, "base", next(iter(self.rows)))
        self._check_row(self.base)

    @classmethod
    def load(cls, name: str | Path, **places: Path) -> "Study":
        """Reads a TOML file: a path, or the name of one in `seglib/studies`.

        It holds `title`, `seeds`, `base`, `recipe` (a name) and a table `rows` of the fields in which each row departs
        from that recipe, or from one of its own. `places`: folder, runs, data_root.

        Raises:
            FileNotFoundError: no such file. ValueError: what it holds is no study; names the file.
        """
        path = Path(name)
        if path.suffix != ".toml":
            path = STUDIES / f"{name}.toml"
        if not path.exists():
            known = sorted(p.stem for p in STUDIES.glob("*.toml"))
            raise FileNotFoundError(f"{path}: no such study; the package has {known}")
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            common = values.pop("recipe", None)
            rows = {row: _row_recipe(common, changes) for row, changes in values.pop("rows").items()}
            return cls(rows=rows, seeds=tuple(values.pop("seeds", (0, 1, 2))), **values, **places)
        except (tomllib.TOMLDecodeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a study ({error})") from error

    def recipe(self, row: str, seed: int) -> Recipe:
        """The recipe of one run. Raises ValueError: no such row."""
        self._check_row(row)
        return self.rows[row].replace(seed=seed)

    def result(self, row: str, seed: int) -> dict[str, Any] | None:
        """The stored result of one run, None where it has not been run. Raises ValueError as `load_result`."""
        path = self._path(row, seed)
        return load_result(path) if path.exists() else None

    def missing(self) -> list[tuple[str, int]]:
        """(row, seed) of every run that has no result yet, seed by seed, so that an interrupted study is balanced."""
        return [(row, seed) for seed in self.seeds for row in self.rows if not self._path(row, seed).exists()]

    def run(self, row: str, seeds: Sequence[int] | None = None, progress: bool = True) -> int:
        """Trains what is missing of a row, resuming what was interrupted; returns the number of new results.

        A run that another process is at is left to it, so rows can be shared out by starting the same study twice.
        Raises as `Trainer`.
        """
        stored = 0
        for seed in self.seeds if seeds is None else seeds:
            recipe, path = self.recipe(row, seed), self._path(row, seed)
            run_dir = self.runs / recipe.name
            run_dir.mkdir(parents=True, exist_ok=True)
            try:
                # released by the system when the process dies, however it dies
                with FileLock(run_dir / "lock", timeout=0):
                    if path.exists():
                        continue
                    Trainer(recipe, run_dir, data_root=self.data_root, progress=progress).fit()
                    write_json(path, load_result(run_dir / "result.json"))
                    stored += 1
            except Timeout:
                continue
        return stored

    def values(self, row: str, measure: Callable[[dict[str, Any]], float] | None = None) -> dict[int, float]:
        """seed -> `measure` of the stored result (its mIoU in 0..1 by default), for the seeds that have been run."""
        measure = measure or (lambda result: result["scores"]["miou"])
        found = {seed: self.result(row, seed) for seed in self.seeds}
        return {seed: float(measure(result)) for seed, result in found.items() if result is not None}

    def table(self, measure: Callable[[dict[str, Any]], float] | None = None) -> pd.DataFrame:
        """A line per row: number of runs n, mean and sd over seeds, difference to the base row with its own sd.

        The difference is taken seed by seed over the seeds that both rows have. A row without a result has n = 0.
        sd is the sample's (n - 1), nan for fewer than two runs.
        """
        base = self.values(self.base, measure)
        lines = []
        for row in self.rows:
            values = self.values(row, measure)
            differences = [values[seed] - base[seed] for seed in values if seed in base]
            mean, sd = _mean_and_sd(list(values.values()))
            gain, gain_sd = _mean_and_sd(differences) if row != self.base else (float("nan"), float("nan"))
            lines.append({"n": len(values), "mean": mean, "sd": sd, "difference": gain, "sd of difference": gain_sd})
        return pd.DataFrame(lines, index=pd.Index(self.rows, name=self.title))

    def _path(self, row: str, seed: int) -> Path:
        return self.folder / f"{self.recipe(row, seed).name}.json"

    def _check_row(self, row: str) -> None:
        if row not in self.rows:
            raise ValueError(f"row {row!r}; expected one of {list(self.rows)}")


def _row_recipe(common: str | None, changes: dict[str, Any]) -> Recipe:
    changes = dict(changes)
    recipe = Recipe.load(changes.pop("recipe", common))
    return Recipe.from_dict({**dataclasses.asdict(recipe), **changes})


def _mean_and_sd(values: list[float]) -> tuple[float, float]:
    mean = float(np.mean(values)) if values else float("nan")
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def main(arguments: list[str] | None = None) -> None:
    """Command line: `python -m seglib.ablation STUDY [ROW ...]` runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m seglib.ablation",
        description="Run what is missing of a study. Start it several times to share the runs out.",
    )
    parser.add_argument("study", help="a TOML file, or the name of one in seglib/studies")
    parser.add_argument("rows", nargs="*", help="only these")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results are stored")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where unfinished runs are kept")
    options = parser.parse_args(arguments)
    study = Study.load(options.study, folder=options.folder, runs=options.runs)
    for row, seed in study.missing():
        if not options.rows or row in options.rows:
            print(f"{row}, seed {seed}", flush=True)
            study.run(row, [seed], progress=False)
    print(study.table().round(4).to_string())


if __name__ == "__main__":
    main()
