"""Requests out of drawn numbers. Which of the things that there are is meant is drawn as a number too, so
that what is drawn never depends on what the services did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.ecs.v1 import disk_pb2, server_pb2
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import server_service_pb2 as servers
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images
from tests.faults.model.world import Backup, Disk, Image, Server, World

MIB = 1 << 20
# Of system disks and of those that come from an image none is larger than the largest.
SIZES = (2 * MIB, 2 * MIB + 512, 3 * MIB, 5 * MIB)
NOUNS: dict[type, str] = {Server: "servers", Disk: "disks", Backup: "backups", Image: "images"}
DELETE: dict[type, Any] = {
    Server: lambda name: servers.DeleteServerRequest(name=name, delete_data_disks=True),
    Disk: lambda name: disks.DeleteDiskRequest(name=name),
    Backup: lambda name: backups.DeleteBackupRequest(name=name),
    Image: lambda name: images.DeleteImageRequest(name=name),
}


def delete(thing: Any) -> Message:
    """The deletion of a thing with all that is its own."""
    request: Message = DELETE[type(thing)](thing.name)
    return request


def pick(world: World, kind: type, number: int) -> str:
    """A name: mostly of a thing that there is, now and then of none, or of another project's."""
    if number % 30 == 29:
        return f"projects/somebody-else/{NOUNS[kind]}/x"
    there = [name for name, thing in world.things.items() if isinstance(thing, kind)]
    if number % 30 == 28 or not there:
        return f"{world.parent}/{NOUNS[kind]}/absent"
    return there[number // 2 % len(there)]


def pick_image(world: World, number: int, *kinds: str) -> str:
    """The same for an image; mostly of one of the kinds that fit."""
    there = [thing.name for thing in world.all(Image) if thing.kind in kinds]
    return there[number % len(there)] if there and number % 10 < 8 else pick(world, Image, number)


def create_servers(world: World, number: int, image: int, count: int, asks: Sequence[int]) -> Message:
    """One server to three; from an image with its disks as they are, or with more."""
    request = servers.CreateServersRequest(
        parent=world.parent,
        server_id=f"s{number % 3}",
        server=server_pb2.Server(display_name=f"s{number % 3}"),
        image=pick_image(world, image, "SYSTEM_DISK", "FULL_SERVER"),
        count=count,
        leave_stopped=number % 2 == 1,
    )
    for ask in asks:
        spec = request.data_disks.add(shared=ask % 7 == 6)
        if ask % 5 == 0:
            spec.image = pick_image(world, ask, "DATA_DISK")
        elif ask % 5 == 1:
            spec.image_disk, spec.size_bytes = f"data-{1 + ask % 2}", SIZES[ask % 4]
        else:
            spec.size_bytes = SIZES[ask % 4]
    return request


POWER = (servers.StartServerRequest, servers.StopServerRequest, servers.RebootServerRequest)


def power(world: World, server: int, which: int) -> Message:
    """Start, stop or reboot: mostly what the server's state allows."""
    name = pick(world, Server, server)
    found = world.things.get(name)
    is_stopped = found is not None and found.state == "STOPPED"
    fitting = 0 if is_stopped else 1 + which % 2
    return POWER[which % 3 if which % 8 == 7 else fitting](name=name)


def change_os(world: World, server: int, image: int, *, power_on: bool) -> Message:
    """To another image, or once more to its own."""
    name = pick(world, Server, server)
    if image % 4 == 3:
        return servers.ReinstallServerOsRequest(name=name, power_on=power_on)
    wanted = pick_image(world, image, "SYSTEM_DISK", "FULL_SERVER")
    return servers.ChangeServerOsRequest(name=name, image=wanted, power_on=power_on)


def delete_server(world: World, server: int, *, with_disks: bool) -> Message:
    """With its data disks or without."""
    return servers.DeleteServerRequest(name=pick(world, Server, server), delete_data_disks=with_disks)


def create_disk(world: World, number: int, source: int) -> Message:
    """Empty, or from an image."""
    image = pick_image(world, source, "DATA_DISK") if source % 3 == 0 else ""
    size = SIZES[source % 4] if source % 6 or not image else 0
    disk = disk_pb2.Disk(size_bytes=size, shared=number % 3 == 0)
    return disks.CreateDiskRequest(parent=world.parent, disk_id=f"d{number % 4}", disk=disk, image=image)


def delete_disk(world: World, disk: int) -> Message:
    """Mostly one that is attached nowhere."""
    loose = [each.name for each in world.all(Disk) if each.state == "AVAILABLE"]
    name = loose[disk % len(loose)] if loose and disk % 3 else pick(world, Disk, disk)
    return disks.DeleteDiskRequest(name=name)


def attach(world: World, disk: int, server: int) -> Message:
    """Mostly a disk that can be."""
    there = list(world.all(Disk))
    loose = [
        each.name for each in there if each.state == "AVAILABLE" or (each.shared and each.state == "IN_USE")
    ]
    name = loose[disk % len(loose)] if loose and disk % 6 else pick(world, Disk, disk)
    return disks.AttachDiskRequest(name=name, server=pick(world, Server, server))


def detach(world: World, disk: int, server: int) -> Message:
    """Mostly a data disk from a server that has it."""
    name = pick(world, Server, server)
    found = world.things.get(name)
    own = [each for place, each in found.disks.items() if place or disk % 9 == 0] if found else []
    wanted = own[disk % len(own)] if own and disk % 10 else pick(world, Disk, disk)
    return disks.DetachDiskRequest(name=wanted, server=name)


def create_backup(world: World, number: int, server: int, *, full: bool) -> Message:
    """Of some server."""
    backup = backup_pb2.Backup(server=pick(world, Server, server))
    return backups.CreateBackupRequest(
        parent=world.parent, backup_id=f"b{number % 6}", backup=backup, full=full
    )


def restore(world: World, backup: int, server: int, *, power_on: bool) -> Message:
    """To its own server; or to another, each disk to the one at its place."""
    request = backups.RestoreBackupRequest(name=pick(world, Backup, backup), power_on=power_on)
    found = world.things.get(request.name)
    if server % 3 and found is not None:
        request.server = pick(world, Server, server)
        target = world.things.get(request.server)
        places = target.disks if target else {}
        for kept in found.disks:
            if kept.position in places:
                request.mappings.add(backup_disk=kept.id, disk=places[kept.position])
        if server % 7 == 6:
            request.mappings.add(backup_disk="data-50", disk=pick(world, Disk, server))
    return request


def create_image(world: World, number: int, source: int) -> Message:
    """Of a backup, now and then straight from a server; seldom not agreed to, or without a name."""
    request = images.CreateImageRequest(
        parent=world.parent,
        image_id=f"i{number % 4}",
        image=image_pb2.Image(display_name="" if number == 58 else f"i{number % 4}"),
        disclaimer_accepted=number != 57,
    )
    if source % 4 == 3:
        request.server = pick(world, Server, source)
    else:
        request.backup = pick(world, Backup, source)
    return request


def delete_image(world: World, image: int, *, with_backup: bool) -> Message:
    """Full-server images more often than those that the others are made of."""
    there = [each.name for each in world.all(Image) if each.kind == "FULL_SERVER"]
    name = there[image % len(there)] if there and image % 4 else pick(world, Image, image)
    return images.DeleteImageRequest(name=name, delete_backup=with_backup)


def delete_backup(world: World, backup: int) -> Message:
    """Any."""
    return backups.DeleteBackupRequest(name=pick(world, Backup, backup))


def read_defaults(world: World, image: int) -> Message:
    """What a server made from an image gets."""
    return images.GetProvisioningDefaultsRequest(name=pick(world, Image, image))


def describe(world: World, kind: int, number: int) -> Message:
    """Another description."""
    text = f"seen {number}"
    if kind % 3 == 0:
        server = server_pb2.Server(name=pick(world, Server, number), description=text)
        return servers.UpdateServerRequest(server=server)
    if kind % 3 == 1:
        backup = backup_pb2.Backup(name=pick(world, Backup, number), description=text)
        return backups.UpdateBackupRequest(backup=backup)
    image = image_pb2.Image(name=pick(world, Image, number), description=text)
    return images.UpdateImageRequest(image=image)
