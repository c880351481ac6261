"""What becomes of an accepted request about servers and disks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.faults.model.work import Disagreement, Effect, Seen, Work, both, pinned, to_state, work_of
from tests.faults.model.world import Content, Disk, Image, Server, World, verb_of


def create_servers(world: World, request: Any, answer: Any, before: World) -> Work:
    """CREATING, and then all there, or nothing is left of them (V14)."""
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
    work = work_of(request, up, gone, pinned(images), both(pinned(images), up))
    work.writes |= {*names, *made}
    return work


def _plan(world: World, request: Any) -> list[Disk]:
    """The disks of each new server: the image's, as requested, then those in addition (R12)."""
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


def power(during: str, after: str, back: str) -> Callable[..., Work]:
    """The work of a power RPC: what the server is meanwhile, afterwards, and when it does not come about."""

    def begin_power(world: World, request: Any, answer: Any, before: World) -> Work:
        world.edit(request.name, state=during)
        return work_of(request, to_state(request.name, after), to_state(request.name, back))

    return begin_power


def change_os(world: World, request: Any, answer: Any, before: World) -> Work:
    """Of the image the system disk alone is used; no data disk is touched (R35)."""
    server: Server = world.things[request.name]
    image = world.recall(server.image if verb_of(request) == "ReinstallServerOs" else request.image)
    system = next(disk for disk in image.disks if disk.is_system)
    position, old = next((p, world.things[d]) for p, d in server.disks.items() if world.things[d].is_system)
    operation = answer.operation.name.rpartition("/")[2]
    name = f"{world.parent}/disks/{server.name.rpartition('/')[2]}-system-{operation[:8]}"
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

    reading = pinned([image.name])
    work = work_of(request, done, stay, reading, both(reading, swap), both(reading, done))
    work.writes.add(name)
    return work


def delete_server(world: World, request: Any, answer: Any, before: World) -> Work:
    """Data disks stay, detached, unless their deletion is requested; those that others use always."""
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

    return work_of(request, remove, None, detach, is_decided=True)


def create_disk(world: World, request: Any, answer: Any, before: World) -> Work:
    """CREATING, then AVAILABLE; in ERROR when its image went away."""
    source = world.recall(request.image).disks[0] if request.image else None
    content = source.content if source else Content()
    size = request.disk.size_bytes or source.size
    name = answer.disk.name
    world.put(Disk(name, "CREATING", False, size, request.disk.shared, content, request.image))
    reading = pinned({request.image} - {""})
    made = to_state(name, "AVAILABLE")
    return work_of(request, made, to_state(name, "ERROR"), reading, both(reading, made))


def delete_disk(world: World, request: Any, answer: Any, before: World) -> Work:
    """DELETING, then gone."""
    world.edit(request.name, state="DELETING")
    return work_of(request, lambda w, _seen: w.drop(request.name), is_decided=True)


def attach(world: World, request: Any, answer: Any, before: World) -> Work:
    """ATTACHING at the first place that is free, then IN_USE there."""
    server = world.things[request.server]
    position = next(each for each in range(1, 100) if each not in server.disks)
    world.edit(request.server, disks={**server.disks, position: request.name})
    world.edit(request.name, state="ATTACHING")
    return work_of(request, to_state(request.name, "IN_USE"), _without_place(request))


def detach(world: World, request: Any, answer: Any, before: World) -> Work:
    """DETACHING, then AVAILABLE, unless another server has it."""
    world.edit(request.name, state="DETACHING")
    return work_of(request, _without_place(request), to_state(request.name, "IN_USE"))


def _without_place(request: Any) -> Effect:
    """The disk has no place at the server any more."""

    def leave(w: World, seen: Seen | None) -> None:
        if server := w.things.get(request.server):
            disks = {place: disk for place, disk in server.disks.items() if disk != request.name}
            w.edit(server.name, disks=disks)
        w.edit(request.name, state="IN_USE" if w.servers_of(request.name) else "AVAILABLE")

    return leave
