"""The explorer of notebook 08: batch size and momentum -> what batch norm would evaluate with, step by step."""

from seglib.course.figures.ablation_batch_size import running_mean_figure
from seglib.course.widgets.explorer import Explorer, slider

MOMENTA = (0.5, 0.1, 0.03, 0.01, 0.003, 0.0003)


def running_mean_explorer() -> Explorer:
    """Sliders for batch size, momentum and how far training moves the mean, above the figure they redraw."""
    return Explorer(
        running_mean_figure,
        "One channel with one value per image. Dots: means of batches; dashed: the true mean; line: the running mean.",
        batch_size=slider("batch size", (1, 2, 4, 8, 16, 64), 4),
        momentum=slider("momentum", MOMENTA, 0.1),
        shift=slider("mean moves by", (0.0, 1.0, 2.0), 2.0),
    )
