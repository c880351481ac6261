"""`make test-model SEED=123 STEPS=10000`: the state machine by a seed of one's own."""

import argparse
import sys
import tempfile
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_TESTS / folder) for folder in ("faults", "demo", "system")]

from model.running import run  # noqa: E402  # found by the line above

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recast-model-") as folder:
        run(Path(folder), seed=asked.seed, steps=asked.steps, figure=print)
