"""Every RPC of the three services, as their descriptors have them, and a request for each against one
stage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, message_factory, symbol_database
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from recast.client import Recast, Service
from recast.content.v1 import content_pb2
from recast.contracts import descriptor_set
from recast.contracts.services import services_serving
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.ecs.v1 import disk_pb2, server_pb2
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import image_source_service_pb2 as holds
from recast.ecs.v1 import server_service_pb2 as servers
from recast.imagelock.v1 import image_eligibility_service_pb2 as eligibility
from recast.imagelock.v1 import image_lock_service_pb2 as locks
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images
from recast.ims.v1 import provisioning_service_pb2 as provisioning
from tests.harness.project import Tenant

_PEOPLE_AND_IMS = frozenset({"user", "operator", "ims"})
# Who may call a service, or one method of it: roles of people, and services by name.
ACCESS: Mapping[str, frozenset[str]] = {
    "recast.csbs.v1.BackupService": frozenset({"user", "operator"}),
    "recast.csbs.v1.BackupService/CreateBackup": _PEOPLE_AND_IMS,
    "recast.csbs.v1.BackupService/GetBackup": _PEOPLE_AND_IMS,
    "recast.csbs.v1.BackupService/DeleteBackup": _PEOPLE_AND_IMS,
    "recast.imagelock.v1.ImageEligibilityService": _PEOPLE_AND_IMS,
    "recast.imagelock.v1.ImageLockService": frozenset({"ims"}),
    "recast.ims.v1.ImageService": frozenset({"user", "operator"}),
    "recast.ims.v1.ProvisioningService": frozenset({"ecs"}),
    "recast.ecs.v1.ServerService": frozenset({"user", "operator"}),
    "recast.ecs.v1.DiskService": frozenset({"user", "operator"}),
    "recast.ecs.v1.DiskService/GetDiskConnection": frozenset({"operator"}),
    "recast.ecs.v1.BackupSourceService": frozenset({"csbs"}),
    "recast.ecs.v1.ImageSourceService": frozenset({"ims"}),
}
PRINCIPALS = ("user", "operator", "csbs", "ims", "ecs")


@dataclass(frozen=True)
class Rpc:
    """One RPC."""

    method: MethodDescriptor

    @property
    def name(self) -> str:
        """Its short name; no two RPCs share one."""
        return self.method.name

    @property
    def service(self) -> Service:
        """The service that serves it."""
        return services_serving(self.method.full_name)[0]

    @property
    def allowed(self) -> frozenset[str]:
        """Who may call it."""
        service = self.method.containing_service.full_name
        return ACCESS.get(f"{service}/{self.name}") or ACCESS[service]

    def has(self, field: str) -> bool:
        """Whether its request has a field, in its header when it streams."""
        parts = [self.method.input_type, *(each.message_type for each in self.method.input_type.fields)]
        return any(field in part.fields_by_name for part in parts[: 2 if self.method.client_streaming else 1])

    def call(self, client: Recast, request: Message) -> Any:
        """Calls it; a stream of requests has just this one."""
        channel = client.channel(self.service)
        answer = message_factory.GetMessageClass(self.method.output_type)
        path = f"/{self.method.containing_service.full_name}/{self.name}"
        if self.method.client_streaming:
            stream = channel.stream_unary(path, type(request).SerializeToString, answer.FromString)
            return stream(iter([request]))
        return channel.unary_unary(path, type(request).SerializeToString, answer.FromString)(request)

    def client(self, tenant: Tenant) -> Recast:
        """A client of the project that may call it."""
        return client_of(tenant, min(self.allowed, key=PRINCIPALS.index))


def client_of(tenant: Tenant, principal: str) -> Recast:
    """A client of the project for one of the principals."""
    if principal in {"user", "operator"}:
        return tenant.cloud.client(tenant.project, role=principal)
    return tenant.as_service(principal)


def _every_rpc() -> dict[str, Rpc]:
    pool = symbol_database.Default().pool
    found = [
        pool.FindServiceByName(f"{file.package}.{service.name}").methods_by_name[method.name]
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file
        if file.package.startswith("recast.")
        for service in file.service
        for method in service.method
    ]
    assert len({method.name for method in found}) == len(found)
    return {method.name: Rpc(method) for method in found}


RPCS = _every_rpc()


def header_of(request: Any) -> Any:
    """The message that has a request's own fields: its header, when it has one."""
    return request.header if request.DESCRIPTOR.name == "ImportImageRequest" else request


def set_stage(tenant: Tenant) -> None:
    """Makes what the requests are about: the servers run, idle and frozen, the disk loose, the backups free
    and used, the image whole.
    """
    tenant.import_image("sys", "old.raw")
    tenant.import_image("logs", "odd.raw", kind="DATA_DISK")
    tenant.import_image("ready", "sys.qcow2")
    tenant.create_server("run", data_disks=[servers.DataDiskSpec(size_bytes=1 << 20)])
    tenant.create_server("idle", "ready", leave_stopped=True)
    tenant.create_disk("loose", 1 << 20)
    for name in ("free", "used"):
        tenant.create_backup(name, "idle")
    tenant.create_image("whole", "used")
    tenant.create_server("frozen", "ready", leave_stopped=True)
    freeze = sources.FreezeServerRequest(
        server=tenant.server("frozen"), freeze_id="stage", backup=tenant.backup("frozen")
    )
    tenant.as_service("csbs").sources.FreezeServer(freeze)


def requests(tenant: Tenant) -> dict[str, Message]:
    """A request for each RPC that is in order on the stage of a project."""
    t = tenant
    key = b"k" * 32
    store = content_pb2.ContentStore(url=t.cloud.store_url("csbs"), project=t.project, key=key)
    index = content_pb2.IndexRef(id="i", digest=key)
    disk = content_pb2.DiskContent(
        id="system", role=content_pb2.DISK_ROLE_SYSTEM, size_bytes=512, index=index
    )
    content = content_pb2.Content(store=store, disks=[disk])
    idle, run, free, used, whole = (
        t.server("idle"),
        t.server("run"),
        t.backup("free"),
        t.backup("used"),
        t.image("whole"),
    )
    new_image = image_pb2.Image(display_name="new", kind=image_pb2.IMAGE_KIND_DATA_DISK)
    header = images.ImportImageHeader(
        parent=t.parent,
        image=new_image,
        disk_format=image_pb2.DISK_FORMAT_RAW,
        size_bytes=512,
        disclaimer_accepted=True,
        request_id="header",
    )
    mapping = [sources.RestoreDiskMapping(content_disk="system", disk=t.disk("idle-system"))]
    every: list[Message] = [
        backups.CreateBackupRequest(parent=t.parent, backup=backup_pb2.Backup(server=run)),
        backups.GetBackupRequest(name=free),
        backups.ListBackupsRequest(parent=t.parent),
        backups.UpdateBackupRequest(backup=backup_pb2.Backup(name=free, description="new")),
        backups.DeleteBackupRequest(name=free),
        backups.RestoreBackupRequest(name=free),
        eligibility.CheckImageEligibilityRequest(parent=t.parent, backups=[free]),
        locks.LockBackupRequest(backup=free, image=t.image("x"), request_id="lock"),
        locks.ConfirmLockRequest(backup=used, image=whole, token=1),
        locks.ReleaseLockRequest(backup=free, image=t.image("x"), request_id="release"),
        locks.GetBackupContentRequest(backup=used, image=whole, token=1),
        images.ImportImageRequest(header=header),
        images.CreateImageRequest(parent=t.parent, image=new_image, backup=free, disclaimer_accepted=True),
        images.GetImageRequest(name=whole),
        images.ListImagesRequest(parent=t.parent),
        images.UpdateImageRequest(image=image_pb2.Image(name=whole, description="new")),
        images.DeleteImageRequest(name=whole),
        images.GetProvisioningDefaultsRequest(name=whole),
        images.GetDisclaimerRequest(parent=t.parent),
        provisioning.ResolveImageRequest(image=whole),
        provisioning.PinImageRequest(image=whole, pin_id="pin", holder=run),
        provisioning.UnpinImageRequest(image=whole, pin_id="pin"),
        servers.CreateServersRequest(
            parent=t.parent, server=server_pb2.Server(display_name="new"), image=whole
        ),
        servers.GetServerRequest(name=run),
        servers.ListServersRequest(parent=t.parent),
        servers.UpdateServerRequest(server=server_pb2.Server(name=run, description="new")),
        servers.DeleteServerRequest(name=run),
        servers.StartServerRequest(name=idle),
        servers.StopServerRequest(name=run),
        servers.RebootServerRequest(name=run),
        servers.ChangeServerOsRequest(name=idle, image=whole),
        servers.ReinstallServerOsRequest(name=idle),
        disks.CreateDiskRequest(parent=t.parent, disk=disk_pb2.Disk(), image=t.image("logs")),
        disks.GetDiskRequest(name=t.disk("loose")),
        disks.ListDisksRequest(parent=t.parent),
        disks.DeleteDiskRequest(name=t.disk("loose")),
        disks.AttachDiskRequest(name=t.disk("loose"), server=run),
        disks.DetachDiskRequest(name=t.disk("run-data-1"), server=run),
        disks.GetDiskConnectionRequest(name=t.disk("loose")),
        sources.DescribeServerRequest(server=run),
        sources.FreezeServerRequest(server=run, freeze_id="freeze", backup=t.backup("new")),
        sources.ExportDisksRequest(server=t.server("frozen"), freeze_id="stage", store=store),
        sources.ThawServerRequest(server=idle, freeze_id="never"),
        sources.RestoreDisksRequest(server=idle, content=content, mappings=mapping),
        holds.HoldServerRequest(server=idle, image=t.image("x")),
        holds.FreeServerRequest(server=idle, image=t.image("x")),
    ]
    return {request.DESCRIPTOR.name.removesuffix("Request"): request for request in every}
