"""The scaled stack in containers: the main job, then faults of its containers while it works."""

from pathlib import Path

import pytest

from recast.testing import RecastStack
from tests.e2e.breaking import FAULTS, endure
from tests.e2e.container_project import Guest
from tests.e2e.fault_suite import LASTS_SECONDS, WORKS, FaultSuite, World, suffer
from tests.e2e.main_job import MainJobSuite


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

    @pytest.mark.timeout(240)
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("dependency", ["postgres", "s3"])
    def test_work_ends_well_after_its_database_or_store_was_unreachable(
        self, world: World, dependency: str, fault: str
    ) -> None:
        """A backup goes on, and is whole, within a minute after its database or its chunk store came back."""
        stack = world.guest.stack
        broken = {"postgres": stack.postgresql, "s3": stack.s3}[dependency]
        assert broken
        suffer(
            world,
            WORKS["backup"],
            f"{dependency}-{fault}",
            fault,
            lambda _: broken,
            lambda *_: endure(2 * LASTS_SECONDS),
        )
