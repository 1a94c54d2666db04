"""Findings: what is wrong, how that is known, what it costs and what to do. `findings.toml` lists them all."""

import base64
import html
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from seglib.files import PROJECT

COSTS = PROJECT / "data" / "fault_costs.json"  # finding -> points of mIoU that notebook 14 measured
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        name: the same in every report; findings.toml has all.
        evidence: what was seen, with numbers.
        cost: points of mIoU that it cost where it was measured, in notebook 14; None where it was not.
        section: of notebook 14.
        picture: (H, W, 3) uint8, a sample that shows it.
    """

    name: str
    severity: Literal["error", "warning", "note"]
    evidence: str
    fix: str
    section: int
    cost: float | None = None
    picture: np.ndarray | None = None


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Reads findings.toml: name -> severity, section, fix, message, explains."""
    return tomllib.loads(Path(__file__).with_name("findings.toml").read_text(encoding="utf-8"))


def find(name: str, evidence: str, picture: np.ndarray | None = None) -> Finding:
    """Makes the finding of a name."""
    known = catalogue()[name]
    costs = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
    return Finding(name, known["severity"], evidence, known["fix"], known["section"], costs.get(name), picture)


def find_by_messages(messages: Iterable[str], of: int) -> Iterator[Finding]:
    """Sorts the errors that reading `of` files gave into findings."""
    kinds: dict[str, list[str]] = {}
    for text in messages:
        known = (name for name, row in catalogue().items() if "message" in row and re.search(row["message"], text))
        kinds.setdefault(next(known, "unreadable"), []).append(text)
    for name, texts in kinds.items():
        yield find(name, f"{len(texts)} of {of} pictures; {texts[0]}")


@dataclass(frozen=True)
class Report:
    """All findings, errors first; `print(report)` has two lines for each, and a notebook shows a table.

    Attributes:
        checked: what was looked at; of the rest, silence says nothing.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding], checked: Iterable[str]) -> "Report":
        """Sorts findings, one per name, and leaves out those that another one explains."""
        by_name: dict[str, Finding] = {}
        for finding in findings:
            by_name.setdefault(finding.name, finding)
        explained = {name for each in by_name for name in catalogue()[each].get("explains", ())}
        kept = [finding for name, finding in by_name.items() if name not in explained]
        return cls(tuple(sorted(kept, key=lambda each: SEVERITIES.index(each.severity))), tuple(checked))

    def names(self, severity: str | None = None) -> list[str]:
        """Lists the names of the findings, or of those of one severity."""
        return [each.name for each in self.findings if severity in (None, each.severity)]

    @property
    def errors(self) -> list[Finding]:
        """The findings that make a score wrong or a training useless."""
        return [each for each in self.findings if each.severity == "error"]

    def __str__(self) -> str:
        lines = []
        for each in self.findings:
            word = "costs" if (each.cost or 0) > 0 else "raises the score by"
            cost = "" if each.cost is None else f"; {word} {abs(each.cost):.1f} points of mIoU where measured"
            lines.append(f"{each.severity:8}{each.name}: {each.evidence}{cost}")
            lines.append(f"{'':8}fix: {each.fix} (notebook 14, section {each.section})")
        return "\n".join([*(lines or ["nothing found"]), f"checked: {', '.join(self.checked) or 'nothing'}"])

    def _repr_html_(self) -> str:
        titles = ("", "finding", "seen", "cost in mIoU", "fix", "section of notebook 14")
        rows = ["<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"]
        for each in self.findings:
            cost = "" if each.cost is None else f"{each.cost:.1f}"
            cells = (each.severity, each.name, each.evidence, cost, each.fix, str(each.section))
            texts = [html.escape(cell) for cell in cells]
            texts[2] += "" if each.picture is None else f"<br>{_show(each.picture)}"
            rows.append("<tr>" + "".join(f'<td style="text-align:left">{text}</td>' for text in texts) + "</tr>")
        return f"<table>{''.join(rows)}</table>checked: {html.escape(', '.join(self.checked) or 'nothing')}"


def _show(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f'<img height="160" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
