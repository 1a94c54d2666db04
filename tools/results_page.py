"""Writes the results page, docs/results.md and .csv, of every study, run or not; the book sets it in HTML.

python tools/results_page.py            # the page, from what is stored
python tools/results_page.py --spread   # first, for base rows whose network is in runs/: the spread of the pictures

Each line is a row of a study at a scale: the paper's value, ours, the difference to the base row with the interval that
decides, the verdict, and what is needed to measure it again or to dispute it.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seglib.data.open import build_dataset
from seglib.files import PROJECT, write_json
from seglib.predict import Scoring, evaluate
from seglib.studies import Study
from seglib.studies.cost import read_times
from seglib.studies.evidence import WITHOUT_GPU
from seglib.studies.listing import by_number, list_out_of_reach, load_studies, plan_runs
from seglib.studies.report import VERDICTS, prediction_interval
from seglib.studies.results import RESULTS
from seglib.train.checkpoint import load_run

DOCS = PROJECT / "docs"
RESAMPLES = 2000
# Columns of the CSV file, and what they say.
SCHEMA = {
    "table": "the published table that the study repeats; empty for a study of our own",
    "study": "its name: seglib/studies/NAME.toml",
    "scale": "size of the runs",
    "row": "its name in the study",
    "paper": "the paper's mIoU of that row, in percent",
    "n": "our runs, one per seed; 0: not run",
    "mean": "of their mIoU, in percent",
    "sd": "their standard deviation, in points",
    "next low": "lower end of the 95 % interval for one run more, in percent: mean - t * sd * sqrt(1 + 1 / n)",
    "next high": "upper end",
    "difference": "to the study's base row, in points",
    "low": "lower end of the 95 % interval of the difference",
    "high": "upper end",
    "paper difference": "the paper's difference between the same rows, in points",
    "verdict": "base, or what the row shows: " + ", ".join(VERDICTS),
    "reason": "why the row cannot show the paper's effect: the gates that fail",
    "code": "empty: the present code; earlier: definitions that decide on a result have changed since",
    "processor": "of the runs",
    "minutes": "of one training, the median of the runs, other work on the machine included",
    "minutes left": "of what the command trains, on one core; 0: nothing, or only to be scored; empty: no run tells",
    "command": "which trains what is missing of the row",
    "results": "names of the result files in data/results",
}
INTRODUCTION = """# Results

Every row of every study at the scales that need no GPU: first the papers' tables by their numbers, then studies of our
own; what is not run at all stands at the end. A line's verdict follows from the 95 % interval of its difference to the
base row, and from nothing else: where it lies on one side of zero, "confirmed" or "contradicted" if the paper's own
difference is at least 0.8 points, "higher" or "lower" if it is not. So "confirmed" speaks of the direction and not of
the size. "Cannot show" comes first: a gate, in most cases before any run, says that this scale cannot show the effect;
the reason stands below the table. Which notebook tells a table is in
[the map of the evidence](../notebooks/10_ablation_context.ipynb#the-map-of-the-evidence).
[The same as CSV](results.csv); its columns are explained at the end.

**Run a row.** The command below a heading runs what is missing; with the name of a row it runs that row. A row that is
*not run* has the minutes that all its seeds take on one core ("?": no stored run tells).

**Repeat or dispute a row.** Run its command with seeds and a folder of your own; to dispute a *verdict*, name the base
row too: `OMP_NUM_THREADS=1 python -m seglib study scoring_cascade "16" "8" --scale mini --seeds 5 6 --folder my_runs`.
(The stored runs have one thread.) The table that it prints is of these seeds only, and two of them decide nothing by
themselves; below it each run is held against "one run more" of the stored ones. A row that comes out otherwise on your
machine is as welcome as one that agrees: open an issue with the folder.

**Add seeds.** Measure them as above, for the row and for the base row. Then `cp -n my_runs/*.json data/results` and
`cp -n my_runs/code/*.json data/results/code` (`-n` replaces nothing that is there), write the seeds into the scale's
line of the study's TOML file (`seeds = [0, 1, 2, 5, 6]`), and run the command once more, without `--seeds` and
`--folder`: it finds all five and trains nothing. (Other rows get the new seeds when their commands are run.)
`make results` writes this page anew, and `make notebooks NB=NAME` the notebook that tells the table. A result that was
edited by hand is refused.

**The same numbers elsewhere.** On one processor and number of threads a run is repeated pixel by pixel. On another
processor the last digits of the sums differ, and after hundreds of steps the same recipe with the same seed differs by
as much as another seed does. Compare intervals, not digits: in 19 of 20 cases one run more lands in "one run more",
mean ± t · sd · √(1 + 1/n).
"""
NEEDS = """The scales `gpu` and `paper` need a GPU and `SEGLIB_DATA`; `--dry-run` after a command says which rows cannot
show the paper's effect, and why."""


def read_rows(studies: Iterable[Study]) -> pd.DataFrame:
    """Collects the rows of studies, run or not, with the columns of SCHEMA, and two of recipes' names.

    These are training (of the row, for any seed) and pair (of what is compared: the row and the base row).
    """
    lines, times = [], cache(read_times)
    for study in studies:
        base = study.recipe(study.base, 0)
        for row, line in study.table().iterrows():
            recipe, plan = study.recipe(row, 0), plan_runs(study, times(study.folder), [row])
            found = [*study.stored(row).values()]
            minutes = [result["train_seconds"] / 60 for result in found if "train_seconds" in result]
            points = {name: 100 * line[name] for name in ("paper", "mean", "sd", "difference", "low", "high")}
            low, high = prediction_interval([*study.values(row).values()])
            lines.append({
                "table": study.source, "study": study.name, "scale": study.scale, "row": row, **points, "n": line["n"],
                "next low": 100 * low, "next high": 100 * high,
                "paper difference": 100 * line["paper difference"], "verdict": line["effect"],
                "reason": study.cannot_show.get(row, ""), "code": line["sources"],
                "processor": ", ".join(sorted({result.get("device", "") for result in found})),
                "minutes": float(np.median(minutes)) if minutes else np.nan,
                "minutes left": plan.loc[row, "minutes left"], "command": study.command(row),
                "results": " ".join(result["name"] for result in found),
                "training": recipe.training_name, "pair": " ".join(sorted((recipe.name, base.name))),
            })  # fmt: skip
    return pd.DataFrame(lines, columns=[*SCHEMA, "training", "pair"])


def measure_pictures(study: Study, row: str, seed: int) -> dict[str, Any] | None:
    """Resamples the val pictures of a trained network; None if its checkpoint is not in the folder of runs.

    Each of RESAMPLES times as many pictures are drawn as there are, with replacement, and their matrices are added up.
    """
    recipe = study.recipe(row, seed)
    folder = study.runs / recipe.training_name
    if not (folder / "checkpoint.pt").exists():
        return None
    run = load_run(folder / "checkpoint.pt")
    data = build_dataset(recipe, recipe.val_split)
    scoring = Scoring.of(recipe)
    pictures = [evaluate(run.model, data.subset([n]), run.normalisation, scoring).matrix for n in range(len(data))]
    matrices = np.stack([matrix.cpu().numpy() for matrix in pictures])  # (pictures, K, K)
    mious = resample(matrices)
    low, high = np.percentile(mious, (2.5, 97.5))
    return {"name": recipe.name, "pictures": len(data), "sd": float(mious.std(ddof=1)), "low": low, "high": high}


def resample(matrices: np.ndarray) -> np.ndarray:
    """Draws pictures with replacement: their confusion matrices (N, K, K) -> (RESAMPLES,) mIoU in percent."""
    draws = np.random.default_rng(0).multinomial(len(matrices), [1 / len(matrices)] * len(matrices), size=RESAMPLES)
    counts = np.tensordot(draws, matrices, axes=1)  # (RESAMPLES, K, K)
    hits = np.diagonal(counts, axis1=1, axis2=2)
    unions = counts.sum(1) + counts.sum(2) - hits
    return 100 * np.nanmean(np.where(unions > 0, hits / np.maximum(unions, 1), np.nan), axis=1)


def write_pictures() -> None:
    """Measures the base rows of all studies, as far as their networks are there."""
    for study in load_studies(gated=False):
        target = RESULTS / "pictures" / f"{study.recipe(study.base, study.seeds[0]).name}.json"
        if not target.exists() and (found := measure_pictures(study, study.base, study.seeds[0])):
            write_json(target, found)
            text = f"{found['sd']:.2f} points over {found['pictures']} pictures"
            print(f"{study.name}, {study.scale}: {text}", flush=True)


def describe_spread(rows: pd.DataFrame) -> Iterator[str]:
    """Says how far seeds and pictures spread the scores of each scale; neither judges anything."""
    yield "## Where the spread comes from\n"
    yield "Neither of these decides on a verdict.\n"
    for scale, of_scale in rows[rows["n"] > 1].groupby("scale", sort=False):
        unique = of_scale.sort_values("n", ascending=False, kind="stable").drop_duplicates("training")
        freedom = unique["n"] - 1
        pooled = float(np.sqrt((unique["sd"] ** 2 * freedom).sum() / freedom.sum()))
        yield (
            f"- `{scale}`, seeds: one standard deviation for all {len(unique)} trainings with several runs, pooled "
            f"over {freedom.sum()} degrees of freedom, is {pooled:.2f} points."
        )
    for path in sorted((RESULTS / "pictures").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        bases = rows[(rows["verdict"] == "base") & rows["results"].str.contains(found["name"], regex=False)]
        named = "; ".join(f"`{base.row}` of {base.study}, {base.scale}" for base in bases.itertuples())
        yield (
            f"- {named or found['name']}, pictures: drawing its {found['pictures']} val pictures anew {RESAMPLES} "
            f"times spreads its mIoU by {found['sd']:.2f} points (95 %: {found['low']:.1f} to {found['high']:.1f})."
        )
    yield ""


def write_number(value: float, sign: str = "") -> str:
    """Writes points, "" for nan."""
    return "" if np.isnan(value) else f"{value:{sign}.1f}"


def format_rows(rows: pd.DataFrame) -> Iterator[tuple[str, list[list[str]], list[str]]]:
    """Yields a heading for each study and scale, its lines as text, the header first, and what stands below them."""
    header = ["row", "paper", "ours", "one run more", "difference [95 %]", "paper's", "verdict", "minutes"]
    header += ["processor", "files"]
    for (study, scale), of_study in rows.groupby(["study", "scale"], sort=False):
        table = of_study["table"].iloc[0]
        lines = [header]
        for line in of_study.to_dict("records"):
            number = {name: write_number(value) for name, value in line.items() if isinstance(value, float)}
            signed = {name: write_number(line[name], "+") for name in ("difference", "low", "high")}
            lines.append([
                line["row"], number["paper"],
                f"{number['mean']} ± {number['sd'] or '?'} ({line['n']})" if line["n"] else "not run",
                number["next low"] and f"{number['next low']} to {number['next high']}",
                signed["difference"] + (f" [{signed['low']}, {signed['high']}]" if signed["low"] else ""),
                write_number(line["paper difference"], "+"),
                line["verdict"] + (" · earlier code" if line["code"] else ""),
                number["minutes"] if line["n"] else f"{number['minutes left'] or '?'} left", line["processor"],
                " ".join(f"[{n}](../data/results/{name}.json)" for n, name in enumerate(line["results"].split(), 1)),
            ])  # fmt: skip
        command = f"`python -m seglib study {study} --scale {scale}`"
        below = [
            f"- Cannot show the paper's effect: {'; '.join(blind['row'])}. Reason: {reason}."
            for reason, blind in of_study[of_study["reason"] != ""].groupby("reason", sort=False)
        ]
        if len(unrun := of_study[of_study["n"] == 0]):
            below.append(f"- Not run: {len(unrun)} of {len(of_study)} rows.")
        for line in of_study[(of_study["n"] > 0) & (of_study["verdict"] != "base")].itertuples():
            twins = rows[(rows["pair"] == line.pair) & (rows["n"] > line.n)]
            below += [f"- `{line.row}` is also a row of {twin.study}, with more seeds." for twin in twins.itertuples()]
        yield (f"{table}: " if table else "") + f"{study}, {scale}\n\n{command}", lines, below


def list_not_run(rows: pd.DataFrame) -> list[str]:
    """Lists studies of which no row is run, and the tables that are out of reach, by the papers' numbers."""
    lines = [(table, f"out of reach: {why}", command) for table, why, command in list_out_of_reach()]
    for (table, study, scale), of_study in rows.groupby(["table", "study", "scale"], sort=False):
        blind = sum(of_study["reason"] != "")
        found = f"{study}, {scale}: {len(of_study)} rows" + f", of which {blind} cannot show the effect" * bool(blind)
        lines.append((table, found, f"python -m seglib study {study} --scale {scale}"))
    lines.sort(key=lambda line: by_number(line[0]))
    return [f"- {table}{': ' * bool(table)}{text}." + f" `{run}`" * bool(run) for table, text, run in lines]


def write_page(rows: pd.DataFrame, folder: Path = DOCS) -> None:
    """Writes results.csv and results.md."""
    parts = [INTRODUCTION, *describe_spread(rows)]
    here = rows["scale"].isin(WITHOUT_GPU) | (rows.groupby(["study", "scale"])["n"].transform("sum") > 0)
    for heading, lines, below in format_rows(rows[here]):
        parts += [f"## {heading}\n", *("| " + " | ".join(line) + " |" for line in lines[:1])]
        parts += ["|" + " --- |" * len(lines[0]), *("| " + " | ".join(line) + " |" for line in lines[1:]), ""]
        parts += [*below, ""] if below else []
    parts += [f"## Not run at all\n\n{NEEDS}\n", *list_not_run(rows[~here]), ""]
    parts += ["## Columns of the CSV file\n", *(f"- `{name}`: {text}" for name, text in SCHEMA.items())]
    written = {"csv": rows[[*SCHEMA]].round(4).to_csv(index=False, lineterminator="\n"), "md": "\n".join(parts) + "\n"}
    for ending, content in written.items():
        (folder / f"results.{ending}").write_text(content, encoding="utf-8")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spread", action="store_true", help="measure the spread of pictures first")
    if parser.parse_args().spread:
        write_pictures()
    write_page(read_rows(load_studies(gated=True)))


if __name__ == "__main__":
    main()
