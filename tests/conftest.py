"""Settings every test shares: one thread, fixed seeds, repeatable property tests; the small set and real data."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from small_set import write_small_set

from seglib.__main__ import main

# Before anything imports matplotlib: figures are drawn without a display.
os.environ["MPLBACKEND"] = "Agg"
LIMIT = Image.MAX_IMAGE_PIXELS

torch.set_num_threads(1)
settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Each test starts from the same random state and Pillow's limit, whatever ran before it."""
    Image.MAX_IMAGE_PIXELS = LIMIT  # `predict` with windows lifts it for its process
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  the libraries compared with may draw from the global state
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small set, which no test changes; one that does writes its own."""
    return write_small_set(tmp_path_factory.mktemp("data"))


@pytest.fixture
def limit() -> Iterator[Callable[..., None]]:
    """Limits the size of files, so that writing ends as on a full disk; without a size, lifts the limit."""
    resource = pytest.importorskip("resource", reason="the limit on a file's size is POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_limit(size: int = soft) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield set_limit
    set_limit()


@pytest.fixture
def command(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs `python -m seglib` with the arguments, in this process; checks its exit status and returns what it wrote."""

    def run(*arguments: str | Path, status: int = 0) -> str:
        capsys.readouterr()
        found = main([str(argument) for argument in arguments])
        out = capsys.readouterr().out
        assert int(found or 0) == status, out
        return out

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The Chromium that is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="not installed: pip install -e '.[browser]'")
    paths = map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
    if (path := next(filter(None, paths), None)) is None:
        pytest.skip("Chromium is not installed")
    quiet = ("quic", "sync", "background-networking", "gpu")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet)]
        )
        yield browser
        browser.close()


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
