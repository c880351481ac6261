"""All three services go on where they were after their databases were moved to PostgreSQL."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from sqlalchemy import text

from recast.client import SERVICES, Recast
from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.database import Database
from recast.ecs.v1 import disk_service_pb2, server_service_pb2
from recast.faults import Kind
from recast.ims.v1 import image_service_pb2 as ims_pb
from recast.stack import LocalStack
from tests.harness.cloud import chunks_held
from tests.harness.expectations import refused, state_of, until
from tests.harness.postgresql import PostgresqlServer
from tests.harness.project import Tenant

OFFSET = 3 << 20


@dataclass(frozen=True)
class World:
    """The state on SQLite, and the services that go on with it on PostgreSQL."""

    tenant: Tenant
    lists: tuple[dict[str, list[Any]], dict[str, list[Any]]]
    """Each list before the move, and after the services began again."""
    web: list[str]
    """The digests of the server's disks when it was backed up."""
    pending: operations_pb2.Operation
    """A backup that was under way."""
    csbs: str
    """The URL of the database that CSBS has now."""
    output: str
    """The output of the three moves."""


def lists_of(recast: Recast, parent: str) -> dict[str, list[Any]]:
    """Everything that the services list of a project."""
    return {
        "backups": list(recast.backups.ListBackups(csbs_pb.ListBackupsRequest(parent=parent)).backups),
        "images": list(recast.images.ListImages(ims_pb.ListImagesRequest(parent=parent)).images),
        "servers": list(
            recast.servers.ListServers(server_service_pb2.ListServersRequest(parent=parent)).servers
        ),
        "disks": list(recast.disks.ListDisks(disk_service_pb2.ListDisksRequest(parent=parent)).disks),
    }


def move(service: str, root: Path, url: str) -> str:
    """Moves the database of a service that is stopped, by its command."""
    source = f"sqlite:///{root}/data/{service}.db"
    command = [sys.executable, "-m", service, "move-database", "--from", source, "--to", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, sources: Path, postgresql: PostgresqlServer
) -> Iterator[World]:
    """A server, its backup, an image of that and a backup under way; then all three databases are moved."""
    root = tmp_path_factory.mktemp("moved")
    with LocalStack(root) as stack:
        tenant: Any = Tenant(stack, "moved", sources)  # type: ignore[arg-type]  # it needs clients alone
        tenant.import_image("sys", "sys.qcow2")
        tenant.import_image("media", "media-1.raw", kind="DATA_DISK")
        spec = server_service_pb2.DataDiskSpec(image=tenant.image("media"))
        tenant.create_server("web", data_disks=[spec])
        tenant.create_backup("nightly", "web")
        tenant.create_image("web", "nightly")
        web = tenant.digests("web")
        for disk in tenant.get_server("web").disks:
            tenant.write(disk.disk, offset=OFFSET)
        database = Database(f"sqlite:///{root}/data/csbs.db")
        with chunks_held(database, "moved"):
            pending = tenant.start_backup("pending", "web").operation
            until(lambda: tenant.get_backup("pending").image_ready, "the mark")
            before = lists_of(tenant.recast, tenant.parent)
            stack.stop()
            database.close()
            urls = {service: postgresql.created(f"moved_{service}") for service in SERVICES}
            output = "".join(move(service, root, url) for service, url in urls.items())
        database.close()
    settings = {f"RECAST_{service.upper()}_DATABASE_URL": url for service, url in urls.items()}
    with LocalStack(root, environment=settings) as stack:
        tenant = Tenant(stack, "moved", sources)  # type: ignore[arg-type]
        lists = before, lists_of(tenant.recast, tenant.parent)
        yield World(tenant, lists, web, pending, urls["csbs"], output)


@pytest.fixture(scope="module")
def finished(world: World) -> World:
    """The world after the end of the backup that was under way."""
    assert not world.tenant.get_operation(world.pending, "csbs").done
    database = Database(world.csbs)
    with database.write() as tx:
        tx.session.connection().execute(text("DELETE FROM operation WHERE verb = 'Hold'"))
        tx.commit()
    database.close()
    world.tenant.wait(world.pending, "csbs")
    return world


def test_the_lists_are_equal(world: World) -> None:
    """Every list is the same before and after the move, etags and times included."""
    before, after = world.lists
    assert before == after
    counts = {name: len(found) for name, found in after.items()}
    assert counts == {"backups": 2, "images": 3, "servers": 1, "disks": 2}
    assert world.output.count("moved, read back and found equal") == len(SERVICES)


def test_work_goes_on(finished: World) -> None:
    """A backup that was under way is made to its end, of the bytes that it was begun on."""
    tenant = finished.tenant
    assert state_of(tenant.get_backup("pending")) == "AVAILABLE"
    tenant.create_image("pending", "pending")
    tenant.create_server("pending", "pending")
    made = tenant.digests("pending")
    assert made == tenant.digests("web")
    assert made != finished.web


def test_a_backup_is_restored(finished: World) -> None:
    """A backup from before the move gives its server every byte back."""
    tenant = finished.tenant
    assert tenant.digests("web") != finished.web
    tenant.stop_server("web")
    tenant.restore("nightly")
    assert tenant.digests("web") == finished.web


def test_a_lock_still_holds(world: World) -> None:
    """A backup with an image of it is still refused to be deleted (R15)."""
    with refused("BACKUP_HAS_IMAGE", image=world.tenant.image("web")):
        world.tenant.delete_backup("nightly")


def test_an_image_provisions(world: World) -> None:
    """A server made from the image has every byte of the disks that were backed up."""
    world.tenant.create_server("copy", "web")
    assert world.tenant.digests("copy") == world.web


def test_a_request_is_not_made_twice(world: World) -> None:
    """A request id that was seen before the move is answered as it was then, and refused for another body."""
    with refused("REQUEST_ID_REUSED", Kind.INVALID_ARGUMENT):
        world.tenant.import_image("sys", "old.raw")
    assert world.tenant.import_image("sys", "sys.qcow2").name == world.tenant.image("sys")
