"""What the benchmarks share: taking turns, peak memory, tables, and the networks that are compared."""
