"""The three services agree with the model: as test_model_first_seed.py, by a third seed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.model.running import run


@pytest.mark.timeout(1200)
def test_the_services_agree_with_the_model(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every answer, every list and every byte is the model's, and in the end nothing is left."""
    run(tmp_path, seed=3, steps=3_334, figure=figure)
