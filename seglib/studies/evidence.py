"""The evidence: what rows of a study show, in sentences, and the map of the papers' tables."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from seglib.studies.cost import read_times, tell_seconds
from seglib.studies.files import ScaleName, read_files
from seglib.studies.listing import by_number, list_out_of_reach, plan_runs
from seglib.studies.report import NOTABLE, VERDICTS
from seglib.studies.results import RESULTS
from seglib.studies.study import Study


def tell_outcomes(study: Study, rows: Sequence[str] = (), base: str = "") -> list[str]:
    """Says in one sentence for each row what it shows against the base row: our difference, the paper's, the verdict.

    Args:
        study: with what is stored of it; a row without a run is told with its command and its minutes.
        rows: some of its rows; none are all but the base row.
        base: another row to compare with.
    """
    study = dataclasses.replace(study, base=base or study.base)
    table, plan = study.table(), plan_runs(study, read_times(study.folder))
    return [_tell(study, row, table.loc[row], plan.loc[row]) for row in rows or table.index.drop(study.base)]


def _tell(study: Study, row: str, line: pd.Series, plan: pd.Series) -> str:
    difference, low, high, theirs = (100 * line[n] for n in ("difference", "low", "high", "paper difference"))
    paper = "" if math.isnan(theirs) else f"; the paper has {theirs:+.1f}"
    if not line["n"]:
        minutes = plan["minutes left"]
        time = f"about {minutes:.0f} minutes" if minutes > 0 else "no stored run tells how long they take"
        time = "to be scored only" if minutes == 0 else time
        blind = f". Cannot show the paper's effect: {study.cannot_show[row]}" if row in study.cannot_show else ""
        return f"{row}: not run{paper}{blind}. To run it ({plan['runs left']} runs, {time}): {study.command(row)}"
    verdict = f"{line['effect'].capitalize()}."
    if row in study.cannot_show:
        verdict = f"Cannot show the paper's effect: {study.cannot_show[row]}."
    elif line["effect"] == "within noise" and abs(theirs) >= 100 * NOTABLE:
        verdict += f" To show the paper's difference would take {line['seeds needed']:.0f} seeds."
    if math.isnan(difference):
        return f"{row}: {100 * line['mean']:.1f} % in {line['n']} run{'' if line['n'] == 1 else 's'}{paper}. {verdict}"
    interval = "one run, no interval" if math.isnan(low) else f"95 % interval {low:+.1f} to {high:+.1f}"
    where = "above" if difference > 0 else "below"
    return f"{row}: {abs(difference):.1f} points {where} {study.base}, {interval}{paper}. {verdict}"


def load_published(scale: ScaleName = "mini", folder: Path = RESULTS) -> list[Study]:
    """Loads the studies of the papers' tables at a scale, with their gates, in the order of the tables."""
    paths = [path for path, file in read_files().items() if file.table[0] and scale in file.scales]
    studies = [Study.load(path, scale, folder=folder, gated=True) for path in paths]
    return sorted(studies, key=lambda study: by_number(study.source))


def map_evidence(studies: Sequence[Study]) -> pd.DataFrame:
    """Maps the published tables to what measures them and to what came out; the tables out of reach stand last.

    Columns: published table, command, rows, run (those with a result), minutes (of all runs, on one core; "?" where no
    stored run tells), scale, and what came out.
    """
    known, lines = read_times(studies[0].folder), []
    for study in studies:
        table = study.table()
        words = table["effect"].drop(study.base).value_counts()
        trainings = {recipe.replace(seed=0).training_name: recipe for recipe in study.rows.values()}
        minutes = len(study.seeds) * sum(tell_seconds(recipe, known) for recipe in trainings.values()) / 60
        lines.append({
            "published table": study.source, "command": study.command(), "rows": len(table),
            "run": int((table["n"] > 0).sum()), "minutes": "?" if math.isnan(minutes) else f"{minutes:.0f}",
            "scale": study.scale, "what came out": ", ".join(f"{words[w]} {w}" for w in VERDICTS if w in words),
        })  # fmt: skip
    lines += [{"published table": table, "what came out": f"not run: {why}"} for table, why in list_out_of_reach()]
    return pd.DataFrame(lines, dtype=object).fillna("").set_index("published table")
