"""The states of a backup, and what may be done with one."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from csbs.domain.refusals import (
    BackupAlreadyHasImage,
    BackupBusy,
    BackupHasImage,
    BackupHasSharedDisk,
    BackupNotImageReady,
    BackupNotRestorable,
    BackupWithoutSystemDisk,
    ServerStateForbidsBackup,
)
from recast.faults import FieldViolation, Refusal, RequestInvalid

_DISPLAY_NAME = re.compile(r"[\w-]{1,255}", re.UNICODE)


class BackupState(StrEnum):
    """Where a backup stands; the names of the contract's enum without its prefix."""

    CREATING = "CREATING"
    """From the moment the request is answered (R03). The worker moves it on."""
    AVAILABLE = "AVAILABLE"
    """RestoreBackup and DeleteBackup move it on."""
    RESTORING = "RESTORING"
    """The worker moves it on."""
    DELETING = "DELETING"
    """The worker removes the row; if it cannot, it moves it to ERROR."""
    ERROR = "ERROR"
    """DeleteBackup moves it on."""


SEALED = (BackupState.AVAILABLE, BackupState.RESTORING)
"""Its content is there, and stays."""


class BackupEvent(StrEnum):
    """What happens to a backup."""

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
    """One disk of a backup, as far as rules look at it."""

    id: str
    disk: str
    is_system: bool
    shared: bool
    size_bytes: int


class Backup(NamedTuple):
    """A backup, as far as rules look at it. `image` is the image that holds its lock, or empty."""

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
    """Whether a server in this state may be backed up."""
    if server_state not in {"RUNNING", "STOPPED"}:
        raise ServerStateForbidsBackup(server=server, state=server_state)


def decide_deletion(backup: Backup) -> BackupState:
    """The state of a backup whose deletion is asked for."""
    if backup.image:
        raise BackupHasImage(backup=backup.name, image=backup.image)
    return advance(backup, BackupEvent.DELETION_BEGUN)


def is_image_ready(backup: Backup, *, require_available: bool) -> bool:
    """R06: an image is made of an available backup alone, when `require_available` asks for the strict
    reading.

    Else also of one that is still CREATING, once its content is decided (R02, R04).
    """
    if backup.state in SEALED:
        return True
    return backup.state is BackupState.CREATING and backup.image_ready and not require_available


def image_obstacles(backup: Backup, *, require_available: bool) -> list[Refusal]:
    """Every rule that stands in the way of an image of this backup; empty when one may be made."""
    obstacles: list[Refusal] = []
    if backup.image:
        obstacles.append(BackupAlreadyHasImage(backup=backup.name, image=backup.image))
    if not is_image_ready(backup, require_available=require_available):
        obstacles.append(BackupNotImageReady(backup=backup.name, state=backup.state))
    return obstacles + disk_obstacles(backup)


def disk_obstacles(backup: Backup) -> list[Refusal]:
    """Those that are its disks' (R07, R08)."""
    obstacles: list[Refusal] = []
    if not any(disk.is_system for disk in backup.disks):
        obstacles.append(BackupWithoutSystemDisk(backup=backup.name))
    obstacles.extend(
        BackupHasSharedDisk(backup=backup.name, disk=disk.disk) for disk in backup.disks if disk.shared
    )
    return obstacles


def check_texts(display_name: str, description: str) -> None:
    """Refuses a malformed name or description (domain.md 1.5: vendor CSBS.9001)."""
    fields = []
    if not _DISPLAY_NAME.fullmatch(display_name):
        fields.append(FieldViolation("backup.display_name", "must be 1 to 255 letters, digits, `_` or `-`"))
    if len(description) > 255 or "<" in description or ">" in description:
        fields.append(FieldViolation("backup.description", "must be at most 255 characters without < and >"))
    if fields:
        raise RequestInvalid(
            problem="; ".join(f"{each.field} {each.description}" for each in fields), fields=fields
        )
