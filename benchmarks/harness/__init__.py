"""What the benchmarks share: taking turns, peak memory, tables, and the networks that are compared."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the painter in tools/ makes the benchmarks' pictures
