"""Which code a result was measured with."""

import subprocess
import sys
from pathlib import Path

import pytest

from seglib.train.results import MEASURING, PACKAGE, changed_sources, code_hash, code_hashes, of_whole_run

CODE = '''"""A module."""

def add(a, b):
    """Adds."""
    return a + b  # at once
'''


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("A module", "Another"),
        CODE.replace("  # at once", ""),
        CODE.replace('    """Adds."""\n', ""),
        "# first\n\n" + CODE.replace("\n\n", "\n\n\n"),
    ],
)
def test_words_about_the_code_do_not_count(other: str) -> None:
    assert code_hash(other) == code_hash(CODE)


@pytest.mark.parametrize(
    "other", [CODE.replace("a + b", "a - b"), CODE + "x = 1\n", CODE.replace("return a", "return '#' + a")]
)
def test_the_code_does(other: str) -> None:
    assert code_hash(other) != code_hash(CODE)


def test_a_hash_sign_in_a_string_is_no_comment() -> None:
    assert code_hash('x = "#1"\n') != code_hash('x = "#2"\n')


# Loaded by a run, but of no influence on its numbers: files, plans, peers, and data sets' makers.
OTHER = {
    *("__init__.py", "recipe.py", "results.py", "sources.py", "storage.py", "resuming.py"),
    *("course.py", "cityscapes_labels.py", "data/__init__.py", "data/download.py", "data/packed.py"),
    *("data/packed_files.py", "losses/__init__.py", "models/__init__.py", "models/audit.py"),
    *("models/cost.py", "models/fields.py", "models/layouts.py"),
}


def test_what_a_run_imports_is_counted_or_left_out_on_purpose() -> None:
    code = "import sys, seglib.train.trainer; print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('seglib')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {Path(file).relative_to(PACKAGE).as_posix() for file in run.stdout.split()}
    assert {name for name in imported - {*MEASURING} - OTHER if not name.startswith("data/toy")} == set()


def test_every_measuring_file_exists_and_differences_are_named() -> None:
    hashes = code_hashes()
    assert set(hashes) == set(MEASURING)
    assert changed_sources(hashes, hashes) == []
    present = {**hashes, "metrics.py": "0" * 8, "new.py": "1" * 8}
    del present["windows.py"]
    assert changed_sources(hashes, present) == ["metrics.py", "windows.py"]


def test_a_run_that_went_on_with_other_code_is_of_neither(tmp_path: Path) -> None:
    path, old, new = tmp_path / "sources.json", {"a.py": "1", "b.py": "5"}, {"a.py": "2", "b.py": "5"}
    assert of_whole_run(path, old) == of_whole_run(path, old) == old
    for present in (new, new, old):  # going back to the old code does not undo what ran between
        both = of_whole_run(path, present)
        assert both == {"a.py": "1+2", "b.py": "5"}
        assert changed_sources(both, old) == changed_sources(both, new) == ["a.py"]
