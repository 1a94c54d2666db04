"""Why is my mIoU low? Checks of data, network, training and predictions, each with its evidence and its cure.

    from seglib import diagnose

    report = diagnose.check(train_set, val_set, model=model, recipe=recipe)   # what is not given is not looked at
    print(report)                 # in a notebook, `report` by itself is a table
    diagnose.check(train_set, val_set, predictions=maps, score=0.71)

`python -m seglib diagnose FOLDER --checkpoint RUN/checkpoint.pt` does so from the command line. findings.toml lists all
findings by name, with severity, fix and the section of notebook 14.

Faults to practise on are in `seglib.diagnose.faults`:

    from seglib.diagnose.faults import FAULTS, FILE_FAULTS, healthy

    setup = healthy(recipe)                      # data sets with the recipe's augmentation, a new network, its loss
    faulty = FAULTS["flipped_apart"].plant(setup)
    print(faulty.check())                        # finds FAULTS["flipped_apart"].finding
    trainer = Trainer(faulty.recipe, run_dir, train_set=faulty.dataset, val_set=faulty.val_dataset)
    FILE_FAULTS["jpeg_masks"].plant(folder)      # changes a copy of a data set's files in place

A fault belongs to a stage: "data" (train with `faulty.dataset`, score on the healthy `setup.val_dataset`; the fault is
in both where `faulty.val_dataset` differs), "training" (`faulty.recipe`, or `trainer.loss = whole_loss(faulty.loss)`,
`trainer.normalisation = faulty.normalisation`), "network" (`faulty.model`), or "scores" (`faulty.predictions` and
`faulty.score` of a healthy network: set `predictions` of the set-up first).
"""

from typing import Any

__all__ = ["Finding", "Report", "check"]


def __getattr__(name: str) -> Any:
    # imported on first use: finding what a folder's files lack needs no network, and torch takes seconds to load
    if name == "check":
        from seglib.diagnose.checks import check

        return check
    if name in __all__:
        from seglib.diagnose import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
