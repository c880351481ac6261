"""The doctor's own list of the services' states and verbs equals the services' lists."""

from collections.abc import Iterable

import pytest

from csbs.domain.backup import BackupState
from ecs.domain.disk import DiskState
from ecs.domain.server import ServerState
from ims.domain.image import ImageState
from recast.doctor import REMEDIES, Code
from recast.doctor.operation_checks import STABLE, TRANSIENT


@pytest.mark.parametrize(
    ("noun", "states"),
    [("backup", BackupState), ("image", ImageState), ("server", ServerState), ("disk", DiskState)],
)
def test_every_state_that_ends_is_known(noun: str, states: Iterable[str]) -> None:
    """The doctor expects work wherever a state is not one that a resource may stay in."""
    assert {str(state) for state in states} == STABLE[noun] | TRANSIENT[noun].keys()


def test_every_problem_has_a_remedy() -> None:
    """The report has a remedy for each code."""
    assert set(REMEDIES) == set(Code)
