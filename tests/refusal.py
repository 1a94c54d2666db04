"""One line for a call that is to be refused."""

from collections.abc import Callable
from typing import Any

import pytest


def refused(
    message: str | None, call: Callable, *arguments: Any, error: type[BaseException] = ValueError, **options: Any
) -> None:
    """Asserts that a call raises the error, whose message matches."""
    with pytest.raises(error, match=message):
        call(*arguments, **options)
