"""Studies: rows of recipes, each run with the same seeds, every run stored once and never repeated."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from seglib.cost_of_runs import Cost, estimate
from seglib.effects import NAN, mean_and_sd, paired_effect, verdict
from seglib.manifest import Manifest
from seglib.recipe import Recipe
from seglib.results import RESULTS, is_result_of, load_result
from seglib.sources import changed_sources, code_hashes
from seglib.storage import write_json
from seglib.study_files import read_study
from seglib.training import Trainer

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
        folder: where results are stored, one JSON file per run. runs: where unfinished runs have their checkpoints.
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
    runs: Path = Path("runs")
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
        """Reads a TOML file: a path, or the name of one in `seglib/studies` (`seglib.study_files` has the format).

        `scale`: one that the file offers, "" is its first. `places`: folder, runs, data_root, weights_root.

        Raises:
            FileNotFoundError: no such file. ValueError: what it holds is no study; names the file.
        """
        return cls(**read_study(name, scale), **places)

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
        """The stored result of one run, None where it has not been run. Raises ValueError as `load_result`."""
        path = self._path(row, seed)
        return load_result(path) if path.exists() else None

    def missing(self) -> list[tuple[str, int]]:
        """(row, seed) of every run that has no result yet, seed by seed, so that an interrupted study is balanced."""
        return [(row, seed) for seed in self.seeds for row in self.rows if not self._path(row, seed).exists()]

    def cost(self, row: str) -> Cost:
        """What is left to run of a row, and how long that takes as far as stored results tell."""
        left = [seed for name, seed in self.missing() if name == row]
        measured = {name: [r for seed in self.seeds if (r := self.result(name, seed))] for name in self.rows}
        return estimate(self.recipe(row, self.seeds[0]), row, len(left), len(self.seeds), measured[row], measured)

    def run(self, row: str, seeds: Sequence[int] | None = None, progress: bool = True) -> int:
        """Trains what is missing of a row, resuming what was interrupted; returns the number of new results.

        Rows that differ in their scoring alone share one training. A run that another process is at is left to it, so
        rows can be shared out by starting the same study twice. `progress`: say what it costs, and draw a bar.

        Raises as `Trainer`.
        """
        if progress:
            print(self.cost(row))
        seeds = self.seeds if seeds is None else seeds
        stored = sum(self._run_one(self.recipe(row, seed), progress) for seed in seeds)
        self.record()
        return stored

    def _run_one(self, recipe: Recipe, progress: bool) -> bool:
        path, run_dir = self.folder / f"{recipe.name}.json", self.runs / recipe.training_name
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            # released by the system when the process dies, however it dies
            with FileLock(run_dir / "lock", timeout=0):
                if path.exists():
                    return False
                result = run_dir / "result.json"
                if not is_result_of(result, recipe):
                    roots = {"data_root": self.data_root, "weights_root": self.weights_root}
                    Trainer(recipe, run_dir, progress=progress, **roots).fit()
                write_json(path, load_result(result))
                return True
        except Timeout:
            return False

    def record(self) -> None:
        """Notes which stored result belongs to which row, so that the table can tell a row that was changed since."""
        stored = {row: {seed: self._path(row, seed).stem for seed in self.seeds} for row in self.rows}
        there = {row: {s: n for s, n in names.items() if self._path(row, s).exists()} for row, names in stored.items()}
        self._manifest.update({row: names for row, names in there.items() if names})

    def values(self, row: str, measure: Measure | None = None) -> dict[int, float]:
        """seed -> `measure` of the stored result (its mIoU in 0..1 by default), for the seeds that have been run."""
        measure = measure or (lambda result: result["scores"]["miou"])
        found = {seed: self.result(row, seed) for seed in self.seeds}
        return {seed: float(measure(result)) for seed, result in found.items() if result is not None}

    def table(self, measure: Measure | None = None) -> pd.DataFrame:
        """A line per row: the paper's value and ours, the difference to the base row, what it shows, and remarks.

        Columns: paper (0..1, nan where nothing is published), n (runs), mean and sd over seeds, difference to the base
        row with its sd, taken seed by seed over the seeds that both rows have, low and high (its 95 % interval by
        Student's t), paper difference, effect (`seglib.effects.verdict`), scale, remarks (seeds that are not run, a
        result of a recipe that the row no longer has), and sources: whether a result was measured with other model,
        data or training code than the present (`changed_sources` names the files).

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
                "effect": "base" if row == self.base else verdict(effect, their_gain),
                "scale": self.scale, "remarks": "; ".join(self._remarks(row)), "sources": self._sources(row, present),
            })  # fmt: skip
        return pd.DataFrame(lines, index=pd.Index(self.rows, name=self.title))

    def report(self, measure: Measure | None = None, sources: bool = False) -> pd.DataFrame:
        """`table` for reading: points of mIoU, "mean ± sd (n)", interval in brackets; `sources`: that column too."""
        table = self.table(measure)
        lines = pd.DataFrame(index=table.index)
        if self.published and not measure:
            lines[self.source] = [_points(value) for value in table.paper]
        lines["ours"] = [f"{_points(m)} ± {_points(s)} ({n})" for m, s, n in _lines(table, "mean", "sd", "n")]
        lines.loc[table.n == 1, "ours"] = [f"{_points(m)} (1)" for m in table["mean"][table.n == 1]]
        lines.loc[table.n == 0, "ours"] = "not run"
        if self.published and not measure:
            lines["paper's difference"] = [_points(value, "+") for value in table["paper difference"]]
        lines["our difference [95 %]"] = [
            f"{_points(d, '+')} [{_points(low, '+')}, {_points(high, '+')}]" if high == high else _points(d, "+")
            for d, low, high in _lines(table, "difference", "low", "high")
        ]
        lines = lines.assign(effect=table.effect, scale=table.scale, remarks=table.remarks)
        return lines.assign(sources=table.sources) if sources else lines

    def to_csv(self, path: str | Path, measure: Measure | None = None) -> None:
        """Writes `table`, with the published table's name and the protocol in columns of their own."""
        self.table(measure).assign(source=self.source, protocol=self.protocol).to_csv(path)

    @property
    def protocol(self) -> str:
        """How the base row is trained and scored, in one line."""
        r = self.rows[self.base]
        backbone = f"pre-activated {r.backbone}" if r.pre_activation else r.backbone
        windows = f", in windows of {r.eval_window[0]} x {r.eval_window[1]}" if r.eval_window else ""
        scored = f"output stride {r.eval_output_stride or r.output_stride}, scales {', '.join(map(str, r.eval_scales))}"
        return (
            f"{self.scale} scale: {r.data} {r.train_split}, crop {r.crop_size}, {r.iterations} iterations of "
            f"{r.batch_size}, {r.model} on {backbone} ({r.weights or 'random weights'}), output stride "
            f"{r.output_stride}, {r.optimizer} lr {r.lr}; scored on {r.val_split}, {scored}"
            f"{', mirrored too' if r.eval_flip else ''}{windows}; seeds {', '.join(map(str, self.seeds))}"
        )

    def _remarks(self, row: str) -> list[str]:
        results = {seed: self.result(row, seed) for seed in self.seeds}
        remarks = []
        missing = [seed for seed, result in results.items() if result is None]
        if 0 < len(missing) < len(results):
            remarks.append(f"seeds {', '.join(map(str, missing))} not run")
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


def _lines(table: pd.DataFrame, *columns: str) -> zip:
    return zip(*(table[name] for name in columns), strict=True)


def _points(value: float, sign: str = "") -> str:
    return "" if value != value else f"{100 * value:{sign}.1f}"


def main(arguments: list[str] | None = None) -> None:
    """Command line: `python -m seglib.ablation STUDY [ROW ...]` runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m seglib.ablation",
        description="Run what is missing of a study. Start it several times to share the runs out.",
    )
    parser.add_argument("study", help="a TOML file, or the name of one in seglib/studies")
    parser.add_argument("rows", nargs="*", help="only these")
    parser.add_argument("--scale", default="", help="one of the study's scales; default: its first")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where results are stored")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where unfinished runs are kept")
    parser.add_argument("--csv", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    study = Study.load(options.study, options.scale, folder=options.folder, runs=options.runs)
    study.record()
    for row, seed in study.missing():
        if (not options.rows or row in options.rows) and (not options.seeds or seed in options.seeds):
            print(f"{row}, seed {seed}", flush=True)
            study.run(row, [seed], progress=False)
    print(study.protocol, study.report(sources=True).to_string(), sep="\n")
    if options.csv:
        study.to_csv(options.csv)


if __name__ == "__main__":
    main()
