"""The work that is cancelled: the preparation and the start of each kind, and the checks of both ends.

The disks are large enough for most kinds to take a while.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ims.v1 import image_pb2
from tests.faults.cancellation.cancelling import (
    MARK,
    MIB,
    Act,
    CancellingRig,
    Check,
    change_os,
    delete_image,
    disk_of_newest,
    image_of_newest,
    import_file,
    importing,
    on_disk,
    once,
    power,
    reinstall,
    restore,
    succeeded,
    two_servers,
)
from tests.faults.cancellation.leftovers import (
    backup_failed,
    changed,
    disk_failed,
    disk_has_place,
    disk_is_loose,
    get_backup,
    idle_is,
    image_failed,
    image_gone,
    not_restored,
    restored,
    servers_gone,
    servers_there,
    started,
    stopped,
)
from tests.faults.kills import scenarios as small
from tests.faults.kills.rig import PROJECT
from tests.harness import disks
from tests.harness.expectations import until

NEWS_BYTES = 64 * MIB
_NEWS_AT = 16 * MIB
_FREE_AT = 280 * MIB  # where a system disk's file system has no data


Prepare = Callable[[CancellingRig], str]


@dataclass(frozen=True)
class Case:
    """One kind of work. `act(rig, subject, request_id)` begins and follows it."""

    name: str
    prepare: Prepare
    act: Act
    undone: Check | None
    """Compares the leftovers of a cancel with the state before it; None where no cancel comes in time."""
    done: Check
    """Compares the result with the promise, and deletes it."""
    is_new_each_time: bool = False
    """Whether a repeat needs another subject, because a failed one still has its id."""


def build_world(rig: CancellingRig, folder: Path) -> None:
    """Two servers with a system disk of 96 MiB of files and a data disk, and images of all kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    disks.make_system_disk(folder / "system.raw", 320 * MIB, 96 * MIB)
    disks.make_incompressible_disk(folder / "data.raw", 112 * MIB, 100 * MIB, seed=1)
    for name, kind in {
        "system": image_pb2.IMAGE_KIND_SYSTEM_DISK,
        "data": image_pb2.IMAGE_KIND_DATA_DISK,
    }.items():
        succeeded(small.import_image(rig, name, folder / f"{name}.raw", kind))
    _make_packed(folder)
    for name in ("web", "idle"):
        succeeded(small.create_servers(rig, name, "system", 1))
    succeeded(power("Stop", "idle")(rig, "idle", "stop-idle"))


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
    raw, packed = (importing(folder / name) for name in ("news.raw", "packed.qcow2"))
    image = (image_gone, small.image_is_there, True)
    backup = (backup_failed, small.backup_is_there, True)
    imported = (image_failed, small.image_is_there, True)
    os_change = (idle_is("STOPPED"), changed)
    running = (small.web_is_running, small.web_is_running)
    return [
        Case("CreateBackup", _news_on("web"), once(small.create_backup), *backup),
        Case("RestoreBackup", _restorable, restore, not_restored, restored),
        Case("DeleteBackup", _backup, once(small.delete_backup), None, small.backup_is_gone),
        Case("ImportImage", _news_file(folder), raw, *imported),
        Case("ImportPacked", _new("import"), packed, *imported),
        Case("CreateImage", _backup, image_of_newest, *image),
        Case("CreateImageOfServer", _news_on("idle"), once(small.image_of_server), *image),
        Case("CreateImageOfUnfinished", _unfinished, image_of_newest, *image),
        Case("DeleteImage", _an_image, delete_image, None, small.image_is_gone),
        Case("CreateServers", _an_image, two_servers, servers_gone, servers_there, True),
        Case("DeleteServer", _a_server, once(small.delete_server), None, small.server_is_gone),
        Case("ChangeServerOs", _an_image, change_os, *os_change),
        Case("ReinstallServerOs", _new("reinstall"), reinstall, idle_is("STOPPED"), idle_is("STOPPED")),
        Case("StartServer", _new("start"), power("Start", "idle"), idle_is("STOPPED"), started),
        Case("StopServer", _new("stop"), power("Stop", "web"), small.web_is_running, stopped),
        Case("RebootServer", _new("reboot"), power("Reboot", "web"), *running),
        Case("CreateDisk", _a_data_image(folder), disk_of_newest, disk_failed, small.disk_is_there, True),
        Case("DeleteDisk", small.a_disk, once(small.delete_disk), None, small.disk_is_gone),
        Case("AttachDisk", small.a_disk, once(small.attach), disk_is_loose, small.disk_is_attached),
        Case("DetachDisk", small.an_attached_disk, once(small.detach), disk_has_place, small.disk_is_there),
    ]


# Preparations.


def _new(prefix: str) -> Prepare:
    return lambda rig: rig.new_id(prefix)


def _news_on(server: str) -> Prepare:
    """Bytes that no backup has on the server's data disk."""

    def prepare(rig: CancellingRig) -> str:
        _write_news(rig, server)
        return rig.new_id("news")

    return prepare


def _write_news(rig: CancellingRig, server: str) -> None:
    news = rig.root / "news"
    news.write_bytes(random.Random(rig.new_id("seed")).randbytes(NEWS_BYTES))
    on_disk(rig, f"{server}-data-1", f"write -q -s {news} {_NEWS_AT} {NEWS_BYTES}")


def _news_file(folder: Path) -> Prepare:
    def prepare(rig: CancellingRig) -> str:
        new = rig.new_id("import")
        (folder / "news.raw").write_bytes(random.Random(new).randbytes(NEWS_BYTES))
        return new

    return prepare


def _backup(rig: CancellingRig) -> str:
    _write_news(rig, "web")
    backup = rig.new_id("backup")
    succeeded(small.create_backup(rig, backup))
    return backup


def _unfinished(rig: CancellingRig) -> str:
    """A backup that is being made, and is marked already."""
    _write_news(rig, "web")
    backup = rig.new_id("backup")
    request = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT, backup_id=backup, backup=backup_pb2.Backup(server=f"{PROJECT}/servers/web")
    )
    rig.recast.backups.CreateBackup(request)
    until(lambda: get_backup(rig, backup).image_ready, f"the mark of {backup}", pause=0.005)
    return backup


def _restorable(rig: CancellingRig) -> str:
    """A backup of bytes that are no longer on the server, nor in the host's cache."""
    backup = _backup(rig)
    on_disk(rig, "web-data-1", MARK)
    return backup


def _an_image(rig: CancellingRig) -> str:
    """An image of which no disk is in the host's cache."""
    on_disk(rig, "web-system", f"write -q -P {rig.number % 255} {_FREE_AT} 4M")
    image = _backup(rig)
    succeeded(small.create_image(rig, image, image))
    return image


def _a_server(rig: CancellingRig) -> str:
    server = rig.new_id("server")
    succeeded(small.create_servers(rig, server, "system", 1))
    return server


def _a_data_image(folder: Path) -> Prepare:
    def prepare(rig: CancellingRig) -> str:
        image = _news_file(folder)(rig)
        succeeded(import_file(rig, image, folder / "news.raw"))
        return image

    return prepare
