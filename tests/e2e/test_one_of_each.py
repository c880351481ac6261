"""The default stack in containers: the main job, then faults of its containers while it works."""

from pathlib import Path

import pytest

from recast.testing import RecastStack
from tests.e2e.container_project import Guest
from tests.e2e.fault_suite import FaultSuite, World
from tests.e2e.main_job import MainJobSuite


@pytest.mark.always
class TestMainJob(MainJobSuite):
    """One CSBS, IMS and ECS."""

    @pytest.fixture(scope="class")
    @classmethod
    def guest(cls, one_of_each: RecastStack, sources: Path) -> Guest:
        """The project that does it."""
        return Guest(one_of_each, "main", sources)


class TestFaults(FaultSuite):
    """One CSBS, IMS and ECS: a broken one is waited for."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, one_of_each: RecastStack, sources: Path) -> World:
        """The project that suffers them."""
        return World.made(Guest(one_of_each, "faults", sources))
