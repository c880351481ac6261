"""The work that is killed: each scenario makes what it needs, begins its work, and knows what must be true
when it has ended.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.longrunning import operations_pb2

from recast.client import Service
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_pb2, server_service_pb2
from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2, image_service_pb2
from tests.faults.kills.rig import PROJECT, NotRecovered, Rig
from tests.harness import disks

MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    """`prepare` makes what is needed and gives the id to work on; `act` does the work on it, by `rig.insist`
    and `rig.finish`.
    """

    name: str
    prepare: Callable[[Rig], str]
    act: Callable[[Rig, str], operations_pb2.Operation]
    verify: Callable[[Rig, str], None]
    fails: bool = False
    """Whether the work ends FAILED, as it must."""


def build_world(rig: Rig, folder: Path) -> None:
    """Imports two small images and makes the servers that the scenarios share."""
    folder.mkdir(parents=True, exist_ok=True)
    disks.make_system_disk(folder / "system.raw", 48 * MIB, 2 * MIB)
    disks.make_system_disk(folder / "bare.raw", 48 * MIB, 1 * MIB, "unprepared", hostname="bare")
    disks.make_text_disk(folder / "data.raw", 8 * MIB, 1 * MIB)
    done(import_image(rig, "system", folder / "system.raw", image_pb2.IMAGE_KIND_SYSTEM_DISK))
    done(import_image(rig, "data", folder / "data.raw", image_pb2.IMAGE_KIND_DATA_DISK))
    done(import_image(rig, "bare", folder / "bare.raw", image_pb2.IMAGE_KIND_SYSTEM_DISK))
    for server, image in (("web", "system"), ("idle", "system"), ("bare", "bare")):
        done(create_servers(rig, server, image, 1))
    done(stop(rig, "idle"))
    done(create_backup(rig, "kept"))
    done(create_backup(rig, "bare", server="bare"))
    done(create_image(rig, "whole", "kept"))


def stop(rig: Rig, server: str) -> operations_pb2.Operation:
    """Stops a server."""
    request = server_service_pb2.StopServerRequest(
        name=f"{PROJECT}/servers/{server}", request_id=rig.new_id(f"stop-{server}")
    )
    return rig.run("ecs", lambda: rig.recast.servers.StopServer(request))


def start(rig: Rig, server: str) -> operations_pb2.Operation:
    """Starts a server."""
    request = server_service_pb2.StartServerRequest(
        name=f"{PROJECT}/servers/{server}", request_id=rig.new_id(f"start-{server}")
    )
    return rig.run("ecs", lambda: rig.recast.servers.StartServer(request))


def import_image(
    rig: Rig, image_id: str, path: Path, kind: image_pb2.ImageKind.ValueType, sha256: bytes = b""
) -> operations_pb2.Operation:
    """Uploads a raw file, again and again if need be, and follows the work."""
    header = image_service_pb2.ImportImageHeader(
        parent=PROJECT,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id, kind=kind),
        disk_format=image_pb2.DISK_FORMAT_RAW,
        size_bytes=path.stat().st_size,
        sha256=sha256,
        disclaimer_accepted=True,
        request_id=image_id,
    )

    def pieces(path: Path = path) -> object:
        yield image_service_pb2.ImportImageRequest(header=header)
        with path.open("rb") as file:
            offset = 0
            while data := file.read(MIB):
                yield image_service_pb2.ImportImageRequest(
                    chunk=image_service_pb2.ImportImageChunk(offset=offset, data=data)
                )
                offset += len(data)

    return rig.run("ims", lambda: rig.recast.images.ImportImage(pieces()))


def create_servers(rig: Rig, server_id: str, image: str, count: int) -> operations_pb2.Operation:
    """Servers with a data disk of their own."""
    request = server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server_id=server_id,
        server=server_pb2.Server(display_name=server_id),
        count=count,
        image=f"{PROJECT}/images/{image}",
        data_disks=[server_service_pb2.DataDiskSpec(image=f"{PROJECT}/images/data")],
        request_id=server_id,
    )
    return rig.run("ecs", lambda: rig.recast.servers.CreateServers(request))


def create_backup(rig: Rig, backup_id: str, server: str = "web") -> operations_pb2.Operation:
    """A backup of a server."""
    request = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT,
        backup_id=backup_id,
        backup=backup_pb2.Backup(server=f"{PROJECT}/servers/{server}"),
        request_id=backup_id,
    )
    return rig.run("csbs", lambda: rig.recast.backups.CreateBackup(request))


def create_image(rig: Rig, image_id: str, backup_id: str) -> operations_pb2.Operation:
    """A full-server image of a backup."""
    request = image_service_pb2.CreateImageRequest(
        parent=PROJECT,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id),
        backup=f"{PROJECT}/backups/{backup_id}",
        disclaimer_accepted=True,
        request_id=image_id,
    )
    return rig.run("ims", lambda: rig.recast.images.CreateImage(request))


def image_of_server(rig: Rig, image_id: str) -> operations_pb2.Operation:
    """A full-server image straight from the stopped server."""
    request = image_service_pb2.CreateImageRequest(
        parent=PROJECT,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id),
        server=f"{PROJECT}/servers/idle",
        disclaimer_accepted=True,
        request_id=image_id,
    )
    return rig.run("ims", lambda: rig.recast.images.CreateImage(request))


def delete_image(rig: Rig, image_id: str, *, delete_backup: bool = False) -> operations_pb2.Operation:
    """Deletes an image, and its backup on request."""
    request = image_service_pb2.DeleteImageRequest(
        name=f"{PROJECT}/images/{image_id}", delete_backup=delete_backup, request_id=f"delete-{image_id}"
    )
    return rig.run("ims", lambda: rig.recast.images.DeleteImage(request))


def delete_backup(rig: Rig, backup_id: str) -> operations_pb2.Operation:
    """Deletes a backup."""
    request = backup_service_pb2.DeleteBackupRequest(
        name=f"{PROJECT}/backups/{backup_id}", request_id=f"delete-{backup_id}"
    )
    return rig.run("csbs", lambda: rig.recast.backups.DeleteBackup(request))


def restore_backup(rig: Rig, backup_id: str) -> operations_pb2.Operation:
    """Writes a backup back to its server."""
    request = backup_service_pb2.RestoreBackupRequest(
        name=f"{PROJECT}/backups/{backup_id}", power_on=True, request_id=f"restore-{backup_id}"
    )
    return rig.run("csbs", lambda: rig.recast.backups.RestoreBackup(request))


def change_os(rig: Rig, request_id: str) -> operations_pb2.Operation:
    """Changes the OS of `idle` to the full-server image."""
    request = server_service_pb2.ChangeServerOsRequest(
        name=f"{PROJECT}/servers/idle", image=f"{PROJECT}/images/whole", request_id=request_id
    )
    return rig.run("ecs", lambda: rig.recast.servers.ChangeServerOs(request))


def reinstall_os(rig: Rig, request_id: str) -> operations_pb2.Operation:
    """Reinstalls `idle`."""
    request = server_service_pb2.ReinstallServerOsRequest(
        name=f"{PROJECT}/servers/idle", request_id=request_id
    )
    return rig.run("ecs", lambda: rig.recast.servers.ReinstallServerOs(request))


def reboot(rig: Rig, request_id: str) -> operations_pb2.Operation:
    """Reboots `web`."""
    request = server_service_pb2.RebootServerRequest(name=f"{PROJECT}/servers/web", request_id=request_id)
    return rig.run("ecs", lambda: rig.recast.servers.RebootServer(request))


def delete_server(rig: Rig, server_id: str) -> operations_pb2.Operation:
    """Deletes a server with its data disks."""
    request = server_service_pb2.DeleteServerRequest(
        name=f"{PROJECT}/servers/{server_id}", delete_data_disks=True, request_id=f"delete-{server_id}"
    )
    return rig.run("ecs", lambda: rig.recast.servers.DeleteServer(request))


def create_disk(rig: Rig, disk_id: str) -> operations_pb2.Operation:
    """A disk from the data-disk image."""
    request = disk_service_pb2.CreateDiskRequest(
        parent=PROJECT,
        disk_id=disk_id,
        disk=disk_pb2.Disk(display_name=disk_id),
        image=f"{PROJECT}/images/data",
        request_id=disk_id,
    )
    return rig.run("ecs", lambda: rig.recast.disks.CreateDisk(request))


def delete_disk(rig: Rig, disk_id: str) -> operations_pb2.Operation:
    """Deletes a disk."""
    request = disk_service_pb2.DeleteDiskRequest(
        name=f"{PROJECT}/disks/{disk_id}", request_id=f"delete-{disk_id}"
    )
    return rig.run("ecs", lambda: rig.recast.disks.DeleteDisk(request))


def attach(rig: Rig, disk_id: str) -> operations_pb2.Operation:
    """Attaches a disk to `web`."""
    request = disk_service_pb2.AttachDiskRequest(
        name=f"{PROJECT}/disks/{disk_id}",
        server=f"{PROJECT}/servers/web",
        request_id=rig.new_id(f"attach-{disk_id}"),
    )
    return rig.run("ecs", lambda: rig.recast.disks.AttachDisk(request))


def detach(rig: Rig, disk_id: str) -> operations_pb2.Operation:
    """Detaches a disk from `web`."""
    request = disk_service_pb2.DetachDiskRequest(
        name=f"{PROJECT}/disks/{disk_id}",
        server=f"{PROJECT}/servers/web",
        request_id=rig.new_id(f"detach-{disk_id}"),
    )
    return rig.run("ecs", lambda: rig.recast.disks.DetachDisk(request))


def done(operation: operations_pb2.Operation) -> None:
    """Raises when work that only prepares has failed."""
    if operation.HasField("error"):
        raise NotRecovered(f"{operation.name} failed: {operation.error.message}")


def _is_gone(call: Callable[[], object]) -> None:
    try:
        call()
    except RemoteRefusal as refusal:
        if refusal.kind is Kind.NOT_FOUND:
            return
        raise
    raise NotRecovered("what was deleted is still there")


def backup_is_there(rig: Rig, backup_id: str) -> None:
    """The backup is AVAILABLE; then it is taken away again."""
    request = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup_id}")
    state = rig.insist(lambda: rig.recast.backups.GetBackup(request)).backup.state
    if state != backup_pb2.BACKUP_STATE_AVAILABLE:
        raise NotRecovered(f"backup {backup_id} is {backup_pb2.BackupState.Name(state)}")
    done(delete_backup(rig, backup_id))


def image_is_there(rig: Rig, image_id: str) -> None:
    """The image is NORMAL; then it is taken away again, with its backup if it stands on one of its own."""
    request = image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/{image_id}")
    image = rig.insist(lambda: rig.recast.images.GetImage(request)).image
    if image.state != image_pb2.IMAGE_STATE_NORMAL:
        raise NotRecovered(f"image {image_id} is {image_pb2.ImageState.Name(image.state)}")
    done(delete_image(rig, image_id, delete_backup=bool(image.source_backup)))


def image_is_gone(rig: Rig, image_id: str) -> None:
    """The image is gone."""
    request = image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/{image_id}")
    _is_gone(lambda: rig.insist(lambda: rig.recast.images.GetImage(request)))


def backup_is_gone(rig: Rig, backup_id: str) -> None:
    """The backup is gone."""
    request = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup_id}")
    _is_gone(lambda: rig.insist(lambda: rig.recast.backups.GetBackup(request)))


def servers_are_there(rig: Rig, server_id: str) -> None:
    """Both servers are RUNNING; then they are taken away again."""
    for number in range(2):
        server_is(rig, f"{server_id}-{number:04d}", server_pb2.SERVER_STATE_RUNNING)
        done(delete_server(rig, f"{server_id}-{number:04d}"))


def servers_and_image_are_there(rig: Rig, image_id: str) -> None:
    """Both servers are RUNNING, and the image of the same id NORMAL; then all are taken away again."""
    servers_are_there(rig, image_id)
    image_is_there(rig, image_id)


def server_is_gone(rig: Rig, server_id: str) -> None:
    """The server is gone."""
    request = server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/{server_id}")
    _is_gone(lambda: rig.insist(lambda: rig.recast.servers.GetServer(request)))


def server_is(rig: Rig, server_id: str, wanted: server_pb2.ServerState.ValueType) -> None:
    """Raises when a server is in another state."""
    request = server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/{server_id}")
    state = rig.insist(lambda: rig.recast.servers.GetServer(request)).server.state
    if state != wanted:
        raise NotRecovered(f"server {server_id} is {server_pb2.ServerState.Name(state)}")


def idle_is_stopped(rig: Rig, _id: str) -> None:
    """`idle` is STOPPED, as before."""
    server_is(rig, "idle", server_pb2.SERVER_STATE_STOPPED)


def web_is_running(rig: Rig, _id: str) -> None:
    """`web` is RUNNING."""
    server_is(rig, "web", server_pb2.SERVER_STATE_RUNNING)


def restored_and_running(rig: Rig, backup_id: str) -> None:
    """`web` is RUNNING, and the backup AVAILABLE; then that is taken away again."""
    web_is_running(rig, backup_id)
    backup_is_there(rig, backup_id)


def disk_is_there(rig: Rig, disk_id: str) -> None:
    """The disk is AVAILABLE, and has no place; then it is taken away again."""
    disk_is(rig, disk_id, disk_pb2.DISK_STATE_AVAILABLE, places=0)
    done(delete_disk(rig, disk_id))


def disk_is_attached(rig: Rig, disk_id: str) -> None:
    """The disk is IN_USE in its place; then it is detached and taken away again."""
    disk_is(rig, disk_id, disk_pb2.DISK_STATE_IN_USE, places=1)
    done(detach(rig, disk_id))
    done(delete_disk(rig, disk_id))


def disk_is(rig: Rig, disk_id: str, wanted: disk_pb2.DiskState.ValueType, places: int) -> None:
    """Raises when a disk is in another state, or has other places at servers."""
    request = disk_service_pb2.GetDiskRequest(name=f"{PROJECT}/disks/{disk_id}")
    disk = rig.insist(lambda: rig.recast.disks.GetDisk(request)).disk
    if disk.state != wanted or len(disk.attachments) != places:
        state = disk_pb2.DiskState.Name(disk.state)
        raise NotRecovered(f"disk {disk_id} is {state}, and has {len(disk.attachments)} places")


def disk_is_gone(rig: Rig, disk_id: str) -> None:
    """The disk is gone."""
    request = disk_service_pb2.GetDiskRequest(name=f"{PROJECT}/disks/{disk_id}")
    _is_gone(lambda: rig.insist(lambda: rig.recast.disks.GetDisk(request)))


def _a_backup(rig: Rig) -> str:
    backup_id = rig.new_id("backup")
    done(create_backup(rig, backup_id))
    return backup_id


def rename(rig: Rig, new: str) -> operations_pb2.Operation:
    """Gives the shared backup, image and server another description."""
    backup = backup_pb2.Backup(name=f"{PROJECT}/backups/kept", description=new)
    image = image_pb2.Image(name=f"{PROJECT}/images/whole", description=new)
    server = server_pb2.Server(name=f"{PROJECT}/servers/web", description=new)
    recast = rig.recast
    for update in (
        lambda: recast.backups.UpdateBackup(
            backup_service_pb2.UpdateBackupRequest(backup=backup, request_id=new)
        ),
        lambda: recast.images.UpdateImage(image_service_pb2.UpdateImageRequest(image=image, request_id=new)),
        lambda: recast.servers.UpdateServer(
            server_service_pb2.UpdateServerRequest(server=server, request_id=new)
        ),
    ):
        rig.insist(update)
    return operations_pb2.Operation(done=True)


def is_renamed(rig: Rig, new: str) -> None:
    """All three have the description."""
    backup = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/kept")
    image = image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/whole")
    server = server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/web")
    recast = rig.recast
    read = [
        rig.insist(lambda: recast.backups.GetBackup(backup)).backup.description,
        rig.insist(lambda: recast.images.GetImage(image)).image.description,
        rig.insist(lambda: recast.servers.GetServer(server)).server.description,
    ]
    if read != [new] * 3:
        raise NotRecovered(f"the descriptions are {read}, not {new}")


def idle_is_running(rig: Rig, _id: str) -> None:
    """`idle` is RUNNING; then it is stopped again."""
    server_is(rig, "idle", server_pb2.SERVER_STATE_RUNNING)
    done(stop(rig, "idle"))


def web_is_stopped(rig: Rig, _id: str) -> None:
    """`web` is STOPPED; then it is started again."""
    server_is(rig, "web", server_pb2.SERVER_STATE_STOPPED)
    done(start(rig, "web"))


def _an_import(rig: Rig, path: Path) -> str:
    image_id = rig.new_id("import")
    done(import_image(rig, image_id, path, image_pb2.IMAGE_KIND_DATA_DISK))
    return image_id


def _an_image_of_news(rig: Rig) -> str:
    image_id = a_backup_of_news(rig)
    done(create_image(rig, image_id, image_id))
    return image_id


def write_news(rig: Rig) -> None:
    """Writes what stands in no chunk yet onto `web`'s data disk."""
    request = disk_service_pb2.GetDiskConnectionRequest(name=f"{PROJECT}/disks/web-data-1")
    path = rig.insist(lambda: rig.recast.disks.GetDiskConnection(request)).connection.path
    write = f"write -P {rig.number % 255 + 1} {rig.number % 8}M 64k"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, path], check=True, capture_output=True)


def a_backup_of_news(rig: Rig) -> str:
    """A backup of something that no host has in its cache."""
    write_news(rig)
    return _a_backup(rig)


def _an_image(rig: Rig) -> str:
    image_id = rig.new_id("image")
    backup_id = _a_backup(rig)
    done(create_image(rig, image_id, backup_id))
    return image_id


def _a_server(rig: Rig) -> str:
    server_id = rig.new_id("server")
    done(create_servers(rig, server_id, "system", 1))
    return server_id


def a_disk(rig: Rig) -> str:
    """A disk that no server has."""
    disk_id = rig.new_id("disk")
    done(create_disk(rig, disk_id))
    return disk_id


def an_attached_disk(rig: Rig) -> str:
    """A disk that `web` has."""
    disk_id = a_disk(rig)
    done(attach(rig, disk_id))
    return disk_id


def scenarios(folder: Path) -> list[Scenario]:
    """All of them. `folder` holds the files that `build_world` made."""
    raw = folder / "data.raw"
    return [
        Scenario("CreateBackup", lambda rig: rig.new_id("backup"), create_backup, backup_is_there),
        Scenario("RestoreBackup", a_backup_of_news, restore_backup, restored_and_running),
        Scenario("DeleteBackup", _a_backup, delete_backup, backup_is_gone),
        Scenario(
            "ImportImage",
            lambda rig: rig.new_id("import"),
            lambda rig, new: import_image(rig, new, raw, image_pb2.IMAGE_KIND_DATA_DISK),
            image_is_there,
        ),
        Scenario(
            "CreateImage", _a_backup, lambda rig, backup: create_image(rig, backup, backup), image_is_there
        ),
        Scenario("CreateImageOfServer", lambda rig: rig.new_id("image"), image_of_server, image_is_there),
        Scenario(
            "DeleteImage",
            _an_image,
            lambda rig, image: delete_image(rig, image, delete_backup=True),
            image_is_gone,
        ),
        Scenario(
            "DeleteImage of an import",
            lambda rig: _an_import(rig, raw),
            delete_image,
            image_is_gone,
        ),
        Scenario(
            "CreateServers",
            _an_image_of_news,  # no host has it in its cache, so its bases and their templates are made
            lambda rig, image: create_servers(rig, image, image, 2),
            servers_and_image_are_there,
        ),
        Scenario("DeleteServer", _a_server, delete_server, server_is_gone),
        Scenario("ChangeServerOs", lambda rig: rig.new_id("change"), change_os, idle_is_stopped),
        Scenario("ReinstallServerOs", lambda rig: rig.new_id("reinstall"), reinstall_os, idle_is_stopped),
        Scenario(
            "StartServer", lambda rig: rig.new_id("start"), lambda rig, _: start(rig, "idle"), idle_is_running
        ),
        Scenario(
            "StopServer", lambda rig: rig.new_id("stop"), lambda rig, _: stop(rig, "web"), web_is_stopped
        ),
        Scenario("RebootServer", lambda rig: rig.new_id("reboot"), reboot, web_is_running),
        Scenario("CreateDisk", lambda rig: rig.new_id("disk"), create_disk, disk_is_there),
        Scenario("DeleteDisk", a_disk, delete_disk, disk_is_gone),
        Scenario("AttachDisk", a_disk, attach, disk_is_attached),
        Scenario("DetachDisk", an_attached_disk, detach, disk_is_there),
        Scenario("Update", lambda rig: rig.new_id("name"), rename, is_renamed),
    ]


__all__ = ["Scenario", "Service", "build_world", "scenarios"]
