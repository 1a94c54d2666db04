"""Trains every head of the reach curves with three seeds and stores the scores, for notebooks 03 and 04.

python -m tools.reach

Takes about 40 minutes on one thread. Runs that data/results/reach.csv holds are kept: after a change of the task or of
the heads, delete the file first.
"""

import sys
import time

import pandas as pd
import torch

from seglib.course.reach import HEADS, STEPS, STORE, Head, accuracy, train
from seglib.files import write_atomic

SEEDS = (0, 1, 2)


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    tables = [pd.read_csv(STORE)] if STORE.is_file() else []
    done = {key for table in tables for key in zip(table["head"], table["pairs"], table["seed"], strict=True)}
    runs = [(head, pairs, seed) for seed in SEEDS for pairs, heads in HEADS.items() for head in heads]
    for head, pairs, seed in runs:
        if (str(head), pairs, seed) not in done:
            tables.append(measure(head, pairs, seed))
            text = pd.concat(tables).to_csv(index=False)
            write_atomic(STORE, lambda file, text=text: file.write(text.encode()))
            print(f"{head}, {pairs} pairs, seed {seed}:", *tables[-1]["accuracy"].round(2), flush=True)


def measure(head: Head, pairs: int, seed: int) -> pd.DataFrame:
    """Trains and tests a head: a row for each distance, as `STORE` has them."""
    begun = time.monotonic()
    scores = accuracy(train(head, pairs, seed), pairs).round(4).reset_index()
    seconds = round(time.monotonic() - begun, 1)
    return scores.assign(head=str(head), pairs=pairs, seed=seed, steps=STEPS, seconds=seconds)


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else sys.exit(__doc__)
