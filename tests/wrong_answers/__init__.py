"""Wrong answers to the exercises, one module per notebook.

`WRONG` maps the exercise's number to a part of the message, and that to the code that takes the place of the dots.
"""

from collections.abc import Callable


def fill(template: str, **right: object) -> Callable[..., str]:
    """Returns a function that fills in the template; fields that it is not given are right."""
    return lambda **wrong: template.format(**right | wrong)
