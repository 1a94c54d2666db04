"""Why is my mIoU low? Checks of data, network, training and predictions, each with its evidence and its cure.

    from seglib import diagnose

    report = diagnose.check(train_set, val_set, model=model, recipe=recipe)   # what is not given is not looked at
    print(report)                 # in a notebook, `report` by itself is a table
    diagnose.check(train_set, val_set, predictions=maps, score=0.71)

`python -m seglib diagnose FOLDER --checkpoint RUN` does so from the command line. findings.toml lists all
findings by name, with severity, wording, fix and the section of notebook 14; `tools/faults.py` plants each of them.
"""

from typing import Any

__all__ = ["Finding", "Report", "check"]


def __getattr__(name: str) -> Any:
    # imported on first use: finding what a folder's files lack needs no network, and torch takes seconds to load
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from seglib.diagnose import checks, report

    return getattr(checks if name == "check" else report, name)
