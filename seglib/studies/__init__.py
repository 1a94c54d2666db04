"""Studies: comparisons of recipes over seeds, beside the papers' tables."""
