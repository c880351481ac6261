"""What becomes of an accepted request about backups and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.faults.model.touch import touched
from tests.faults.model.work import Disagreement, Effect, Seen, Work, both, to_state, work_of
from tests.faults.model.world import Backup, Image, Kept, World, verb_of


def create_backup(world: World, request: Any, answer: Any, before: World) -> Work:
    """R03, R04: CREATING at once, then marked, then AVAILABLE."""
    name, server = answer.backup.name, request.backup.server
    description = request.backup.description
    world.put(Backup(name, server, "CREATING", world.snapshot(server), description=description))

    def frozen(state: str, ready: bool) -> Effect:
        return both(to_state(name, state, ready=ready), lambda w, _seen: w.edit(server, frozen=name))

    def sealed(w: World, seen: Seen | None) -> None:
        kept = work.kept(seen[name]["disks"] if seen and name in seen else None)
        w.edit(name, state="AVAILABLE", ready=True, disks=kept)

    under_way = [frozen("CREATING", False), frozen("CREATING", True), frozen("AVAILABLE", True)]
    work = work_of(request, sealed, to_state(name, "ERROR", ready=False), *under_way, server=server)
    return work


def delete_backup(world: World, request: Any, answer: Any, before: World) -> Work:
    """DELETING, then gone."""
    world.edit(request.name, state="DELETING")
    return work_of(request, lambda w, _seen: w.drop(request.name), is_decided=True)


def restore(world: World, request: Any, answer: Any, before: World) -> Work:
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

    under_way = [to_state(server, "RESTORING"), restored]
    work = work_of(request, both(restored, to_state(request.name, "AVAILABLE")), untouched, *under_way)
    return work


def create_image(world: World, request: Any, answer: Any, before: World) -> Work:
    """Of a backup, which it locks (R09); or straight from a server."""
    if request.server:
        return _image_of_server(world, request, answer)
    name = answer.image.name
    backup: Backup = world.recall(request.backup)
    # As the request found it: its backup may have ended since.
    earlier = before.things.get(backup.name, backup)
    is_unfinished = "CREATING" in {backup.state, earlier.state}
    world.put(Image(name, "FULL_SERVER", "CREATING", backup=backup.name, server=backup.server))

    def locked(w: World, seen: Seen | None) -> None:
        w.edit(backup.name, image=name)

    def published(w: World, seen: Seen | None) -> None:
        locked(w, seen)
        w.edit(name, state="NORMAL", disks=w.recall(backup.name).disks)

    def held(w: World, seen: Seen | None) -> None:
        if is_unfinished and backup.server in w.things:
            w.edit(backup.server, holds=w.things[backup.server].holds | {name})

    doomed = _unprepared(backup.disks)

    def failed(w: World, seen: Seen | None) -> None:
        _image_failed(work, name, backup.name, w, seen)

    work = work_of(request, published, failed, locked, held, both(locked, held), doomed=doomed)
    return work


def _unprepared(disks: Sequence[Kept]) -> str:
    """R22: the system disk's own bytes say whether the server was prepared."""
    bases = [disk.content.base for disk in disks if disk.is_system and disk.content]
    return "SOURCE_NOT_CONFIGURED" if bases == ["old"] else ""


def _image_failed(work: Work, name: str, backup: str, w: World, seen: Seen | None) -> None:
    """The image is in ERROR until it is deleted, or its name used again (R63); the backup is free (R10)."""
    w.edit(name, state="ERROR")
    if backup in w.things and w.things[backup].image == name:
        w.edit(backup, image="")
    if seen is None:
        return
    verb = verb_of(work.overtaken_by) if work.overtaken_by else ""
    if verb == "CreateImage" and name in touched(w, work.overtaken_by)[1]:
        w.drop(name)  # the one that is there is the next of that name
    elif name not in seen and not (verb == "DeleteImage" and work.overtaken_by.name == name):
        raise Disagreement(f"{name} failed and is gone")


def _image_of_server(world: World, request: Any, answer: Any) -> Work:
    """Backs the server up first; the backup goes when the image fails, unless it got another one."""
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
            adopt(w, seen, "")
            w.edit(name, backup=seen.get(name, {}).get("backup", ""))
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

    known = to_state(name, "CREATING", backup="?")
    frozen = held(frozen="?")
    phases = [held(), known, both(held(), backing_up), both(frozen, backing_up), frozen,
              lambda w, _seen: w.edit(server, frozen="?")]  # fmt: skip
    work = work_of(request, published, failed, *phases, doomed=doomed, server=server)
    return work


def delete_image(world: World, request: Any, answer: Any, before: World) -> Work:
    """Image first, then the backup if requested and nothing stands in its way (R17, R44, R45)."""
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

    going = both(alone, to_state(backup, "DELETING"))
    phases = [unlocked, alone, going] if request.delete_backup else [unlocked, alone]
    work = work_of(request, together, alone if request.delete_backup else None, *phases)
    work.is_decided = True
    if request.delete_backup and backup in world.things:
        stands = world.things[backup]
        is_anothers = stands.image not in {"", name}
        if is_anothers or stands.state not in {"AVAILABLE", "ERROR"}:
            work.doomed = "BACKUP_DELETION_FAILED"
    return work
