# ruff: noqa: F401  notebooks import these names from here
"""The course's figures. Those that several notebooks draw are here; those of one notebook have its file.

Label maps are drawn in the palette of their data set. All other colours are Okabe and Ito's, which colour-blind readers
can tell apart; the background is white with dark text, so that a figure reads the same on a dark theme. Every function
returns a Figure that pyplot no longer holds: a notebook shows it once, as the last expression of a cell or by `png`.
"""

from seglib.course.figures.charts import (
    confusion_heatmap,
    difference_map,
    draw_effects,
    effects_figure,
    line_chart,
    scatter_named,
    seed_dots,
    share_bars,
    training_curves,
)
from seglib.course.figures.pictures import (
    class_colours,
    error_map,
    instance_colours,
    show_fields,
    show_influence,
    show_labels,
    show_overlays,
    show_panels,
    show_samples,
    tint_band,
)
from seglib.course.figures.style import png
