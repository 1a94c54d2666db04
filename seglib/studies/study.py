"""Studies: rows of recipes, each run with the same seeds, every run stored once and never repeated."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from seglib.files import runs_folder
from seglib.recipe import Recipe, toml_path
from seglib.studies import report, results
from seglib.studies.files import STUDIES, read_study
from seglib.studies.results import RESULTS
from seglib.train.results import is_result_of, load_result
from seglib.train.trainer import Trainer

Result = dict[str, Any]
Measure = Callable[[Result], float | None]


@dataclass
class Study:
    """A comparison: named rows of recipes, and the seeds that each of them runs with.

    Args:
        title: what is compared.
        rows: name -> recipe; the recipe's own seed does not matter.
        seeds: of every row, so that rows can be compared seed by seed.
        base: the row that differences are taken to; "" becomes the first.
        scale: size of the runs: "smoke", "toy", "photographs", "gpu" or "paper"; a word for the table.
        source: the published table, such as "DeepLabv3, Table 9"; "" is none.
        published: row -> its mIoU there, in 0..1.
        folder: where results are stored, one JSON file per run.
        runs: where unfinished runs have their checkpoints; by default the same for notebooks and the command line.
        data_root: as of `Trainer`.

    Raises:
        ValueError: if there is no row, a base or a published row is no row, or a seed is given twice.
    """

    title: str
    rows: dict[str, Recipe]
    seeds: tuple[int, ...] = (0, 1, 2)
    base: str = ""
    scale: str = "toy"
    source: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    folder: Path = RESULTS
    runs: Path = field(default_factory=runs_folder)
    data_root: Path | None = None

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"study: {len(self.rows)} rows, seeds {self.seeds}; expected some of each, no seed twice")
        self.base = self.base or next(iter(self.rows))
        for row in (self.base, *self.published):
            self._check_row(row)

    @classmethod
    def load(cls, name: str | Path, scale: str = "", *, folder: Path = RESULTS, runs: Path | None = None) -> "Study":
        """Reads a TOML file: a path, or the name of one in `seglib/studies` (`seglib.studies.files` has the format).

        `scale` is one that the file offers; "" is its first.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no study; names the file.
        """
        path = toml_path(name, STUDIES, "study")
        try:
            return cls(**read_study(path, scale), folder=folder, runs=runs or runs_folder())
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}: not a study ({error})") from error

    def with_row(self, name: str, **changes: Any) -> "Study":
        """Returns the study with one row more: the base row's recipe with some fields changed.

        Raises:
            ValueError: if the name is taken, or a recipe does not have a field, or a field has another type.
        """
        if name in self.rows:
            raise ValueError(f"row {name!r} is there already; expected another name than {list(self.rows)}")
        return dataclasses.replace(self, rows={**self.rows, name: self.rows[self.base].replace(**changes)})

    def recipe(self, row: str, seed: int) -> Recipe:
        """Returns the recipe of one run. Raises ValueError if there is no such row."""
        self._check_row(row)
        return self.rows[row].replace(seed=seed)

    def result(self, row: str, seed: int) -> Result | None:
        """Reads the stored result of one run; None if it has not been run.

        Raises:
            ValueError: as `load_result`; if the file holds another run's result.
        """
        path = self._path(row, seed)
        if not path.exists():
            return None
        if (result := load_result(path))["name"] != path.stem:
            raise ValueError(f"{path}: holds the result of {result['name']}. Delete it and run again.")
        return result

    def missing(self) -> list[tuple[str, int]]:
        """Lists (row, seed) of every run without a result, seed by seed, so that an interrupted study is balanced."""
        return [(row, seed) for seed in self.seeds for row in self.rows if not self._path(row, seed).exists()]

    def cost(self, row: str) -> str:
        """Says what is left to run of a row, and how long that takes as far as stored results tell."""
        left = [self.recipe(row, seed) for name, seed in self.missing() if name == row]
        trained = sum((self.runs / recipe.training_name / "result.json").exists() for recipe in left)
        measured = (list(self._results(name).values()) for name in (row, *self.rows))
        counts = {"runs": len(self.seeds), "left": len(left), "trained": trained}
        return report.describe_cost(row, self.rows[row], **counts, results=next(filter(None, measured), []))

    def run(self, row: str, seeds: Sequence[int] | None = None, progress: bool = True) -> int:
        """Trains what is missing of a row, resuming what was interrupted.

        Rows that differ only in their scoring share one training. A run that another process is at is left to it, so
        rows can be shared out by starting the same study twice.

        Args:
            row: its name.
            seeds: some of the study's; None is all.
            progress: say what it costs, and draw a bar.

        Returns:
            The number of new results.

        Raises:
            ValueError: if there is no such row, or the study does not have a seed; as `Trainer`.
        """
        seeds = self.seeds if seeds is None else seeds
        if unknown := sorted({*seeds} - {*self.seeds}):
            raise ValueError(f"seeds {unknown}; expected some of the study's, {list(self.seeds)}")
        if progress:
            print(self.cost(row))
        stored = sum(self._run_one(row, seed, progress) for seed in seeds if not self.result(row, seed))
        self.record()
        return stored

    def _run_one(self, row: str, seed: int, progress: bool) -> bool:
        recipe = self.recipe(row, seed)
        run_dir = self.runs / recipe.training_name
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            # released by the system when the process dies, however it dies
            with FileLock(run_dir / "lock", timeout=0):
                if self.result(row, seed):  # stored by another process in between
                    return False
                path = run_dir / "result.json"
                if not is_result_of(path, recipe):
                    Trainer(recipe, run_dir, data_root=self.data_root, progress=progress).fit()
                results.store_result(load_result(path), self.folder)
                self.record()
                return True
        except Timeout:
            return False

    def record(self) -> None:
        """Notes which stored result belongs to which row, so that the table can tell a row that was changed since."""
        paths = {row: {str(seed): self._path(row, seed) for seed in self.seeds} for row in self.rows}
        names = {row: {seed: p.stem for seed, p in of_row.items() if p.exists()} for row, of_row in paths.items()}
        results.note_rows(self._rows_file, {row: stored for row, stored in names.items() if stored})

    def values(self, row: str, measure: Measure | None = None) -> dict[int, float]:
        """Returns seed -> `measure` of the stored result (its mIoU in 0..1 by default), for the seeds that were run.

        A result for which `measure` returns None, such as the IoU of a class that is not there, is left out.
        """
        measure = measure or (lambda result: result["scores"]["miou"])
        found = {seed: measure(result) for seed, result in self._results(row).items()}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def table(self, measure: Measure | None = None) -> pd.DataFrame:
        """Compares the rows: for each the paper's value and ours, the difference to the base row, and what it shows.

        Columns: paper (0..1, nan where nothing is published), n (runs), mean and sd over seeds, difference to the base
        row with its sd, taken seed by seed over the seeds that both rows have, low and high (its 95 % interval by
        Student's t), paper difference, effect (`seglib.studies.report.verdict`), scale, remarks (seeds that are not run
        or that the base row does not have, a result of a recipe that the row no longer has), and sources: "earlier" if
        a result was measured with other code than the present (`changed_code` names the definitions).

        `measure` is as of `values`; there is no published value for another one than mIoU.
        """
        base, published = self.values(self.base, measure), {} if measure else self.published
        lines = []
        for row in self.rows:
            values = self.values(row, measure)
            mean, sd = report.mean_and_sd(list(values.values()))
            effect = report.paired_effect({} if row == self.base else values, base)
            theirs = published.get(row, report.NAN)
            their_gain = theirs - published.get(self.base, report.NAN) if row != self.base else report.NAN
            lines.append({
                "paper": theirs, "n": len(values), "mean": mean, "sd": sd, "difference": effect.mean,
                "sd of difference": effect.sd, "low": effect.low, "high": effect.high, "paper difference": their_gain,
                "effect": "base" if row == self.base else report.verdict(effect, their_gain, runs=len(values)),
                "scale": self.scale, "remarks": "; ".join(self._remarks(row, effect.n)),
                "sources": report.describe_code(self.changed_code(row)),
            })  # fmt: skip
        return pd.DataFrame(lines, index=pd.Index(self.rows, name=self.title))

    def report(self, measure: Measure | None = None, sources: bool = False) -> pd.DataFrame:
        """Writes `table` for reading, in points of mIoU: "mean ± sd (n)"; `sources` keeps that column."""
        published = self.source if self.published and not measure else ""
        lines = report.format_table(self.table(measure), published)
        return lines if sources else lines.drop(columns="sources")

    @property
    def protocol(self) -> str:
        """One line about the base row's training and scoring."""
        return report.describe_protocol(self.rows[self.base], self.scale, self.seeds)

    def changed_code(self, row: str) -> list[str] | None:
        """Names the definitions that changed since a row was measured; None if a result does not know its own."""
        changed = [results.find_changed_code(result, self.folder) for result in self._results(row).values()]
        return None if None in changed else sorted({name for names in changed for name in names})

    def _remarks(self, row: str, pairs: int) -> list[str]:
        missing = {seed: self.recipe(row, seed) for seed in self.seeds if not self._path(row, seed).exists()}
        runs, remarks = len(self.seeds) - len(missing), []
        if runs and missing:
            remarks.append(f"seeds {', '.join(map(str, missing))} not run")
        if 0 < pairs < runs:
            remarks.append(f"difference over {pairs} seeds, those of the base row")
        return remarks + results.describe_stale(results.read_rows(self._rows_file).get(row, {}), missing, self.folder)

    def _results(self, row: str) -> dict[int, Result]:
        return {seed: result for seed in self.seeds if (result := self.result(row, seed)) is not None}

    @property
    def _rows_file(self) -> Path:
        return results.rows_file(self.folder, self.title, self.scale)

    def _path(self, row: str, seed: int) -> Path:
        return self.folder / f"{self.recipe(row, seed).name}.json"

    def _check_row(self, row: str) -> None:
        if row not in self.rows:
            raise ValueError(f"row {row!r}; expected one of {list(self.rows)}")


def run_study(
    study: str,
    rows: tuple[str, ...] = (),
    *,
    scale: str = "",
    seeds: tuple[int, ...] = (),
    folder: Path = RESULTS,
    runs: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Runs what is missing of a study and prints its table; started several times, it shares the runs out.

    Args:
        study: a TOML file, or the name of one in seglib/studies.
        rows: only these.
        scale: one of the study's scales; default: its first.
        seeds: only these.
        folder: where results are stored.
        runs: where unfinished runs are kept; default: the folder of all runs.
        csv: write the table to this file too, with its source and protocol.

    Returns:
        1 if a run diverged, else 0.
    """
    loaded = Study.load(study, scale, folder=folder, runs=runs)
    diverged = False
    for seed in seeds or loaded.seeds:  # seed by seed, so that an interrupted study is balanced
        for row in rows or loaded.rows:
            if (row, seed) in loaded.missing():
                print(f"{row}, seed {seed}", flush=True)
            try:
                loaded.run(row, [seed], progress=False)
            except FloatingPointError as error:  # that keeps this run from ending, and no other from beginning
                print(f"failed: {error}", flush=True)
                diverged = True
    print(loaded.protocol, loaded.report(sources=True).to_string(), sep="\n")
    if csv:
        loaded.table().assign(source=loaded.source, protocol=loaded.protocol).to_csv(csv)
    return int(diverged)
