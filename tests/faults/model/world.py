"""What there is, and what each request must answer: by RULES.md and the state tables, not by the services'
code.

A world is a dict of immutable things, so that it is copied by copying the dict. Requests are the contracts'
own messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from google.protobuf.message import Message

SECTOR = 512


@dataclass(frozen=True)
class Content:
    """What a disk holds: the file that it began with ("" for none), and what guests wrote, by offset."""

    base: str = ""
    writes: tuple[tuple[int, int], ...] = ()

    def written(self, offset: int, pattern: int) -> Content:
        """The content with one sector of a pattern."""
        return replace(self, writes=tuple(sorted({**dict(self.writes), offset: pattern}.items())))


@dataclass(frozen=True)
class Disk:
    """A disk. A content of None is one that a race left open."""

    name: str
    state: str
    is_system: bool
    size: int
    shared: bool
    content: Content | None
    image: str = ""


@dataclass(frozen=True)
class Server:
    """A server; `disks` by position."""

    name: str
    state: str
    image: str
    disks: Mapping[int, str]
    frozen: str = ""
    holds: frozenset[str] = frozenset()
    description: str = ""


@dataclass(frozen=True)
class Kept:
    """A disk as a backup or an image keeps it. `disk` is the name of the one it came from."""

    id: str
    disk: str
    is_system: bool
    position: int
    size: int
    shared: bool
    content: Content | None

    @property
    def shape(self) -> tuple[Any, ...]:
        """All but the content."""
        return self.id, self.disk, self.is_system, self.position, self.size, self.shared


@dataclass(frozen=True)
class Backup:
    """A backup; `image` is the one that holds its lock."""

    name: str
    server: str
    state: str
    disks: tuple[Kept, ...]
    ready: bool = False
    image: str = ""
    description: str = ""


@dataclass(frozen=True)
class Image:
    """An image. `pinned` while servers or disks are being made from it."""

    name: str
    kind: str
    state: str
    disks: tuple[Kept, ...] = ()
    backup: str = ""
    server: str = ""
    pinned: bool = False
    description: str = ""


class Refused(Exception):
    """A request is answered with this reason."""


def require(holds: object, reason: str) -> None:
    """Refuses for the reason unless the condition holds."""
    if not holds:
        raise Refused(reason)


def verb_of(request: Message) -> str:
    """`CreateBackup` of a CreateBackupRequest."""
    return request.DESCRIPTOR.name.removesuffix("Request")


@dataclass
class World:
    """One project."""

    parent: str
    things: dict[str, Any] = field(default_factory=dict)
    graves: dict[str, Any] = field(default_factory=dict)
    """What was deleted, as it was: a racing request may have read it before."""

    def copy(self) -> World:
        """A world that may go another way."""
        return World(self.parent, dict(self.things), dict(self.graves))

    def put(self, thing: Any) -> None:
        """Adds a thing, or replaces it."""
        self.things[thing.name] = thing

    def edit(self, name: str, **changes: Any) -> None:
        """Changes a thing, if it is there."""
        if name in self.things:
            self.things[name] = replace(self.things[name], **changes)

    def drop(self, name: str) -> None:
        """Takes a thing away, if it is there."""
        if name in self.things:
            self.graves[name] = self.things.pop(name)

    def recall(self, name: str) -> Any:
        """A thing, also one that was deleted; None when there never was one."""
        return self.things.get(name) or self.graves.get(name)

    def all(self, kind: type) -> Iterator[Any]:
        """The things of a kind, by name."""
        return (thing for _, thing in sorted(self.things.items()) if isinstance(thing, kind))

    def servers_of(self, disk: str) -> list[str]:
        """The servers that a disk is attached to."""
        return [server.name for server in self.all(Server) if disk in server.disks.values()]

    def snapshot(self, server: str) -> tuple[Kept, ...]:
        """What a backup of the server made now holds (R12, R13)."""
        found = self.things.get(server)
        if not isinstance(found, Server):
            return ()
        pairs = [(position, self.recall(name)) for position, name in sorted(found.disks.items())]
        return tuple(
            Kept(
                "system" if disk.is_system else f"data-{position}",
                disk.name,
                disk.is_system,
                position,
                disk.size,
                disk.shared,
                disk.content,
            )
            for position, disk in pairs
        )

    # What is answered.

    def reason(self, request: Message) -> str:
        """Why the request is refused; empty when it is not."""
        try:
            self._check_projects(request)
            getattr(self, f"check_{verb_of(request)}")(request)
        except Refused as refused:
            return str(refused)
        return ""

    def _check_projects(self, message: Message) -> None:
        """Every name in a request is of this project (R61)."""
        for described, value in message.ListFields():
            for each in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
                if described.message_type is not None:
                    self._check_projects(each)
                elif isinstance(each, str) and each.startswith("projects/"):
                    require(each == self.parent or each.startswith(f"{self.parent}/"), "PROJECT_NOT_FOUND")

    def find(self, name: str) -> Any:
        """The thing of this name in this project (R48, R61)."""
        require(name.startswith(f"{self.parent}/"), "PROJECT_NOT_FOUND")
        noun = name.split("/")[2].removesuffix("s").upper()
        require(name in self.things, f"{noun}_NOT_FOUND")
        return self.things[name]

    def fresh(self, request: Any) -> None:
        """An etag that is not the current one is refused; those of the machine are current, or `stale`."""
        require(request.etag != "stale", "ETAG_MISMATCH")

    def usable(self, name: str, *kinds: str) -> Image:
        """The image, NORMAL (R37) and of one of these kinds (R49, R50)."""
        image: Image = self.find(name)
        require(image.state == "NORMAL", "IMAGE_NOT_NORMAL")
        require(image.kind in kinds, "IMAGE_KIND_UNSUPPORTED")
        return image

    def check_CreateServers(self, request: Any) -> None:
        """From a system-disk or full-server image; data disks from data-disk images (R49, R50, V2, V3)."""
        image = self.usable(request.image, "SYSTEM_DISK", "FULL_SERVER")
        sources = [self.usable(ask.image, "DATA_DISK") if ask.image else None for ask in request.data_disks]
        by_id = {disk.id: disk for disk in image.disks if not disk.is_system}
        named = [ask.image_disk for ask in request.data_disks if ask.image_disk]
        require(set(named) <= set(by_id) and len(named) == len(set(named)), "IMAGE_DISK_UNKNOWN")
        for ask, source in zip(request.data_disks, sources, strict=True):
            least = source.disks[0] if source else by_id.get(ask.image_disk)
            require(not (least and ask.size_bytes) or ask.size_bytes >= least.size, "SIZE_BELOW_IMAGE")
        for name in self.batch(request):
            require(name not in self.things, "SERVER_ID_TAKEN")

    def batch(self, request: Any) -> list[str]:
        """The names of the requested servers (R14)."""
        name = f"{self.parent}/servers/{request.server_id}"
        return [f"{name}-{number:04}" for number in range(request.count)] if request.count > 1 else [name]

    def check_StartServer(self, request: Any) -> None:
        """A STOPPED server, that no image is being made from (R23)."""
        server = self._in_state(request, "STOPPED")
        require(not server.holds, "SERVER_IN_IMAGE_CREATION")

    def check_StopServer(self, request: Any) -> None:
        """A RUNNING server."""
        self._in_state(request, "RUNNING")

    def check_RebootServer(self, request: Any) -> None:
        """A RUNNING server."""
        self._in_state(request, "RUNNING")

    def _in_state(self, request: Any, *states: str) -> Server:
        server: Server = self.find(request.name)
        self.fresh(request)
        self._ready(server, *states)
        return server

    def _ready(self, server: Server, *states: str) -> None:
        """In one of these states, and no disk is being attached or detached."""
        require(server.state in states, "SERVER_STATE_FORBIDS")
        disks = [self.things[name].state for name in server.disks.values() if name in self.things]
        require(not {"ATTACHING", "DETACHING"} & set(disks), "DISK_STATE_FORBIDS")

    def check_ChangeServerOs(self, request: Any) -> None:
        """A STOPPED server (V6), to an image that holds a system disk."""
        for name in (request.name, request.image):
            require(name.startswith(f"{self.parent}/"), "PROJECT_NOT_FOUND")
        self._check_os(request, request.image)

    def check_ReinstallServerOs(self, request: Any) -> None:
        """With the image that it has; not when that is gone (V8)."""
        server: Server = self.find(request.name)
        self._ready(server, "STOPPED")
        require(server.image in self.things, "IMAGE_GONE")
        self._check_os(request, server.image)

    def _check_os(self, request: Any, image: str) -> None:
        server: Server = self.find(request.name)
        self._ready(server, "STOPPED")
        self.usable(image, "SYSTEM_DISK", "FULL_SERVER")
        self.fresh(request)
        require(not server.frozen, "SERVER_FROZEN")
        require(not (request.power_on and server.holds), "SERVER_IN_IMAGE_CREATION")

    def check_DeleteServer(self, request: Any) -> None:
        """RUNNING, STOPPED or in ERROR, and not frozen for a backup."""
        server = self.find(request.name)
        self.fresh(request)
        require(not server.frozen, "SERVER_FROZEN")
        self._ready(server, "RUNNING", "STOPPED", "ERROR")

    def check_CreateDisk(self, request: Any) -> None:
        """Empty, or from a data-disk image (R50), and no smaller (V2)."""
        if request.image:
            image = self.usable(request.image, "DATA_DISK")
            size = request.disk.size_bytes
            require(not size or size >= image.disks[0].size, "SIZE_BELOW_IMAGE")
        require(f"{self.parent}/disks/{request.disk_id}" not in self.things, "DISK_ID_TAKEN")

    def check_DeleteDisk(self, request: Any) -> None:
        """One that is attached nowhere."""
        disk: Disk = self.find(request.name)
        self.fresh(request)
        servers = self.servers_of(disk.name)
        require(not (disk.is_system and servers), "SYSTEM_DISK_BOUND")
        require(not servers, "DISK_IN_USE")
        require(disk.state in {"AVAILABLE", "ERROR"}, "DISK_STATE_FORBIDS")

    def _open(self, name: str) -> Server:
        server: Server = self.find(name)
        require(not server.frozen, "SERVER_FROZEN")
        require(server.state in {"RUNNING", "STOPPED"}, "SERVER_STATE_FORBIDS")
        return server

    def check_AttachDisk(self, request: Any) -> None:
        """To one server, unless it is shared, and to each once."""
        require(request.name.startswith(f"{self.parent}/"), "PROJECT_NOT_FOUND")
        server = self._open(request.server)
        disk: Disk = self.find(request.name)
        require(not disk.is_system, "SYSTEM_DISK_BOUND")
        require(disk.state in {"AVAILABLE", "IN_USE"}, "DISK_STATE_FORBIDS")
        servers = self.servers_of(disk.name)
        require(server.name not in servers, "DISK_ALREADY_ATTACHED")
        require(disk.shared or not servers, "DISK_ALREADY_ATTACHED")

    def check_DetachDisk(self, request: Any) -> None:
        """From a server that has it; never a system disk."""
        require(request.name.startswith(f"{self.parent}/"), "PROJECT_NOT_FOUND")
        server = self._open(request.server)
        disk: Disk = self.find(request.name)
        require(disk.name in server.disks.values(), "DISK_NOT_ATTACHED")
        require(not disk.is_system, "SYSTEM_DISK_BOUND")
        require(disk.state == "IN_USE", "DISK_STATE_FORBIDS")

    def check_CreateBackup(self, request: Any) -> None:
        """Of a RUNNING or STOPPED server (V11), one at a time."""
        server: Server = self.find(request.backup.server)
        require(server.state in {"RUNNING", "STOPPED"}, "SERVER_STATE_FORBIDS_BACKUP")
        others = [each for each in self.all(Backup) if each.server == server.name]
        require(all(each.state != "CREATING" for each in others), "SERVER_BEING_BACKED_UP")
        require(f"{self.parent}/backups/{request.backup_id}" not in self.things, "BACKUP_ID_TAKEN")

    def check_DeleteBackup(self, request: Any) -> None:
        """Not while an image stands on it (R15)."""
        backup: Backup = self.find(request.name)
        self.fresh(request)
        require(not backup.image, "BACKUP_HAS_IMAGE")
        require(backup.state in {"AVAILABLE", "ERROR"}, "BACKUP_BUSY")

    def check_RestoreBackup(self, request: Any) -> None:
        """An AVAILABLE backup (R05), each disk to a fitting one."""
        backup: Backup = self.find(request.name)
        require(backup.state == "AVAILABLE", "BACKUP_NOT_RESTORABLE")
        require(self.restore_plan(request), "RESTORE_TARGET_INVALID")

    def restore_plan(self, request: Any) -> dict[str, str]:
        """The target of every disk of the backup, by its id; empty when one has none that fits."""
        backup: Backup = self.recall(request.name)
        server: Server = self.find(request.server or backup.server)
        mapping = {each.backup_disk: each.disk for each in request.mappings}
        targets = {name: self.recall(name) for name in server.disks.values()}
        own_system = next((disk.name for disk in targets.values() if disk.is_system), "")
        plan = {
            disk.id: mapping.get(disk.id) or (own_system if disk.is_system else disk.disk)
            for disk in backup.disks
        }
        fits = all(
            plan[disk.id] in targets
            and not targets[plan[disk.id]].shared
            and targets[plan[disk.id]].is_system == disk.is_system
            and targets[plan[disk.id]].size >= disk.size
            for disk in backup.disks
        )
        is_valid = fits and set(mapping) <= set(plan) and len(set(plan.values())) == len(plan)
        return plan if is_valid else {}

    def check_CreateImage(self, request: Any) -> None:
        """Of a backup that is ready (R02), unlocked (R09), whole (R07) and has no shared disk (R08); named
        (R54) and agreed to (R59); or straight from a server, as a backup of it now would be judged.
        """
        require(request.disclaimer_accepted, "DISCLAIMER_NOT_ACCEPTED")
        require(request.image.display_name, "IMAGE_NAME_INVALID")
        if request.backup:
            self.check_image_source(self.find(request.backup))
        else:
            self._check_image_of_server(request.server)
        name = f"{self.parent}/images/{request.image_id}"
        require(self.is_free(name), "IMAGE_ID_TAKEN")
        others = [each for each in self.all(Image) if each.name != name and each.state != "ERROR"]
        is_alone = all(each.backup != request.backup for each in others)
        require(not request.backup or is_alone, "BACKUP_ALREADY_HAS_IMAGE")

    def _check_image_of_server(self, name: str) -> None:
        server: Server = self.find(name)
        require(server.state in {"RUNNING", "STOPPED"}, "SERVER_STATE_FORBIDS_BACKUP")
        shared = [disk for disk in server.disks.values() if self.things[disk].shared]
        require(not shared, "SERVER_HAS_SHARED_DISK")
        others = [each for each in self.all(Backup) if each.server == name]
        require(all(each.state != "CREATING" for each in others), "SERVER_BEING_BACKED_UP")

    def is_free(self, image: str) -> bool:
        """Whether an image may have the name: also one whose creation failed leaves it."""
        return image not in self.things or self.things[image].state == "ERROR"

    def check_image_source(self, backup: Backup) -> None:
        """Whether an image can be made of a backup."""
        require(not backup.image, "BACKUP_ALREADY_HAS_IMAGE")
        is_marked = backup.state == "CREATING" and backup.ready
        require(backup.state == "AVAILABLE" or is_marked, "BACKUP_NOT_IMAGE_READY")
        require(any(disk.is_system for disk in backup.disks), "BACKUP_WITHOUT_SYSTEM_DISK")
        require(not any(disk.shared for disk in backup.disks), "BACKUP_HAS_SHARED_DISK")

    def check_DeleteImage(self, request: Any) -> None:
        """Not while it is read, nor while it is made; with its backup only if it has one (R44)."""
        image: Image = self.find(request.name)
        self.fresh(request)
        require(image.backup or not request.delete_backup, "DELETE_BACKUP_UNSUPPORTED")
        require(not image.pinned, "IMAGE_IN_USE")
        require(image.state in {"NORMAL", "ERROR"}, "IMAGE_BUSY")

    def check_GetProvisioningDefaults(self, request: Any) -> None:
        """Of a NORMAL image (R39)."""
        image: Image = self.find(request.name)
        require(image.state == "NORMAL", "IMAGE_NOT_NORMAL")

    def check_UpdateServer(self, request: Any) -> None:
        """Of any server, in any state."""
        self.find(request.server.name)
        self.fresh(request.server)

    def check_UpdateBackup(self, request: Any) -> None:
        """Of any backup, in any state."""
        self.find(request.backup.name)
        self.fresh(request.backup)

    def check_UpdateImage(self, request: Any) -> None:
        """Of any image, in any state."""
        self.find(request.image.name)
        self.fresh(request.image)
