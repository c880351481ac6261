"""The lists of the services, and those that the model expects, as the same values."""

from collections.abc import Mapping
from typing import Any

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.ecs.v1 import disk_service_pb2, server_service_pb2
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from tests.faults.model.world import Backup, Disk, Image, Server, World
from tests.harness.expectations import state_of
from tests.harness.project import Tenant

Shown = dict[str, dict[str, Any]]


def read_lists(tenant: Tenant) -> Shown:
    """Everything that the services list of a project, by name."""
    parent, recast = tenant.parent, tenant.recast
    servers = recast.servers.ListServers(server_service_pb2.ListServersRequest(parent=parent, page_size=1000))
    disks = recast.disks.ListDisks(disk_service_pb2.ListDisksRequest(parent=parent, page_size=1000))
    backups = recast.backups.ListBackups(csbs_pb.ListBackupsRequest(parent=parent, page_size=1000))
    images = recast.images.ListImages(ims_pb.ListImagesRequest(parent=parent, page_size=1000))
    listed = [*servers.servers, *disks.disks, *backups.backups, *images.images]
    return {each.name: _SHOW[type(each).DESCRIPTOR.name](each) for each in listed}


def _is_system(disk: Any) -> bool:
    return disk.role == content_pb2.DISK_ROLE_SYSTEM


def _server(server: Any) -> dict[str, Any]:
    return {
        "state": state_of(server),
        "image": server.image,
        "disks": [(d.position, d.disk, _is_system(d), d.size_bytes, d.shared) for d in server.disks],
        "frozen": server.frozen_for,
        "holds": sorted(server.image_holds),
        "description": server.description,
    }


def _disk(disk: Any) -> dict[str, Any]:
    return {
        "state": state_of(disk),
        "is_system": _is_system(disk),
        "size": disk.size_bytes,
        "shared": disk.shared,
        "image": disk.source_image,
        "servers": sorted((each.server, each.position) for each in disk.attachments),
    }


def _backup(backup: Any) -> dict[str, Any]:
    state = state_of(backup)
    shapes = [(d.id, d.disk, _is_system(d), d.position, d.size_bytes, d.shared) for d in backup.disks]
    return {
        "state": state,
        "ready": backup.image_ready,
        "server": backup.server,
        "image": backup.image,
        "disks": shapes if state != "ERROR" else [],
        "description": backup.description,
    }


def _image(image: Any) -> dict[str, Any]:
    is_normal = image.state == image_pb2.IMAGE_STATE_NORMAL
    return {
        "state": state_of(image),
        "kind": image_pb2.ImageKind.Name(image.kind).removeprefix("IMAGE_KIND_"),
        "backup": image.source_backup,
        "server": image.source_server,
        "disks": image.disk_count if is_normal else 0,
        "size": image.size_bytes if is_normal else 0,
        "description": image.description,
    }


_SHOW = {"Server": _server, "Disk": _disk, "Backup": _backup, "Image": _image}


def expect(world: World) -> Shown:
    """What the services must list."""
    return {name: _EXPECT[type(thing)](world, thing) for name, thing in world.things.items()}


def _expect_server(world: World, server: Server) -> dict[str, Any]:
    disks = [(position, world.things[name]) for position, name in sorted(server.disks.items())]
    return {
        "state": server.state,
        "image": server.image,
        "disks": [(position, d.name, d.is_system, d.size, d.shared) for position, d in disks],
        "frozen": server.frozen,
        "holds": sorted(server.holds),
        "description": server.description,
    }


def _expect_disk(world: World, disk: Disk) -> dict[str, Any]:
    places = [
        (server.name, position)
        for server in world.all(Server)
        for position, name in server.disks.items()
        if name == disk.name
    ]
    return {
        "state": disk.state,
        "is_system": disk.is_system,
        "size": disk.size,
        "shared": disk.shared,
        "image": disk.image,
        "servers": sorted(places),
    }


def _expect_backup(world: World, backup: Backup) -> dict[str, Any]:
    return {
        "state": backup.state,
        "ready": backup.ready,
        "server": backup.server,
        "image": backup.image,
        "disks": [disk.shape for disk in backup.disks] if backup.state != "ERROR" else [],
        "description": backup.description,
    }


def _expect_image(world: World, image: Image) -> dict[str, Any]:
    is_normal = image.state == "NORMAL"
    return {
        "state": image.state,
        "kind": image.kind,
        "backup": image.backup,
        "server": image.server,
        "disks": len(image.disks) if is_normal else 0,
        "size": sum(disk.size for disk in image.disks) if is_normal else 0,
        "description": image.description,
    }


_EXPECT: Mapping[type, Any] = {
    Server: _expect_server,
    Disk: _expect_disk,
    Backup: _expect_backup,
    Image: _expect_image,
}


def differences(world: World, shown: Shown, unsettled: set[str]) -> list[str]:
    """Where the services' lists and the model part, leaving out what work is under way on."""
    wanted = expect(world)
    unknown = {
        name for name, each in shown.items() if "ready" in each and each["server"] in unsettled
    } - wanted.keys()
    unsettled = unsettled | unknown  # the backup that an image straight from a server is made of
    return [
        f"{name}: the model has {wanted.get(name)}, the service {shown.get(name)}"
        for name in sorted(wanted.keys() | shown.keys())
        if name not in unsettled and wanted.get(name) != shown.get(name)
    ]
