"""What every explorer is made of: labelled sliders, and one picture that follows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

LABEL_WIDTH = "110px"


class Explorer(ipywidgets.VBox):
    """Controls above one picture. Its repr names the controls alone, not the bytes of the picture."""

    def __init__(self, draw: Callable[..., bytes], alt: str, controls: dict[str, ipywidgets.ValueWidget]):
        self.controls = controls
        self.picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))
        caption = ipywidgets.HTML(f"<small>{alt}</small>")
        self._draw = draw
        for control in controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()
        super().__init__([*controls.values(), self.picture, caption])

    def _redraw(self, _: object = None) -> None:
        self.picture.value = self._draw(**{name: control.value for name, control in self.controls.items()})

    def __repr__(self) -> str:
        return f"Explorer({', '.join(f'{name}={control.value}' for name, control in self.controls.items())})"


def explorer(draw: Callable[..., bytes], alt: str, **controls: ipywidgets.ValueWidget) -> Explorer:
    """A box of controls and the picture that `draw` makes of their values.

    Args:
        draw: returns a PNG; its arguments have the names of the controls.
        alt: a sentence that says what the picture shows; it stands below the picture.
        controls: such as `slider` makes, in the order in which they appear.

    The picture is redrawn when a control is released, not while it is dragged.
    """
    return Explorer(draw, alt, controls)


def slider(name: str, values: Iterable[Any], start: Any, unit: str = "") -> ipywidgets.SelectionSlider:
    """A slider over `values`, which arrow keys move as well. Raises ValueError if `start` is none of them."""
    values = list(values)
    if start not in values:
        raise ValueError(f"{name}: expected a start among {values}, found {start!r}")
    return ipywidgets.SelectionSlider(
        options=[(f"{value}{unit}", value) for value in values],
        value=start,
        description=name,
        continuous_update=False,
        style={"description_width": LABEL_WIDTH},
        layout=ipywidgets.Layout(width="420px"),
    )
