"""Settings every test shares: one thread, fixed seeds, repeatable property tests; the small set and real data."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from small_set import write_small_set

# Before anything imports matplotlib: figures are drawn without a display.
os.environ["MPLBACKEND"] = "Agg"
torch.set_num_threads(1)
settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Each test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  the libraries compared with may draw from the global state
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small set, which no test changes; one that does writes its own."""
    return write_small_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def seglib_data() -> Path:
    """The folder of real data that SEGLIB_DATA names: voc/VOCdevkit/VOC2012, cityscapes, camvid, weights."""
    named = os.environ.get("SEGLIB_DATA")
    if not named:
        pytest.skip("SEGLIB_DATA is not set: no real data to test on (data/README.md says how to get it)")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"SEGLIB_DATA={named}: expected a folder, found {'a file' if folder.exists() else 'nothing'}")
    return folder
