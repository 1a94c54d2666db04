"""Wrong answers to the exercises, one module per notebook.

`WRONG` maps the exercise's number to a part of the message, and that to the code that takes the place of the dots.
"""

import ast
import json
import re
import textwrap
from collections.abc import Callable
from functools import cache

from seglib.files import PROJECT

SOLUTION = re.compile(
    r"^### Exercise (\d+\.\d) .*?<summary>Solution</summary>.*?^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


@cache
def _solutions(notebook: int) -> dict[str, str]:
    (path,) = (PROJECT / "notebooks").glob(f"{notebook:02d}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return dict(SOLUTION.findall("\n".join(texts)))


def mistaken(number: str) -> Callable[..., str]:
    """Returns a function that exchanges parts of the notebook's own solution: old, new, old, new, ..."""
    code = _solutions(int(number.partition(".")[0]))[number]
    *imports, function = ast.parse(code).body
    lines = code.splitlines()[function.body[1].lineno - 1 :]  # without the docstring
    body = "\n".join([*map(ast.unparse, imports), textwrap.dedent("\n".join(lines))]) + "\n"

    def exchange(*parts: str) -> str:
        found = body
        for old, new in zip(parts[::2], parts[1::2], strict=True):
            assert old in found, f"the solution of {number} has no {old!r}"
            found = found.replace(old, new)
        return found

    return exchange
