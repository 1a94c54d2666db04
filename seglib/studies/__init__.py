"""Studies: comparisons of recipes over seeds, beside the papers' tables."""

from seglib.studies.study import Study

__all__ = ["Study"]
