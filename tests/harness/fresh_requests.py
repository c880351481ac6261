"""For every RPC with a request id: a request about new resources, and a change that makes it another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.ecs.v1 import disk_pb2, server_pb2
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import server_service_pb2 as servers
from recast.faults import Kind
from recast.imagelock.v1 import image_lock_service_pb2 as locks
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images
from tests.harness.project import Tenant

Make = Callable[[Tenant, str], Message]


@dataclass(frozen=True)
class Case:
    """A request made by `make(tenant, id)`, the changes that make it another, and how that is refused."""

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
    # Releasing a lock that does not exist is no error.
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
        lambda t, _: disks.CreateDiskRequest(parent=t.parent, disk=disk_pb2.Disk(size_bytes=512)),
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
