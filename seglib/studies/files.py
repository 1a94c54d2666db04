"""Studies as TOML files.

title = "batch size"            # what is compared
base = "16"                     # the row that differences are taken to; default: the first
seeds = [0, 1, 2, 3, 4]         # default: [0, 1, 2]
table = ["deeplabv3", "9"]      # of data/papers.json; without it nothing is published
[scales]                        # for each the recipe that the rows depart from, further fields, own seeds, own classes
toy = { recipe = "toy_v3" }
gpu = { recipe = "voc_gpu", seeds = [0, 1, 2] }
[rows."4"]
batch_size = 4                  # the fields in which the row departs from the scale's recipe, or another `recipe`
published = { batch_size = 4 }  # the paper's row: its conditions in data/papers.json
only = ["toy", "gpu"]           # the scales that have the row; default: all
toy = { crop_size = 65 }        # a scale's name: further departures there
"""

from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from seglib.recipe import Recipe
from seglib.studies.papers import load_papers, published

STUDIES = Path(__file__).parent
ScaleName = Literal["toy", "mini", "photographs", "gpu", "paper"]
Changes = dict[str, Any]  # fields of a recipe, and "recipe"


class StudyFile(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    scales: dict[ScaleName, Changes]
    rows: dict[str, Changes]
    base: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    table: tuple[str, str] = ("", "")


class Scale(msgspec.Struct):  # without its changes, as Row
    seeds: tuple[int, ...]
    classes: tuple[str, ...] = ()


class Row(msgspec.Struct):
    published: dict[str, Any] | None = None
    only: tuple[ScaleName, ...] | None = None


def read_files() -> dict[Path, StudyFile]:
    """Reads the files of the package's studies, in the order of their names."""
    return {path: msgspec.toml.decode(path.read_bytes(), type=StudyFile) for path in sorted(STUDIES.glob("*.toml"))}


def read_study(path: Path, scale: str = "") -> dict[str, Any]:
    """Reads the arguments of a `Study`. Raises ValueError, or KeyError for a row that the papers do not have."""
    file = msgspec.toml.decode(path.read_bytes(), type=StudyFile)
    scale = scale or next(iter(file.scales), "")
    if scale not in file.scales:
        raise ValueError(f"scale = {scale!r}; the file offers {list(file.scales)}")
    common = {"seeds": file.seeds, **file.scales[scale]}
    of_scale = {name: value for name, value in common.items() if name not in Scale.__struct_fields__}
    no_changes = {*Row.__struct_fields__, *get_args(ScaleName)}
    rows, theirs = {}, {}
    for name, entries in file.rows.items():
        row = msgspec.convert(entries, Row)
        own = {at: msgspec.convert(entries[at], Changes) for at in get_args(ScaleName) if at in entries}
        if unknown := {*own, *(row.only or ())} - set(file.scales):
            raise ValueError(f"row {name!r} names {sorted(unknown)}; scales are {list(file.scales)}")
        if scale not in (row.only or file.scales):
            continue
        of_row = {name: value for name, value in entries.items() if name not in no_changes}
        changes = of_scale | of_row | own.get(scale, {})
        if not (recipe := changes.pop("recipe", None)):
            raise ValueError(f"row {name!r}: expected a recipe of its own or its scale's, found none")
        rows[name] = Recipe.load(recipe).replace(**changes)
        if row.published is not None:
            theirs[name] = published(*file.table, **row.published) / 100
    paper, table = file.table
    source = f"{load_papers()[paper]['name']}, Table {table}" if paper else ""
    arguments = {"title": file.title, "rows": rows, "base": file.base, "source": source, "published": theirs}
    here = msgspec.convert(common, Scale)
    return arguments | {"seeds": here.seeds, "classes": here.classes, "scale": scale}
