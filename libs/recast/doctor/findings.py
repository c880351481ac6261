"""The report of an examination."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from recast.doctor.rows import Operation


class Code(StrEnum):
    """The codes of problems. The names are stable: scripts may rely on them."""

    OPERATION_STATE_WRONG = "OPERATION_STATE_WRONG"
    OPERATION_RESULT_WRONG = "OPERATION_RESULT_WRONG"
    OPERATION_KEEPS_REQUEST = "OPERATION_KEEPS_REQUEST"
    OPERATION_KEEPS_LEASE = "OPERATION_KEEPS_LEASE"
    OPERATION_WITHOUT_RESOURCE = "OPERATION_WITHOUT_RESOURCE"
    OPERATION_NOT_ENDED = "OPERATION_NOT_ENDED"
    STEP_WITHOUT_OPERATION = "STEP_WITHOUT_OPERATION"
    USE_WITHOUT_WORK = "USE_WITHOUT_WORK"
    STATE_NEVER_ENDS = "STATE_NEVER_ENDS"

    BACKUP_CONTENT_MISSING = "BACKUP_CONTENT_MISSING"
    BACKUP_CONTENT_LEFT = "BACKUP_CONTENT_LEFT"
    BACKUP_CONTENT_WRONG = "BACKUP_CONTENT_WRONG"
    LOCK_DOUBLE = "LOCK_DOUBLE"
    LOCK_STALE = "LOCK_STALE"
    LOCK_HOLDER_WRONG = "LOCK_HOLDER_WRONG"
    LOCK_WITHOUT_BACKUP = "LOCK_WITHOUT_BACKUP"
    LOCK_WITHOUT_OWNER = "LOCK_WITHOUT_OWNER"
    LOCK_NOT_CONFIRMED = "LOCK_NOT_CONFIRMED"

    STORE_UNUSABLE = "STORE_UNUSABLE"
    INDEX_MISSING = "INDEX_MISSING"
    INDEX_CORRUPT = "INDEX_CORRUPT"
    INDEX_SIZE_WRONG = "INDEX_SIZE_WRONG"
    CHUNK_MISSING = "CHUNK_MISSING"
    CHUNK_CORRUPT = "CHUNK_CORRUPT"

    IMAGE_WITHOUT_LOCK = "IMAGE_WITHOUT_LOCK"
    IMAGE_WITHOUT_BACKUP = "IMAGE_WITHOUT_BACKUP"
    IMAGE_DIFFERS = "IMAGE_DIFFERS"
    IMAGE_CONTENT_MISSING = "IMAGE_CONTENT_MISSING"
    IMAGE_CONTENT_LEFT = "IMAGE_CONTENT_LEFT"
    IMAGE_KEEPS_LOCK = "IMAGE_KEEPS_LOCK"
    PIN_WITHOUT_WORK = "PIN_WITHOUT_WORK"
    PIN_WITHOUT_IMAGE = "PIN_WITHOUT_IMAGE"
    STAGED_FILE_UNOWNED = "STAGED_FILE_UNOWNED"

    SERVER_SYSTEM_DISK_WRONG = "SERVER_SYSTEM_DISK_WRONG"
    SERVER_FREEZE_WRONG = "SERVER_FREEZE_WRONG"
    FREEZE_WITHOUT_SERVER = "FREEZE_WITHOUT_SERVER"
    FREEZE_WITHOUT_WORK = "FREEZE_WITHOUT_WORK"
    HOLD_WITHOUT_WORK = "HOLD_WITHOUT_WORK"
    ATTACHMENT_DANGLING = "ATTACHMENT_DANGLING"
    DISK_USE_WRONG = "DISK_USE_WRONG"
    DISK_SHARED_WRONG = "DISK_SHARED_WRONG"
    SYSTEM_DISK_WITHOUT_SERVER = "SYSTEM_DISK_WITHOUT_SERVER"

    DISK_FILES_MISSING = "DISK_FILES_MISSING"
    DISK_FILES_LEFT = "DISK_FILES_LEFT"
    DISK_FILES_UNSOUND = "DISK_FILES_UNSOUND"
    DISK_SIZE_WRONG = "DISK_SIZE_WRONG"
    DISK_BASE_WRONG = "DISK_BASE_WRONG"
    DISK_FREEZE_WRONG = "DISK_FREEZE_WRONG"
    TRACKED_BACKUP_WRONG = "TRACKED_BACKUP_WRONG"
    TRACKED_CONTENT_WRONG = "TRACKED_CONTENT_WRONG"
    BASE_WRITABLE = "BASE_WRITABLE"
    BASE_SIZE_WRONG = "BASE_SIZE_WRONG"
    BASE_CONTENT_WRONG = "BASE_CONTENT_WRONG"
    FILE_UNOWNED = "FILE_UNOWNED"

    KEY_EXPOSED = "KEY_EXPOSED"


_REPORT = "restart the services; if it persists, it is a bug: save data and logs, and report it"
_FULL_BACKUP = "back the server up anew with --full, and delete this backup"
_BY_HAND = "no service uses it: inspect it, then move it elsewhere"
_C = Code
REMEDIES: Mapping[Code, str] = {
    _C.OPERATION_STATE_WRONG: _REPORT,
    _C.OPERATION_RESULT_WRONG: _REPORT,
    _C.OPERATION_KEEPS_REQUEST: "delete the operation: a request may hold the key of a chunk store",
    _C.OPERATION_KEEPS_LEASE: _REPORT,
    _C.OPERATION_WITHOUT_RESOURCE: "cancel the operation",
    _C.OPERATION_NOT_ENDED: "wait for it, or cancel it",
    _C.STEP_WITHOUT_OPERATION: _REPORT,
    _C.USE_WITHOUT_WORK: "report it: work that waits for this resource will wait for ever",
    _C.STATE_NEVER_ENDS: _REPORT,
    _C.BACKUP_CONTENT_MISSING: _FULL_BACKUP,
    _C.BACKUP_CONTENT_LEFT: "delete it",
    _C.BACKUP_CONTENT_WRONG: _FULL_BACKUP,
    _C.LOCK_DOUBLE: "report it: two images rest on one backup",
    _C.LOCK_STALE: _REPORT,
    _C.LOCK_HOLDER_WRONG: _REPORT,
    _C.LOCK_WITHOUT_BACKUP: "release it: `recast lock release`",
    _C.LOCK_WITHOUT_OWNER: "release it: `recast lock release`; else the backup cannot be deleted",
    _C.LOCK_NOT_CONFIRMED: "confirm it: `recast lock confirm`",
    _C.STORE_UNUSABLE: "check that the store is mounted, and is the right one; else restore it from a copy",
    _C.INDEX_MISSING: "restore the object from a copy of the store; without it the content is lost",
    _C.INDEX_CORRUPT: "check that the store's key is the right one; else restore the object from a copy",
    _C.INDEX_SIZE_WRONG: _FULL_BACKUP,
    _C.CHUNK_MISSING: "restore it from a copy of the store, or back the same bytes up anew with --full",
    _C.CHUNK_CORRUPT: "restore it from a copy of the store, or back the same bytes up anew with --full",
    _C.IMAGE_WITHOUT_LOCK: "make another image of the backup, and delete this one",
    _C.IMAGE_WITHOUT_BACKUP: "delete the image: no server can be made from it",
    _C.IMAGE_DIFFERS: "delete the image, and make it anew of the same backup",
    _C.IMAGE_CONTENT_MISSING: "delete the image, and import it again",
    _C.IMAGE_CONTENT_LEFT: "delete the image",
    _C.IMAGE_KEEPS_LOCK: "delete the image: that releases the lock",
    _C.PIN_WITHOUT_WORK: "unpin it: `recast provisioning unpin`; else the image cannot be deleted",
    _C.PIN_WITHOUT_IMAGE: "unpin it: `recast provisioning unpin`",
    _C.STAGED_FILE_UNOWNED: _BY_HAND,
    _C.SERVER_SYSTEM_DISK_WRONG: "make a new server of an image of one of its backups",
    _C.SERVER_FREEZE_WRONG: "thaw it: `recast source thaw`",
    _C.FREEZE_WITHOUT_SERVER: "thaw it: `recast source thaw`",
    _C.FREEZE_WITHOUT_WORK: "thaw it: `recast source thaw`; until then the server is not backed up",
    _C.HOLD_WITHOUT_WORK: "free it: `recast hold free`; until then the server cannot be started",
    _C.ATTACHMENT_DANGLING: _REPORT,
    _C.DISK_USE_WRONG: _REPORT,
    _C.DISK_SHARED_WRONG: "detach it from all servers but one",
    _C.SYSTEM_DISK_WITHOUT_SERVER: "delete it when its bytes are not needed",
    _C.DISK_FILES_MISSING: "restore the server from a backup",
    _C.DISK_FILES_LEFT: "delete the disk",
    _C.DISK_FILES_UNSOUND: "read the problem; stop the server, and restore it from a backup",
    _C.DISK_SIZE_WRONG: "restore the server from a backup",
    _C.DISK_BASE_WRONG: "restore the server from a backup, or change its OS",
    _C.DISK_FREEZE_WRONG: "thaw it: `recast source thaw`; until then the disk cannot be backed up",
    _C.TRACKED_BACKUP_WRONG: "back the server up with --full: the changes since are unknown",
    _C.TRACKED_CONTENT_WRONG: "back the server up with --full, and delete every backup after the named one",
    _C.BASE_WRITABLE: "chmod 444, and run recast doctor --deep",
    _C.BASE_SIZE_WRONG: "every disk on it is in doubt: restore their servers from backups",
    _C.BASE_CONTENT_WRONG: "every disk on it is in doubt: restore their servers from backups",
    _C.FILE_UNOWNED: _BY_HAND,
    _C.KEY_EXPOSED: "chmod 600, and make a new key if others may have read it",
}


@dataclass(frozen=True)
class Problem:
    """One problem of a resource or file."""

    code: Code
    resource: str
    what: str

    @property
    def remedy(self) -> str:
        """The remedy; the command that frees a hold is whole, because the problem names its parts."""
        return REMEDIES[self.code].replace("`recast hold free`", f"`{self._hold_command()}`")

    def _hold_command(self) -> str:
        command = f"recast hold free {self.resource.rpartition('/')[2]}"
        if image := re.search(r"/images/([a-z0-9-]+)", self.what):
            command += f" --image {image[1]}"
        if hold := re.search(r" by hold ([\w-]+)", self.what):
            command += f" --hold-id {hold[1]}"
        return command


@dataclass(frozen=True)
class InProgress:
    """A resource that is inconsistent because of running work."""

    resource: str
    what: str


@dataclass
class Counts:
    """The numbers of resources. The last three await collection: they are no problem."""

    backups: int = 0
    images: int = 0
    servers: int = 0
    disks: int = 0
    chunks: int = 0
    stored_bytes: int = 0
    collectable_indexes: int = 0
    collectable_chunks: int = 0
    collectable_bytes: int = 0


@dataclass(frozen=True)
class Report:
    """The result of an examination."""

    problems: tuple[Problem, ...]
    in_progress: tuple[InProgress, ...]
    counts: Counts


@dataclass
class Findings:
    """The findings of one examination so far."""

    problems: list[Problem] = field(default_factory=list)
    in_progress: list[InProgress] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def add(self, code: Code, resource: str, what: str, work: Operation | None = None) -> None:
        """Adds a problem; with `work` that has not ended it is only in progress."""
        if work is None:
            self.problems.append(Problem(code, resource, what))
        else:
            self.in_progress.append(InProgress(resource, f"{what}: {work.verb} is at work"))
