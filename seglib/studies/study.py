"""Studies: rows of recipes, each run with the same seeds, every run stored once and never repeated."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from seglib.files import runs_folder, tell
from seglib.recipe import Recipe, toml_path
from seglib.studies import cost, gates, report, results
from seglib.studies.files import STUDIES, read_study
from seglib.studies.results import RESULTS
from seglib.train.checkpoint import OtherRunError, load_state
from seglib.train.results import is_result_of, load_result
from seglib.train.trainer import Trainer

Result = dict[str, Any]
Measure = Callable[[Result], float | None]


@dataclass
class Study:
    """A comparison: named rows of recipes, and the seeds that each of them runs with.

    Raises ValueError if there is no row, a base or a published row is no row, or a seed is given twice.
    """

    title: str  # what is compared
    rows: dict[str, Recipe]  # name -> recipe; the recipe's own seed does not matter
    seeds: tuple[int, ...] = (0, 1, 2)  # of every row, so that rows can be compared seed by seed
    base: str = ""  # the row that differences are taken to; "" becomes the first
    scale: str = "toy"  # size of the runs; a word for the table
    source: str = ""  # the published table, such as "DeepLabv3, Table 9"; "" is none
    published: Mapping[str, float] = field(default_factory=dict)  # row -> its mIoU there, in 0..1
    classes: tuple[str, ...] = ()  # the mean IoU of a result is taken over these; () is all
    cannot_show: Mapping[str, str] = field(default_factory=dict)  # row -> reason, known before any run
    name: str = ""  # of its file, for `command`
    folder: Path = RESULTS  # where results are stored, one JSON file per run
    runs: Path = field(default_factory=runs_folder)  # where unfinished runs have their checkpoints
    data_root: Path | None = None  # as of `Trainer`

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"study: {len(self.rows)} rows, seeds {self.seeds}; expected some of each, no seed twice")
        self.base = self.base or next(iter(self.rows))
        for row in (self.base, *self.published, *self.cannot_show):
            self.recipe(row, seed=0)  # raises if there is no such row

    @classmethod
    def load(
        cls,
        name: str | Path,
        scale: str = "",
        *,
        folder: Path = RESULTS,
        runs: Path | None = None,
        gated: bool = False,
    ) -> "Study":
        """Reads a TOML file, by its path or its name in `seglib/studies`, at one of its scales; "" is its first.

        With `gated`, rows that fail `seglib.studies.gates` cannot show anything; that takes seconds.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no study; names the file.
        """
        path = toml_path(name, STUDIES, "study")
        try:
            study = cls(**read_study(path, scale), folder=folder, runs=runs or runs_folder(), name=path.stem)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}: not a study ({error})") from error
        return dataclasses.replace(study, cannot_show=gates.cannot_show(study)) if gated else study

    def command(self, row: str = "") -> str:
        """Returns the command that runs a study of the package, or one of its rows."""
        return f"python -m seglib study {self.name} " + (f'"{row}" ' if row else "") + f"--scale {self.scale}"

    def recipe(self, row: str, seed: int) -> Recipe:
        """Returns the recipe of one run. Raises ValueError if there is no such row."""
        if row not in self.rows:
            raise ValueError(f"row {row!r}; expected one of {list(self.rows)}")
        return self.rows[row].replace(seed=seed)

    def result(self, row: str, seed: int) -> Result | None:
        """Reads the stored result of one run, None without one. Raises ValueError if the file holds another's."""
        path = self._path(row, seed)
        if not path.exists():
            return None
        if (result := load_result(path))["name"] != path.stem:
            raise ValueError(f"{path}: holds the result of {result['name']}. Delete it and run again.")
        return result

    def run(self, row: str, seeds: Sequence[int] | None = None) -> int:
        """Trains what is missing of a row, resuming what was interrupted, and returns the number of new results.

        Rows that differ only in their scoring share one training. A run that another process is at is left to it, so
        rows can be shared out by starting the same study twice.

        Args:
            row: its name.
            seeds: some of the study's; None is all.

        Raises:
            ValueError: if there is no such row, or the study does not have a seed; as `Trainer`.
        """
        seeds = self.seeds if seeds is None else seeds
        if unknown := sorted({*seeds} - {*self.seeds}):
            raise ValueError(f"seeds {unknown}; expected some of the study's, {list(self.seeds)}")
        self.record()
        return sum(self._run_one(row, seed) for seed in seeds if not self.is_present(self.result(row, seed)))

    def _run_one(self, row: str, seed: int) -> bool:
        recipe = self.recipe(row, seed)
        run_dir = self.runs / recipe.training_name
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(run_dir / "lock", timeout=0):  # released by the system when the process dies
                if self.is_present(self.result(row, seed)):  # stored by another process in between
                    return False
                self._set_aside(run_dir, recipe)
                path = run_dir / "result.json"
                if not is_result_of(path, recipe):
                    Trainer(recipe, run_dir, data_root=self.data_root, progress=False).fit()
                results.store_result(load_result(path), self.folder)
        except Timeout:
            return False
        self.record()
        return True

    def is_trained(self, recipe: Recipe) -> bool:
        """True if the folder of runs has a recipe's finished training, by the present code."""
        path = self.runs / recipe.training_name / "result.json"
        try:
            return path.exists() and self.is_present(load_result(path))
        except ValueError:  # damaged: `run` says so
            return False

    def _set_aside(self, run_dir: Path, recipe: Recipe) -> None:
        """Moves what earlier code left in a run's folder to its folder "earlier".

        Raises ValueError if a file is damaged, because the next reading of it may succeed.
        """
        path = run_dir / "result.json"
        try:
            state = load_state(run_dir / "checkpoint.pt", recipe)
            left = ([state[0]] if state else []) + ([load_result(path)] if path.exists() else [])
        except OtherRunError as error:
            tell(f"{run_dir}: trained anew, and what was there is kept in its folder earlier ({error})")
            left = [{}]
        if not all(map(self.is_present, left)):
            (run_dir / "earlier").mkdir(exist_ok=True)
            for file in [*run_dir.glob("*.pt"), *run_dir.glob("*.json")]:
                file.replace(run_dir / "earlier" / file.name)

    def record(self) -> None:
        """Notes which stored result belongs to which row, so that the table can tell a row that was changed since."""
        paths = {row: {str(seed): self._path(row, seed) for seed in self.seeds} for row in self.rows}
        names = {row: {seed: p.stem for seed, p in of_row.items() if p.exists()} for row, of_row in paths.items()}
        results.note_rows(self._rows_file, {row: stored for row, stored in names.items() if stored})

    def values(self, row: str, measure: Measure | None = None) -> dict[int, float]:
        """Returns seed -> `measure` of the result (its mIoU in 0..1 by default), for the seeds that were run.

        Results of earlier code count only for a row that has none of the present. A result for which `measure` returns
        None, such as the IoU of a class that is not there, is left out.
        """
        found = {seed: (measure or self._miou)(result) for seed, result in self.stored(row).items()}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def spread(self) -> tuple[float, int]:
        """Returns the base row's standard deviation over seeds, in 0..1, and its freedom; nan and 0 without one.

        Where it was not run with several seeds, that of the stored training on its data that is nearest to it counts.
        """
        base, scores = self.rows[self.base], {}
        for path in sorted(self.folder.glob(f"{base.data}-*.json")):
            result = load_result(path)
            if self.is_present(result) and (score := self._miou(result)) is not None:
                scores.setdefault(Recipe.from_dict(result["recipe"]).replace(seed=0), []).append(score)
        several = [recipe for recipe, values in scores.items() if len(values) > 1]
        own = base.replace(seed=0)  # of several scorings of one training, the base row's
        nearest = own if own in several else cost.find_nearest(base, several)
        values = scores.get(nearest, [])
        return report.mean_and_sd(values)[1], max(0, len(values) - 1)

    def table(self, measure: Measure | None = None) -> pd.DataFrame:
        """Compares the rows: for each the paper's value and ours, the difference to the base row, and what it shows.

        Columns: paper (0..1, nan where nothing is published, or with a `measure`, as of `values`), n (runs), mean and
        sd over seeds, difference to the base row with its sd, low and high (its 95 % interval), paired (seed by seed,
        because the two rows score the same weights), paper difference, seeds needed for that, effect
        (`seglib.studies.report.verdict`; "cannot show", or "not comparable" with a row of other code or images),
        scale, remarks (the reasons; seeds that are not run; other devices; a result of a recipe that the row no longer
        has), and sources: "earlier" if a result was measured with other code than the present.
        """
        base, published = self.values(self.base, measure), {} if measure else self.published
        base_results = self.stored(self.base)
        lines = []
        for row in self.rows:
            values, stored = self.values(row, measure), self.stored(row)
            mean, sd = report.mean_and_sd(list(values.values()))
            obstacle = ""
            if row != self.base and values and base:
                obstacle = results.find_obstacle(stored.values(), base_results.values(), self.folder)
            # equal recipes, trained on two machines, do not give the same weights
            same = (_losses(stored[seed]) == _losses(base_results[seed]) for seed in stored if seed in base_results)
            paired = self.recipe(row, 0).training_name == self.recipe(self.base, 0).training_name and all(same)
            compare = report.paired_effect if paired else report.welch_effect
            effect = compare({} if row == self.base or obstacle else values, base)
            theirs = published.get(row, report.NAN)
            their_gain = theirs - published.get(self.base, report.NAN) if row != self.base else report.NAN
            changed = self.changed_code(row)
            count = f" ({len(changed)} definition{'s' * (len(changed) > 1)} changed)" if changed else ""
            if row == self.base or row in self.cannot_show:
                word = "base" if row == self.base else "cannot show"
            else:
                word = "not comparable" if obstacle else report.verdict(effect, their_gain, runs=len(values))
            remarks = [f"cannot show: {self.cannot_show[row]}"] if row in self.cannot_show else []
            remarks += [obstacle] if obstacle else self._remarks_on_pairs(row, effect.n if paired else 0)
            lines.append({
                "paper": theirs, "n": len(values), "mean": mean, "sd": sd, "difference": effect.mean,
                "sd of difference": effect.sd, "low": effect.low, "high": effect.high,
                "paired": paired and row != self.base, "paper difference": their_gain,
                "seeds needed": report.seeds_needed(effect, their_gain), "effect": word, "scale": self.scale,
                "remarks": "; ".join(remarks + self._remarks(row)),
                "sources": "" if changed == [] else f"earlier{count}",
            })  # fmt: skip
        return pd.DataFrame(lines, index=pd.Index(self.rows, name=self.title))

    def report(self) -> pd.DataFrame:
        """Writes `table` for reading, in points of mIoU: "mean ± sd (n)"."""
        return report.format_table(self.table(), self.source if self.published else "")

    @property
    def protocol(self) -> str:
        """One line about the base row's training and scoring."""
        r = self.rows[self.base]
        backbone = f"pre-activated {r.backbone}" if r.pre_activation else r.backbone
        if r.stride_unit == "first" and "resnet" in r.backbone:
            backbone += ", strides in the first units"
        windows = f", in windows of {r.eval_window[0]} x {r.eval_window[1]}" if r.eval_window else ""
        windows += f", squashed to {r.eval_squash[0]} x {r.eval_squash[1]}" if r.eval_squash else ""
        scored = f"output stride {r.eval_output_stride or r.output_stride}, scales {', '.join(map(str, r.eval_scales))}"
        return (
            f"{self.scale} scale: {r.data} {r.train_split}, crop {r.crop_size}, {r.iterations} iterations of "
            f"{r.batch_size}, {r.model} on {backbone} ({r.weights or 'random weights'}), output stride "
            f"{r.output_stride}, {r.optimizer} lr {r.lr}; scored on {r.val_split}, {scored}"
            f"{', mirrored too' if r.eval_flip else ''}{windows}; seeds {', '.join(map(str, self.seeds))}"
        )

    def changed_code(self, row: str) -> list[str] | None:
        """Names the definitions that changed since a row was measured; None if a result does not know its own."""
        changed = [results.find_changed_code(result, self.folder) for result in self.stored(row).values()]
        return None if None in changed else sorted({name for names in changed for name in names})

    def _remarks_on_pairs(self, row: str, pairs: int) -> list[str]:
        of_row, of_base = (self.stored(name) for name in (row, self.base))
        remarks = [f"difference over {pairs} seeds, those of the base row"] if 0 < pairs < len(of_row) else []
        mine, base = ({r["device"] for r in found.values() if "device" in r} for found in (of_row, of_base))
        if mine and base and mine != base:
            remarks.append(f"on {', '.join(sorted(mine))}, the base row on {', '.join(sorted(base))}")
        return remarks

    def _remarks(self, row: str) -> list[str]:
        missing = {seed: self.recipe(row, seed) for seed in self.seeds if not self._path(row, seed).exists()}
        uncounted = [seed for seed in self.seeds if seed not in missing and seed not in self.stored(row)]
        unrun = missing if len(missing) < len(self.seeds) else ()
        named = {"not run": unrun, "of earlier code, not counted": uncounted}
        remarks = [f"seeds {', '.join(map(str, seeds))} {word}" for word, seeds in named.items() if seeds]
        return remarks + results.describe_stale(results.read_rows(self._rows_file).get(row, {}), missing, self.folder)

    def _miou(self, result: Result) -> float | None:
        if not self.classes:
            return result["scores"]["miou"]
        ious = [result["scores"]["iou"][result["classes"].index(name)] for name in self.classes]
        return None if None in ious else sum(ious) / len(ious)

    def is_present(self, result: Result | None) -> bool:
        """True for a result of the present code."""
        return result is not None and results.find_changed_code(result, self.folder) == []

    def stored(self, row: str) -> dict[int, Result]:
        """Reads the results that count, by seed: those of the present code, or, where a row has none, earlier ones."""
        stored = {seed: result for seed in self.seeds if (result := self.result(row, seed)) is not None}
        return {seed: result for seed, result in stored.items() if self.is_present(result)} or stored

    @property
    def _rows_file(self) -> Path:
        name = re.sub(r"[^a-z0-9]+", "_", f"{self.title}-{self.scale}".lower()).strip("_")
        return self.folder / "rows" / f"{name}.json"

    def _path(self, row: str, seed: int) -> Path:
        return self.folder / f"{self.recipe(row, seed).name}.json"


def _losses(result: Result) -> list[float | None]:
    """The training's log of losses, which tells two trainings apart."""
    return [row.get("loss") for row in result.get("history", ())]


def distinct_rows(studies: Sequence[Study]) -> Iterator[tuple[Study, str, pd.Series]]:
    """Yields (study, row, its line in `Study.table`) for the rows of several studies, without the base rows.

    A network that stands in several tables beside one base row comes with the first of them.
    """
    seen = set()
    for study in studies:
        base = study.recipe(study.base, 0).name
        for row, line in study.table().drop(study.base).iterrows():
            pair = frozenset((study.recipe(row, 0).name, base))
            if pair not in seen:
                yield study, row, line
            seen.add(pair)


def count_verdicts(studies: Sequence[Study]) -> pd.DataFrame:
    """Counts the verdicts of several studies: a column for each, by its published table or title, and "all".

    Each network counts once, as `distinct_rows` has it. Below the verdicts stand how many of those that are confirmed
    were measured with earlier code, the number of intervals, and how many of them are expected to miss the true
    difference by chance: 5 %.
    """
    rows, counted = [*distinct_rows(studies)], {}
    for study in studies:
        words = [(line["effect"], line) for its, _, line in rows if its is study]
        name = study.source or study.title
        name = f"{name}, {study.scale}" if name in counted else name
        counted[name] = {verdict: sum(word == verdict for word, _ in words) for verdict in report.VERDICTS} | {
            "confirmed with earlier code": sum(word == "confirmed" and bool(line["sources"]) for word, line in words),
            "intervals": sum(word != "cannot show" and not math.isnan(line["low"]) for word, line in words),
        }
    counts = pd.DataFrame(counted)
    counts["all"] = counts.sum(axis=1)
    return pd.concat([counts, (1 - report.LEVEL) * counts.loc[["intervals"]].rename({"intervals": "wrong by chance"})])
