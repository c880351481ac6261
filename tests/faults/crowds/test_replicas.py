"""Two replicas of each service on one PostgreSQL: every piece of work is done once, and goes on when a
replica is killed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from recast.client import SERVICES, Recast, Service
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backups_pb
from recast.ecs.v1 import disk_pb2, server_pb2
from recast.ecs.v1 import disk_service_pb2 as disks_pb
from recast.ecs.v1 import server_service_pb2 as servers_pb
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images_pb
from tests.faults.crowds.crowd import all_at_once, insist, reasons
from tests.faults.crowds.replicas import Replicas
from tests.faults.crowds.tenants import MIB, make_tenant
from tests.harness.postgresql import running_postgresql
from tests.harness.project import Tenant

# Where a replica is killed: with the lease in hand, and half of the work done.
_DEATHS: dict[Service, str] = {
    "csbs": "CreateBackup/seal:commit",
    "ims": "CreateImage:call ConfirmLock",
    "ecs": "CreateServers/disks:done",
}
_MAX_ROUNDS = 6
_SOURCES = 4  # servers that are backed up, and then are images


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Two of each."""
    root = tmp_path_factory.mktemp("replicas")
    with running_postgresql() as server, Replicas(root, count=2, postgresql=server) as running:
        yield running


@pytest.fixture(scope="module")
def tenant(replicas: Replicas) -> Tenant:
    """The project, with servers to back up."""
    made = make_tenant(replicas, replicas.root / "sources")
    for number in range(_SOURCES):
        made.create_server(f"source-{number}", data_disks=[servers_pb.DataDiskSpec(image=made.image("logs"))])
    return made


def _follow(client: Recast, answer: Any) -> str:
    """Waits for the end of the work that a call began; gives the operation's name."""
    service = answer.DESCRIPTOR.full_name.split(".")[1]
    return insist(lambda: client.wait(answer.operation, service, timeout_seconds=60)).name


def _create_backup(tenant: Tenant, client: Recast, prefix: str, number: int) -> str:
    """A backup, and the full-server image of it."""
    name = f"{prefix}-{number}"
    backup = backups_pb.CreateBackupRequest(
        parent=tenant.parent,
        backup_id=name,
        backup=backup_pb2.Backup(server=tenant.server(f"source-{number}")),
        request_id=name,
    )
    _follow(client, insist(lambda: client.backups.CreateBackup(backup)))
    image = images_pb.CreateImageRequest(
        parent=tenant.parent,
        image_id=name,
        image=image_pb2.Image(display_name=name),
        backup=tenant.backup(name),
        disclaimer_accepted=True,
        request_id=name,
    )
    return _follow(client, insist(lambda: client.images.CreateImage(image)))


def _create_servers(tenant: Tenant, client: Recast, prefix: str, number: int) -> str:
    """Two servers, of which the first is deleted again."""
    name = f"{prefix}-s{number}"
    request = servers_pb.CreateServersRequest(
        parent=tenant.parent,
        server_id=name,
        server=server_pb2.Server(display_name=name),
        image=tenant.image("sys"),
        count=2,
        request_id=name,
    )
    _follow(client, insist(lambda: client.servers.CreateServers(request)))
    deletion = servers_pb.DeleteServerRequest(name=tenant.server(f"{name}-0000"), request_id=name)
    return _follow(client, insist(lambda: client.servers.DeleteServer(deletion)))


def _create_disk(tenant: Tenant, client: Recast, prefix: str, number: int) -> str:
    """A disk; of every two one is deleted again."""
    name = f"{prefix}-d{number}"
    request = disks_pb.CreateDiskRequest(
        parent=tenant.parent,
        disk_id=name,
        disk=disk_pb2.Disk(size_bytes=MIB * (number % 2)),
        image="" if number % 2 else tenant.image("logs"),
        request_id=name,
    )
    made = _follow(client, insist(lambda: client.disks.CreateDisk(request)))
    if number % 2:
        return made
    deletion = disks_pb.DeleteDiskRequest(name=tenant.disk(name), request_id=name)
    return _follow(client, insist(lambda: client.disks.DeleteDisk(deletion)))


def _work(tenant: Tenant, replicas: Replicas, prefix: str) -> list[Callable[[], str]]:
    """Work of many kinds, each for a thread with a client of its own."""
    kinds = [(_create_backup, _SOURCES), (_create_servers, 6), (_create_disk, 12)]
    return [
        partial(make, tenant, replicas.new_client("main"), prefix, number)
        for make, count in kinds
        for number in range(count)
    ]


def _check_effects(replicas: Replicas, tenant: Tenant, prefix: str) -> None:
    """Each requested resource exists once, and no deleted one does."""
    like = {"names": f"%/{prefix}-%"}
    backups = replicas.rows("csbs", "SELECT state FROM backup WHERE name LIKE :names", **like)
    images = replicas.rows("ims", "SELECT state FROM image WHERE name LIKE :names", **like)
    servers = replicas.rows("ecs", "SELECT state FROM server WHERE name LIKE :names", **like)
    disks = replicas.rows("ecs", "SELECT state FROM disk WHERE name LIKE :names AND role = 'DATA'", **like)
    assert Counter(row.state for row in backups) == {"AVAILABLE": _SOURCES}
    assert Counter(row.state for row in images) == {"NORMAL": _SOURCES}
    assert Counter(row.state for row in servers) == {"RUNNING": 6}
    assert Counter(row.state for row in disks) == {"AVAILABLE": 6}
    assert replicas.problems() == []


@pytest.mark.timeout(240)
def test_every_piece_of_work_is_done_once(
    replicas: Replicas, tenant: Tenant, figure: Callable[[str], None]
) -> None:
    """Work of every kind from many clients at once is claimed once, by either replica, with one effect."""
    query = "SELECT id, worker, epoch, retries, verb, state FROM operation"
    before = {row.id for service in SERVICES for row in replicas.rows(service, query)}
    outcomes = all_at_once(_work(tenant, replicas, "once"))
    assert reasons(outcomes) == {"": len(outcomes)}
    replicas.wait_until_idle()
    total = repeated = 0
    for service in SERVICES:
        work = [row for row in replicas.rows(service, query) if row.id not in before]
        for row in work:
            # Claimed once, and once more for each retry.
            assert (row.state, row.epoch) == ("SUCCEEDED", 1 + row.retries), row
        workers = Counter(row.worker for row in work)
        figure(f"{service}: {len(work)} pieces of work, by replica {sorted(workers.values())}")
        assert service != "ecs" or len(workers) == 2  # the others have too little to do to be sure of it
        total, repeated = total + len(work), repeated + sum(row.retries for row in work)
    figure(f"{total} pieces of work, each done once; {repeated} tried again for a busy resource")
    assert total >= 40
    _check_effects(replicas, tenant, "once")


@pytest.mark.timeout(240)
def test_the_other_replica_takes_over(
    replicas: Replicas, tenant: Tenant, figure: Callable[[str], None]
) -> None:
    """One replica of each service is killed amid work: the others finish all of it, and nothing is lost or
    made twice.
    """
    for service, point in _DEATHS.items():
        replicas.order(service, point, 1)
    dead: list[Service] = []
    for number in range(_MAX_ROUNDS):  # which replica does which piece is chance
        outcomes = all_at_once(_work(tenant, replicas, f"killed{number}"))
        assert reasons(outcomes) == {"": len(outcomes)}
        _check_effects(replicas, tenant, f"killed{number}")
        dead = [service for service in SERVICES if replicas.process(service, 1).exit_code() is not None]
        if len(dead) == len(SERVICES):
            break
    query = "SELECT verb FROM operation WHERE epoch > 1 + retries"
    taken = {service: [row.verb for row in replicas.rows(service, query)] for service in SERVICES}
    replicas.disarm()
    for service in dead:
        replicas.run_again(service, 1)
    figure(f"{number + 1} rounds; killed amid work, and taken over: {taken}")
    assert dead == list(SERVICES)
    assert all(taken.values())
