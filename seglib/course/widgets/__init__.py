"""Explorers for the notebooks: sliders that redraw one picture, which a plain function makes."""
