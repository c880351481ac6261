"""The three services once a session, the disks that tests import, and a project of each test's own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from recast.client import SERVICES, Service
from tests.harness import disks
from tests.harness.cloud import Cloud, bugs_in
from tests.harness.postgresql import PostgresqlServer, running_postgresql
from tests.harness.project import Tenant
from tests.harness.rpcs import set_stage

MIB = 1 << 20
Named = Callable[[str, Service], str] | None


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that tests import. No disk is a whole number of MiB, and several are of equal size."""
    folder = tmp_path_factory.mktemp("sources")
    disks.make_system_disk(folder / "sys.raw", 64 * MIB + 5 * 512, 4 * MIB)
    disks.to_qcow2(folder / "sys.raw", folder / "sys.qcow2", compressed=False)
    disks.make_system_disk(folder / "old.raw", 64 * MIB + 5 * 512, 1 * MIB, "unprepared", hostname="old-1")
    windows = dict.fromkeys(disks.system_files("prepared")) | {
        "/Windows/System32/config/SYSTEM": "hive",
        "/Windows/System32/drivers/vioscsi.sys": "driver",
    }
    disks.make_system_disk(folder / "win.raw", 32 * MIB, 0, files=windows)
    cloudbase = "/Program Files/Cloudbase Solutions/Cloudbase-Init/Python/Scripts/cloudbase-init.exe"
    disks.make_system_disk(folder / "win-prepared.raw", 32 * MIB, 0, files=windows | {cloudbase: "program"})
    disks.make_text_disk(folder / "logs.raw", 16 * MIB, 2 * MIB)
    for number in (1, 2):
        disks.make_incompressible_disk(
            folder / f"media-{number}.raw", 5 * MIB + 3 * 512, 3 * MIB, seed=number
        )
    (folder / "odd.raw").write_bytes(random.Random(1).randbytes(777))
    disks.make_iso_file(folder / "iso.raw", MIB + 3 * 512)
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server of the session's own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def database_of(request: pytest.FixtureRequest) -> Named:
    """Makes the database of a cloud's service, both given by name; None where it is a file of its own."""
    if request.config.getoption("--databases") == "sqlite":
        return None
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return lambda cloud, service: server.created(f"{cloud}_{service}")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, database_of: Named) -> Iterator[Cloud]:
    """The three services with default settings. At the end no call and no work may have met a bug."""
    with _running(tmp_path_factory.mktemp("cloud"), database_of=_of(database_of, "cloud")) as running:
        yield running


@pytest.fixture(scope="session")
def strict_cloud(
    tmp_path_factory: pytest.TempPathFactory, cloud: Cloud, database_of: Named
) -> Iterator[Cloud]:
    """Three more services: CSBS in its strict reading (R06), IMS not enforcing preparation (R22) and taking
    small disks.
    """
    options: dict[str, Any] = {
        "csbs_options": {"require_available": True},
        "ims_options": {"preparation": "warn", "max_virtual_bytes": 100 * MIB},
        "database_of": _of(database_of, "strict"),
    }
    with _running(tmp_path_factory.mktemp("strict"), **options) as running:
        yield running


@pytest.fixture(scope="session")
def main(cloud: Cloud, sources: Path) -> Tenant:
    """The project that most tests share, each with ids of its own. It has the images sys, logs, media-1,
    media-2 and iso.
    """
    tenant = Tenant(cloud, "main", sources)
    tenant.import_image("sys", "sys.qcow2")
    for name in ("logs", "media-1", "media-2"):
        tenant.import_image(name, f"{name}.raw", kind="DATA_DISK")
    tenant.import_image("iso", "iso.raw", kind="ISO")
    return tenant


@pytest.fixture(scope="session")
def replayed(main: Tenant) -> Tenant:
    """The shared project with the stopped server `replayed`, of which fresh_requests has backups made."""
    main.create_server("replayed", leave_stopped=True)
    return main


@pytest.fixture(scope="session")
def tenant_of(cloud: Cloud, sources: Path) -> Callable[[str], Tenant]:
    """Gives a project by its id; it has nothing."""
    return lambda project: Tenant(cloud, project, sources)


@pytest.fixture(scope="session")
def stage(cloud: Cloud, sources: Path) -> Tenant:
    """A project with resources for every RPC. Tests undo their changes, or change only texts."""
    tenant = Tenant(cloud, "stage", sources)
    set_stage(tenant)
    for service in SERVICES:
        tenant.wait_until_idle(service)
    return tenant


@pytest.fixture
def strict(strict_cloud: Cloud, sources: Path) -> Tenant:
    """A project in the strict cloud."""
    return Tenant(strict_cloud, "strict", sources)


def _of(database_of: Named, cloud: str) -> Callable[[Service], str] | None:
    return partial(database_of, cloud) if database_of else None


@contextmanager
def _running(root: Path, **options: Any) -> Iterator[Cloud]:
    log = root / "log.json"
    before = structlog.get_config()
    with log.open("w") as file:
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.dict_tracebacks,
                structlog.processors.JSONRenderer(default=str),
            ],
            logger_factory=structlog.WriteLoggerFactory(file=file),
        )
        running = Cloud(root, **options)
        running.start()
        try:
            yield running
        finally:
            running.stop()
            structlog.configure(**before)
    assert not bugs_in(log)
