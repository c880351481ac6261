"""Installations of older versions open for ever: their stores, disks and databases, by the code of today."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from recast.client import SERVICES
from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.doctor import Installation, examine
from recast.ecs.v1 import disk_service_pb2, server_service_pb2
from recast.faults import Kind
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from recast.stack import LocalStack
from tests.harness.expectations import refused, state_of
from tests.harness.postgresql import PostgresqlServer
from tests.harness.project import Tenant

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
ENGINES = ("sqlite", "postgresql")
THAWED = ("etag", "update_time", "allocated_bytes", "frozen_for")
"""The fields of its server and disks that the end of the pending backup changes, at any moment."""
VERSIONS = sorted(path.parent.name for path in GOLDEN.glob("*/installation.tar.xz"))


@dataclass(frozen=True)
class Opened:
    """An installation of an older version, with the present services on it."""

    tenant: Tenant
    expected: dict[str, Any]
    """Its lists when it was taken."""
    lists: dict[str, list[Any]]
    """Each list before any action."""
    root: Path
    is_sqlite: bool


@contextmanager
def _running(version: str, root: Path, environment: dict[str, str]) -> Iterator[Opened]:
    with LocalStack(root, environment=environment) as stack:
        tenant = Tenant(stack, "golden", root)  # type: ignore[arg-type]  # it needs clients alone
        expected = json.loads((GOLDEN / version / "expected.json").read_text())
        yield Opened(tenant, expected, _lists(tenant), root, is_sqlite=not environment)


def _lists(tenant: Tenant) -> dict[str, list[Any]]:
    recast, parent = tenant.recast, tenant.parent
    messages: dict[str, Any] = {
        "backups": recast.backups.ListBackups(csbs_pb.ListBackupsRequest(parent=parent)).backups,
        "images": recast.images.ListImages(ims_pb.ListImagesRequest(parent=parent)).images,
        "servers": recast.servers.ListServers(server_service_pb2.ListServersRequest(parent=parent)).servers,
        "disks": recast.disks.ListDisks(disk_service_pb2.ListDisksRequest(parent=parent)).disks,
    }
    return {
        name: [MessageToDict(message, preserving_proto_field_name=True) for message in found]
        for name, found in messages.items()
    }


def _load(url: str, dump: Path) -> str:
    """Fills an empty database from a dump, and gives its URL."""
    done = subprocess.run(
        ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, url.replace("postgresql+psycopg", "postgresql")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return url


@pytest.fixture(scope="module", params=[(each, engine) for each in VERSIONS for engine in ENGINES])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresqlServer
) -> Iterator[Opened]:
    """Each golden installation, on the engine that its rows were taken from."""
    version, engine = request.param
    root = tmp_path_factory.mktemp("golden") / "stack"
    root.mkdir()
    archive = GOLDEN / version / "installation.tar.xz"
    subprocess.run(["tar", "-xJf", archive, "-C", root], check=True)
    environment = {}
    if engine == "postgresql":
        for service in SERVICES:
            url = postgresql.created(f"golden_{version}_{service}")
            _load(url, GOLDEN / version / f"{service}.sql")
            environment[f"RECAST_{service.upper()}_DATABASE_URL"] = url
    with _running(version, root, environment) as running:
        yield running
    shutil.rmtree(root)


def test_the_lists_are_unchanged(opened: Opened) -> None:
    """Every list gives each field as when it was taken; newer fields may be there too."""
    for name, found in opened.lists.items():
        before = opened.expected[name]
        assert len(found) == len(before)
        for was, now in zip(before, found, strict=True):
            if was["name"].endswith("/pending"):
                continue  # its work went on as soon as the services ran
            is_thawed = "/web" in was["name"] and name in ("servers", "disks")
            assert now == now | {key: was[key] for key in was if not (is_thawed and key in THAWED)}


def test_the_disks_hold_their_bytes(opened: Opened) -> None:
    """Every disk reads as it did."""
    for server in ("web", "copy"):
        assert opened.tenant.digests(server) == opened.expected["digests"][server]
    assert [opened.tenant.digest(opened.tenant.disk("loose"))] == opened.expected["digests"]["loose"]


def test_a_request_is_not_made_twice(opened: Opened) -> None:
    """A request id of then is answered as it was then, and refused for another body."""
    header = ParseDict(opened.expected["requests"]["sys"], ims_pb.ImportImageHeader())
    images = opened.tenant.recast.images
    answer = images.ImportImage(iter([ims_pb.ImportImageRequest(header=header)]))
    assert opened.tenant.result(answer.operation, "ims", image_pb2.Image).name == opened.tenant.image("sys")
    header.image.display_name = "another"
    with refused("REQUEST_ID_REUSED", Kind.INVALID_ARGUMENT):
        images.ImportImage(iter([ims_pb.ImportImageRequest(header=header)]))


def test_work_goes_on(opened: Opened) -> None:
    """A backup that was under way is made to its end, and its disks thaw."""
    name = opened.expected["pending_operation"]
    opened.tenant.wait(operations_pb2.Operation(name=name), "csbs")
    assert state_of(opened.tenant.get_backup("pending")) == "AVAILABLE"


def test_its_backups_and_images_make_servers(opened: Opened) -> None:
    """An old image provisions as before; an old backup is restored, and made into an image."""
    tenant = opened.tenant
    tenant.wait_until_idle("csbs")
    tenant.create_server("again", "web")
    assert tenant.digests("again") == opened.expected["digests"]["copy"]
    tenant.create_image("of-first", "first")
    tenant.create_server("of-first", "of-first")
    tenant.stop_server("web")
    tenant.restore("first")
    assert tenant.digests("web") == tenant.digests("of-first")


def test_the_doctor_finds_nothing(opened: Opened) -> None:
    """After all of that every chunk, disk and row agrees."""
    for service in SERVICES:
        opened.tenant.wait_until_idle(service)
    if opened.is_sqlite:
        assert examine(Installation.local(opened.root), deep=True, at_rest=True).problems == ()
