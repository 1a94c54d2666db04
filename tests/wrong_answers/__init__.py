"""Wrong answers to the exercises, one module per notebook: `WRONG`: exercise's number -> sources for its stub."""
