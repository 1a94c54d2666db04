"""Published numbers, read from `data/papers.json`: every number that a notebook sets its own beside."""

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache

from seglib.files import PROJECT

PAPERS_FILE = PROJECT / "data" / "papers.json"

Condition = str | int | bool | tuple[int, ...]


@cache
def load_papers() -> Mapping[str, dict]:
    """Reads all papers: key -> title, name, authors, arxiv or url, year, tables.

    Numbers with a decimal point are `Decimal`, so that they print as the paper prints them.
    """
    return json.loads(PAPERS_FILE.read_text(encoding="utf-8"), parse_float=Decimal)


def published(paper: str, table: int | str, *, value: str = "miou", **row: Condition) -> float:
    """Returns a published number in its table's unit: 77.21, in %, is `published("deeplabv3", 9, batch_size=16)`.

    Args:
        paper: its key in the file, such as "deeplabv3plus".
        table: number or name of the table, such as 9, "7(a)" or "Figure 5(a)".
        value: column to read.
        row: conditions that single out one row, such as `batch_size=16`.

    Raises:
        KeyError: if there is no such paper, table, column or row, or several rows fit; lists what there is.
    """
    return float(_find(paper, table, value, row)[0])


def cite(paper: str, table: int | str, *, value: str = "miou", **row: Condition) -> str:
    """Returns the number as printed, and its source: "77.21 (DeepLabv3, Table 9)". Arguments as `published`."""
    number, place = _find(paper, table, value, row)
    return f"{number} ({place})"


def _find(paper: str, table: int | str, value: str, row: Mapping[str, Condition]) -> tuple[Decimal, str]:
    papers = load_papers()
    if paper not in papers:
        raise KeyError(f"no paper {paper!r}; there are: {', '.join(papers)}")
    tables = papers[paper]["tables"]
    if str(table) not in tables:
        raise KeyError(f"{paper} has no table {table!r}; there are: {', '.join(tables)}")
    label = f"Table {table}" if str(table)[:1].isdigit() else str(table)
    place = f"{papers[paper]['name']}, {label}"
    rows = tables[str(table)]["rows"]
    values = [name for name, entry in rows[0].items() if isinstance(entry, Decimal)]
    conditions = [name for name in rows[0] if name not in values]
    if value not in values:
        raise KeyError(f"{place} has no value {value!r}; there are: {', '.join(values)}")
    if unknown := [name for name in row if name not in conditions]:
        raise KeyError(f"{place} has no condition {', '.join(unknown)}; there are: {', '.join(conditions)}")
    wanted = {name: list(want) if isinstance(want, tuple) else want for name, want in row.items()}
    found = [entry for entry in rows if all(entry[name] == want for name, want in wanted.items())]
    if len(found) != 1:
        listed = "; ".join(", ".join(f"{name}={entry[name]!r}" for name in conditions) for entry in found or rows)
        raise KeyError(f"{place}: expected one row for {dict(row)}, found {len(found)} of: {listed}")
    return found[0][value], place
