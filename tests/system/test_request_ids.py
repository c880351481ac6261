"""Request ids: a repeat gets the first answer and has no second effect; another body under the same id is refused.

The RPCs with a `request_id` come from the descriptors: a new one without a case here fails.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cloud import Tenant, refused
from google.protobuf.message import Message
from rpcs import RPCS, header_of

from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.csbs.v1 import image_lock_service_pb2 as locks
from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.ecs.v1 import disk_pb2
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import server_pb2
from recast.ecs.v1 import server_service_pb2 as servers
from recast.faults import Kind
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images

Make = Callable[[Tenant, str], Message]


@dataclass(frozen=True)
class Case:
    """A request of the case's own, made by `make(tenant, id)`, and what makes it another one."""

    make: Make
    other: dict[str, Any] = field(default_factory=lambda: {"validate_only": True})
    reason: str = "REQUEST_ID_REUSED"
    kind: Kind = Kind.INVALID_ARGUMENT


def _server(tenant: Tenant, name: str, *, stopped: bool = True, disks: int = 0) -> str:
    data = disks * [servers.DataDiskSpec(size_bytes=512)]
    return tenant.create_server(name, leave_stopped=stopped, data_disks=data).name


def _backup(tenant: Tenant, name: str) -> str:
    return tenant.create_backup(name, "replayed").name


def _image(tenant: Tenant, name: str) -> str:
    return tenant.import_image(name, "odd.raw", kind="DATA_DISK").name


def _disk(tenant: Tenant, name: str) -> str:
    return tenant.create_disk(name, 512).name


def _import(tenant: Tenant, name: str) -> Message:
    header = tenant.header(name, tenant.sources / "odd.raw", kind="DATA_DISK")
    return images.ImportImageRequest(header=header)


def _create_image(tenant: Tenant, name: str) -> Message:
    image = image_pb2.Image(display_name=name)
    return images.CreateImageRequest(
        parent=tenant.parent,
        image_id=name,
        image=image,
        backup=_backup(tenant, name),
        disclaimer_accepted=True,
    )


def _create_servers(tenant: Tenant, name: str) -> Message:
    server = server_pb2.Server(display_name=name)
    return servers.CreateServersRequest(parent=tenant.parent, server=server, image=tenant.image("sys"))


def _freeze(tenant: Tenant, name: str) -> str:
    server = _server(tenant, name)
    request = sources.FreezeServerRequest(server=server, freeze_id=name, backup=tenant.backup(name))
    tenant.as_service("csbs").sources.FreezeServer(request)
    return server


def _export(tenant: Tenant, name: str) -> Message:
    store = _content(tenant, name).store
    return sources.ExportDisksRequest(server=_freeze(tenant, name), freeze_id=name, store=store)


def _content(tenant: Tenant, name: str) -> Any:
    ims, backup, image = tenant.as_service("ims"), _backup(tenant, name), tenant.image(name)
    lock = ims.locks.LockBackup(locks.LockBackupRequest(backup=backup, image=image, request_id=name)).lock
    request = locks.GetBackupContentRequest(backup=backup, image=image, token=lock.token)
    return ims.locks.GetBackupContent(request).content


def _restore_disks(tenant: Tenant, name: str) -> Message:
    content = _content(tenant, name)
    mapping = sources.RestoreDiskMapping(content_disk="system", disk=tenant.disk(f"{name}-system"))
    return sources.RestoreDisksRequest(server=_server(tenant, name), content=content, mappings=[mapping])


def _lock(tenant: Tenant, name: str) -> Message:
    return locks.LockBackupRequest(backup=_backup(tenant, name), image=tenant.image(name), request_id=name)


def _release(tenant: Tenant, name: str) -> Message:
    return locks.ReleaseLockRequest(backup=_backup(tenant, name), image=tenant.image(name))


CASES: dict[str, Case] = {
    "CreateBackup": Case(
        lambda t, n: backups.CreateBackupRequest(
            parent=t.parent, backup=backup_pb2.Backup(server=_server(t, n))
        )
    ),
    "UpdateBackup": Case(
        lambda t, n: backups.UpdateBackupRequest(
            backup=backup_pb2.Backup(name=_backup(t, n), description="x")
        )
    ),
    "DeleteBackup": Case(lambda t, n: backups.DeleteBackupRequest(name=_backup(t, n))),
    "RestoreBackup": Case(lambda t, n: backups.RestoreBackupRequest(name=_backup(t, n)), {"power_on": True}),
    # The idempotency key of a lock names one image's lock for ever.
    "LockBackup": Case(_lock, {"image": "projects/main/images/x"}, "LOCK_RELEASED", Kind.ABORTED),
    # Giving back what is not there is no error, whosever it is.
    "ReleaseLock": Case(_release, {}, ""),
    "ImportImage": Case(_import),
    "CreateImage": Case(_create_image, {"disclaimer_accepted": True, "image_id": "another"}),
    "UpdateImage": Case(
        lambda t, n: images.UpdateImageRequest(image=image_pb2.Image(name=_image(t, n), description="x"))
    ),
    "DeleteImage": Case(lambda t, n: images.DeleteImageRequest(name=_image(t, n))),
    "CreateServers": Case(_create_servers, {"count": 2}),
    "UpdateServer": Case(
        lambda t, n: servers.UpdateServerRequest(
            server=server_pb2.Server(name=_server(t, n), description="x")
        )
    ),
    "DeleteServer": Case(
        lambda t, n: servers.DeleteServerRequest(name=_server(t, n)), {"delete_data_disks": True}
    ),
    "StartServer": Case(lambda t, n: servers.StartServerRequest(name=_server(t, n))),
    "StopServer": Case(lambda t, n: servers.StopServerRequest(name=_server(t, n, stopped=False))),
    "RebootServer": Case(lambda t, n: servers.RebootServerRequest(name=_server(t, n, stopped=False))),
    "ChangeServerOs": Case(
        lambda t, n: servers.ChangeServerOsRequest(name=_server(t, n), image=t.image("sys")),
        {"power_on": True},
    ),
    "ReinstallServerOs": Case(
        lambda t, n: servers.ReinstallServerOsRequest(name=_server(t, n)), {"system_disk_bytes": 1 << 30}
    ),
    "CreateDisk": Case(
        lambda t, n: disks.CreateDiskRequest(parent=t.parent, disk=disk_pb2.Disk(size_bytes=512)),
        {"disk_id": "x"},
    ),
    "DeleteDisk": Case(lambda t, n: disks.DeleteDiskRequest(name=_disk(t, n))),
    "AttachDisk": Case(lambda t, n: disks.AttachDiskRequest(name=_disk(t, n), server=_server(t, n))),
    "DetachDisk": Case(
        lambda t, n: disks.DetachDiskRequest(server=_server(t, n, disks=1), name=t.disk(f"{n}-data-1"))
    ),
    "ExportDisks": Case(_export),
    "ThawServer": Case(
        lambda t, n: sources.ThawServerRequest(server=_freeze(t, n), freeze_id=n),
        {"sealed_backup": "projects/main/backups/x"},
    ),
    "RestoreDisks": Case(_restore_disks, {"power_on": True}),
}


@pytest.fixture(scope="module")
def replayed(main: Tenant) -> Tenant:
    """The project with the stopped server `replayed`."""
    main.create_server("replayed", leave_stopped=True)
    return main


def test_every_rpc_with_a_request_id_has_a_case() -> None:
    """For each request that has a request id there is a case."""
    assert CASES.keys() == {name for name, rpc in RPCS.items() if rpc.has("request_id")}


@pytest.mark.parametrize("name", CASES)
def test_a_repeat_gets_the_first_answer_and_another_body_is_refused(replayed: Tenant, name: str) -> None:
    """The same request again is answered as before, also after its work has ended; another one under its id is refused."""
    rpc, case = RPCS[name], CASES[name]
    client = rpc.client(replayed)
    made = case.make(replayed, f"replay-{name.lower()}")
    request: Any = header_of(made)
    request.request_id = f"replay-{name.lower()}"
    if name == "ImportImage":  # the first of all is not a repeat: it brings the bytes
        replayed.recast.import_image(replayed.sources / "odd.raw", request)
    first = rpc.call(client, made)
    assert rpc.call(client, made) == first
    if "operation" in first.DESCRIPTOR.fields_by_name:
        replayed.end(first.operation, rpc.service)
        assert replayed.metadata(first.operation, rpc.service).end_time.seconds
        assert rpc.call(client, made) == first
    for changed, value in case.other.items():
        setattr(request, changed, value)
    if case.reason:
        with refused(case.reason, case.kind):
            rpc.call(client, made)
    else:
        assert rpc.call(client, made) == first


def test_a_request_id_is_a_projects_and_an_rpcs_own(
    replayed: Tenant, tenant_of: Callable[[str], Tenant]
) -> None:
    """The same id serves another project, and another RPC of the same project, anew."""
    other = tenant_of("other-ids")
    for tenant in (replayed, other):
        for number in (1, 2):
            request = disks.CreateDiskRequest(
                parent=tenant.parent, disk=disk_pb2.Disk(size_bytes=512), request_id=f"shared-{number}"
            )
            tenant.wait(tenant.recast.disks.CreateDisk(request).operation, "ecs")
    listed = disks.ListDisksRequest(parent=other.parent)
    assert len(other.recast.disks.ListDisks(listed).disks) == 2
    request = servers.UpdateServerRequest(
        server=server_pb2.Server(name=replayed.server("replayed"), description="x"), request_id="shared-1"
    )
    assert replayed.recast.servers.UpdateServer(request).server.description == "x"
