"""`make test-model SEED=123 STEPS=10000`: the state machine by a seed of one's own."""

import argparse
import tempfile
from pathlib import Path

from tests.faults.model.running import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recast-model-") as folder:
        run(Path(folder), seed=options.seed, steps=options.steps, figure=print)
