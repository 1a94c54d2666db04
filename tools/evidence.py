"""Writes the map of the evidence into README.md, as `python -m seglib study --evidence` prints it.

python -m tools.evidence
"""

import re
from pathlib import Path

from seglib.studies.evidence import load_published, write_evidence

README = Path(__file__).resolve().parent.parent / "README.md"
MARKED = re.compile(r"(?<=<!-- evidence -->\n).*?(?=\n<!-- end of evidence -->)", re.DOTALL)


def main() -> None:
    """Replaces the lines between the two marks."""
    written = write_evidence(load_published())
    README.write_text(MARKED.sub(lambda _: written, README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
