"""The code that a result is measured with: which changes count, and which files."""

import subprocess
import sys
from pathlib import Path

from seglib.train.results import MEASURING, PACKAGE, code_hashes, definitions

CODE = '''"""A module."""

def add(a, b):
    """Adds."""
    return a + b  # at once
'''


def test_words_about_the_code_do_not_count() -> None:
    for other in (
        CODE.replace("A module", "Another"),
        CODE.replace("  # at once", ""),
        CODE.replace('    """Adds."""\n', ""),
        "# first\n\n" + CODE.replace("\n\n", "\n\n\n"),
        "import os\n" + CODE + "\n__all__ = []\n",
    ):
        assert list(definitions(other)) == list(definitions(CODE)) == [("add", "def add(a, b):\n    return a + b")]


def test_the_code_does() -> None:
    others = CODE.replace("a + b", "a - b"), CODE + "x = 1\n", CODE.replace("def add", "@cache\ndef add")
    assert all(list(definitions(other)) != list(definitions(CODE)) for other in others)
    assert list(definitions('x = "#1"\n')) == [("x", 'x = "#1"')], "no comment"


# Loaded by a run, but of no influence on its numbers.
OTHER = {"__init__.py", "recipe.py", "files.py"}


def test_what_a_run_imports_is_counted_or_left_out_on_purpose() -> None:
    code = "import sys, seglib.train.trainer; print(*(getattr(m, '__file__', None) for m in sys.modules.values()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    files = [Path(file) for file in run.stdout.split()]
    assert not any("torchvision" in file.parts for file in files), "which takes as long to import as torch itself"
    imported = {file.relative_to(PACKAGE).as_posix() for file in files if file.is_relative_to(PACKAGE)}
    assert "train/trainer.py" in imported
    assert {name for name in imported - OTHER if name.split("/")[0] not in MEASURING} == set()
    assert all((PACKAGE / name).exists() for name in MEASURING)
    assert "cityscapes_labels.csv" in code_hashes().values()
