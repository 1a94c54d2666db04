"""The course's figures: samples with their errors, training curves, per-class bars, confusion matrices.

Label maps are drawn in the palette of their data set. All other colours are Okabe and Ito's, which colour-blind readers
can tell apart; the background is white with dark text, so that a figure reads the same on a dark theme. Every function
returns a Figure that pyplot no longer holds: a notebook shows it once, as the last expression of a cell or by `png`.
"""

from seglib.course.figures.charts import class_share_bars, confusion_heatmap, iou_bars, training_curves
from seglib.course.figures.panels import instance_colours, show_panels
from seglib.course.figures.samples import class_colours, error_map, show_label, show_samples
from seglib.course.figures.style import png

__all__ = [
    "class_colours",
    "class_share_bars",
    "confusion_heatmap",
    "error_map",
    "instance_colours",
    "iou_bars",
    "png",
    "show_label",
    "show_panels",
    "show_samples",
    "training_curves",
]
