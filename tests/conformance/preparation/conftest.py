"""Gives this folder's suites the builder of demo disks."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "demo"), str(Path(__file__).parent)]
