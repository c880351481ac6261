"""The refusals of CSBS; recast.csbs.v1.ErrorReason lists their reasons."""

from recast.faults import Kind, Refusal


class BackupNotFound(Refusal):
    """There is no such backup in the caller's project."""

    kind = Kind.NOT_FOUND
    reason = "BACKUP_NOT_FOUND"
    message = "there is no backup {backup}"
    in_the_way = "backup"


class BackupIdTaken(Refusal):
    """A backup with this id exists already."""

    kind = Kind.ALREADY_EXISTS
    reason = "BACKUP_ID_TAKEN"
    message = "there is a backup {backup} already; choose another id, or leave it empty"
    in_the_way = "backup"


class ServerNotFound(Refusal):
    """The server to back up or to restore does not exist."""

    kind = Kind.NOT_FOUND
    reason = "SERVER_NOT_FOUND"
    message = "there is no server {server}"
    in_the_way = "server"


class ServerStateForbidsBackup(Refusal):
    """Only a RUNNING or STOPPED server is backed up (V11)."""

    reason = "SERVER_STATE_FORBIDS_BACKUP"
    message = "server {server} is {state}; only a RUNNING or STOPPED server is backed up"
    in_the_way = "server"


class ServerBeingBackedUp(Refusal):
    """One backup of a server at a time."""

    reason = "SERVER_BEING_BACKED_UP"
    message = "server {server} is being backed up: {backup}; wait for it to end"
    in_the_way = "backup"


class ServerDisksChanged(Refusal):
    """A backup has the disks that its answer named, or fails: it never omits or adds one silently."""

    kind = Kind.ABORTED
    reason = "SERVER_DISKS_CHANGED"
    message = (
        "disk {disk} was attached to or detached from server {server} after the request of {backup} and "
        "before its freeze; back the server up again"
    )
    in_the_way = "disk"


class BackupNotImageReady(Refusal):
    """An image is made of a backup that is AVAILABLE, or CREATING and marked "Image can be created"."""

    reason = "BACKUP_NOT_IMAGE_READY"
    rule = "R02"
    message = 'backup {backup} is {state}, not AVAILABLE or marked "Image can be created"; wait until it is'
    in_the_way = "backup"


class BackupNotAvailable(Refusal):
    """In the strict reading an image is made of an AVAILABLE backup alone, marked or not."""

    reason = "BACKUP_NOT_AVAILABLE"
    rule = "R06"
    message = "backup {backup} is {state}; this installation takes AVAILABLE ones alone; wait until it is"
    in_the_way = "backup"


class BackupNotRestorable(Refusal):
    """A backup that is not AVAILABLE, marked or not, cannot be restored."""

    reason = "BACKUP_NOT_RESTORABLE"
    rule = "R05"
    message = "backup {backup} is {state}; only an AVAILABLE backup can be restored, marked or not"
    in_the_way = "backup"


class BackupWithoutSystemDisk(Refusal):
    """A backup that an image is made of holds the system disk."""

    reason = "BACKUP_WITHOUT_SYSTEM_DISK"
    rule = "R07"
    message = "backup {backup} holds no system disk, so no image can be made of it"
    in_the_way = "backup"


class BackupHasSharedDisk(Refusal):
    """A backup that an image is made of holds no disk that was shared when it was backed up."""

    reason = "BACKUP_HAS_SHARED_DISK"
    rule = "R08"
    message = "disk {disk} was shared when {backup} was made; detach it and back the server up again"
    in_the_way = "disk"


class ServerHasSharedDisk(Refusal):
    """A server that an image is made of straight has no shared disk: its backup would have one."""

    reason = "SERVER_HAS_SHARED_DISK"
    rule = BackupHasSharedDisk.rule
    message = "disk {disk} of {server} is shared, so no image can be made of a backup of it; detach it first"
    in_the_way = "disk"


class BackupAlreadyHasImage(Refusal):
    """One image a backup, at a time."""

    kind = Kind.ALREADY_EXISTS
    reason = "BACKUP_ALREADY_HAS_IMAGE"
    rule = "R09"
    message = "image {image} stands on backup {backup} already; use it, or delete it first"
    in_the_way = "image"


class BackupHasImage(Refusal):
    """A backup that an image stands on cannot be deleted by hand."""

    reason = "BACKUP_HAS_IMAGE"
    rule = "R15"
    message = "backup {backup} cannot be deleted: image {image} stands on it; delete the image first"
    in_the_way = "image"


class BackupBusy(Refusal):
    """A backup that is being made, restored or deleted cannot be changed."""

    reason = "BACKUP_BUSY"
    message = "backup {backup} is {state}; wait for that to end"
    in_the_way = "backup"


class LockTokenStale(Refusal):
    """Only the current token of a lock is accepted: an earlier owner is refused."""

    reason = "LOCK_TOKEN_STALE"
    rule = "R10"
    message = (
        "token {token} of {image} on {backup} is not current; the lock was released, or is another owner's"
    )
    in_the_way = "backup"


class LockReleased(Refusal):
    """A late duplicate of a request does not renew its lock, once that was released."""

    kind = Kind.ABORTED
    reason = "LOCK_RELEASED"
    rule = LockTokenStale.rule
    message = "the lock of {image} on {backup} under this request id was released; use a new request id"
    in_the_way = "backup"


class ContentDamaged(Refusal):
    """The bytes read from the chunk store differ from the bytes written."""

    kind = Kind.DATA_LOSS
    reason = "CONTENT_DAMAGED"
    message = "the content of {backup} is damaged: {problem}"
    in_the_way = "backup"


class RestoreTargetInvalid(Refusal):
    """Every disk of the backup is written to one disk of the server, system to system, no smaller, not
    shared.
    """

    reason = "RESTORE_TARGET_INVALID"
    message = "{backup_disk} of {backup} cannot be written to {disk}: {problem}"
    in_the_way = "disk"
