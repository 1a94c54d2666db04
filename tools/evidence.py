"""Prints the map of the evidence, as Markdown, and writes it into README.md.

python -m tools.evidence
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from seglib.studies.evidence import list_confirmed, load_published, map_evidence, tell_counts
from seglib.studies.study import Study

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MARKED = re.compile(r"(?<=<!-- evidence -->\n).*?(?=\n<!-- end of evidence -->)", re.DOTALL)


def main() -> None:
    """Prints it, and replaces the lines between README's two marks."""
    print(written := write_evidence(load_published()))
    README.write_text(MARKED.sub(lambda _: written, README.read_text(encoding="utf-8")), encoding="utf-8")


def write_evidence(studies: Sequence[Study]) -> str:
    """Writes `map_evidence` as Markdown, its notebooks as links; below it `tell_counts` and `list_confirmed`."""
    table = map_evidence(studies).reset_index()
    table["told in"] = table["told in"].str.replace(r"(\d+), section [\d.]+", _link, regex=True)
    table["command"] = table["command"].map(lambda command: command and f"`{command}`")
    distinct = "A network that stands in several tables beside one base row counts once. What is confirmed:"
    return "\n\n".join([_table(table), f"{tell_counts(studies)} {distinct}", _table(list_confirmed(studies))])


def _table(table: pd.DataFrame) -> str:
    lines = [[*table], ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _link(place: re.Match[str]) -> str:
    return f"[{place[0]}]({next(ROOT.glob(f'notebooks/{place[1]}_*.ipynb')).relative_to(ROOT).as_posix()})"


if __name__ == "__main__":
    main()
