"""Studies: rows of recipes, each run with the same seeds, every run stored once and never repeated."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from seglib.files import one_line_errors, runs_folder, write_json
from seglib.recipe import Recipe
from seglib.studies.files import read_study
from seglib.studies.report import NAN, Cost, estimate, mean_and_sd, paired_effect, protocol_of, readable, verdict
from seglib.studies.results import RESULTS, Manifest
from seglib.train.results import changed_sources, code_hashes, is_result_of, load_result, of_whole_run
from seglib.train.trainer import Trainer

Measure = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Study:
    """A comparison: named rows of recipes, and the seeds that each of them runs with.

    Args:
        title: what is compared.
        rows: name -> recipe; the recipe's own seed does not matter.
        seeds: of every row, so that rows can be compared seed by seed.
        base: the row that differences are taken to; "" takes the first.
        scale: what size the runs have: "smoke", "toy", "photographs", "gpu" or "paper"; a word for the table.
        source: the published table, such as "DeepLabv3, Table 9"; "" is none.
        published: row -> its mIoU there, in 0..1.
        folder: where results are stored, one JSON file per run. runs: where unfinished runs have their checkpoints;
            default: where `seglib.course.run_folder` has them, the same for notebooks and the command line.
        data_root, weights_root: as of `Trainer`.

    Raises:
        ValueError: no row, a base or a published row that is no row, a seed given twice.
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
    weights_root: Path | None = None

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"study: {len(self.rows)} rows, seeds {self.seeds}; expected some of each, no seed twice")
        if not self.base:
            object.__setattr__(self, "base", next(iter(self.rows)))
        for row in (self.base, *self.published):
            self._check_row(row)

    @classmethod
    def load(cls, name: str | Path, scale: str = "", **places: Path) -> "Study":
        """Reads a TOML file: a path, or the name of one in `seglib/studies` (`seglib.studies.files` has the format).

        `scale`: one that the file offers, "" is its first. `places`: folder, runs, data_root, weights_root.

        Raises:
            FileNotFoundError: no such file. ValueError: what it holds is no study; names the file.
        """
        read = read_study(name, scale)
        try:
            return cls(**read, **places)
        except ValueError as error:
            raise ValueError(f"{name}: not a study ({error})") from error

    def with_row(self, name: str, **changes: Any) -> "Study":
        """The study with one row more: the base row's recipe with some fields changed.

        Raises:
            ValueError: the name is taken; a field that a recipe has not, or of another type.
        """
        if name in self.rows:
            raise ValueError(f"row {name!r} is there already; expected another name than {list(self.rows)}")
        recipe = Recipe.from_dict({**dataclasses.asdict(self.rows[self.base]), **changes})
        return dataclasses.replace(self, rows={**self.rows, name: recipe})

    def recipe(self, row: str, seed: int) -> Recipe:
        """The recipe of one run. Raises ValueError: no such row."""
        self._check_row(row)
        return self.rows[row].replace(seed=seed)

    def result(self, row: str, seed: int) -> dict[str, Any] | None:
        """The stored result of one run, None where it has not been run.

        Raises:
            ValueError: as `load_result`; the file holds another run's result.
        """
        path = self._path(row, seed)
        if not path.exists():
            return None
        if (result := load_result(path))["name"] != path.stem:
            raise ValueError(f"{path}: holds the result of {result['name']}. Delete it and run again.")
        return result

    def missing(self) -> list[tuple[str, int]]:
        """(row, seed) of every run that has no result yet, seed by seed, so that an interrupted study is balanced."""
        return [(row, seed) for seed in self.seeds for row in self.rows if not self._path(row, seed).exists()]

    def cost(self, row: str) -> Cost:
        """What is left to run of a row, and how long that takes as far as stored results tell."""
        left = [self.recipe(row, seed) for name, seed in self.missing() if name == row]
        trained = sum((self.runs / recipe.training_name / "result.json").exists() for recipe in left)
        measured = {name: [r for seed in self.seeds if (r := self.result(name, seed))] for name in self.rows}
        counts = {"missing": len(left), "trained": trained, "seeds": len(self.seeds)}
        return estimate(self.rows[row], row, **counts, results=measured[row], others=measured)

    def run(self, row: str, seeds: Sequence[int] | None = None, progress: bool = True) -> int:
        """Trains what is missing of a row, resuming what was interrupted; returns the number of new results.

        Rows that differ in their scoring alone share one training. A run that another process is at is left to it, so
        rows can be shared out by starting the same study twice. `progress`: say what it costs, and draw a bar.

        Raises as `Trainer`; ValueError: no such row, a seed that the study has not.
        """
        seeds = self.seeds if seeds is None else seeds
        if unknown := sorted({*seeds} - {*self.seeds}):
            raise ValueError(f"seeds {unknown}; expected some of the study's, {list(self.seeds)}")
        if progress:
            print(self.cost(row))
        stored = sum(self._run_one(row, seed, progress) for seed in seeds)
        self.record()
        return stored

    def _run_one(self, row: str, seed: int, progress: bool) -> bool:
        if self.result(row, seed):
            return False
        recipe = self.recipe(row, seed)
        run_dir = self.runs / recipe.training_name
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            # released by the system when the process dies, however it dies
            with FileLock(run_dir / "lock", timeout=0):
                if self.result(row, seed):  # stored by another process in between
                    return False
                result = run_dir / "result.json"
                if not is_result_of(result, recipe):
                    roots = {"data_root": self.data_root, "weights_root": self.weights_root}
                    trainer = Trainer(recipe, run_dir, progress=progress, **roots)
                    trainer.sources = of_whole_run(run_dir / "sources.json", trainer.sources)
                    trainer.fit()
                write_json(self._path(row, seed), load_result(result))
                self.record()
                return True
        except Timeout:
            return False

    def record(self) -> None:
        """Notes which stored result belongs to which row, so that the table can tell a row that was changed since."""
        stored = {row: {seed: self._path(row, seed).stem for seed in self.seeds} for row in self.rows}
        there = {row: {s: n for s, n in names.items() if self._path(row, s).exists()} for row, names in stored.items()}
        self._manifest.update({row: names for row, names in there.items() if names})

    def values(self, row: str, measure: Measure | None = None) -> dict[int, float]:
        """seed -> `measure` of the stored result (its mIoU in 0..1 by default), for the seeds that have been run.

        A result for which `measure` returns None, such as the IoU of a class that is not there, is left out.
        """
        measure = measure or (lambda result: result["scores"]["miou"])
        stored = {seed: result for seed in self.seeds if (result := self.result(row, seed)) is not None}
        found = {seed: measure(result) for seed, result in stored.items()}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def table(self, measure: Measure | None = None) -> pd.DataFrame:
        """A line per row: the paper's value and ours, the difference to the base row, what it shows, and remarks.

        Columns: paper (0..1, nan where nothing is published), n (runs), mean and sd over seeds, difference to the base
        row with its sd, taken seed by seed over the seeds that both rows have, low and high (its 95 % interval by
        Student's t), paper difference, effect (`seglib.studies.report.verdict`), scale, remarks (seeds that are not run or
        that the base row has not, a result of a recipe that the row no longer has), and sources: whether a result was
        measured with other model, data or training code than the present (`changed_sources` names the files).

        `measure`: as of `values`; there is no published value for another one than mIoU.
        """
        base, present = self.values(self.base, measure), code_hashes()
        published = {} if measure else self.published
        lines = []
        for row in self.rows:
            values = self.values(row, measure)
            mean, sd = mean_and_sd(list(values.values()))
            effect = paired_effect({} if row == self.base else values, base)
            theirs = published.get(row, NAN)
            their_gain = theirs - published.get(self.base, NAN) if row != self.base else NAN
            lines.append({
                "paper": theirs, "n": len(values), "mean": mean, "sd": sd, "difference": effect.mean,
                "sd of difference": effect.sd, "low": effect.low, "high": effect.high, "paper difference": their_gain,
                "effect": "base" if row == self.base else verdict(effect, their_gain, runs=len(values)),
                "scale": self.scale, "remarks": "; ".join(self._remarks(row, effect.n)),
                "sources": self._sources(row, present),
            })  # fmt: skip
        return pd.DataFrame(lines, index=pd.Index(self.rows, name=self.title))

    def report(self, measure: Measure | None = None, sources: bool = False) -> pd.DataFrame:
        """`table` for reading: points of mIoU, "mean ± sd (n)", interval in brackets; `sources`: that column too."""
        published = self.source if self.published and not measure else ""
        lines = readable(self.table(measure), published)
        return lines if sources else lines.drop(columns="sources")

    def to_csv(self, path: str | Path, measure: Measure | None = None) -> None:
        """Writes `table`, with the published table's name and the protocol in columns of their own."""
        self.table(measure).assign(source=self.source, protocol=self.protocol).to_csv(path)

    @property
    def protocol(self) -> str:
        """How the base row is trained and scored, in one line."""
        return protocol_of(self.rows[self.base], self.scale, self.seeds)

    def _remarks(self, row: str, pairs: int) -> list[str]:
        results = {seed: self.result(row, seed) for seed in self.seeds}
        remarks = []
        missing = [seed for seed, result in results.items() if result is None]
        if 0 < len(missing) < len(results):
            remarks.append(f"seeds {', '.join(map(str, missing))} not run")
        if 0 < pairs < len(results) - len(missing):
            remarks.append(f"difference over {pairs} seeds, those of the base row")
        remarks += self._manifest.stale(row, {seed: self.recipe(row, seed) for seed in missing}, self.folder)
        return remarks

    def _sources(self, row: str, present: dict[str, str]) -> str:
        changed = self.changed_sources(row, present)
        if changed is None:
            return "earlier"
        return f"earlier ({len(changed)} file{'s' * (len(changed) > 1)} changed)" if changed else ""

    def changed_sources(self, row: str, present: dict[str, str] | None = None) -> list[str] | None:
        """The files whose code is not what a row's results were measured with; None where one does not know its own."""
        present = present or code_hashes()
        stored = [r.get("sources") for seed in self.seeds if (r := self.result(row, seed)) is not None]
        if not all(isinstance(sources, dict) for sources in stored):
            return None
        return sorted({name for sources in stored for name in changed_sources(sources, present)})

    @property
    def _manifest(self) -> Manifest:
        return Manifest.of(self.folder, self.title, self.scale)

    def _path(self, row: str, seed: int) -> Path:
        return self.folder / f"{self.recipe(row, seed).name}.json"

    def _check_row(self, row: str) -> None:
        if row not in self.rows:
            raise ValueError(f"row {row!r}; expected one of {list(self.rows)}")


def _run_or_say_why(study: Study, row: str, seed: int) -> bool:
    """False where the run diverged: that keeps it from ending, and no other run from beginning."""
    if (row, seed) in study.missing():
        print(f"{row}, seed {seed}", flush=True)
    try:
        study.run(row, [seed], progress=False)
    except FloatingPointError as error:
        print(f"failed: {error}", flush=True)
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Command line: `python -m seglib.studies.study STUDY [ROW ...]` runs what is missing and prints the table.

    The exit status is 1 where a run diverged, else 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m seglib.studies.study",
        description="Run what is missing of a study. Start it several times to share the runs out.",
    )
    parser.add_argument("study", help="a TOML file, or the name of one in seglib/studies")
    parser.add_argument("rows", nargs="*", help="only these")
    parser.add_argument("--scale", default="", help="one of the study's scales; default: its first")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results are stored")
    parser.add_argument("--runs", type=Path, default=runs_folder(), help="where unfinished runs are kept")
    parser.add_argument("--csv", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    with one_line_errors():
        study = Study.load(options.study, options.scale, folder=options.folder, runs=options.runs)
        # seed by seed, so that an interrupted study is balanced
        wanted = [(row, seed) for seed in options.seeds or study.seeds for row in options.rows or study.rows]
        ended = [_run_or_say_why(study, row, seed) for row, seed in wanted]
        print(study.protocol, study.report(sources=True).to_string(), sep="\n")
        if options.csv:
            study.to_csv(options.csv)
    return int(not all(ended))


if __name__ == "__main__":
    raise SystemExit(main())
