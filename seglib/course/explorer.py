"""The parts of every explorer: labelled sliders, and one figure that follows them."""

import html
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets
from matplotlib.figure import Figure

from seglib.course.figures.style import png

MULTI_GRIDS = ((1, 1, 1), (1, 2, 1), (1, 2, 3), (1, 2, 4), (2, 2, 2))  # that the explorers of dilations offer


class Explorer(ipywidgets.VBox):
    """Controls above one picture, which is redrawn when a control is released. Its repr names the controls only.

    Where drawing fails, the sentence below the picture says why.

    Args:
        draw: returns a figure; its arguments have the names of the controls.
        alt: a sentence that says what the picture shows; it stands below the picture.
        controls: such as `slider` makes, in the order in which they appear.
    """

    def __init__(self, draw: Callable[..., Figure], alt: str, **controls: ipywidgets.ValueWidget):
        self.controls = controls
        # at the start: a box stretches its children, and the picture would be enlarged to the notebook's width
        layout = ipywidgets.Layout(max_width="100%", align_self="flex-start")
        self.picture = ipywidgets.Image(format="png", layout=layout)
        self.sentence = ipywidgets.HTML()
        self._draw, self._alt = draw, alt
        for control in controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()
        super().__init__([*controls.values(), self.picture, self.sentence])

    def _redraw(self, _: object = None) -> None:
        try:
            figure = self._draw(**{name: control.value for name, control in self.controls.items()})
            self.picture.value = png(figure, self._alt).data
        except Exception as error:  # which Jupyter shows nowhere in the notebook
            self.sentence.value = f"<b>The picture stays as it was: {html.escape(str(error))}</b>"
            raise
        self.sentence.value = f"<small>{self._alt}</small>"

    def __repr__(self) -> str:
        return f"Explorer({', '.join(f'{name}={control.value}' for name, control in self.controls.items())})"


def slider(name: str, values: Iterable[Any], start: Any, unit: str = "") -> ipywidgets.SelectionSlider:
    """A slider over `values`, which arrow keys move as well."""
    return ipywidgets.SelectionSlider(
        options=[(f"{value}{unit}", value) for value in values],
        value=start,
        description=name,
        continuous_update=False,
        style={"description_width": "110px"},
        layout=ipywidgets.Layout(width="420px"),
    )
