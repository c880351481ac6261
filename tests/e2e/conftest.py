"""A stack of containers of each kind, the disks that are imported, and the folder of the tests' programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recast.client import SERVICES
from recast.testing import RecastStack
from tests.e2e.breaking import with_fault_points
from tests.harness import disks

MIB = 1 << 20
# The seconds that an unreachable owner is waited for.
_QUICK = {f"RECAST_{service.upper()}_LEASE_SECONDS": "2" for service in SERVICES}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that tests import: two system disks, and a data disk."""
    folder = tmp_path_factory.mktemp("sources")
    disks.make_system_disk(folder / "sys.raw", 48 * MIB, 4 * MIB)
    disks.make_system_disk(folder / "old.raw", 48 * MIB, 1 * MIB, "unprepared", hostname="old-1")
    disks.make_incompressible_disk(folder / "media.raw", 5 * MIB + 3 * 512, 3 * MIB, seed=1)
    return folder


def _running(*, scale: bool) -> Iterator[RecastStack]:
    stack = RecastStack(scale=scale, environment=_QUICK)
    with with_fault_points(stack):
        yield stack


@pytest.fixture(scope="session")
def one_of_each() -> Iterator[RecastStack]:
    """The default stack, for the whole run."""
    yield from _running(scale=False)


@pytest.fixture(scope="session")
def scaled() -> Iterator[RecastStack]:
    """The scaled stack, for the whole run."""
    yield from _running(scale=True)
