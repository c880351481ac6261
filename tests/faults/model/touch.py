"""What a request reads and what it changes: two that meet in the latter race."""

from __future__ import annotations

from typing import Any

from tests.faults.model.work import around
from tests.faults.model.world import Backup, Disk, Image, Server, World, verb_of


def touched(world: World, request: Any) -> tuple[set[str], set[str]]:
    """What a request reads, and what it, or the work on it, changes."""
    verb = verb_of(request)
    if verb.startswith("Update"):
        [(_, thing)] = [
            pair for pair in request.ListFields() if pair[0].name in {"server", "backup", "image"}
        ]
        return {thing.name}, set()
    if verb == "CreateServers":
        servers = world.batch(request)
        # Disks are named by their servers: one that an earlier server left behind may be in the way.
        stems = tuple(name.replace("/servers/", "/disks/") + "-" for name in servers)
        left = {disk.name for disk in world.all(Disk) if disk.name.startswith(stems)}
        return {request.image, *(ask.image for ask in request.data_disks)}, {*servers, *left}
    if verb == "CreateDisk":
        return {request.image}, {f"{world.parent}/disks/{request.disk_id}"}
    if verb == "CreateBackup":
        return set(), {f"{world.parent}/backups/{request.backup_id}"} | around(world, request.backup.server)
    if verb == "CreateImage":
        name = f"{world.parent}/images/{request.image_id}"
        backup = world.recall(request.backup)
        is_held = backup is not None and backup.state != "AVAILABLE"
        return set(), {name, request.backup} | (
            around(world, request.server) if request.server else {backup.server} if is_held else set()
        )
    thing = world.things.get(request.name)
    writes = around(world, request.name) if isinstance(thing, Server) else {request.name}
    reads = {request.image} if verb == "ChangeServerOs" else set()
    if verb == "ReinstallServerOs" and isinstance(thing, Server):
        reads = {thing.image}
    if verb in {"AttachDisk", "DetachDisk"}:
        writes |= around(world, request.server)
    if verb == "RestoreBackup" and isinstance(thing, Backup):
        writes |= around(world, request.server or thing.server)
    if isinstance(thing, Disk):
        writes |= set(world.servers_of(thing.name))
    if isinstance(thing, Image) and verb == "DeleteImage":
        writes.add(thing.backup)
    return (reads, writes) if verb != "GetProvisioningDefaults" else ({request.name}, set())
