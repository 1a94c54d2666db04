"""The list of all studies: the published table that each repeats, what is stored, and what is left, in minutes."""

import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from seglib.studies.cost import Times, read_times, tell_seconds
from seglib.studies.files import read_files
from seglib.studies.gates import check_gates
from seglib.studies.papers import load_papers
from seglib.studies.results import RESULTS
from seglib.studies.study import Study


def load_studies(scales: Container[str] = (), published: bool = False, **options: Any) -> list[Study]:
    """Loads the package's studies at some scales: by the papers' tables, then our own.

    Args:
        scales: at which, as far as a study has them, in the order of its file; () is all.
        published: only the studies of the papers' tables.
        options: as of `Study.load`.
    """
    files = [(path, file) for path, file in read_files().items() if file.table[0] or not published]
    places = [(path, scale) for path, file in files for scale in file.scales if not scales or scale in scales]
    found = [Study.load(path, scale, **options) for path, scale in places]
    return sorted(found, key=lambda study: by_number(study.source))


def list_studies(folder: Path = RESULTS, runs: Path | None = None, gated: bool = True) -> pd.DataFrame:
    """Lists every study of the package at each of its scales, and the tables that are out of reach.

    Columns: table, study, scale, rows, runs left, minutes left ("?" where no stored run tells), stored, cannot show
    (how many rows, by which gates, and which gates are not measured).
    """
    known, lines = read_times(folder), []
    for study in load_studies(folder=folder, runs=runs, gated=gated):
        plan = plan_runs(study, known)
        stored = {"present": sum(plan["present"]), "earlier": sum(plan["earlier"])}
        lines.append({
            "table": study.source, "study": study.name, "scale": study.scale, "rows": len(study.rows),
            "runs left": sum(plan["runs left"]), "minutes left": format_minutes(plan["minutes left"]),
            "stored": ", ".join(f"{count} {word}" for word, count in stored.items() if count),
            "cannot show": tell_gates(study) if gated else "",
        })  # fmt: skip
    lines += [{"table": table, "cannot show": why} for table, why, _ in list_out_of_reach()]
    listed = pd.DataFrame(lines, dtype=object).fillna("")
    return listed.sort_values("table", key=lambda column: column.map(by_number), kind="stable", ignore_index=True)


def tell_gates(study: Study) -> str:
    """Says how many rows cannot show the effect, by which gates, and which gates are not measured."""
    gates = check_gates(study)
    failed, unmeasured = (
        ", ".join(gates["gate"][gates["outcome"] == outcome].unique()) for outcome in ("failed", "not measured")
    )
    told = [f"{len(study.cannot_show)} of {len(study.rows) - 1} rows ({failed})"] * bool(failed)
    return "; ".join(told + [f"not measured: {unmeasured}"] * bool(unmeasured))


def list_out_of_reach() -> list[tuple[str, str, str]]:
    """Lists the papers' tables that no scale without a GPU repeats, or not wholly.

    With the reason, and the command that repeats it where the data is, or "".
    """
    papers = [(paper["name"], paper["tables"]) for paper in load_papers().values()]
    tables = [(f"{name}, Table {table}", entry) for name, entries in papers for table, entry in entries.items()]
    return [(table, e["out_of_reach"], e.get("command", "")) for table, e in tables if "out_of_reach" in e]


def plan_runs(study: Study, known: Times, rows: Sequence[str] = ()) -> pd.DataFrame:
    """Lists what is left to run of a study's rows, or of some; `known` tells the times, as of `read_times`.

    Columns: runs left, minutes left (nan where nothing tells; 0 for a training that a row above it pays for, or that is
    finished and only to be scored), present and earlier (stored results of the present code and of earlier code), and
    cannot show, the reason.
    """
    paid, lines = set(), []
    for row in rows or study.rows:
        stored = {seed: study.result(row, seed) for seed in study.seeds}
        left = [study.recipe(row, seed) for seed, result in stored.items() if not study.is_present(result)]
        to_train = [r for r in left if r.training_name not in paid and not study.is_trained(r)]
        paid |= {recipe.training_name for recipe in to_train}
        seconds = len(to_train) * tell_seconds(to_train[0], known) if to_train else 0.0
        present, any_code = len(stored) - len(left), sum(result is not None for result in stored.values())
        lines.append({
            "runs left": len(left), "minutes left": seconds / 60, "present": present, "earlier": any_code - present,
            "cannot show": study.cannot_show.get(row, ""),
        })  # fmt: skip
    return pd.DataFrame(lines, index=pd.Index(rows or study.rows, name=study.title))


def format_minutes(minutes: pd.Series) -> str:
    """Adds minutes up: "12", or "12 + ?" where some are not known."""
    known = f"{minutes.sum():.0f}"
    return known if minutes.notna().all() else f"{known} + ?" if minutes.sum() else "?"


def by_number(source: str) -> tuple[str, int, str]:
    """Orders "DeepLabv3, Table 10" after Table 9, "Table 7(a)" after Table 6, and studies of no table last."""
    paper, _, table = source.partition(", Table ")
    return (paper or "~", int(re.match(r"\d*", table)[0] or 0), table)
