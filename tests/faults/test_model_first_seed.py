"""The three services do what a model of a few hundred lines says, over thousands of drawn requests.

The other half is in test_model_second_seed.py: two files, so that both cores work.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.model.running import run


@pytest.mark.timeout(1200)
def test_the_services_agree_with_the_model(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every answer, every list and every byte is what the model says, and in the end nothing is left."""
    run(tmp_path, seed=1, steps=5_000, figure=figure)
