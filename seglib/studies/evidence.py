"""The evidence: what rows of a study show, in sentences and tables, and the map of the papers' tables."""

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from seglib.files import PROJECT
from seglib.studies.cost import read_times, tell_seconds
from seglib.studies.listing import list_out_of_reach, load_studies, plan_runs
from seglib.studies.report import LEVEL, NOTABLE, VERDICTS, format_table
from seglib.studies.study import Study, distinct_rows

WITHOUT_GPU = ("toy", "mini", "photographs")
HEADING = re.compile(r"^(##+) (?:(\d+)\. )?(.+)$", re.MULTILINE)
NAMED = re.compile(r"\b(?:DeepLab ?)?(v\d\+?)|Tables?\s(\d+(?:(?:,|,? and) \d+)*)")


def tell_outcomes(study: Study, rows: Sequence[str] = (), base: str = "") -> list[str]:
    """Says in one sentence for each row what it shows against the base row: our difference, the paper's, the verdict.

    Args:
        study: with what is stored of it; a row without a run is told with its command and its minutes.
        rows: some of its rows; none are all but the base row.
        base: another row to compare with.
    """
    study = dataclasses.replace(study, base=base or study.base)
    table, known = study.table(), read_times(study.folder)
    told = rows or table.index.drop(study.base)
    return [_tell(study, row, table.loc[row], plan_runs(study, known, [row]).loc[row]) for row in told]


def _tell(study: Study, row: str, line: pd.Series, plan: pd.Series) -> str:
    difference, low, high, theirs = (100 * line[n] for n in ("difference", "low", "high", "paper difference"))
    paper = "" if math.isnan(theirs) else f"; the paper has {theirs:+.1f}"
    if not line["n"]:
        minutes = plan["minutes left"]
        time = f"about {minutes:.0f} minutes" if minutes > 0 else "no stored run tells how long they take"
        time = "to be scored only" if minutes == 0 else time
        blind = f". Cannot show the paper's effect: {study.cannot_show[row]}" if row in study.cannot_show else ""
        return f"{row}: not run{paper}{blind}. To run it ({plan['runs left']} runs, {time}): {study.command(row)}"
    verdict = f"{line['effect'].capitalize()}." + " Measured with earlier code." * bool(line["sources"])
    if row in study.cannot_show:
        verdict = f"Cannot show the paper's effect: {study.cannot_show[row]}."
    elif abs(theirs) >= 100 * NOTABLE and (theirs < low or theirs > high):
        verdict += " The interval leaves out the paper's difference."
    elif line["effect"] == "within noise" and abs(theirs) >= 100 * NOTABLE:
        verdict += f" To show the paper's difference would take {line['seeds needed']:.0f} seeds."
    if math.isnan(difference):
        return f"{row}: {100 * line['mean']:.1f} % in {line['n']} run{'' if line['n'] == 1 else 's'}{paper}. {verdict}"
    interval = "one run, no interval" if math.isnan(low) else f"95 % interval {low:+.1f} to {high:+.1f}"
    where = "above" if difference > 0 else "below"
    return f"{row}: {abs(difference):.1f} points {where} {study.base}, {interval}{paper}. {verdict}"


def tabulate(study: Study) -> pd.DataFrame:
    """Writes a study's table for reading; for rows with runs that are left, how long these take on one core.

    The column code says "earlier" of a row that was measured with other code than the present. Remarks, but for the
    reason why a row cannot show anything, stand in a last column where there are any.
    """
    table, minutes = study.table(), plan_runs(study, read_times(study.folder))["minutes left"]
    written = format_table(table, study.source if study.published else "").drop(columns=["scale", "remarks"])
    left = minutes.map("{:.0f}".format).replace({"nan": "?", "0": ""})
    remarks = [
        text.removeprefix(f"cannot show: {study.cannot_show.get(row)}").removeprefix("; ")
        for row, text in table["remarks"].items()
    ]
    last = {"remarks": remarks} if any(remarks) else {}
    return written.assign(**{"minutes left": left, "code": table["sources"].str.partition(" ")[0], **last})


def compare_rows(study: Study, questions: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Compares rows with each other, and not all of them with one base row.

    Args:
        study: with what is stored of it.
        questions: question -> (row, the row that it is held against).

    Returns:
        For each question the line of `Study.table` for its row; the column against names the other row.
    """
    lines = {}
    for question, (row, base) in questions.items():
        rows = {name: study.rows[name] for name in (base, row)}
        published = {name: value for name, value in study.published.items() if name in rows}
        # a gate that failed hides the paper's difference; rows of ours have none
        reasons = {name: why for name, why in study.cannot_show.items() if name in rows and len(published) == 2}
        two = dataclasses.replace(study, base=base, rows=rows, published=published, cannot_show=reasons)
        lines[question] = two.table().loc[row]
    bases = [base for _, base in questions.values()]
    return pd.DataFrame(lines).T.infer_objects().assign(against=bases)


def load_published() -> list[Study]:
    """Loads the studies of the papers' tables, with their gates, in the order of the tables.

    Each is loaded at its scales that need no GPU, as the study's file orders them.
    """
    return load_studies(WITHOUT_GPU, published=True, gated=True)


def find_told(folder: Path = PROJECT / "notebooks") -> dict[str, str]:
    """Finds the sections whose headings name a table: "DeepLabv3, Table 9" -> "08, section 1".

    A table without its paper is one of DeepLabv3. The notebook that names it most often stands first, and of equals the
    one whose heading is the higher.
    """
    told: dict[str, list[tuple[str, str, int]]] = {}
    for path in sorted(folder.glob("*.ipynb")):
        cells, section = json.loads(path.read_text(encoding="utf-8"))["cells"], ""
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        for level, number, title in HEADING.findall(text):
            section, found = number or section, NAMED.findall(title)
            paper = next((name for name, _ in found if name), "v3")
            for name, tables in found:
                paper = name or paper
                for table in re.findall(r"\d+", tables):
                    told.setdefault(f"DeepLab{paper}, Table {table}", []).append((path.name[:2], section, len(level)))
    lines = {}
    for table, places in told.items():
        counts = Counter(notebook for notebook, *_ in places)
        places.sort(key=lambda place: (-counts[place[0]], place[2]))
        lines[table] = "; ".join(dict.fromkeys(f"{notebook}, section {section}" for notebook, section, _ in places))
    return lines


def map_evidence(studies: Sequence[Study]) -> pd.DataFrame:
    """Maps the published tables to what measures them and to what came out; the tables out of reach stand last.

    Columns: published table, told in (notebook and section), command, rows, run (those with a result), minutes (of all
    runs, on one core; "?" where no stored run tells), scale, and what came out.
    """
    known, told, lines = read_times(studies[0].folder), find_told(), []
    for study in studies:
        table = study.table()
        words = table["effect"].drop(study.base).value_counts()
        trainings = {recipe.replace(seed=0).training_name: recipe for recipe in study.rows.values()}
        earlier = " (with earlier code)" if table["sources"].astype(bool).any() else ""
        minutes = len(study.seeds) * sum(tell_seconds(recipe, known) for recipe in trainings.values()) / 60
        lines.append({
            "published table": study.source, "told in": told.get(study.source, ""), "command": study.command(),
            "rows": len(table), "run": int((table["n"] > 0).sum()),
            "minutes": "?" if math.isnan(minutes) else f"{minutes:.0f}", "scale": study.scale,
            "what came out": ", ".join(f"{words[w]} {w}" for w in VERDICTS if w in words) + earlier,
        })  # fmt: skip
    lines += [
        {"published table": table, "told in": told.get(table), "command": command, "what came out": f"not run: {why}"}
        for table, why, command in list_out_of_reach()
    ]
    return pd.DataFrame(lines, dtype=object).fillna("").set_index("published table")


def tell_counts(studies: Sequence[Study]) -> str:
    """Counts confirmations by the code that measured them, contradictions and intervals, as `count_verdicts` does."""
    lines = [line for *_, line in distinct_rows(studies) if not math.isnan(line["low"])]
    lines = [line for line in lines if line["effect"] != "cannot show"]
    words = Counter(line["effect"] for line in lines)
    earlier = sum(line["effect"] == "confirmed" and bool(line["sources"]) for line in lines)
    beside = [line for line in lines if abs(line["paper difference"]) >= NOTABLE]
    apart = [line for line in beside if not line["low"] <= line["paper difference"] <= line["high"]]
    same = sum(line["effect"] == "confirmed" for line in apart)
    return (
        f"Distinct confirmations: {words['confirmed']} ({words['confirmed'] - earlier} measured with the present code, "
        f"{earlier} with earlier code); contradictions: {words['contradicted']}; intervals: {len(lines)}, of which "
        f"about {(1 - LEVEL) * len(lines):.1f} miss the true difference by chance. Confirmed is the direction, not the "
        f"size: of the {len(beside)} intervals beside a published difference of at least {100 * NOTABLE:.1f} points, "
        f"{len(apart)} leave that difference out, {same} of them confirmed."
    )


def list_confirmed(studies: Sequence[Study]) -> pd.DataFrame:
    """Lists the distinct rows that are confirmed, in points of mIoU.

    Columns: table, scale, row, against (the base row), ours with its 95 % interval, the paper's, seeds, and code
    ("earlier", or "" for the present).
    """
    lines = []
    for study, row, line in distinct_rows(studies):
        if line["effect"] == "confirmed":
            ours, low, high, theirs = (100 * line[name] for name in ("difference", "low", "high", "paper difference"))
            lines.append({
                "table": study.source, "scale": study.scale, "row": row, "against": study.base,
                "ours [95 %]": f"{ours:+.1f} [{low:+.1f}, {high:+.1f}]", "paper": f"{theirs:+.1f}",
                "seeds": line["n"], "code": line["sources"].partition(" ")[0],
            })  # fmt: skip
    return pd.DataFrame(lines, dtype=object)
