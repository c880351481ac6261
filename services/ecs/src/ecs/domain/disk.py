"""The states of a disk, and what may be done with one."""

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
    """Where a disk stands; the names of the contract's enum without its prefix."""

    CREATING = "CREATING"
    """The worker moves it on."""
    AVAILABLE = "AVAILABLE"
    """AttachDisk and DeleteDisk move it on."""
    IN_USE = "IN_USE"
    """AttachDisk, if it is shared, and DetachDisk move it on, or the end of its server."""
    ATTACHING = "ATTACHING"
    """Its place at the server is taken. The worker moves it on."""
    DETACHING = "DETACHING"
    """It still has its place at the server. The worker moves it on."""
    DELETING = "DELETING"
    """The worker removes the row; if it cannot, it moves it to ERROR."""
    ERROR = "ERROR"
    """DeleteDisk moves it on."""


class DiskEvent(StrEnum):
    """What happens to a disk."""

    MADE = "made"
    MADE_IN_PLACE = "made in its place at a server"
    FAILED = "failed"
    ATTACHMENT_BEGUN = "attachment begun"
    DETACHMENT_BEGUN = "detachment begun"
    ATTACHED = "attached to a server"
    DETACHED = "attached to no server"
    DELETION_BEGUN = "deletion begun"
    LET_GO = "let go: its server is deleted, or has another system disk"


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
    (_S.IN_USE, _E.LET_GO): _S.DELETING,
    (_S.AVAILABLE, _E.DELETION_BEGUN): _S.DELETING,
    (_S.ERROR, _E.DELETION_BEGUN): _S.DELETING,
    (_S.ERROR, _E.LET_GO): _S.DELETING,
    (_S.ERROR, _E.DETACHED): _S.ERROR,
    (_S.DELETING, _E.FAILED): _S.ERROR,
}


@dataclass(frozen=True)
class Disk:
    """A disk, as far as rules look at it. `servers` are those that it has a place at."""

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
    """The state of a disk that is to be attached to the server."""
    if disk.is_system:
        raise SystemDiskBound(disk=disk.name)
    state = advance(disk, DiskEvent.ATTACHMENT_BEGUN)
    if server in disk.servers:
        raise DiskAlreadyAttached(disk=disk.name, server=server)
    if disk.servers and not disk.shared:
        raise DiskAlreadyAttached(disk=disk.name, server=disk.servers[0])
    return state


def decide_detachment(disk: Disk, server: str) -> DiskState:
    """The state of a disk that is to be detached from the server."""
    if server not in disk.servers:
        raise DiskNotAttached(disk=disk.name, server=server)
    if disk.is_system:
        raise SystemDiskBound(disk=disk.name)
    return advance(disk, DiskEvent.DETACHMENT_BEGUN)


def settle_attachment(disk: Disk) -> DiskState:
    """The state of a disk once its attachment or detachment has ended, whichever way."""
    return advance(disk, DiskEvent.ATTACHED if disk.servers else DiskEvent.DETACHED)


def decide_deletion(disk: Disk) -> DiskState:
    """The state of a disk whose deletion is asked for; every server that has it stands in the way."""
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
