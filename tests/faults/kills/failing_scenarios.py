"""Work that fails, and is killed while it is undone: its content is missing, or it breaks a rule."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from google.longrunning import operations_pb2

from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import disk_pb2, disk_service_pb2, server_pb2, server_service_pb2
from recast.ims.v1 import image_pb2, image_service_pb2
from tests.faults.kills import scenarios as s
from tests.faults.kills.rig import PROJECT, NotRecovered, Rig
from tests.harness import gpt

Act = Callable[[Rig, str], operations_pb2.Operation]


def chunks(rig: Rig, service: str) -> set[Path]:
    """The chunks in a service's store."""
    return {
        path for path in (rig.root / "stack/store" / service / "demo/chunks").rglob("*") if path.is_file()
    }


@contextmanager
def _aside(path: Path, instead: bytes | None = None) -> Iterator[None]:
    """A file or folder is not there for a while; a file may be there instead."""
    moved = path.with_name(f"{path.name}.aside")
    path.rename(moved)
    if instead is not None:
        path.write_bytes(instead)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        moved.rename(path)


class Fragile:
    """A resource with a chunk of its own, recorded by the resource's id, which is missing during the work."""

    def __init__(self, service: str, make: Callable[[Rig], str]) -> None:
        self._service = service
        self._make = make
        self._chunk: dict[str, Path] = {}

    def prepare(self, rig: Rig) -> str:
        """Makes it, and finds the chunk."""
        before = chunks(rig, self._service)
        made = self._make(rig)
        self._chunk[made] = min(chunks(rig, self._service) - before)
        return made

    def without(self, act: Act) -> Act:
        """The work, while the chunk is missing."""

        def fail(rig: Rig, made: str) -> operations_pb2.Operation:
            with _aside(self._chunk[made]):
                operation = act(rig, made)
                rig.wait_until_idle()
            return operation

        return fail


def _an_image_of_noise(folder: Path, kind: image_pb2.ImageKind.ValueType) -> Callable[[Rig], str]:
    def make(rig: Rig) -> str:
        image_id = rig.new_id("fragile")
        path = folder / "noise.raw"
        path.write_bytes(os.urandom(2 * s.MIB))
        with path.open("r+b") as file:  # with a partition table: noise alone is no system disk
            gpt.write_mbr(file.fileno(), [gpt.Slot(gpt.MBR_LINUX, s.MIB, s.MIB)])
        s.done(s.import_image(rig, image_id, path, kind))
        return image_id

    return make


def _without_a_store(rig: Rig, backup_id: str) -> operations_pb2.Operation:
    """A backup of something new while no chunk can be stored."""
    s.write_news(rig)
    with _aside(rig.root / "stack/store/csbs/demo/chunks", instead=b"in the way"):
        operation = s.create_backup(rig, backup_id)
        rig.wait_until_idle()
    return operation


def _change_os_to(rig: Rig, image_id: str) -> operations_pb2.Operation:
    request = server_service_pb2.ChangeServerOsRequest(
        name=f"{PROJECT}/servers/idle", image=f"{PROJECT}/images/{image_id}", request_id=f"change-{image_id}"
    )
    return rig.run("ecs", lambda: rig.recast.servers.ChangeServerOs(request))


def _disk_of(rig: Rig, image_id: str) -> operations_pb2.Operation:
    request = disk_service_pb2.CreateDiskRequest(
        parent=PROJECT,
        disk_id=image_id,
        disk=disk_pb2.Disk(display_name=image_id),
        image=f"{PROJECT}/images/{image_id}",
        request_id=f"disk-{image_id}",
    )
    return rig.run("ecs", lambda: rig.recast.disks.CreateDisk(request))


def _attach_without_files(rig: Rig, disk_id: str) -> operations_pb2.Operation:
    """An attachment while the disk's files are not there."""
    request = disk_service_pb2.GetDiskConnectionRequest(name=f"{PROJECT}/disks/{disk_id}")
    path = rig.insist(lambda: rig.recast.disks.GetDiskConnection(request)).connection.path
    with _aside(Path(path).parent):
        operation = s.attach(rig, disk_id)
        rig.wait_until_idle()
    return operation


def _nothing_is_left(rig: Rig, image_id: str) -> None:
    """V14: no server is left; then the image is deleted."""
    for number in range(2):
        s.server_is_gone(rig, f"{image_id}-{number:04d}")
    s.image_is_there(rig, image_id)


def _os_is_the_old(rig: Rig, image_id: str) -> None:
    s.idle_is_stopped(rig, image_id)
    s.image_is_there(rig, image_id)


def _disk_is_in_error(rig: Rig, image_id: str) -> None:
    request = disk_service_pb2.GetDiskRequest(name=f"{PROJECT}/disks/{image_id}")
    if rig.insist(lambda: rig.recast.disks.GetDisk(request)).disk.state != disk_pb2.DISK_STATE_ERROR:
        raise NotRecovered("a disk that could not be made is not in ERROR")
    s.done(s.delete_disk(rig, image_id))
    s.image_is_there(rig, image_id)


def _backup_is_in_error(rig: Rig, backup_id: str) -> None:
    request = backup_service_pb2.GetBackupRequest(name=f"{PROJECT}/backups/{backup_id}")
    backup = rig.insist(lambda: rig.recast.backups.GetBackup(request)).backup
    if backup.state != backup_pb2.BACKUP_STATE_ERROR or not backup.HasField("error"):
        raise NotRecovered("a backup that could not be made is not in ERROR")
    s.done(s.delete_backup(rig, backup_id))


def _image_is_in_error(rig: Rig, image_id: str) -> None:
    request = image_service_pb2.GetImageRequest(name=f"{PROJECT}/images/{image_id}")
    if rig.insist(lambda: rig.recast.images.GetImage(request)).image.state != image_pb2.IMAGE_STATE_ERROR:
        raise NotRecovered("an image that could not be made is not in ERROR")
    s.done(s.delete_image(rig, image_id))


def _web_is_as_it_was(rig: Rig, backup_id: str) -> None:
    """`web` is STOPPED, for a restore begins with that; then it is started, and the backup deleted."""
    s.server_is(rig, "web", server_pb2.SERVER_STATE_STOPPED)
    s.done(s.start(rig, "web"))
    s.backup_is_there(rig, backup_id)


def failing_scenarios(folder: Path) -> list[s.Scenario]:
    """All of them. `folder` holds the files that `build_world` made."""
    noise = Fragile("ims", _an_image_of_noise(folder, image_pb2.IMAGE_KIND_SYSTEM_DISK))
    data = Fragile("ims", _an_image_of_noise(folder, image_pb2.IMAGE_KIND_DATA_DISK))
    news = Fragile("csbs", s.a_backup_of_news)
    return [
        s.Scenario(
            "CreateBackup fails",
            lambda rig: rig.new_id("backup"),
            _without_a_store,
            _backup_is_in_error,
            fails=True,
        ),
        s.Scenario(
            "RestoreBackup fails", news.prepare, news.without(s.restore_backup), _web_is_as_it_was, fails=True
        ),
        s.Scenario(
            "ImportImage fails",
            lambda rig: rig.new_id("import"),
            lambda rig, new: s.import_image(
                rig, new, folder / "data.raw", image_pb2.IMAGE_KIND_DATA_DISK, sha256=bytes(32)
            ),
            _image_is_in_error,
            fails=True,
        ),
        s.Scenario(
            "CreateImage fails",
            lambda rig: rig.new_id("image"),
            lambda rig, new: s.create_image(rig, new, "bare"),
            _image_is_in_error,
            fails=True,
        ),
        s.Scenario(
            "CreateServers fails",
            noise.prepare,
            noise.without(lambda rig, image: s.create_servers(rig, image, image, 2)),
            _nothing_is_left,
            fails=True,
        ),
        s.Scenario(
            "ChangeServerOs fails", noise.prepare, noise.without(_change_os_to), _os_is_the_old, fails=True
        ),
        s.Scenario("CreateDisk fails", data.prepare, data.without(_disk_of), _disk_is_in_error, fails=True),
        s.Scenario("AttachDisk fails", s.a_disk, _attach_without_files, s.disk_is_there, fails=True),
    ]
