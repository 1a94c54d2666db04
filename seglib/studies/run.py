"""The command `study`: runs what is missing of a study, or says what there is to run."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from seglib.studies.gates import TWICE, add_twice_the_steps, check_gates
from seglib.studies.listing import format_minutes, list_studies, plan_runs, read_times
from seglib.studies.report import prediction_interval
from seglib.studies.results import RESULTS
from seglib.studies.study import Study


def run_study(
    study: str = "",
    rows: tuple[str, ...] = (),
    /,
    *,
    list: bool = False,
    dry_run: bool = False,
    scale: str = "",
    seeds: tuple[int, ...] = (),
    folder: Path = RESULTS,
    runs: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Runs what is missing of a study and prints its table; started several times, it shares the runs out.

    Args:
        study: a TOML file, or the name of one in seglib/studies.
        rows: only these; "twice the steps" is the base row trained for twice as long, for the gate of that name.
        list: run nothing; list all studies, what is stored of them and what is left.
        dry_run: run nothing; list the study's rows, how long what is left of them takes, and the gates of its table.
        scale: one of the study's scales; default: its first.
        seeds: these, in place of the study's own.
        folder: where results are stored; those in another than the course's are compared with the course's.
        runs: where unfinished runs are kept; default: the folder of all runs.
        csv: write the table to this file too, with its source and protocol.

    Returns:
        1 if a run diverged, else 0.
    """
    if list:
        print(list_studies(folder, runs).to_string(index=False))
        return 0
    if not study:
        raise ValueError("expected the name of a study; --list lists them")
    stored = Study.load(study, scale, gated=True)  # a gate asks for results, which another folder may lack
    loaded = Study.load(study, scale, folder=folder, runs=runs)
    loaded = replace(loaded, seeds=seeds or loaded.seeds, cannot_show=stored.cannot_show)
    if TWICE in rows:
        loaded = add_twice_the_steps(loaded)
    for row in rows:
        loaded.recipe(row, seed=0)  # raises if there is no such row
    if dry_run:
        own = read_times(folder)  # which come first where the course has the same training too
        plan = plan_runs(loaded, own | read_times() | own, rows).round(1)
        print(loaded.protocol)
        if len(gates := check_gates(stored)):
            print(gates.drop(columns="reason").round(3).to_string(index=False))
        print(plan.to_string(), f"minutes: {format_minutes(plan['minutes left'])}", sep="\n")
        return 0
    diverged = False
    for seed in loaded.seeds:  # seed by seed, so that an interrupted study is balanced
        for row in rows or loaded.rows:
            if not loaded.is_present(loaded.result(row, seed)):
                print(f"{row}, seed {seed}", flush=True)
            try:
                loaded.run(row, [seed])
            except FloatingPointError as error:  # the other runs are still worth their time
                print(f"failed: {error}", flush=True)
                diverged = True
    table = loaded.table()
    print(loaded.protocol, loaded.report().assign(sources=table.sources).to_string(), sep="\n")
    if folder != RESULTS:
        for line in compare_runs(loaded, stored):
            print(line)
    if csv:
        table.assign(source=loaded.source, protocol=loaded.protocol).to_csv(csv)
    return int(diverged)


def compare_runs(own: Study, stored: Study) -> Iterator[str]:
    """Says of each run whether it lies where the stored runs of its row let one run more be expected."""
    for row in stored.rows:
        low, high = prediction_interval([*stored.values(row).values()])
        for seed, score in own.values(row).items():
            if not math.isnan(low):
                where = "inside" if low <= score <= high else "outside"
                interval = f"the interval for one run more, {100 * low:.1f} to {100 * high:.1f} %"
                yield f"{row}, seed {seed}: {100 * score:.1f} %, {where} {interval}"
