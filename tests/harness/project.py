"""One project of the cloud, with the calls that most tests begin with."""

import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from recast.client import Recast, Service
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_pb2
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import RemoteRefusal
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from recast.longrunning.v1 import operation_metadata_pb2
from tests.harness.cloud import Cloud
from tests.harness.expectations import PATIENCE_SECONDS, file_digest, metadata_of, until

M = TypeVar("M", bound=Message)


class Tenant:
    """One project and its client, with the calls that most tests begin with. Each waits for the end of its
    work.
    """

    def __init__(self, cloud: Cloud, project: str, sources: Path) -> None:
        self.cloud = cloud
        self.project = project
        self.parent = f"projects/{project}"
        self.sources = sources
        self.recast = cloud.client(project)

    def image(self, name: str) -> str:
        """The full name of an image."""
        return f"{self.parent}/images/{name}"

    def backup(self, name: str) -> str:
        """The full name of a backup."""
        return f"{self.parent}/backups/{name}"

    def server(self, name: str) -> str:
        """The full name of a server."""
        return f"{self.parent}/servers/{name}"

    def disk(self, name: str) -> str:
        """The full name of a disk."""
        return f"{self.parent}/disks/{name}"

    def as_service(self, service: Service) -> Recast:
        """A client that acts for this project as a service."""
        return self.cloud.client(self.project, service=service)

    # Images.

    def header(self, image_id: str, path: Path, **changes: Any) -> ims_pb.ImportImageHeader:
        """A header that is in order, for a file under the sources; `kind` by its name."""
        kind = changes.pop("kind", "SYSTEM_DISK")
        wanted: dict[str, Any] = {
            "parent": self.parent,
            "image_id": image_id,
            "image": image_pb2.Image(
                display_name=image_id or "unnamed", kind=image_pb2.ImageKind.Value(f"IMAGE_KIND_{kind}")
            ),
            "disk_format": image_pb2.DISK_FORMAT_QCOW2
            if path.suffix == ".qcow2"
            else image_pb2.DISK_FORMAT_RAW,
            "size_bytes": path.stat().st_size,
            "disclaimer_accepted": True,
            "request_id": f"import-{image_id or uuid.uuid4()}",
        }
        return ims_pb.ImportImageHeader(**wanted | changes)

    def import_image(self, image_id: str, file: str, kind: str = "SYSTEM_DISK") -> image_pb2.Image:
        """Imports one of the sources."""
        path = self.sources / file
        answer = self.recast.import_image(path, self.header(image_id, path, kind=kind))
        return self.result(answer.operation, "ims", image_pb2.Image)

    def start_image(self, image_id: str, backup_id: str, **changes: Any) -> ims_pb.CreateImageResponse:
        """Asks for a full-server image of a backup."""
        wanted: dict[str, Any] = {
            "parent": self.parent,
            "image_id": image_id,
            "image": image_pb2.Image(display_name=image_id),
            "backup": self.backup(backup_id),
            "disclaimer_accepted": True,
        }
        return self.recast.images.CreateImage(ims_pb.CreateImageRequest(**wanted | changes))

    def create_image(self, image_id: str, backup_id: str) -> image_pb2.Image:
        """Makes a full-server image of a backup."""
        return self.result(self.start_image(image_id, backup_id).operation, "ims", image_pb2.Image)

    def get_image(self, image_id: str) -> image_pb2.Image:
        """Reads an image."""
        return self.recast.images.GetImage(ims_pb.GetImageRequest(name=self.image(image_id))).image

    def delete_image(self, image_id: str, delete_backup: bool = False) -> None:
        """Deletes an image."""
        request = ims_pb.DeleteImageRequest(name=self.image(image_id), delete_backup=delete_backup)
        self.wait(self.recast.images.DeleteImage(request).operation, "ims")

    # Servers and disks.

    def start_servers(
        self, server_id: str, image_id: str = "sys", **options: Any
    ) -> ecs_pb.CreateServersResponse:
        """Asks for servers from an image."""
        title = options.pop("display_name", server_id or "unnamed")
        request = ecs_pb.CreateServersRequest(
            parent=self.parent,
            server_id=server_id,
            server=server_pb2.Server(display_name=title),
            image=self.image(image_id),
            **options,
        )
        return self.recast.servers.CreateServers(request)

    def create_server(self, server_id: str, image_id: str = "sys", **options: Any) -> server_pb2.Server:
        """Makes a server from an image."""
        self.wait(self.start_servers(server_id, image_id, **options).operation, "ecs")
        return self.get_server(server_id)

    def get_server(self, server_id: str) -> server_pb2.Server:
        """Reads a server."""
        return self.recast.servers.GetServer(ecs_pb.GetServerRequest(name=self.server(server_id))).server

    def stop_server(self, server_id: str) -> None:
        """Stops a server."""
        request = ecs_pb.StopServerRequest(name=self.server(server_id))
        self.wait(self.recast.servers.StopServer(request).operation, "ecs")

    def delete_server(self, server_id: str, delete_data_disks: bool = True) -> None:
        """Deletes a server, its data disks as well by default."""
        request = ecs_pb.DeleteServerRequest(name=self.server(server_id), delete_data_disks=delete_data_disks)
        self.wait(self.recast.servers.DeleteServer(request).operation, "ecs")

    def create_disk(
        self, disk_id: str, size_bytes: int = 0, image_id: str = "", shared: bool = False
    ) -> disk_pb2.Disk:
        """Makes a disk, empty or from an image."""
        request = disk_service_pb2.CreateDiskRequest(
            parent=self.parent,
            disk_id=disk_id,
            disk=disk_pb2.Disk(size_bytes=size_bytes, shared=shared),
            image=self.image(image_id) if image_id else "",
        )
        return self.result(self.recast.disks.CreateDisk(request).operation, "ecs", disk_pb2.Disk)

    def get_disk(self, disk_id: str) -> disk_pb2.Disk:
        """Reads a disk."""
        return self.recast.disks.GetDisk(disk_service_pb2.GetDiskRequest(name=self.disk(disk_id))).disk

    def attach(self, disk_id: str, server_id: str) -> disk_pb2.Disk:
        """Attaches a disk to a server."""
        return self.result(self.start_attachment(disk_id, server_id).operation, "ecs", disk_pb2.Disk)

    def start_attachment(self, disk_id: str, server_id: str) -> disk_service_pb2.AttachDiskResponse:
        """Asks for a disk to be attached to a server."""
        request = disk_service_pb2.AttachDiskRequest(name=self.disk(disk_id), server=self.server(server_id))
        return self.recast.disks.AttachDisk(request)

    def detach(self, disk_id: str, server_id: str) -> disk_pb2.Disk:
        """Detaches a disk from a server."""
        return self.result(self.start_detachment(disk_id, server_id).operation, "ecs", disk_pb2.Disk)

    def start_detachment(self, disk_id: str, server_id: str) -> disk_service_pb2.DetachDiskResponse:
        """Asks for a disk to be detached from a server."""
        request = disk_service_pb2.DetachDiskRequest(name=self.disk(disk_id), server=self.server(server_id))
        return self.recast.disks.DetachDisk(request)

    # Backups.

    def start_backup(self, backup_id: str, server_id: str, **options: Any) -> csbs_pb.CreateBackupResponse:
        """Asks for a backup of a server."""
        backup = backup_pb2.Backup(server=self.server(server_id))
        request = csbs_pb.CreateBackupRequest(
            parent=self.parent, backup_id=backup_id, backup=backup, **options
        )
        return self.recast.backups.CreateBackup(request)

    def create_backup(self, backup_id: str, server_id: str, **options: Any) -> backup_pb2.Backup:
        """Backs a server up."""
        operation = self.start_backup(backup_id, server_id, **options).operation
        return self.result(operation, "csbs", backup_pb2.Backup)

    def get_backup(self, backup_id: str) -> backup_pb2.Backup:
        """Reads a backup."""
        return self.recast.backups.GetBackup(csbs_pb.GetBackupRequest(name=self.backup(backup_id))).backup

    def start_restore(self, backup_id: str, **options: Any) -> csbs_pb.RestoreBackupResponse:
        """Asks for a restore of a backup."""
        return self.recast.backups.RestoreBackup(
            csbs_pb.RestoreBackupRequest(name=self.backup(backup_id), **options)
        )

    def restore(self, backup_id: str, **options: Any) -> backup_pb2.Backup:
        """Restores a backup."""
        return self.result(self.start_restore(backup_id, **options).operation, "csbs", backup_pb2.Backup)

    def delete_backup(self, backup_id: str) -> None:
        """Deletes a backup."""
        request = csbs_pb.DeleteBackupRequest(name=self.backup(backup_id))
        self.wait(self.recast.backups.DeleteBackup(request).operation, "csbs")

    @contextmanager
    def unfinished_backup(self, backup_id: str, server_id: str) -> Iterator[csbs_pb.CreateBackupResponse]:
        """A backup that is CREATING and marked, and stays so until the end of the block."""
        with self.cloud.chunks_held("csbs", self.project):
            answer = self.start_backup(backup_id, server_id)
            until(lambda: self.get_backup(backup_id).image_ready, "the mark")
            yield answer

    # Work.

    def wait(self, operation: operations_pb2.Operation, service: Service) -> operations_pb2.Operation:
        """Waits for the end of work; the refusal that it ended with is raised."""
        return self.recast.wait(operation, service, timeout_seconds=PATIENCE_SECONDS)

    def result(self, operation: operations_pb2.Operation, service: Service, of: type[M]) -> M:
        """The result of work."""
        answer = of()
        assert self.wait(operation, service).response.Unpack(answer)
        return answer

    def end(
        self, operation: operations_pb2.Operation, service: Service
    ) -> operation_metadata_pb2.OperationMetadata:
        """Waits for the end of work, whichever it is, and gives its metadata."""
        with suppress(RemoteRefusal):  # the metadata tells
            self.wait(operation, service)
        return self.metadata(operation, service)

    def get_operation(
        self, operation: operations_pb2.Operation, service: Service
    ) -> operations_pb2.Operation:
        """The operation as it is now."""
        request = operations_pb2.GetOperationRequest(name=operation.name)
        return self.recast.operations(service).GetOperation(request)

    def metadata(
        self, operation: operations_pb2.Operation, service: Service
    ) -> operation_metadata_pb2.OperationMetadata:
        """The metadata of the operation as it is now."""
        return metadata_of(self.get_operation(operation, service))

    def cancel(self, operation: operations_pb2.Operation, service: Service) -> None:
        """Requests the cancel of an operation."""
        self.recast.operations(service).CancelOperation(
            operations_pb2.CancelOperationRequest(name=operation.name)
        )

    def wait_until_idle(self, service: Service) -> None:
        """Waits until no work of the project is left, collections of chunks included."""
        stub = self.recast.operations(service)
        request = operations_pb2.ListOperationsRequest(name=self.parent, filter="done = false")
        until(lambda: not stub.ListOperations(request).operations, f"the end of all work of {service}")

    # Bytes.

    def path(self, disk: str) -> Path:
        """The file of a disk, given by its full name."""
        request = disk_service_pb2.GetDiskConnectionRequest(name=disk)
        operator = self.cloud.client(self.project, role="operator")
        return Path(operator.disks.GetDiskConnection(request).connection.path)

    def digest(self, disk: str) -> str:
        """The digest of a whole disk, read with qemu-img through its connection."""
        raw = self.sources / f"read-{uuid.uuid4()}.raw"
        try:
            _run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.path(disk)), str(raw)])
            return file_digest(raw)
        finally:
            raw.unlink(missing_ok=True)

    def digests(self, server_id: str) -> list[str]:
        """The digests of a server's disks, in their order."""
        return [self.digest(disk.disk) for disk in self.get_server(server_id).disks]

    def write(self, disk: str, offset: int, length: int = 65536, pattern: int = 0xA5) -> None:
        """Writes a pattern onto a disk, as its guest would."""
        command = f"write -P {pattern} {offset} {length}"
        _run(["qemu-io", "-f", "qcow2", "-c", command, str(self.path(disk))])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
