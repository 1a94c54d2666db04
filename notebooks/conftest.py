"""How nbval runs the notebooks: on the bundled data, and with a second attempt for a kernel that does not come up."""

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

from tools.notebooks import START_SECONDS, kernel_environment

# nbval waits 5 s for the output of a cell that has finished, which a loaded machine can exceed.
OUTPUT_SECONDS = 60


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raises RuntimeError in the main thread after `seconds`; without effect where there is no SIGALRM (Windows)."""

    def interrupt(*_: object) -> None:
        raise RuntimeError(f"the kernel did not start in {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def start_kernel(*args: object, **kwargs: object) -> RunningKernel:
    """nbval's kernel, started once more if the first start fails or hangs; no cell has run by then."""
    try:
        with _time_limit(START_SECONDS):
            return RunningKernel(*args, **kwargs)
    except RuntimeError as error:
        warnings.warn(f"kernel start failed ({error}); trying once more", stacklevel=2)
    with _time_limit(START_SECONDS):
        return RunningKernel(*args, **kwargs)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Starts the kernel of a notebook in the environment that `make notebooks` stores outputs from."""
    before, wanted = dict(os.environ), kernel_environment()
    os.environ.clear()
    os.environ.update(wanted)
    item.output_timeout = OUTPUT_SECONDS
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nbval.plugin, "RunningKernel", start_kernel)
            return (yield)
    finally:
        os.environ.clear()
        os.environ.update(before)
