"""Findings: what is wrong, how that is known, what it costs and what to do. `findings.toml` lists them all."""

import base64
import html
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from seglib.files import PROJECT

COSTS = PROJECT / "data" / "fault_costs.json"  # scale -> finding -> points of mIoU that were measured
SEVERITIES = ("error", "warning", "note")
SECTIONS = ("", "Files and labels", "What the loader gives", "Network and weights", "Training", "Scores")  # from 1


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        name: the same in every report; findings.toml has all.
        evidence: what was seen, with numbers.
        section: of notebook 14.
        costs: "toy" and "photographs" -> points of mIoU that it cost where it was measured (`tools.measure_faults`).
        picture: (H, W, 3) uint8, a sample that shows it.
    """

    name: str
    severity: Literal["error", "warning", "note"]
    evidence: str
    fix: str
    section: int
    costs: Mapping[str, float]
    picture: np.ndarray | None = None

    @property
    def advice(self) -> str:
        """What to do, and where to read of it."""
        return f"{self.fix} (notebook 14, section {self.section}, {SECTIONS[self.section]})"


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Reads findings.toml: name -> severity, section, seen, fix, message, explains; and the costs."""
    found = tomllib.loads(Path(__file__).with_name("findings.toml").read_text(encoding="utf-8"))
    costs = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
    for name, row in found.items():
        row["costs"] = {scale: points[name] for scale, points in costs.items() if name in points}
    return found


def find(name: str, evidence: str = "", /, picture: np.ndarray | None = None, **values: Any) -> Finding:
    """Makes the finding of a name; without evidence of its own, the catalogue's sentence is filled with the values."""
    known = catalogue()[name]
    evidence = evidence or known["seen"].format_map(values)
    return Finding(name, known["severity"], evidence, known["fix"], known["section"], known["costs"], picture)


def find_by_messages(messages: Iterable[str], of: int) -> Iterator[Finding]:
    """Sorts the errors that reading `of` files gave into findings."""
    kinds: dict[str, list[str]] = {}
    for text in messages:
        kinds.setdefault(name_of_message(text) or "unreadable", []).append(text)
    for name, texts in kinds.items():
        yield find(name, f"{len(texts)} in {of} pictures; {texts[0]}")


def name_of_message(text: str) -> str:
    """Returns the name of the finding that an error's message means, or ""."""
    return next((name for name, row in catalogue().items() if "message" in row and re.search(row["message"], text)), "")


def explain_message(text: str) -> str:
    """Adds to an error's message the finding that it means, if there is one, and where to read of it."""
    name = name_of_message(text)
    return f"{text}; {name}: {find(name, text).advice}" if name else text


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
            line = f"{each.severity:8}{each.name}: {each.evidence}"
            for scale, points in each.costs.items():
                word = "costs" if points > 0 else "raises the score by"
                line += f"; {word} {abs(points):.1f} points of mIoU where measured ({scale})"
            lines += [line, f"{'':8}fix: {each.advice}"]
        return "\n".join([*(lines or ["nothing found"]), f"checked: {', '.join(self.checked) or 'nothing'}"])

    def _repr_html_(self) -> str:
        titles = ("", "finding", "seen", "cost in mIoU", "fix", "section of notebook 14")
        rows = ["<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"]
        for each in self.findings:
            costs = ", ".join(f"{points:.1f} ({scale})" for scale, points in each.costs.items())
            cells = (each.severity, each.name, each.evidence, costs.removesuffix(" (toy)"), each.fix, str(each.section))
            texts = [html.escape(cell) for cell in cells]
            texts[2] += "" if each.picture is None else f"<br>{_show(each.picture)}"
            rows.append("<tr>" + "".join(f'<td style="text-align:left">{text}</td>' for text in texts) + "</tr>")
        return f"<table>{''.join(rows)}</table>checked: {html.escape(', '.join(self.checked) or 'nothing')}"


def _show(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f'<img height="160" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
