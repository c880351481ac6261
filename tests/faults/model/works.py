"""What an accepted request comes to: how the world looks while the work is under way, and at either end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf.message import Message

from model.world import Backup, Content, Disk, Image, Kept, Server, World, verb_of

Seen = Mapping[str, Mapping[str, Any]]
"""What the services list, by name; see `seen`."""
Effect = Callable[[World, Seen | None], None]
"""What becomes of the world. Where a race left it open, it follows what is seen."""


class Disagreement(AssertionError):
    """The services did what the model does not allow."""


@dataclass
class Work:
    """Work under way: how it changes the world, at each end and on the way (`phases`).

    `vanish` is another way to fail, with less left; which of both it was is seen. `doomed` is the reason that
    it must fail with; `may_fail` when a race or a cancel leaves it open. `server` is the one that it backs
    up, and `snapshots` what that may have been at the instant. `overtaken_by` is a request that was accepted
    before the end of this work: what is seen may be of its making.
    """

    request: Any
    writes: set[str]
    reads: set[str]
    succeed: Effect
    fail: Effect
    phases: list[Effect] = field(default_factory=list)
    vanish: Effect | None = None
    doomed: str = ""
    may_fail: bool = False
    is_decided: bool = False
    is_cancelled: bool = False
    overtaken_by: Any = None
    server: str = ""
    snapshots: list[tuple[Kept, ...]] = field(default_factory=list)
    operation: str = ""

    def futures(self, world: World) -> Iterable[World]:
        """The worlds that a request may find while this work is under way, or just after it."""
        ends = [self.succeed] if not self.doomed else []
        if self.doomed or self.may_fail:
            ends += [self.fail, self.vanish] if self.vanish else [self.fail]
        yield world
        for effect in (*self.phases, *ends):
            future = world.copy()
            effect(future, None)
            yield future

    def kept(self, shown: Sequence[tuple[Any, ...]] | None) -> tuple[Kept, ...]:
        """What the backup holds: of what may have been, that which is shown. Contents that differ between
        those are left open.
        """
        fitting = [each for each in self.snapshots if shown is None or [d.shape for d in each] == list(shown)]
        if not fitting:
            raise Disagreement(f"a backup of {self.server} has {shown}, not one of {self.snapshots}")
        first, *others = fitting if shown is not None else fitting[:1]
        same = [
            all(disk.content == other[index].content for other in others) for index, disk in enumerate(first)
        ]
        return tuple(
            disk if ok else replace(disk, content=None) for disk, ok in zip(first, same, strict=True)
        )


def around(world: World, server: str) -> set[str]:
    """A server, its disks, and the servers that share them."""
    found = world.things.get(server)
    if not isinstance(found, Server):
        return {server}
    disks = set(found.disks.values())
    return {server, *disks, *(each for disk in disks for each in world.servers_of(disk))}


def touched(world: World, request: Any) -> tuple[set[str], set[str]]:
    """What a request reads, and what it, or the work on it, changes."""
    verb = verb_of(request)
    if verb.startswith("Update"):
        [(_, thing)] = [
            pair for pair in request.ListFields() if pair[0].name in {"server", "backup", "image"}
        ]
        return {thing.name}, set()
    if verb == "CreateServers":
        return {request.image, *(ask.image for ask in request.data_disks)}, set(world.batch(request))
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


def _work(
    request: Message, succeed: Effect, fail: Effect | None = None, *phases: Effect, **more: Any
) -> Work:
    return Work(request, set(), set(), succeed, fail or _impossible, list(phases), **more)


def _impossible(world: World, seen: Seen | None) -> None:
    raise Disagreement("work failed that was decided when it was asked for")


def _create_servers(world: World, request: Any, answer: Any, before: World) -> Work:
    plan = _plan(world, request)
    names = [server.name for server in answer.servers]
    if names != world.batch(request):
        raise Disagreement(f"{names} were made, not {world.batch(request)} (R14)")
    made: list[str] = []
    for shown in answer.servers:
        for disk, shape in zip(sorted(shown.disks, key=lambda each: each.position), plan, strict=True):
            world.put(replace(shape, name=disk.disk))
            made.append(disk.disk)
        places = {disk.position: disk.disk for disk in shown.disks}
        world.put(
            Server(shown.name, "CREATING", request.image, places, description=request.server.description)
        )

    def up(w: World, seen: Seen | None) -> None:
        for name in names:
            w.edit(name, state="STOPPED" if request.leave_stopped else "RUNNING")
        for name in made:
            w.edit(name, state="IN_USE")

    def gone(w: World, seen: Seen | None) -> None:
        for name in (*names, *made):  # V14
            w.drop(name)

    images = {request.image, *(ask.image for ask in request.data_disks)} - {""}
    work = _work(request, up, gone, _pinned(images), _both(_pinned(images), up))
    work.writes |= {*names, *made}
    return work


def _plan(world: World, request: Any) -> list[Disk]:
    """The disks of each new server: the image's, as they are asked for, then those in addition (R12)."""
    image: Image = world.recall(request.image)
    asks = {ask.image_disk: ask for ask in request.data_disks if ask.image_disk}
    plan = []
    for kept in sorted(image.disks, key=lambda each: each.position):
        ask = asks.get(kept.id)
        size, shared = (ask.size_bytes or kept.size, ask.shared) if ask else (kept.size, False)
        plan.append(Disk("", "CREATING", kept.is_system, size, shared, kept.content, image.name))
    for ask in request.data_disks:
        if not ask.image_disk:
            source = world.recall(ask.image).disks[0] if ask.image else None
            content = source.content if source else Content()
            size = ask.size_bytes or source.size
            plan.append(Disk("", "CREATING", False, size, ask.shared, content, ask.image))
    return plan


def _pinned(images: Iterable[str]) -> Effect:
    def pin(world: World, seen: Seen | None) -> None:
        for image in images:
            world.edit(image, pinned=True)

    return pin


def _both(first: Effect, second: Effect) -> Effect:
    def both(world: World, seen: Seen | None) -> None:
        first(world, seen)
        second(world, seen)

    return both


def _state(name: str, state: str, **changes: Any) -> Effect:
    return lambda world, _seen: world.edit(name, state=state, **changes)


def _power(during: str, after: str, back: str) -> Callable[..., Work]:
    def begin_power(world: World, request: Any, answer: Any, before: World) -> Work:
        world.edit(request.name, state=during)
        return _work(request, _state(request.name, after), _state(request.name, back))

    return begin_power


def _change_os(world: World, request: Any, answer: Any, before: World) -> Work:
    """Of the image the system disk alone is used; no data disk is touched (R35)."""
    server: Server = world.things[request.name]
    image = world.recall(server.image if verb_of(request) == "ReinstallServerOs" else request.image)
    system = next(disk for disk in image.disks if disk.is_system)
    position, old = next((p, world.things[d]) for p, d in server.disks.items() if world.things[d].is_system)
    name = f"{world.parent}/disks/{answer.operation.name.rpartition('/')[2]}"
    size = max(old.size, system.size)
    world.put(Disk(name, "CREATING", True, size, False, system.content, image.name))
    world.edit(server.name, state="CHANGING_OS")

    def swap(w: World, seen: Seen | None) -> None:
        current = w.things[server.name]
        w.edit(name, state="IN_USE")
        state = "RUNNING" if request.power_on else "STOPPED"
        w.edit(server.name, state=state, image=image.name, disks={**current.disks, position: name})
        w.edit(old.name, state="DELETING")

    def done(w: World, seen: Seen | None) -> None:
        swap(w, seen)
        w.drop(old.name)

    def stay(w: World, seen: Seen | None) -> None:
        w.edit(server.name, state="STOPPED")
        w.drop(name)

    pinned = _pinned([image.name])
    work = _work(request, done, stay, pinned, _both(pinned, swap), _both(pinned, done))
    work.writes.add(name)
    return work


def _delete_server(world: World, request: Any, answer: Any, before: World) -> Work:
    """Data disks are kept, detached, unless asked for; those that others use always."""
    world.edit(request.name, state="DELETING")

    def detach(w: World, seen: Seen | None) -> None:
        for disk in [w.things[each] for each in w.things[request.name].disks.values()]:
            is_alone = w.servers_of(disk.name) == [request.name]
            is_doomed = is_alone and (disk.is_system or request.delete_data_disks)
            w.edit(disk.name, state="DELETING" if is_doomed else "AVAILABLE" if is_alone else "IN_USE")
        w.edit(request.name, disks={})

    def remove(w: World, seen: Seen | None) -> None:
        disks = w.things[request.name].disks.values()
        detach(w, seen)
        for disk in [each for each in disks if w.things[each].state == "DELETING"]:
            w.drop(disk)
        w.drop(request.name)

    return _work(request, remove, None, detach, is_decided=True)


def _create_disk(world: World, request: Any, answer: Any, before: World) -> Work:
    source = world.recall(request.image).disks[0] if request.image else None
    content = source.content if source else Content()
    size = request.disk.size_bytes or source.size
    name = answer.disk.name
    world.put(Disk(name, "CREATING", False, size, request.disk.shared, content, request.image))
    pinned = _pinned({request.image} - {""})
    made = _state(name, "AVAILABLE")
    return _work(request, made, _state(name, "ERROR"), pinned, _both(pinned, made))


def _delete_disk(world: World, request: Any, answer: Any, before: World) -> Work:
    world.edit(request.name, state="DELETING")
    return _work(request, lambda w, _seen: w.drop(request.name), is_decided=True)


def _attach(world: World, request: Any, answer: Any, before: World) -> None:
    server = world.things[request.server]
    position = next(each for each in range(1, 100) if each not in server.disks)
    world.edit(request.server, disks={**server.disks, position: request.name})
    world.edit(request.name, state="IN_USE")


def _detach(world: World, request: Any, answer: Any, before: World) -> None:
    server = world.things[request.server]
    world.edit(request.server, disks={p: disk for p, disk in server.disks.items() if disk != request.name})
    world.edit(request.name, state="IN_USE" if world.servers_of(request.name) else "AVAILABLE")


def _create_backup(world: World, request: Any, answer: Any, before: World) -> Work:
    """R03, R04: CREATING at once, then marked, then AVAILABLE."""
    name, server = answer.backup.name, request.backup.server
    description = request.backup.description
    world.put(Backup(name, server, "CREATING", world.snapshot(server), description=description))

    def frozen(state: str, ready: bool) -> Effect:
        return _both(_state(name, state, ready=ready), lambda w, _seen: w.edit(server, frozen=name))

    def sealed(w: World, seen: Seen | None) -> None:
        kept = work.kept(seen[name]["disks"] if seen and name in seen else None)
        w.edit(name, state="AVAILABLE", ready=True, disks=kept)

    under_way = [frozen("CREATING", False), frozen("CREATING", True), frozen("AVAILABLE", True)]
    work = _work(request, sealed, _state(name, "ERROR", ready=False), *under_way, server=server)
    return work


def _delete_backup(world: World, request: Any, answer: Any, before: World) -> Work:
    world.edit(request.name, state="DELETING")
    return _work(request, lambda w, _seen: w.drop(request.name), is_decided=True)


def _restore(world: World, request: Any, answer: Any, before: World) -> Work:
    """Every disk gets the backup's bytes; the server is down for it."""
    backup: Backup = world.recall(request.name)
    server = request.server or backup.server
    plan = before.restore_plan(request)
    was = world.things[server].state if server in world.things else ""
    world.edit(request.name, state="RESTORING")

    def restored(w: World, seen: Seen | None) -> None:
        for disk in backup.disks:
            w.edit(plan[disk.id], content=disk.content)
        w.edit(server, state="RUNNING" if request.power_on else "STOPPED")

    def untouched(w: World, seen: Seen | None) -> None:
        w.edit(request.name, state="AVAILABLE")
        shown = seen.get(server, {}).get("state", was) if seen is not None else was
        if shown not in {was, "STOPPED"}:  # it may have been taken down already
            if not work.overtaken_by:
                raise Disagreement(
                    f"{server} was {was}, and is {shown} after a restore that did not come about"
                )
            shown = was
        w.edit(server, state=shown)

    under_way = [_state(server, "RESTORING"), restored]
    work = _work(request, _both(restored, _state(request.name, "AVAILABLE")), untouched, *under_way)
    return work


def _create_image(world: World, request: Any, answer: Any, before: World) -> Work:
    if request.server:
        return _image_of_server(world, request, answer)
    name = answer.image.name
    backup: Backup = world.recall(request.backup)
    world.put(Image(name, "FULL_SERVER", "CREATING", backup=backup.name, server=backup.server))

    def locked(w: World, seen: Seen | None) -> None:
        w.edit(backup.name, image=name)

    def published(w: World, seen: Seen | None) -> None:
        locked(w, seen)
        w.edit(name, state="NORMAL", disks=w.recall(backup.name).disks)

    def held(w: World, seen: Seen | None) -> None:
        if backup.state == "CREATING" and backup.server in w.things:
            w.edit(backup.server, holds=w.things[backup.server].holds | {name})

    doomed = _unprepared(backup.disks)

    def failed(w: World, seen: Seen | None) -> None:
        _image_failed(work, name, backup.name, w, seen)

    gone = _both(failed, lambda w, _seen: w.drop(name))
    work = _work(request, published, failed, locked, held, _both(locked, held), doomed=doomed, vanish=gone)
    return work


def _unprepared(disks: Sequence[Kept]) -> str:
    """R22: the system disk's own bytes say whether the server was prepared."""
    bases = [disk.content.base for disk in disks if disk.is_system and disk.content]
    return "SOURCE_NOT_CONFIGURED" if bases == ["old"] else ""


def _image_failed(work: Work, name: str, backup: str, w: World, seen: Seen | None) -> None:
    """An image that never held its backup is gone, any other is in ERROR; the backup is free (R10)."""
    w.edit(name, state="ERROR")
    if backup in w.things and w.things[backup].image == name:
        w.edit(backup, image="")
    if seen is None:
        return
    verb = verb_of(work.overtaken_by) if work.overtaken_by else ""
    if verb == "CreateImage" and name in touched(w, work.overtaken_by)[1]:
        w.drop(name)  # the one that is there is the next of that name
    elif name not in seen and verb != "DeleteImage":
        if work.doomed == "SOURCE_NOT_CONFIGURED" and not work.may_fail:
            raise Disagreement(f"{name} held its backup and is gone")
        w.drop(name)


def _image_of_server(world: World, request: Any, answer: Any) -> Work:
    """Backs the server up first; the backup stays, whatever becomes of the image."""
    name, server = answer.image.name, request.server
    found = world.things.get(server)
    world.put(Image(name, "FULL_SERVER", "CREATING", server=server))
    doomed = ""
    if found is None:
        doomed = "SERVER_NOT_FOUND"
    elif found.state not in {"RUNNING", "STOPPED"}:
        doomed = "SERVER_STATE_FORBIDS_BACKUP"
    elif any(world.things[disk].shared for disk in found.disks.values()):
        doomed = "BACKUP_HAS_SHARED_DISK"
    doomed = doomed or _unprepared(world.snapshot(server))

    def adopt(w: World, seen: Seen, lock: str) -> str:
        """The backup that was made on the way, which the model does not know: the image's own, else those
        that no image claims.
        """
        claimed = {shown.get("backup") for each, shown in seen.items() if each != name}
        mine = seen.get(name, {}).get("backup", "")
        new = [
            each
            for each, shown in seen.items()
            if "ready" in shown and shown["server"] == server and each not in w.things
            and (each == mine if mine else each not in claimed)
        ]  # fmt: skip
        for each in new:
            state = seen[each]["state"]
            kept = work.kept(seen[each]["disks"]) if state == "AVAILABLE" else ()
            w.put(Backup(each, server, state, kept, ready=state == "AVAILABLE", image=lock))
        return mine or next(iter(new), "?")

    def published(w: World, seen: Seen | None) -> None:
        backup = adopt(w, seen, name) if seen is not None else "?"
        kept = w.things[backup].disks if backup in w.things else work.snapshots[0]
        w.edit(name, state="NORMAL", backup=backup, disks=kept)

    def failed(w: World, seen: Seen | None) -> None:
        if seen is not None:
            adopted = adopt(w, seen, "")
            w.edit(name, backup=adopted if adopted in w.things else "")
        else:
            w.edit(name, backup="?")
        _image_failed(work, name, "", w, seen)

    def held(**changes: Any) -> Effect:
        def hold(w: World, seen: Seen | None) -> None:
            if server in w.things:
                w.edit(server, holds=frozenset({name}), **changes)

        return hold

    def backing_up(w: World, seen: Seen | None) -> None:
        w.put(Backup("?", server, "CREATING", ()))

    known = _state(name, "CREATING", backup="?")
    frozen = held(frozen="?")
    phases = [held(), known, _both(held(), backing_up), _both(frozen, backing_up), frozen,
              lambda w, _seen: w.edit(server, frozen="?")]  # fmt: skip
    gone = _both(failed, lambda w, _seen: w.drop(name))
    work = _work(request, published, failed, *phases, doomed=doomed, server=server, vanish=gone)
    return work


def _delete_image(world: World, request: Any, answer: Any, before: World) -> Work:
    """Image first, then the backup if it is asked for and nothing stands in its way (R17, R44, R45)."""
    name, backup = request.name, world.things[request.name].backup
    world.edit(name, state="DELETING")

    def unlocked(w: World, seen: Seen | None) -> None:
        if backup in w.things and w.things[backup].image == name:
            w.edit(backup, image="")

    def alone(w: World, seen: Seen | None) -> None:
        unlocked(w, seen)
        w.drop(name)

    def together(w: World, seen: Seen | None) -> None:
        alone(w, seen)
        if request.delete_backup:
            w.drop(backup)

    going = _both(alone, _state(backup, "DELETING"))
    phases = [unlocked, alone, going] if request.delete_backup else [unlocked, alone]
    work = _work(request, together, alone if request.delete_backup else None, *phases)
    work.is_decided = True
    if request.delete_backup and backup in world.things:
        stands = world.things[backup]
        is_anothers = stands.image not in {"", name}
        if is_anothers or stands.state not in {"AVAILABLE", "ERROR"}:
            work.doomed = "BACKUP_DELETION_FAILED"
    return work


def _update(field_name: str) -> Callable[..., None]:
    def update(world: World, request: Any, answer: Any, before: World) -> None:
        thing = getattr(request, field_name)
        world.edit(thing.name, description=thing.description)

    return update


_BEGIN: Mapping[str, Callable[..., Work | None]] = {
    "CreateServers": _create_servers,
    "StartServer": _power("STARTING", "RUNNING", "STOPPED"),
    "StopServer": _power("STOPPING", "STOPPED", "RUNNING"),
    "RebootServer": _power("REBOOTING", "RUNNING", "RUNNING"),
    "ChangeServerOs": _change_os,
    "ReinstallServerOs": _change_os,
    "DeleteServer": _delete_server,
    "CreateDisk": _create_disk,
    "DeleteDisk": _delete_disk,
    "AttachDisk": _attach,
    "DetachDisk": _detach,
    "CreateBackup": _create_backup,
    "DeleteBackup": _delete_backup,
    "RestoreBackup": _restore,
    "CreateImage": _create_image,
    "DeleteImage": _delete_image,
    "GetProvisioningDefaults": lambda *_: None,
    "UpdateServer": _update("server"),
    "UpdateBackup": _update("backup"),
    "UpdateImage": _update("image"),
}
