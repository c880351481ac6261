"""What an accepted request comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.faults.model import backup_works, server_works
from tests.faults.model.touch import touched
from tests.faults.model.work import Work
from tests.faults.model.world import World, verb_of


def begin(world: World, request: Any, answer: Any, before: World) -> Work | None:
    """Puts an accepted request into the world; gives its work if it has some.

    `before` is the world as it was when the request came, should something be gone that it read.
    """
    reads, writes = touched(before, request)
    begun = _BEGIN[verb_of(request)](world, request, answer, before)
    if begun is not None:
        begun.operation = answer.operation.name
        begun.reads |= reads - {""}
        begun.writes |= (writes | touched(world, request)[1]) - {""}
        if begun.server:
            begun.snapshots += [world.snapshot(begun.server), before.snapshot(begun.server)]
    return begun


def _update(field_name: str) -> Callable[..., None]:
    def update(world: World, request: Any, answer: Any, before: World) -> None:
        thing = getattr(request, field_name)
        world.edit(thing.name, description=thing.description)

    return update


_BEGIN: Mapping[str, Callable[..., Work | None]] = {
    "CreateServers": server_works.create_servers,
    "StartServer": server_works.power("STARTING", "RUNNING", "STOPPED"),
    "StopServer": server_works.power("STOPPING", "STOPPED", "RUNNING"),
    "RebootServer": server_works.power("REBOOTING", "RUNNING", "RUNNING"),
    "ChangeServerOs": server_works.change_os,
    "ReinstallServerOs": server_works.change_os,
    "DeleteServer": server_works.delete_server,
    "CreateDisk": server_works.create_disk,
    "DeleteDisk": server_works.delete_disk,
    "AttachDisk": server_works.attach,
    "DetachDisk": server_works.detach,
    "CreateBackup": backup_works.create_backup,
    "DeleteBackup": backup_works.delete_backup,
    "RestoreBackup": backup_works.restore,
    "CreateImage": backup_works.create_image,
    "DeleteImage": backup_works.delete_image,
    "GetProvisioningDefaults": lambda *_: None,
    "UpdateServer": _update("server"),
    "UpdateBackup": _update("backup"),
    "UpdateImage": _update("image"),
}
