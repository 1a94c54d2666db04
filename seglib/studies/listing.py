"""The list of all studies: the published table that each repeats, what is stored, and what is left, in minutes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from seglib.recipe import Recipe, training_changes
from seglib.studies.files import STUDIES, StudyFile
from seglib.studies.papers import load_papers
from seglib.studies.report import estimate_seconds
from seglib.studies.results import RESULTS
from seglib.studies.study import Study
from seglib.train.results import load_result

# A time is taken from another recipe in proportion only if these are equal.
ALIKE = ("data", "backbone", "width")


def list_studies(folder: Path = RESULTS, runs: Path | None = None, gated: bool = True) -> pd.DataFrame:
    """Lists every study of the package at each of its scales but smoke, and the tables that are out of reach.

    Columns: table, study, scale, rows, runs left, minutes left ("?" where no stored run tells), stored, cannot show.
    """
    known = read_times(folder)
    lines = []
    for path in sorted(STUDIES.glob("*.toml")):
        for scale in msgspec.toml.decode(path.read_bytes(), type=StudyFile).scales:
            if scale != "smoke":
                study = Study.load(path, scale, folder=folder, runs=runs, gated=gated)
                plan = plan_runs(study, known)
                stored = {"present": sum(plan["present"]), "earlier": sum(plan["earlier"])}
                lines.append({
                    "table": study.source, "study": path.stem, "scale": scale, "rows": len(study.rows),
                    "runs left": sum(plan["runs left"]), "minutes left": format_minutes(plan["minutes left"]),
                    "stored": ", ".join(f"{count} {word}" for word, count in stored.items() if count),
                    "cannot show": f"{len(study.cannot_show)} of {len(study.rows)} rows" if study.cannot_show else "",
                })  # fmt: skip
    lines += [{"table": table, "cannot show": why} for table, why in list_out_of_reach()]
    listed = pd.DataFrame(lines, dtype=object).fillna("")
    return listed.sort_values("table", key=lambda column: column.map(by_number), kind="stable", ignore_index=True)


def list_out_of_reach() -> list[tuple[str, str]]:
    """Lists the papers' tables that no scale repeats, or not wholly, with the reason."""
    tables = [
        (paper["name"], table, entry) for paper in load_papers().values() for table, entry in paper["tables"].items()
    ]
    return [(f"{name}, Table {table}", why) for name, table, entry in tables if (why := entry.get("out_of_reach"))]


def plan_runs(study: Study, known: Mapping[Recipe, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """Lists what is left to run of a study, row by row; `known` are results by which time is told, of `read_times`.

    Columns: runs left, minutes left (nan where nothing tells; 0 for a training that another row pays for, or that is
    finished and only to be scored), present and earlier (stored results of the present code and of earlier code), and
    cannot show, the reason.
    """
    missing, paid, lines = study.missing(), set(), []
    for row in study.rows:
        recipes = [study.recipe(row, seed) for name, seed in missing if name == row]
        to_train = [r for r in recipes if r.training_name not in paid and not study.is_trained(r)]
        paid |= {recipe.training_name for recipe in to_train}
        seconds = len(to_train) * tell_seconds(to_train[0], known) if to_train else 0.0
        stored = sum(study.result(row, seed) is not None for seed in study.seeds)
        present = len(study.seeds) - len(recipes)
        lines.append({
            "runs left": len(recipes), "minutes left": seconds / 60, "present": present, "earlier": stored - present,
            "cannot show": study.cannot_show.get(row, ""),
        })  # fmt: skip
    return pd.DataFrame(lines, index=pd.Index(study.rows, name=study.title))


def read_times(folder: Path = RESULTS) -> dict[Recipe, list[dict[str, Any]]]:
    """Reads the stored results that tell how long their training took, by recipe with seed 0."""
    found: dict[Recipe, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        if "train_seconds" in (result := load_result(path)):
            found.setdefault(Recipe.from_dict(result["recipe"]).replace(seed=0), []).append(result)
    return found


def tell_seconds(recipe: Recipe, known: Mapping[Recipe, Sequence[Mapping[str, Any]]]) -> float:
    """Returns how long a training takes by the stored recipe that differs in the fewest settings; nan without one."""
    wanted = training_changes(recipe.replace(seed=0).changes())

    def distance(other: Recipe) -> int:
        theirs = training_changes(other.changes())
        return sum(wanted.get(name) != theirs.get(name) for name in {*wanted, *theirs})

    alike = [other for other in known if all(getattr(other, name) == getattr(recipe, name) for name in ALIKE)]
    return estimate_seconds(recipe, known[min(alike, key=distance)])[0] if alike else float("nan")


def format_minutes(minutes: pd.Series) -> str:
    """Adds minutes up: "12", or "12 + ?" where some are not known."""
    known = f"{minutes.sum():.0f}"
    return known if minutes.notna().all() else f"{known} + ?" if minutes.sum() else "?"


def by_number(source: str) -> tuple[str, float, str]:
    """Orders "DeepLabv3, Table 10" after Table 9, and studies of no table last."""
    paper, _, table = source.partition(", Table ")
    return (paper or "~", float(table) if table.isdigit() else 0.0, table)
