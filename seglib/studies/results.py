"""Stored results, and which row of which study each was run for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from seglib.files import PROJECT, write_json
from seglib.recipe import Recipe
from seglib.train.results import load_result

RESULTS = PROJECT / "data" / "results"


def stored_results(recipe: "Recipe", folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of a recipe with any seed, by seed, all other fields equal; empty where it has not been run."""
    wanted = recipe.replace(seed=0).changes()
    found = [load_result(path) for path in sorted(folder.glob("*.json"))]
    found = [result for result in found if {k: v for k, v in result["recipe"].items() if k != "seed"} == wanted]
    return sorted(found, key=lambda result: result["seed"])


@dataclass(frozen=True)
class Manifest:
    """A JSON file: row -> seed -> name of the result that was measured for it last."""

    path: Path

    @classmethod
    def of(cls, folder: Path, title: str, scale: str) -> "Manifest":
        """The manifest of a study at a scale, in the folder of its results."""
        name = re.sub(r"[^a-z0-9]+", "_", f"{title}-{scale}".lower()).strip("_")
        return cls(folder / "rows" / f"{name}.json")

    def read(self) -> dict[str, dict[str, str]]:
        """row -> seed -> name. Raises ValueError where the file is damaged."""
        if not self.path.exists():
            return {}
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            if not isinstance(rows, dict) or not all(isinstance(names, dict) for names in rows.values()):
                raise ValueError("found something else than names by row and seed")
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are
            raise ValueError(f"{self.path}: expected JSON ({error}); delete it, it is written again") from None
        return rows

    def update(self, rows: Mapping[str, Mapping[int, str]]) -> None:
        """Notes names of results; what is known of other rows and seeds stays."""
        if not rows or _is_within(rows, self.read()):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            known = self.read()
            for row, names in rows.items():
                known[row] = known.get(row, {}) | {str(seed): name for seed, name in names.items()}
            write_json(self.path, known)

    def stale(self, row: str, missing: Mapping[int, Recipe], folder: Path) -> list[str]:
        """What is to be said of seeds that have no result of the row's recipe, but one of the recipe it had before."""
        known, remarks = self.read().get(row, {}), {}
        for seed, recipe in missing.items():
            path = folder / f"{known.get(str(seed), recipe.name)}.json"
            if path.stem == recipe.name or not path.exists():
                continue
            old = load_result(path)
            changes = _differences(old["recipe"], recipe.changes())
            remarks.setdefault(changes, []).append(f"{100 * old['scores']['miou']:.1f}")
        return [f"stale: {', '.join(scores)} measured with {changes}" for changes, scores in remarks.items()]


def _is_within(rows: Mapping[str, Mapping[int, str]], known: dict[str, dict[str, str]]) -> bool:
    return all(known.get(row, {}).get(str(seed)) == name for row, names in rows.items() for seed, name in names.items())


def _differences(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return ", ".join(f"{name} {old.get(name, 'default')} instead of {new.get(name, 'default')}" for name in names)
