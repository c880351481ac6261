"""The three services agree with a model of a few hundred lines, over thousands of drawn requests.

The rest is in test_model_second_seed.py and test_model_third_seed.py: files run beside each other.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.model.running import run


@pytest.mark.timeout(1200)
def test_the_services_agree_with_the_model(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every answer, every list and every byte is the model's, and in the end nothing is left."""
    run(tmp_path, seed=1, steps=3_334, figure=figure)
