"""The scaled stack in containers: the main job, then faults of its containers while it works."""

from pathlib import Path

import pytest
from fault_suite import FaultSuite, World
from main_job import MainJobSuite

from guest import Guest
from recast.testing import RecastStack


class TestMainJob(MainJobSuite):
    """Two replicas of CSBS and IMS, two hosts of ECS, PostgreSQL and S3."""

    @pytest.fixture(scope="class")
    @classmethod
    def guest(cls, scaled: RecastStack, sources: Path) -> Guest:
        """The project that does it."""
        return Guest(scaled, "main", sources)

    def hosts(self) -> set[str]:
        """The hosts that the servers are spread over."""
        return {"a", "b"}


class TestFaults(FaultSuite):
    """Two of each: a replica's work is taken over while it is broken; a host's disks are waited for."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, scaled: RecastStack, sources: Path) -> World:
        """The project that suffers them."""
        return World.made(Guest(scaled, "faults", sources))
