"""The work that is cancelled: what each kind needs, how it is begun, and what is true when it did or did not
happen.

The disks are large enough for most kinds to take a while.
"""

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2

import disks
import scenarios as small
from recast.client import Service
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import disk_service_pb2, server_pb2, server_service_pb2
from recast.faults import Kind, RemoteRefusal
from recast.ims.v1 import image_pb2, image_service_pb2
from rig import PROJECT, NotRecovered
from wires import WiredRig

MIB = 1 << 20
NEWS_BYTES = 64 * MIB
_NEWS_AT = 16 * MIB
_FREE_AT = 280 * MIB  # where a system disk's file system keeps nothing
# What is on web's disk before a restore, and not after it.
_MARK, _READ_MARK = "write -q -P 77 4M 64k", "read -P 77 4M 64k"
AGAIN = "-again"  # ends the id of what is asked for a second time
_LOOK_SECONDS = 0.005


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
        time.sleep(delay)
        stub = self.recast.operations(service)
        begun = time.monotonic()
        self.insist(lambda: stub.CancelOperation(operations_pb2.CancelOperationRequest(name=name)))
        while True:
            operation = self.insist(lambda: stub.GetOperation(operations_pb2.GetOperationRequest(name=name)))
            self.took_to_cancel = time.monotonic() - begun
            if operation.done:
                self.end_time = time.monotonic()
                return operation
            if self.took_to_cancel > 90.0:
                raise NotRecovered(f"{name} of {service} had not ended 90 s after its cancel")
            time.sleep(_LOOK_SECONDS)


Prepare = Callable[[CancellingRig], str]
Act = Callable[[CancellingRig, str, str], operations_pb2.Operation]
Look = Callable[[CancellingRig, str], None]


@dataclass(frozen=True)
class Case:
    """One kind of work. `act(rig, subject, request_id)` begins and follows it."""

    name: str
    prepare: Prepare
    act: Act
    undone: Look | None
    """Holds what is left after a cancel against what was there before; None where none comes in time."""
    done: Look
    """Holds the result against what was promised, and takes it away."""
    is_new_each_time: bool = False
    """Whether doing it again needs another subject, because a failed one keeps its id."""


def build_world(rig: CancellingRig, folder: Path) -> None:
    """Two servers with a system disk of 96 MiB of files and a data disk, and images of all kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    disks.make_system_disk(folder / "system.raw", 320 * MIB, 96 * MIB)
    disks.make_incompressible_disk(folder / "data.raw", 112 * MIB, 100 * MIB, seed=1)
    for name, kind in {
        "system": image_pb2.IMAGE_KIND_SYSTEM_DISK,
        "data": image_pb2.IMAGE_KIND_DATA_DISK,
    }.items():
        _succeeded(small.import_image(rig, name, folder / f"{name}.raw", kind))
    _make_packed(folder)
    for name in ("web", "idle"):
        _succeeded(small.create_servers(rig, name, "system", 1))
    _succeeded(_power("Stop", "idle")(rig, "idle", "stop-idle"))


def _make_packed(folder: Path) -> None:
    """A compressed qcow2 of 2 GiB with 256 MiB of data, each half of a cluster repeated in the other."""
    noise = random.Random(3)
    with (folder / "packed.raw").open("wb") as file:
        file.truncate(2048 * MIB)
        for number in range(256):
            file.seek(number * 8 * MIB)
            file.write(b"".join(noise.randbytes(32768) * 2 for _ in range(16)))
    disks.to_qcow2(folder / "packed.raw", folder / "packed.qcow2", compressed=True)
    (folder / "packed.raw").unlink()


def cases(folder: Path) -> list[Case]:
    """Every kind of work. `folder` holds the files that `build_world` made."""
    raw, packed = (_import(folder / name) for name in ("news.raw", "packed.qcow2"))
    image = (_image_gone, small.image_is_there, True)
    backup = (_backup_failed, small.backup_is_there, True)
    imported = (_image_failed, small.image_is_there, True)
    os_change = (_idle_is("STOPPED"), _changed)
    running = (small.web_is_running, small.web_is_running)
    return [
        Case("CreateBackup", _news_on("web"), _once(small.create_backup), *backup),
        Case("RestoreBackup", _restorable, _restore, _not_restored, _restored),
        Case("DeleteBackup", _backup, _once(small.delete_backup), None, small.backup_is_gone),
        Case("ImportImage", _news_file(folder), raw, *imported),
        Case("ImportPacked", _new("import"), packed, *imported),
        Case("CreateImage", _backup, _image_of_newest, *image),
        Case("CreateImageOfServer", _news_on("idle"), _once(small.image_of_server), *image),
        Case("CreateImageOfUnfinished", _unfinished, _image_of_newest, *image),
        Case("DeleteImage", _an_image, _delete_image, None, small.image_is_gone),
        Case("CreateServers", _an_image, _two_servers, _servers_gone, _servers_there, True),
        Case("DeleteServer", _a_server, _once(small.delete_server), None, small.server_is_gone),
        Case("ChangeServerOs", _an_image, _change_os, *os_change),
        Case("ReinstallServerOs", _new("reinstall"), _reinstall, _idle_is("STOPPED"), _idle_is("STOPPED")),
        Case("StartServer", _new("start"), _power("Start", "idle"), _idle_is("STOPPED"), _started),
        Case("StopServer", _new("stop"), _power("Stop", "web"), small.web_is_running, _stopped),
        Case("RebootServer", _new("reboot"), _power("Reboot", "web"), *running),
        Case("CreateDisk", _a_data_image(folder), _disk_of_newest, _disk_failed, small.disk_is_there, True),
        Case("DeleteDisk", _a_disk, _once(small.delete_disk), None, small.disk_is_gone),
    ]


# What is needed.


def _new(prefix: str) -> Prepare:
    return lambda rig: rig.new_id(prefix)


def _news_on(server: str) -> Prepare:
    """Something that no backup has on the server's data disk."""

    def prepare(rig: CancellingRig) -> str:
        _write_news(rig, server)
        return rig.new_id("news")

    return prepare


def _write_news(rig: CancellingRig, server: str) -> None:
    news = rig.root / "news"
    news.write_bytes(random.Random(rig.new_id("seed")).randbytes(NEWS_BYTES))
    _on_disk(rig, f"{server}-data-1", f"write -q -s {news} {_NEWS_AT} {NEWS_BYTES}")


def _on_disk(rig: CancellingRig, disk: str, command: str) -> str:
    """Does something with a disk, as its guest would; gives what was said."""
    request = disk_service_pb2.GetDiskConnectionRequest(name=f"{PROJECT}/disks/{disk}")
    path = rig.insist(lambda: rig.recast.disks.GetDiskConnection(request)).connection.path
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, path], check=False, capture_output=True, text=True
    )
    _hold(not done.stderr, done.stderr)
    return done.stdout


def _news_file(folder: Path) -> Prepare:
    def prepare(rig: CancellingRig) -> str:
        new = rig.new_id("import")
        (folder / "news.raw").write_bytes(random.Random(new).randbytes(NEWS_BYTES))
        return new

    return prepare


def _backup(rig: CancellingRig) -> str:
    _write_news(rig, "web")
    backup = rig.new_id("backup")
    _succeeded(small.create_backup(rig, backup))
    return backup


def _unfinished(rig: CancellingRig) -> str:
    """A backup that is being made, and is marked already."""
    _write_news(rig, "web")
    backup = rig.new_id("backup")
    request = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT, backup_id=backup, backup=backup_pb2.Backup(server=f"{PROJECT}/servers/web")
    )
    rig.recast.backups.CreateBackup(request)
    while not _get_backup(rig, backup).image_ready:  # bounded: it fails, or it is marked
        if _get_backup(rig, backup).state == backup_pb2.BACKUP_STATE_ERROR:
            raise NotRecovered(f"backup {backup} failed")
        time.sleep(_LOOK_SECONDS)
    return backup


def _restorable(rig: CancellingRig) -> str:
    """A backup of what is not on the server any more, nor in the host's cache."""
    backup = _backup(rig)
    _on_disk(rig, "web-data-1", _MARK)
    return backup


def _an_image(rig: CancellingRig) -> str:
    """An image of which no disk is in the host's cache."""
    _on_disk(rig, "web-system", f"write -q -P {rig.number % 255} {_FREE_AT} 4M")
    image = _backup(rig)
    _succeeded(small.create_image(rig, image, image))
    return image


def _a_server(rig: CancellingRig) -> str:
    server = rig.new_id("server")
    _succeeded(small.create_servers(rig, server, "system", 1))
    return server


def _a_data_image(folder: Path) -> Prepare:
    def prepare(rig: CancellingRig) -> str:
        image = _news_file(folder)(rig)
        _succeeded(import_file(rig, image, folder / "news.raw"))
        return image

    return prepare


def _a_disk(rig: CancellingRig) -> str:
    disk = rig.new_id("disk")
    _succeeded(small.create_disk(rig, disk))
    return disk


# What is done.


def _once(act: Callable[[Any, str], operations_pb2.Operation]) -> Act:
    """What is asked for under its subject's own id."""
    return lambda rig, subject, _request_id: act(rig, subject)


def _import(path: Path) -> Act:
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


def _restore(rig: CancellingRig, backup: str, request_id: str) -> operations_pb2.Operation:
    request = backup_service_pb2.RestoreBackupRequest(
        name=f"{PROJECT}/backups/{backup}", power_on=True, request_id=request_id
    )
    return rig.run("csbs", lambda: rig.recast.backups.RestoreBackup(request))


def _image_of_newest(rig: CancellingRig, image: str, _request_id: str) -> operations_pb2.Operation:
    """Of the backup whose id the image's begins with."""
    return small.create_image(rig, image, image.partition(AGAIN)[0])


def _delete_image(rig: CancellingRig, image: str, _request_id: str) -> operations_pb2.Operation:
    return small.delete_image(rig, image, delete_backup=True)


def _two_servers(rig: CancellingRig, server: str, _request_id: str) -> operations_pb2.Operation:
    return small.create_servers(rig, server, server.partition(AGAIN)[0], 2)


def _disk_of_newest(rig: CancellingRig, disk: str, _request_id: str) -> operations_pb2.Operation:
    request = disk_service_pb2.CreateDiskRequest(
        parent=PROJECT, disk_id=disk, image=f"{PROJECT}/images/{disk.partition(AGAIN)[0]}", request_id=disk
    )
    return rig.run("ecs", lambda: rig.recast.disks.CreateDisk(request))


def _change_os(rig: CancellingRig, image: str, request_id: str) -> operations_pb2.Operation:
    return _set_os(rig, image, request_id)


def _set_os(rig: CancellingRig, image: str, request_id: str) -> operations_pb2.Operation:
    request = server_service_pb2.ChangeServerOsRequest(
        name=f"{PROJECT}/servers/idle", image=f"{PROJECT}/images/{image}", request_id=request_id
    )
    return rig.run("ecs", lambda: rig.recast.servers.ChangeServerOs(request))


def _reinstall(rig: CancellingRig, _subject: str, request_id: str) -> operations_pb2.Operation:
    return small.reinstall_os(rig, request_id)


def _power(verb: str, server: str) -> Act:
    """StartServer, StopServer or RebootServer."""

    def act(rig: CancellingRig, _subject: str, request_id: str) -> operations_pb2.Operation:
        make = getattr(server_service_pb2, f"{verb}ServerRequest")
        request = make(name=f"{PROJECT}/servers/{server}", request_id=request_id)
        return rig.run("ecs", lambda: getattr(rig.recast.servers, f"{verb}Server")(request))

    return act


# What is left.


def _backup_failed(rig: CancellingRig, backup: str) -> None:
    state = _get_backup(rig, backup).state
    _hold(state == backup_pb2.BACKUP_STATE_ERROR, f"the backup is {backup_pb2.BackupState.Name(state)}")
    _hold(not _server(rig, "web").frozen_for, "web is frozen")
    small.web_is_running(rig, backup)
    _succeeded(small.delete_backup(rig, backup))


def _not_restored(rig: CancellingRig, backup: str) -> None:
    _hold(_get_backup(rig, backup).state == backup_pb2.BACKUP_STATE_AVAILABLE, "the backup is not AVAILABLE")
    is_marked = "Pattern verification failed" not in _on_disk(rig, "web-data-1", _READ_MARK)
    _hold(is_marked, "web was restored all the same")
    # A restore takes its server down first, and is not the one to start it again.
    if _server(rig, "web").state == server_pb2.SERVER_STATE_STOPPED:
        _succeeded(_power("Start", "web")(rig, backup, f"{backup}-start"))
    small.web_is_running(rig, backup)


def _restored(rig: CancellingRig, backup: str) -> None:
    _hold("Pattern verification failed" in _on_disk(rig, "web-data-1", _READ_MARK), "web was not restored")
    small.restored_and_running(rig, backup)


def _image_failed(rig: CancellingRig, image: str) -> None:
    state = _get_image(rig, image).state
    _hold(state == image_pb2.IMAGE_STATE_ERROR, f"the image is {image_pb2.ImageState.Name(state)}")
    _succeeded(small.delete_image(rig, image))


def _image_gone(rig: CancellingRig, image: str) -> None:
    """An image that never held its backup is gone, any other in ERROR; the backup is free in both cases."""
    try:
        found = _get_image(rig, image)
    except RemoteRefusal as refusal:
        _hold(refusal.kind is Kind.NOT_FOUND, refusal.text)
    else:
        state = image_pb2.ImageState.Name(found.state)
        _hold(found.state == image_pb2.IMAGE_STATE_ERROR, f"the image is {state}")
        _succeeded(small.delete_image(rig, image))
    _hold(not _server(rig, "idle").image_holds, "idle is held")
    listed = rig.recast.backups.ListBackups(backup_service_pb2.ListBackupsRequest(parent=PROJECT)).backups
    locked = {each.name for each in listed if each.image}
    _hold(not locked, f"locked: {locked}")


def _servers_gone(rig: CancellingRig, server: str) -> None:
    for number in range(2):
        small.server_is_gone(rig, f"{server}-{number:04d}")


def _servers_there(rig: CancellingRig, server: str) -> None:
    small.servers_are_there(rig, server)
    _succeeded(small.delete_image(rig, server.partition(AGAIN)[0], delete_backup=True))


def _disk_failed(rig: CancellingRig, disk: str) -> None:
    request = disk_service_pb2.GetDiskRequest(name=f"{PROJECT}/disks/{disk}")
    _hold(
        rig.recast.disks.GetDisk(request).disk.error.code == 1, "the disk does not say that it was cancelled"
    )
    _succeeded(small.delete_disk(rig, disk))


def _idle_is(state: str) -> Look:
    def look(rig: CancellingRig, _subject: str) -> None:
        idle = _server(rig, "idle")
        _hold(server_pb2.ServerState.Name(idle.state) == f"SERVER_STATE_{state}", f"idle is not {state}")
        _hold(idle.image == f"{PROJECT}/images/system", f"idle is of {idle.image}")

    return look


def _changed(rig: CancellingRig, subject: str) -> None:
    _hold(_server(rig, "idle").image == f"{PROJECT}/images/{subject}", "idle is not of its new image")
    _succeeded(_set_os(rig, "system", f"{subject}-back"))


def _started(rig: CancellingRig, subject: str) -> None:
    _idle_is("RUNNING")(rig, subject)
    _succeeded(_power("Stop", "idle")(rig, subject, f"{subject}-back"))


def _stopped(rig: CancellingRig, subject: str) -> None:
    _hold(_server(rig, "web").state == server_pb2.SERVER_STATE_STOPPED, "web is not STOPPED")
    _succeeded(_power("Start", "web")(rig, subject, f"{subject}-back"))


def _server(rig: CancellingRig, server: str) -> server_pb2.Server:
    request = server_service_pb2.GetServerRequest(name=f"{PROJECT}/servers/{server}")
    return rig.insist(lambda: rig.recast.servers.GetServer(request)).server


def _get_backup(rig: CancellingRig, backup: str) -> backup_pb2.Backup:
    request = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup}")
    return rig.insist(lambda: rig.recast.backups.GetBackup(request)).backup


def _get_image(rig: CancellingRig, image: str) -> image_pb2.Image:
    request = image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/{image}")
    return rig.insist(lambda: rig.recast.images.GetImage(request)).image


def _hold(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise NotRecovered(otherwise)


def _succeeded(operation: operations_pb2.Operation) -> None:
    if operation.HasField("error"):
        raise NotRecovered(f"{operation.name} failed: {operation.error.message}")
