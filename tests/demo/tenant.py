"""The demo's calls of Recast, as one of its users: a method for each call, with the wait for its work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from recast.client import Recast, Service
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.ecs.v1 import disk_pb2, server_pb2
from recast.ecs.v1 import disk_service_pb2 as ecs_disks
from recast.ecs.v1 import server_service_pb2 as ecs
from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims
from tests.demo.screen import Screen

PROJECT = "demo"
PARENT = f"projects/{PROJECT}"
# Nothing here takes a minute; work that takes this long is stuck, and the logs have its place.
_WORK_SECONDS = 120.0


@dataclass(frozen=True)
class Batch:
    """The servers of one request: as they were announced, and how the making of each ended."""

    announced: Sequence[str]
    outcomes: Sequence[ecs.ServerOutcome]


def name_of(collection: str, resource: str) -> str:
    """`images`, `web` as `projects/demo/images/web`."""
    return f"{PARENT}/{collection}/{resource}"


class Tenant:
    """A user of the project. The path of a disk's file alone is requested as an operator: users may not."""

    def __init__(self, user: Recast, operator: Recast, screen: Screen) -> None:
        self._user = user
        self._operator = operator
        self._screen = screen

    # Refusals.

    def refused(self, question: str, call: Callable[[], object]) -> RemoteRefusal | None:
        """The refusal of a call, which is printed; None when it was not refused."""
        try:
            call()
        except RemoteRefusal as refusal:
            self._screen.refusal(question, refusal)
            return refusal
        self._screen.say(f"{question} It was not refused.")
        return None

    def is_gone(self, call: Callable[[str], object], name: str) -> bool:
        """Whether reading `name` ends in NOT_FOUND."""
        try:
            call(name)
        except RemoteRefusal as refusal:
            if refusal.kind is Kind.NOT_FOUND:
                return True
            raise
        return False

    def wait(self, operation: operations_pb2.Operation, service: Service) -> operations_pb2.Operation:
        """Waits for the end of an operation, with bars."""
        with self._screen.work() as on_progress:
            return self._user.wait(operation, service, on_progress, timeout_seconds=_WORK_SECONDS)

    # Images.

    def import_image(
        self, path: Path, image_id: str, kind: image_pb2.ImageKind, disk_format: image_pb2.DiskFormat
    ) -> image_pb2.Image:
        """Uploads a file; the image when it is NORMAL."""
        header = ims.ImportImageHeader(
            parent=PARENT,
            image_id=image_id,
            image=image_pb2.Image(display_name=image_id, kind=kind),
            disk_format=disk_format,
            size_bytes=path.stat().st_size,
            disclaimer_accepted=True,
            request_id=image_id,
        )
        with self._screen.upload(f"uploading {path.name}") as on_bytes:
            answer = self._user.import_image(path, header, on_bytes)
        self.wait(answer.operation, "ims")
        return self.image(answer.image.name)

    def request_image(
        self, image_id: str, backup: str, *, disclaimer_accepted: bool = True
    ) -> ims.CreateImageResponse:
        """Requests a full-server image of a backup."""
        return self._user.images.CreateImage(
            ims.CreateImageRequest(
                parent=PARENT,
                image_id=image_id,
                image=image_pb2.Image(display_name=image_id),
                backup=backup,
                disclaimer_accepted=disclaimer_accepted,
            )
        )

    def image(self, name: str) -> image_pb2.Image:
        """One image."""
        return self._user.images.GetImage(ims.GetImageRequest(name=name)).image

    def image_names(self) -> list[str]:
        """All images of the project."""
        return [
            image.name for image in self._user.images.ListImages(ims.ListImagesRequest(parent=PARENT)).images
        ]

    def default_disks(self, image: str) -> list[image_pb2.DefaultDisk]:
        """The disks that a server made from the image gets."""
        request = ims.GetProvisioningDefaultsRequest(name=image)
        return list(self._user.images.GetProvisioningDefaults(request).disks)

    def delete_image(self, name: str, *, delete_backup: bool) -> None:
        """Deletes an image, and its backup after it when that is wanted."""
        request = ims.DeleteImageRequest(name=name, delete_backup=delete_backup)
        self.wait(self._user.images.DeleteImage(request).operation, "ims")

    # Backups.

    def request_backup(self, backup_id: str, server: str) -> csbs.CreateBackupResponse:
        """Requests the backup of a server."""
        return self._user.backups.CreateBackup(
            csbs.CreateBackupRequest(
                parent=PARENT, backup_id=backup_id, backup=backup_pb2.Backup(server=server)
            )
        )

    def backup(self, name: str) -> backup_pb2.Backup:
        """One backup."""
        return self._user.backups.GetBackup(csbs.GetBackupRequest(name=name)).backup

    def request_restore(self, backup: str) -> csbs.RestoreBackupResponse:
        """Requests the restore of a backup to its server."""
        return self._user.backups.RestoreBackup(csbs.RestoreBackupRequest(name=backup))

    def request_deletion_of_backup(self, backup: str) -> csbs.DeleteBackupResponse:
        """Requests the deletion of a backup."""
        return self._user.backups.DeleteBackup(csbs.DeleteBackupRequest(name=backup))

    # Servers.

    def create_servers(
        self,
        server_id: str,
        image: str,
        *,
        count: int = 1,
        data_disks: Sequence[ecs.DataDiskSpec] = (),
        leave_stopped: bool = False,
    ) -> Batch:
        """Makes servers from an image; how each ended."""
        answer = self._user.servers.CreateServers(
            ecs.CreateServersRequest(
                parent=PARENT,
                server_id=server_id,
                server=server_pb2.Server(display_name=server_id),
                image=image,
                count=count,
                data_disks=data_disks,
                leave_stopped=leave_stopped,
            )
        )
        result = _result(self.wait(answer.operation, "ecs"), ecs.CreateServersResult())
        return Batch([server.name for server in answer.servers], list(result.outcomes))

    def server(self, name: str) -> server_pb2.Server:
        """One server."""
        return self._user.servers.GetServer(ecs.GetServerRequest(name=name)).server

    def start(self, server: str) -> None:
        """Switches a server on."""
        self.wait(self._user.servers.StartServer(ecs.StartServerRequest(name=server)).operation, "ecs")

    def stop(self, server: str) -> None:
        """Switches a server off."""
        self.wait(self._user.servers.StopServer(ecs.StopServerRequest(name=server)).operation, "ecs")

    def change_os(self, server: str, image: str) -> None:
        """Replaces a server's system disk by the image's."""
        request = ecs.ChangeServerOsRequest(name=server, image=image)
        self.wait(self._user.servers.ChangeServerOs(request).operation, "ecs")

    def delete_server(self, server: str) -> None:
        """Deletes a server with all its disks."""
        request = ecs.DeleteServerRequest(name=server, delete_data_disks=True)
        self.wait(self._user.servers.DeleteServer(request).operation, "ecs")

    # Disks.

    def disk(self, name: str) -> disk_pb2.Disk:
        """One disk."""
        return self._user.disks.GetDisk(ecs_disks.GetDiskRequest(name=name)).disk

    def disk_path(self, name: str) -> Path:
        """A disk's file on its host, which is this machine."""
        request = ecs_disks.GetDiskConnectionRequest(name=name)
        return Path(self._operator.disks.GetDiskConnection(request).connection.path)

    def disk_paths(self, server: server_pb2.Server) -> list[Path]:
        """The files of a server's disks, in the order of attachment."""
        return [self.disk_path(disk.disk) for disk in server.disks]


def _result(operation: operations_pb2.Operation, message: Any) -> Any:
    """The operation's response as the message that it is; TypeError when it is another."""
    if not isinstance(message, Message) or not operation.response.Unpack(message):
        raise TypeError(f"the operation's response is {operation.response.type_url}")
    return message
