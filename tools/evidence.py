"""Prints the map of the evidence, as Markdown, and writes it into README.md.

python -m tools.evidence
"""

import re
from collections.abc import Sequence
from pathlib import Path

from seglib.studies.evidence import load_published, map_evidence
from seglib.studies.report import LEVEL
from seglib.studies.study import Study, count_verdicts

README = Path(__file__).resolve().parent.parent / "README.md"
MARKED = re.compile(r"(?<=<!-- evidence -->\n).*?(?=\n<!-- end of evidence -->)", re.DOTALL)


def main() -> None:
    """Prints it, and replaces the lines between README's two marks."""
    print(written := write_evidence(load_published()))
    README.write_text(MARKED.sub(lambda _: written, README.read_text(encoding="utf-8")), encoding="utf-8")


def write_evidence(studies: Sequence[Study]) -> str:
    """Writes `map_evidence` as Markdown, and below it how many distinct confirmations there are."""
    table = map_evidence(studies).reset_index()
    table["command"] = table["command"].map(lambda command: command and f"`{command}`")
    lines = [[*table], ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    counts = count_verdicts(studies)["all"]
    count, intervals = int(counts["confirmed"]), int(counts["intervals"])
    rows = [f"| {' | '.join(cells)} |" for cells in lines]
    distinct = f"{count} distinct confirmation{'s' * (count != 1)}: a network that stands in several tables beside one "
    distinct += f"base row counts once. Of all {intervals} intervals that count, {1 - LEVEL:.0%} are expected to miss "
    return "\n".join([*rows, "", distinct + "the true difference."])


if __name__ == "__main__":
    main()
