"""A stack in which work is cancelled, and each kind of work as a request."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2

from recast.client import Service
from recast.csbs.v1 import backup_service_pb2
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_service_pb2
from recast.ims.v1 import image_pb2, image_service_pb2
from tests.faults.kills import scenarios as small
from tests.faults.kills.rig import PROJECT, NotRecovered
from tests.faults.network.wires import WiredRig

MIB = 1 << 20
AGAIN = "-again"  # ends the id of a request that is made a second time

# The bytes on web's disk before a restore, and not after it.
MARK, READ_MARK = "write -q -P 77 4M 64k", "read -P 77 4M 64k"

Act = Callable[["CancellingRig", str, str], operations_pb2.Operation]
Check = Callable[["CancellingRig", str], None]


class CancellingRig(WiredRig):
    """A stack in which the next piece of work that is waited for may be cancelled."""

    def __init__(self, root: Path) -> None:
        self._delay: float | None = None
        self.took = self.took_to_cancel = self.end_time = 0.0
        """How long the last piece of work took; the last that was cancelled, from its cancel
        on; and when that ended.
        """
        super().__init__(root)

    def cancel_next(self, delay: float) -> None:
        """Orders a cancel so many seconds after the work was begun."""
        self._delay = delay

    def finish(self, service: Service, name: str) -> operations_pb2.Operation:
        """As before, with the cancel that was ordered."""
        delay, self._delay = self._delay, None
        begun = time.monotonic()
        if delay is None:
            operation = super().finish(service, name)
            self.took = time.monotonic() - begun
            return operation
        _pass(delay)
        stub = self.recast.operations(service)
        begun = time.monotonic()
        self.insist(lambda: stub.CancelOperation(operations_pb2.CancelOperationRequest(name=name)))
        operation = super().finish(service, name)
        self.end_time = time.monotonic()
        self.took_to_cancel = self.end_time - begun
        return operation


def _pass(delay: float) -> None:
    """Lets the drawn time pass: the instant of the cancel within the work is under test."""
    time.sleep(delay)


def once(act: Callable[[Any, str], operations_pb2.Operation]) -> Act:
    """A request under its subject's own id."""
    return lambda rig, subject, _request_id: act(rig, subject)


def importing(path: Path) -> Act:
    """Imports a file, each time anew."""
    return lambda rig, subject, _request_id: import_file(rig, subject, path)


def import_file(rig: CancellingRig, image_id: str, path: Path) -> operations_pb2.Operation:
    """Uploads a file as a data-disk image, and follows the work."""
    header = image_service_pb2.ImportImageHeader(
        parent=PROJECT,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id, kind=image_pb2.IMAGE_KIND_DATA_DISK),
        disk_format=image_pb2.DISK_FORMAT_QCOW2 if path.suffix == ".qcow2" else image_pb2.DISK_FORMAT_RAW,
        size_bytes=path.stat().st_size,
        disclaimer_accepted=True,
        request_id=image_id,
    )
    return rig.run("ims", lambda: rig.recast.import_image(path, header))


def restore(rig: CancellingRig, backup: str, request_id: str) -> operations_pb2.Operation:
    """Writes a backup back to web."""
    request = backup_service_pb2.RestoreBackupRequest(
        name=f"{PROJECT}/backups/{backup}", power_on=True, request_id=request_id
    )
    return rig.run("csbs", lambda: rig.recast.backups.RestoreBackup(request))


def image_of_newest(rig: CancellingRig, image: str, _request_id: str) -> operations_pb2.Operation:
    """An image of the backup whose id the image's begins with."""
    return small.create_image(rig, image, image.partition(AGAIN)[0])


def delete_image(rig: CancellingRig, image: str, _request_id: str) -> operations_pb2.Operation:
    """Deletes an image with its backup."""
    return small.delete_image(rig, image, delete_backup=True)


def two_servers(rig: CancellingRig, server: str, _request_id: str) -> operations_pb2.Operation:
    """Two servers of the image whose id theirs begins with."""
    return small.create_servers(rig, server, server.partition(AGAIN)[0], 2)


def disk_of_newest(rig: CancellingRig, disk: str, _request_id: str) -> operations_pb2.Operation:
    """A disk of the image whose id its own begins with."""
    request = disk_service_pb2.CreateDiskRequest(
        parent=PROJECT,
        disk_id=disk,
        disk=disk_pb2.Disk(display_name=disk),
        image=f"{PROJECT}/images/{disk.partition(AGAIN)[0]}",
        request_id=disk,
    )
    return rig.run("ecs", lambda: rig.recast.disks.CreateDisk(request))


def change_os(rig: CancellingRig, image: str, request_id: str) -> operations_pb2.Operation:
    """Changes the OS of idle to an image."""
    return set_os(rig, image, request_id)


def set_os(rig: CancellingRig, image: str, request_id: str) -> operations_pb2.Operation:
    """Changes the OS of idle to an image."""
    request = server_service_pb2.ChangeServerOsRequest(
        name=f"{PROJECT}/servers/idle", image=f"{PROJECT}/images/{image}", request_id=request_id
    )
    return rig.run("ecs", lambda: rig.recast.servers.ChangeServerOs(request))


def reinstall(rig: CancellingRig, _subject: str, request_id: str) -> operations_pb2.Operation:
    """Reinstalls idle."""
    return small.reinstall_os(rig, request_id)


def power(verb: str, server: str) -> Act:
    """StartServer, StopServer or RebootServer."""

    def act(rig: CancellingRig, _subject: str, request_id: str) -> operations_pb2.Operation:
        make = getattr(server_service_pb2, f"{verb}ServerRequest")
        request = make(name=f"{PROJECT}/servers/{server}", request_id=request_id)
        return rig.run("ecs", lambda: getattr(rig.recast.servers, f"{verb}Server")(request))

    return act


def on_disk(rig: CancellingRig, disk: str, command: str) -> str:
    """Runs a command on a disk, as its guest would; gives the output."""
    request = disk_service_pb2.GetDiskConnectionRequest(name=f"{PROJECT}/disks/{disk}")
    path = rig.insist(lambda: rig.recast.disks.GetDiskConnection(request)).connection.path
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, path], check=False, capture_output=True, text=True
    )
    hold(not done.stderr, done.stderr)
    return done.stdout


def hold(is_so: bool, otherwise: str) -> None:
    """NotRecovered unless it is so."""
    if not is_so:
        raise NotRecovered(otherwise)


def succeeded(operation: operations_pb2.Operation) -> None:
    """NotRecovered when the work did not succeed."""
    if operation.HasField("error"):
        raise NotRecovered(f"{operation.name} failed: {operation.error.message}")
