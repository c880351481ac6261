"""The states of a disk, and the operations that each state allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ecs.domain.refusals import (
    DiskAlreadyAttached,
    DiskInUse,
    DiskNotAttached,
    DiskStateForbids,
    SystemDiskBound,
)
from recast.faults import FieldViolation, RequestInvalid, all_of

SECTOR_BYTES = 512
MAX_DISK_BYTES = 32 << 40


class DiskState(StrEnum):
    """The state of a disk; the names of the contract's enum without its prefix."""

    CREATING = "CREATING"
    """The worker changes it."""
    AVAILABLE = "AVAILABLE"
    """AttachDisk and DeleteDisk change it."""
    IN_USE = "IN_USE"
    """DetachDisk and the deletion of its server change it; AttachDisk too, if it is shared."""
    ATTACHING = "ATTACHING"
    """Its attachment is recorded. The worker changes it."""
    DETACHING = "DETACHING"
    """Its attachment is still recorded. The worker changes it."""
    DELETING = "DELETING"
    """The worker removes the row, or changes the state to ERROR."""
    ERROR = "ERROR"
    """DeleteDisk changes it."""


class DiskEvent(StrEnum):
    """An event that changes the state of a disk."""

    MADE = "made"
    MADE_IN_PLACE = "made in its place at a server"
    FAILED = "failed"
    ATTACHMENT_BEGUN = "attachment begun"
    DETACHMENT_BEGUN = "detachment begun"
    ATTACHED = "attached to a server"
    DETACHED = "attached to no server"
    DELETION_BEGUN = "deletion begun"
    RELEASED = "released: its server is deleted, or has another system disk"


_S, _E = DiskState, DiskEvent
TRANSITIONS: dict[tuple[DiskState, DiskEvent], DiskState] = {
    (_S.CREATING, _E.MADE): _S.AVAILABLE,
    (_S.CREATING, _E.FAILED): _S.ERROR,
    (_S.CREATING, _E.MADE_IN_PLACE): _S.IN_USE,
    (_S.AVAILABLE, _E.ATTACHMENT_BEGUN): _S.ATTACHING,
    (_S.IN_USE, _E.ATTACHMENT_BEGUN): _S.ATTACHING,
    (_S.IN_USE, _E.DETACHMENT_BEGUN): _S.DETACHING,
    **{(state, _E.ATTACHED): _S.IN_USE for state in (_S.ATTACHING, _S.DETACHING)},
    **{(state, _E.DETACHED): _S.AVAILABLE for state in (_S.ATTACHING, _S.DETACHING, _S.IN_USE)},
    (_S.IN_USE, _E.RELEASED): _S.DELETING,
    (_S.AVAILABLE, _E.DELETION_BEGUN): _S.DELETING,
    (_S.ERROR, _E.DELETION_BEGUN): _S.DELETING,
    (_S.ERROR, _E.RELEASED): _S.DELETING,
    (_S.ERROR, _E.DETACHED): _S.ERROR,
    (_S.DELETING, _E.FAILED): _S.ERROR,
}


@dataclass(frozen=True)
class Disk:
    """The facts about a disk that rules need. `servers` are those that it is attached to."""

    name: str
    state: DiskState
    is_system: bool
    shared: bool
    servers: Sequence[str] = ()


def advance(disk: Disk, event: DiskEvent) -> DiskState:
    """The state after the event; a pair that is not in the table is refused."""
    try:
        return TRANSITIONS[disk.state, event]
    except KeyError:
        raise DiskStateForbids(disk=disk.name, state=disk.state, wanted=f"it cannot be {event}") from None


def decide_attachment(disk: Disk, server: str) -> DiskState:
    """The state of a disk after the request to attach it to the server."""
    if disk.is_system:
        raise SystemDiskBound(disk=disk.name)
    state = advance(disk, DiskEvent.ATTACHMENT_BEGUN)
    if server in disk.servers:
        raise DiskAlreadyAttached(disk=disk.name, server=server)
    if disk.servers and not disk.shared:
        raise DiskAlreadyAttached(disk=disk.name, server=disk.servers[0])
    return state


def decide_detachment(disk: Disk, server: str) -> DiskState:
    """The state of a disk after the request to detach it from the server."""
    if server not in disk.servers:
        raise DiskNotAttached(disk=disk.name, server=server)
    if disk.is_system:
        raise SystemDiskBound(disk=disk.name)
    return advance(disk, DiskEvent.DETACHMENT_BEGUN)


def decide_attachment_end(disk: Disk) -> DiskState:
    """The state of a disk after the end of its attachment or detachment."""
    return advance(disk, DiskEvent.ATTACHED if disk.servers else DiskEvent.DETACHED)


def decide_deletion(disk: Disk) -> DiskState:
    """The state of a disk after the request to delete it; each server that has it is a violation."""
    if disk.is_system and disk.servers:
        raise SystemDiskBound(disk=disk.name)
    if disk.servers:
        raise all_of([DiskInUse(disk=disk.name, server=server) for server in disk.servers])
    return advance(disk, DiskEvent.DELETION_BEGUN)


def check_size(size_bytes: int, field: str) -> None:
    """Refuses a size that no disk can have: sizes are whole sectors of 512 bytes, up to 32 TiB."""
    if size_bytes <= 0 or size_bytes % SECTOR_BYTES or size_bytes > MAX_DISK_BYTES:
        problem = f"must be a multiple of {SECTOR_BYTES} bytes, more than 0 and at most {MAX_DISK_BYTES}"
        raise RequestInvalid(problem=f"{field} {problem}", fields=[FieldViolation(field, problem)])


def device_name(position: int) -> str:
    """The name of the device at a position: vda, vdb, ... vdz, vdaa."""
    letters = ""
    number = position + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return f"vd{letters}"
