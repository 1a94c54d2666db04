"""Checks of the exercises, one module per notebook: each says what is wrong with an answer and hints at why."""
