"""Studies as TOML files.

title = "batch size"            # what is compared
base = "16"                     # the row that differences are taken to
seeds = [0, 1, 2, 3, 4]
table = ["deeplabv3", "9"]      # of data/papers.json; without it nothing is published
recipe = "toy_v3"               # what the rows depart from: a study of one scale, `scale = "toy"` unless said
[scales]                        # or, for several, a recipe and further fields for each of them
smoke = { recipe = "toy_v3", iterations = 4, crop_size = 33, seeds = [0, 1] }
toy = { recipe = "toy_v3" }
[rows."4"]
batch_size = 4                  # the fields in which the row departs from the recipe, or `recipe` for another one
published = { batch_size = 4 }  # the paper's row: its conditions in data/papers.json
paper = { batch_size = 4 }      # a scale's name: what the row has there, on top
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from seglib.recipe import Recipe, toml_path
from seglib.studies.papers import load_papers, published

STUDIES = Path(__file__).parent
SCALES = ("smoke", "toy", "photographs", "gpu", "paper")


def read_study(name: str | Path, scale: str = "") -> dict[str, Any]:
    """The arguments of a `Study`: title, rows, seeds, base, scale, source, published.

    Raises:
        FileNotFoundError: no such file. ValueError: what it holds is no study, or has not that scale; names the file.
    """
    path = toml_path(name, STUDIES, "study")
    try:
        return _study(tomllib.loads(path.read_text(encoding="utf-8")), scale)
    except (tomllib.TOMLDecodeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a study ({error})") from error


def _study(values: dict[str, Any], scale: str) -> dict[str, Any]:
    if "scales" not in values:
        common = {"recipe": values.pop("recipe")} if "recipe" in values else {}
        values["scales"] = {values.pop("scale", "toy"): common}
    scales = values.pop("scales")
    scale = scale or next(iter(scales), "")
    if scale not in scales or not set(scales) <= set(SCALES):
        raise ValueError(f"scale = {scale!r}; the file offers {list(scales)}, of {list(SCALES)}")
    common = dict(scales[scale])
    seeds = tuple(common.pop("seeds", values.pop("seeds", (0, 1, 2))))
    values.pop("seeds", None)
    if not all(type(seed) is int for seed in seeds):
        raise ValueError(f"seeds = {list(seeds)}; expected whole numbers")
    table = values.pop("table", None)
    if not {"title", "rows"} <= set(values) or not isinstance(values["rows"], dict):
        raise ValueError(f"expected a title and rows, each a table of its own; found {sorted(values)}")
    rows, theirs = {}, {}
    for row, changes in values.pop("rows").items():
        changes = dict(changes)
        only = changes.pop("only", list(scales))
        conditions = changes.pop("published", None)
        own = {name: changes.pop(name) for name in SCALES if name in changes}
        if not {*own, *only} <= set(scales):
            raise ValueError(f"row {row!r} names {sorted({*own, *only} - set(scales))}; scales are {list(scales)}")
        if scale not in only:
            continue
        here = own.get(scale, own.get("toy", {}) if scale == "smoke" else {})
        rows[row] = _row_recipe(common, {**changes, **here})
        if conditions is not None:
            theirs[row] = float(published(*table, **{k: _plain(v) for k, v in conditions.items()})) / 100
    source = f"{load_papers()[table[0]]['name']}, Table {table[1]}" if table else ""
    known = {"title", "base"}
    if unknown := set(values) - known:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    return {**values, "rows": rows, "seeds": seeds, "scale": scale, "source": source, "published": theirs}


def _row_recipe(common: dict[str, Any], changes: dict[str, Any]) -> Recipe:
    common = dict(common)
    name = changes.pop("recipe", None) or common.get("recipe")
    common.pop("recipe", None)
    return Recipe.from_dict({**dataclasses.asdict(Recipe.load(name)), **common, **changes})


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
