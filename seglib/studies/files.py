"""Studies as TOML files.

title = "batch size"            # what is compared
base = "16"                     # the row that differences are taken to; default: the first
seeds = [0, 1, 2, 3, 4]         # default: [0, 1, 2]
table = ["deeplabv3", "9"]      # of data/papers.json; without it nothing is published
recipe = "toy_v3"               # what the rows depart from: a study of one scale, `scale = "toy"` unless said
[scales]                        # or, for several, a recipe, further fields, and seeds for each of them
smoke = { recipe = "toy_v3", iterations = 4, crop_size = 33, seeds = [0, 1] }
toy = { recipe = "toy_v3" }
[rows."4"]
batch_size = 4                  # the fields in which the row departs from the scale's recipe, or another `recipe`
published = { batch_size = 4 }  # the paper's row: its conditions in data/papers.json
only = ["smoke", "toy"]         # the scales that have the row; default: all
toy = { crop_size = 65 }        # a scale's name: further departures there

At the smoke scale a row has its departures for `toy`, unless it has some for `smoke`.
"""

from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from seglib.recipe import Recipe
from seglib.studies.papers import load_papers, published

STUDIES = Path(__file__).parent
ScaleName = Literal["smoke", "toy", "photographs", "gpu", "paper"]
Changes = dict[str, Any]  # fields of a recipe, and "recipe"


class StudyFile(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    rows: dict[str, Changes]
    base: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    table: tuple[str, str] = ("", "")
    recipe: str | None = None
    scale: ScaleName | None = None
    scales: dict[ScaleName, Changes] | None = None


class Scale(msgspec.Struct):
    changes: Changes
    seeds: tuple[int, ...] | None = None


class Row(msgspec.Struct):
    changes: Changes
    published: dict[str, Any] | None = None
    only: tuple[ScaleName, ...] | None = None
    smoke: Changes | None = None
    toy: Changes | None = None
    photographs: Changes | None = None
    gpu: Changes | None = None
    paper: Changes | None = None


def read_study(path: Path, scale: str = "") -> dict[str, Any]:
    """Reads the arguments of a `Study`: title, rows, seeds, base, scale, source, published.

    Raises:
        ValueError: if the file holds no study, or does not have the scale.
        KeyError: if a published row is not in the papers.
    """
    file = msgspec.toml.decode(path.read_bytes(), type=StudyFile)
    if file.scales is not None and (file.recipe or file.scale):
        raise ValueError("expected scales, or one recipe and scale; found both")
    scales = {file.scale or "toy": {"recipe": file.recipe}} if file.scales is None else file.scales
    scale = scale or next(iter(scales), "")
    if scale not in scales:
        raise ValueError(f"scale = {scale!r}; the file offers {list(scales)}")
    common = _split(scales[scale], Scale)
    rows, theirs = {}, {}
    for name, entries in file.rows.items():
        row = _split(entries, Row)
        own = {at: changes for at in get_args(ScaleName) if (changes := getattr(row, at)) is not None}
        if unknown := {*own, *(row.only or ())} - set(scales):
            raise ValueError(f"row {name!r} names {sorted(unknown)}; scales are {list(scales)}")
        if scale not in (row.only or scales):
            continue
        here = own.get(scale, own.get("toy", {}) if scale == "smoke" else {})
        changes = {**common.changes, **row.changes, **here}
        if not (recipe := changes.pop("recipe", None)):
            raise ValueError(f"row {name!r}: expected a recipe of its own, its scale's or the file's, found none")
        rows[name] = Recipe.load(recipe).replace(**changes)
        if row.published is not None:
            theirs[name] = published(*file.table, **row.published) / 100
    paper, table = file.table
    return {
        "title": file.title,
        "rows": rows,
        "seeds": file.seeds if common.seeds is None else common.seeds,
        "base": file.base,
        "scale": scale,
        "source": f"{load_papers()[paper]['name']}, Table {table}" if paper else "",
        "published": theirs,
    }


def _split(entries: Changes, kind: type) -> Any:
    """Makes a struct of the entries that it has; all others are its `changes`."""
    own = set(kind.__struct_fields__) - {"changes"}
    changes = {name: value for name, value in entries.items() if name not in own}
    return msgspec.convert({**{name: entries[name] for name in own & set(entries)}, "changes": changes}, kind)
