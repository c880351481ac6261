"""The three services do what a model of a few hundred lines says, over thousands of drawn requests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model.running import run

STEPS = 1000


@pytest.mark.timeout(900)
def test_the_services_agree_with_the_model(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every answer, every list and every byte is what the model says."""
    run(tmp_path, seed=1, steps=STEPS, figure=figure)
