"""The demo's data: the resources in the examples of the contracts and the README, in project `demo`.

`make seed` puts it into the services that `make up` runs. Doing it twice changes nothing: every request
carries an id.
"""

import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recast.client import Recast
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_pb2, server_service_pb2
from recast.faults import Kind, Refusal, RemoteRefusal
from recast.ims.v1 import image_pb2, image_service_pb2
from tests.harness import disks
from tests.harness.expectations import NeverCame, until

PROJECT = "projects/demo"
MIB = 1 << 20
RUN = uuid.uuid4().hex[:8]  # in this run's request ids: resources that were deleted are made again


def seed(recast: Recast, folder: Path) -> None:
    """Imports two small images, makes two servers, a loose disk, two backups and an image of one of them."""
    disks.make_system_disk(folder / "system.raw", 256 * MIB, 32 * MIB)
    disks.to_qcow2(folder / "system.raw", folder / "system.qcow2", compressed=True)
    disks.make_text_disk(folder / "data.raw", 64 * MIB, 8 * MIB)
    import_image(recast, folder / "system.qcow2", "debian", image_pb2.IMAGE_KIND_SYSTEM_DISK)
    import_image(recast, folder / "data.raw", "shop-data", image_pb2.IMAGE_KIND_DATA_DISK)
    _server(recast, "web", leave_stopped=False)
    _server(recast, "idle", leave_stopped=True)
    loose = disk_service_pb2.CreateDiskRequest(
        parent=PROJECT,
        disk_id="loose",
        disk=disk_pb2.Disk(display_name="loose", size_bytes=64 * MIB),
        request_id=f"{RUN}-loose",
    )
    _unless_there(
        lambda: recast.disks.GetDisk(disk_service_pb2.GetDiskRequest(name=f"{PROJECT}/disks/loose")).disk,
        lambda: recast.wait(recast.disks.CreateDisk(loose).operation, "ecs"),
    )
    _backup(recast, "nightly")
    _backup(recast, "spare")
    image = image_service_pb2.CreateImageRequest(
        parent=PROJECT,
        image_id="web-image",
        image=image_pb2.Image(display_name="web image"),
        backup=f"{PROJECT}/backups/nightly",
        disclaimer_accepted=True,
        request_id=f"{RUN}-web-image",
    )
    _unless_there(
        lambda: (
            recast.images.GetImage(
                image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/web-image")
            ).image
        ),
        lambda: recast.wait(recast.images.CreateImage(image).operation, "ims"),
    )


def import_image(recast: Recast, path: Path, image_id: str, kind: image_pb2.ImageKind.ValueType) -> None:
    """Imports a file as an image, and waits for it."""
    is_qcow2 = path.suffix == ".qcow2"
    header = image_service_pb2.ImportImageHeader(
        parent=PROJECT,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id, kind=kind),
        disk_format=image_pb2.DISK_FORMAT_QCOW2 if is_qcow2 else image_pb2.DISK_FORMAT_RAW,
        size_bytes=path.stat().st_size,
        disclaimer_accepted=True,
        request_id=f"{RUN}-{image_id}",
    )
    _unless_there(
        lambda: (
            recast.images.GetImage(
                image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/{image_id}")
            ).image
        ),
        lambda: recast.wait(recast.import_image(path, header).operation, "ims"),
    )


def _server(recast: Recast, server_id: str, *, leave_stopped: bool) -> None:
    request = server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server_id=server_id,
        server=server_pb2.Server(display_name=server_id),
        image=f"{PROJECT}/images/debian",
        data_disks=[server_service_pb2.DataDiskSpec(image=f"{PROJECT}/images/shop-data")],
        leave_stopped=leave_stopped,
        request_id=f"{RUN}-{server_id}",
    )
    _unless_there(
        lambda: (
            recast.servers.GetServer(
                server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/{server_id}")
            ).server
        ),
        lambda: recast.wait(recast.servers.CreateServers(request).operation, "ecs"),
    )


def _backup(recast: Recast, backup_id: str) -> None:
    request = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT,
        backup_id=backup_id,
        backup=backup_pb2.Backup(server=f"{PROJECT}/servers/web", display_name=backup_id),
        request_id=f"{RUN}-{backup_id}",
    )
    _unless_there(
        lambda: (
            recast.backups.GetBackup(
                backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup_id}")
            ).backup
        ),
        lambda: recast.wait(recast.backups.CreateBackup(request).operation, "csbs"),
    )


def _unless_there(read: Callable[[], Any], make: Callable[[], object]) -> None:
    """Makes a resource. If it is there already, or another seed is making it, it stays, once it is made."""
    try:
        until(lambda: _made(make), "the end of another backup of the server", pause=0.2)
    except RemoteRefusal as refusal:
        if refusal.kind is not Kind.ALREADY_EXISTS:
            raise
        until(lambda: _state(read()) != "CREATING", f"the end of what makes it ({refusal.text})", pause=0.2)


def _made(make: Callable[[], object]) -> bool:
    """Whether it was made: not while another seed backs the server up."""
    try:
        make()
    except RemoteRefusal as refusal:
        if refusal.reason != "SERVER_BEING_BACKED_UP":
            raise
        return False
    return True


def _state(resource: Any) -> str:
    """The state of a resource, without the prefix of its enum."""
    states = resource.DESCRIPTOR.fields_by_name["state"].enum_type
    return str(states.values_by_number[resource.state].name).rpartition("_STATE_")[2]


def main() -> str | None:
    """Seeds the services that the environment names; gives the error, if any."""
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            Recast.from_environment(project="demo", role="user") as recast,
        ):
            recast.servers.ListServers(server_service_pb2.ListServersRequest(parent=PROJECT))
            seed(recast, Path(folder))
    except NeverCame as late:
        return f"make seed: {late}; remove it, or start over"
    except Refusal as refusal:
        hint = (
            "; start the services with `make up` in another terminal"
            if refusal.kind is Kind.UNAVAILABLE
            else ""
        )
        return f"make seed: {refusal.text}{hint}"
    print("project demo has: images debian, shop-data, web-image; servers web, idle; disk loose;")
    print("                  backups nightly, spare")
    return None


if __name__ == "__main__":
    sys.exit(main())
