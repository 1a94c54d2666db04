"""Explorers, one file per notebook: sliders that redraw one figure, which a plain function makes."""
