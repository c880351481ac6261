"""Work under way, and what it is made of: effects on a world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf.message import Message

from tests.faults.model.world import Disk, Kept, Server, World

Seen = Mapping[str, Mapping[str, Any]]
"""What the services list, by name; see `seen`."""
Effect = Callable[[World, Seen | None], None]
"""What becomes of the world. Where a race left it open, it follows what is seen."""


class Disagreement(AssertionError):
    """The services did what the model does not allow."""


@dataclass
class Work:
    """Work under way: how it changes the world, at each end and on the way (`phases`).

    `doomed` is the reason that it must fail with; `may_fail` when a race or a cancel leaves it open. `server`
    is the one that it backs up, and `snapshots` what that may have been at the instant. `overtaken_by` is a
    request that was accepted before the end of this work: what is seen may be of its making. `looks` when an
    end needs to be seen.
    """

    request: Any
    writes: set[str]
    reads: set[str]
    succeed: Effect
    fail: Effect
    phases: list[Effect] = field(default_factory=list)
    doomed: str = ""
    may_fail: bool = False
    is_decided: bool = False
    is_cancelled: bool = False
    overtaken_by: Any = None
    server: str = ""
    snapshots: list[tuple[Kept, ...]] = field(default_factory=list)
    operation: str = ""
    looks: bool = False
    has_succeeded: bool = False

    def futures(self, world: World) -> Iterable[World]:
        """The worlds that a request may find while this work is under way, or just after it."""
        ends = [self.succeed] if not self.doomed else []
        if self.doomed or self.may_fail:
            ends.append(self.fail)
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


def work_of(
    request: Message, succeed: Effect, fail: Effect | None = None, *phases: Effect, **more: Any
) -> Work:
    """The work of a request; without `fail` its request decided it."""
    return Work(request, set(), set(), succeed, fail or impossible, list(phases), **more)


def impossible(world: World, seen: Seen | None) -> None:
    """The failure of work that cannot fail."""
    raise Disagreement("work failed that its request had decided")


def pinned(images: Iterable[str]) -> Effect:
    """While the images are read."""

    def pin(world: World, seen: Seen | None) -> None:
        for image in images:
            world.edit(image, pinned=True)

    return pin


def both(first: Effect, second: Effect) -> Effect:
    """One effect after the other."""

    def in_turn(world: World, seen: Seen | None) -> None:
        first(world, seen)
        second(world, seen)

    return in_turn


def to_state(name: str, state: str, **changes: Any) -> Effect:
    """A thing in a state."""
    return lambda world, _seen: world.edit(name, state=state, **changes)


def around(world: World, server: str) -> set[str]:
    """A server, its disks, and the servers that share them."""
    found = world.things.get(server)
    if not isinstance(found, Server):
        return {server}
    disks = set(found.disks.values())
    return {server, *disks, *(each for disk in disks for each in world.servers_of(disk))}


def in_either_order(earlier: Effect, later: Effect) -> Effect:
    """Two that both came about, of which the one that was requested first may have been done last: where that
    makes a difference, a state is seen, and a content left open.
    """

    def either(world: World, seen: Seen | None) -> None:
        later(world, seen)
        swapped = world.copy()
        earlier(swapped, None)
        for name, thing in list(world.things.items()):
            other = swapped.things[name]
            if isinstance(thing, Disk) and thing.content != other.content:
                world.edit(name, content=None)
            if isinstance(thing, Server) and seen and name in seen and seen[name]["state"] == other.state:
                world.edit(name, state=other.state)

    return either
