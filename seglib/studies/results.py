"""Stored results: the code that each was measured with, and the row of a study that it was run for."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from seglib.files import PROJECT, write_json
from seglib.recipe import Recipe
from seglib.train.results import code_hashes, load_result, seal

RESULTS = PROJECT / "data" / "results"


def stored_results(recipe: Recipe, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Finds the results of a recipe with any seed, by seed, all other fields equal; [] where it has not been run."""
    wanted = recipe.replace(seed=0).changes()
    found = [load_result(path) for path in sorted(folder.glob("*.json"))]
    found = [result for result in found if {k: v for k, v in result["recipe"].items() if k != "seed"} == wanted]
    return sorted(found, key=lambda result: result["seed"])


# --- code: folder/code/NAME.json holds the definitions that many results share


class CodeSet(msgspec.Struct):
    """The code of a result."""

    definitions: dict[str, str]  # hash -> name, as of `code_hashes`
    equal_to: list[str] = []  # names of other sets that give the same results, pixel by pixel
    proved_by: list[str] = []  # names of the results by which this was found


def name_code(definitions: Iterable[str]) -> str:
    """Returns the name of a set of definitions: a hash over their sorted hashes."""
    return hashlib.sha256("\n".join(sorted(definitions)).encode()).hexdigest()[:12]


def store_result(result: Mapping[str, Any], folder: Path) -> None:
    """Stores a run's result as NAME.json, sealed anew, with the name of its code in place of the definitions."""
    code = name_code(result["code"])
    path = folder / "code" / f"{code}.json"
    if not path.exists():
        write_json(path, {"definitions": result["code"]})
    write_json(folder / f"{result['name']}.json", seal({**result, "code": code}))


def find_changed_code(result: Mapping[str, Any], folder: Path) -> list[str] | None:
    """Names the definitions that changed since a stored result was measured; None where it does not know its code.

    Of all sets of code that are known to give equal results, the one that is nearest to the present code counts.
    Raises ValueError if a set's file is damaged; names it.
    """
    present = code_hashes()
    changed = (
        sorted({name for code, name in definitions.items() if code not in present})
        for definitions in _find_equal_sets(result, folder).values()
    )
    return min(changed, key=len, default=None)


def _find_equal_sets(result: Mapping[str, Any], folder: Path) -> dict[str, dict[str, str]]:
    """Finds the sets of code that are known to give what a result has, its own among them; {} if it does not know it.

    The result of a run that is not stored yet has the definitions themselves.
    """
    code = result.get("code")
    own = {name_code(code): code} if isinstance(code, Mapping) else {}
    code = next(iter(own), code)
    if not own and (not isinstance(code, str) or not (folder / "code" / f"{code}.json").exists()):
        return {}
    sets = {path.stem: _read(path, CodeSet) for path in sorted((folder / "code").glob("*.json"))}
    groups = [{name, *known.equal_to} for name, known in sets.items()]
    equal = {code}
    while more := [group for group in groups if group & equal and not group <= equal]:
        equal = equal.union(*more)
    return own | {name: sets[name].definitions for name in sorted(equal & set(sets))}


# A recipe's choice of training images: rows that choose alike must have been trained on the same ones.
CHOICE = ("data", "train_split", "quality", "partial", "folds", "fold")


def find_obstacle(ours: Iterable[Mapping[str, Any]], base: Iterable[Mapping[str, Any]], folder: Path) -> str:
    """Says why the results of a row cannot be compared with the base row's: other code or images; "" if they can."""
    results = [*ours, *base]
    codes = set()
    for result in results:
        changed, sets = find_changed_code(result, folder), _find_equal_sets(result, folder)
        unknown = json.dumps(result.get("sources"), sort_keys=True)  # hashes of whole files, all that old results know
        codes.add("" if changed == [] else min(sets, default=unknown))
    if len(codes) > 1:
        now = "partly the present code" if "" in codes else "more than one version of the code"
        return f"not comparable: measured with {now}"
    lists: dict[tuple, set[tuple[str, str]]] = {}
    for result in results:
        for part, described in result.get("data", {}).items():
            choice = [result["recipe"].get(name) for name in CHOICE] if part == "train" else []
            lists.setdefault((part, *choice), set()).add((described["names"], described["labels"]))
    differing = sorted({part for (part, *_), found in lists.items() if len(found) > 1})
    return f"not comparable: other {' and '.join(differing)} images" if differing else ""


def record_equal_code(results: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    """Notes that the present code gives what these results have, and so what their code gives; returns the file."""
    path = folder / "code" / f"{name_code(code_hashes())}.json"
    known = _read(path, CodeSet) if path.exists() else CodeSet(code_hashes())
    equal = sorted({*known.equal_to, *(result["code"] for result in results)})
    proof = sorted({*known.proved_by, *(result["name"] for result in results)})
    write_json(path, {"definitions": known.definitions, "equal_to": equal, "proved_by": proof})
    return path


def _read(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: damaged ({error}); take it back from where it came, or delete it") from None


# --- rows: folder/rows/STUDY_SCALE.json holds, row -> seed, the name of the result that was measured for it last

Names = dict[str, dict[str, str]]


def read_rows(path: Path) -> Names:
    """Reads row -> seed -> name of a result. Raises ValueError if the file is damaged."""
    return _read(path, Names) if path.exists() else {}


def note_rows(path: Path, rows: Names) -> None:
    """Notes names of results; what is known of other rows and seeds stays."""
    known = read_rows(path)
    if all(names.items() <= known.get(row, {}).items() for row, names in rows.items()):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        known = read_rows(path)
        write_json(path, known | {row: known.get(row, {}) | names for row, names in rows.items()})


def describe_stale(known: Mapping[str, str], missing: Mapping[int, Recipe], folder: Path) -> list[str]:
    """Remarks on seeds that miss a result of the row's recipe, but have one of an earlier recipe by `known`."""
    scores: dict[str, list[str]] = {}
    for seed, recipe in missing.items():
        path = folder / f"{known.get(str(seed), recipe.name)}.json"
        if path.stem != recipe.name and path.exists():
            old, new = load_result(path), recipe.changes()
            names = sorted(name for name in {*old["recipe"], *new} if old["recipe"].get(name) != new.get(name))
            changes = [f"{n} {old['recipe'].get(n, 'default')} instead of {new.get(n, 'default')}" for n in names]
            scores.setdefault(", ".join(changes), []).append(f"{100 * old['scores']['miou']:.1f}")
    return [f"stale: {', '.join(found)} measured with {changes}" for changes, found in scores.items()]
