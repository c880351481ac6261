"""The states of a backup, and the operations that each state allows."""

import re
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from csbs.domain.refusals import (
    BackupAlreadyHasImage,
    BackupBusy,
    BackupHasImage,
    BackupHasSharedDisk,
    BackupNotAvailable,
    BackupNotImageReady,
    BackupNotRestorable,
    BackupWithoutSystemDisk,
    ServerDisksChanged,
    ServerHasSharedDisk,
    ServerStateForbidsBackup,
)
from recast.faults import FieldViolation, Refusal, RequestInvalid, all_of

DISPLAY_NAME = "1 to 255 letters or digits of any script, `-` or `_`; no spaces, no `.`"
"""The rule for display names; a test compares it with the contracts."""
_DISPLAY_NAME = re.compile(r"[\w-]{1,255}", re.UNICODE)


class BackupState(StrEnum):
    """The state of a backup; the names of the contract's enum without its prefix."""

    CREATING = "CREATING"
    """The state from the answer to CreateBackup on (R03). The worker ends it."""
    AVAILABLE = "AVAILABLE"
    """RestoreBackup and DeleteBackup end it."""
    RESTORING = "RESTORING"
    """The worker ends it."""
    DELETING = "DELETING"
    """The worker removes the row; if it cannot, the backup is in ERROR."""
    ERROR = "ERROR"
    """DeleteBackup ends it."""


SEALED = (BackupState.AVAILABLE, BackupState.RESTORING)
"""The states in which the backup has its complete content."""


class BackupEvent(StrEnum):
    """An event that changes the state of a backup."""

    SEALED = "sealed"
    FAILED = "failed"
    RESTORE_BEGUN = "restore begun"
    RESTORE_ENDED = "restore ended"
    DELETION_BEGUN = "deletion begun"


TRANSITIONS: dict[tuple[BackupState, BackupEvent], BackupState] = {
    (BackupState.CREATING, BackupEvent.SEALED): BackupState.AVAILABLE,
    (BackupState.CREATING, BackupEvent.FAILED): BackupState.ERROR,
    (BackupState.AVAILABLE, BackupEvent.RESTORE_BEGUN): BackupState.RESTORING,
    (BackupState.RESTORING, BackupEvent.RESTORE_ENDED): BackupState.AVAILABLE,
    (BackupState.AVAILABLE, BackupEvent.DELETION_BEGUN): BackupState.DELETING,
    (BackupState.ERROR, BackupEvent.DELETION_BEGUN): BackupState.DELETING,
    (BackupState.DELETING, BackupEvent.FAILED): BackupState.ERROR,
}


class BackupDisk(NamedTuple):
    """The facts about one disk of a backup that rules need."""

    id: str
    disk: str
    is_system: bool
    shared: bool
    size_bytes: int


class Backup(NamedTuple):
    """The facts about a backup that rules need. `image` is the image that holds its lock, or empty."""

    name: str
    state: BackupState
    image_ready: bool
    image: str
    disks: Sequence[BackupDisk]


def advance(backup: Backup, event: BackupEvent) -> BackupState:
    """The state after the event; a pair that is not in the table is refused."""
    try:
        return TRANSITIONS[backup.state, event]
    except KeyError:
        if event is BackupEvent.RESTORE_BEGUN:
            raise BackupNotRestorable(backup=backup.name, state=backup.state) from None
        raise BackupBusy(backup=backup.name, state=backup.state) from None


def decide_backup(server: str, server_state: str) -> None:
    """Refuses the backup of a server in a state that forbids it (V11)."""
    for refusal in _server_state_obstacles(server, server_state):
        raise refusal


def _server_state_obstacles(server: str, server_state: str) -> list[Refusal]:
    is_allowed = server_state in {"RUNNING", "STOPPED"}
    return [] if is_allowed else [ServerStateForbidsBackup(server=server, state=server_state)]


def check_disks(backup: Backup, server: str, frozen: Collection[str]) -> None:
    """Refuses to go on with other disks than those that the answer named; `frozen` are the frozen disks."""
    if changed := {disk.disk for disk in backup.disks} ^ set(frozen):
        raise all_of(
            [ServerDisksChanged(disk=disk, server=server, backup=backup.name) for disk in sorted(changed)]
        )


def decide_deletion(backup: Backup) -> BackupState:
    """The state of a backup after DeleteBackup; refused while an image holds it (R15)."""
    if backup.image:
        raise BackupHasImage(backup=backup.name, image=backup.image)
    return advance(backup, BackupEvent.DELETION_BEGUN)


def _state_obstacles(backup: Backup, *, require_available: bool) -> list[Refusal]:
    if backup.state is BackupState.AVAILABLE:
        return []
    if backup.state is not BackupState.CREATING or not backup.image_ready:
        return [BackupNotImageReady(backup=backup.name, state=backup.state)]
    return [BackupNotAvailable(backup=backup.name, state=backup.state)] if require_available else []


def image_obstacles(backup: Backup, *, require_available: bool) -> list[Refusal]:
    """A refusal for every rule that forbids an image of this backup; empty when none does."""
    obstacles: list[Refusal] = []
    if backup.image:
        obstacles.append(BackupAlreadyHasImage(backup=backup.name, image=backup.image))
    obstacles += _state_obstacles(backup, require_available=require_available)
    return obstacles + disk_obstacles(backup)


def disk_obstacles(backup: Backup) -> list[Refusal]:
    """The refusals because of the backup's disks (R07, R08)."""
    obstacles: list[Refusal] = []
    if not any(disk.is_system for disk in backup.disks):
        obstacles.append(BackupWithoutSystemDisk(backup=backup.name))
    obstacles.extend(
        BackupHasSharedDisk(backup=backup.name, disk=disk.disk) for disk in backup.disks if disk.shared
    )
    return obstacles


def server_obstacles(server: str, server_state: str, shared_disks: Iterable[str]) -> list[Refusal]:
    """A refusal for every rule that forbids an image straight from a server, as it is now."""
    shared = [ServerHasSharedDisk(server=server, disk=disk) for disk in shared_disks]
    return [*_server_state_obstacles(server, server_state), *shared]


def check_texts(display_name: str, description: str) -> None:
    """Refuses a malformed name or description (domain.md 1.5: vendor CSBS.9001)."""
    fields = []
    if not _DISPLAY_NAME.fullmatch(display_name):
        fields.append(FieldViolation("backup.display_name", f"must be {DISPLAY_NAME}"))
    if len(description) > 255 or "<" in description or ">" in description:
        fields.append(FieldViolation("backup.description", "must be at most 255 characters without < and >"))
    if fields:
        raise RequestInvalid(
            problem="; ".join(f"{each.field} {each.description}" for each in fields), fields=fields
        )
