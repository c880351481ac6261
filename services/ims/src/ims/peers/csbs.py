"""Backups, as IMS needs them from CSBS: check, lock, read, release, make, delete."""

import grpc
from google.longrunning import operations_pb2_grpc

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2, error_reason_pb2
from recast.csbs.v1 import backup_service_pb2 as backup_service
from recast.csbs.v1 import backup_service_pb2_grpc as backup_service_grpc
from recast.csbs.v1 import image_lock_service_pb2 as pb
from recast.csbs.v1 import image_lock_service_pb2_grpc as grpc_pb
from recast.faults import Kind, Refusal, RemoteRefusal, Violation
from recast.operations import Work
from recast.operations.peer import follow

NOT_READY = "BACKUP_NOT_IMAGE_READY"
# Which fact names what stands in the way, as in CSBS's own refusals: the check's answer does not carry it.
_FACTS = {
    "BACKUP_ALREADY_HAS_IMAGE": "image",
    NOT_READY: "backup",
    "BACKUP_WITHOUT_SYSTEM_DISK": "backup",
    "BACKUP_HAS_SHARED_DISK": "disk",
}


class Backups:
    """The backups of CSBS. Every method that changes something may be repeated."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._locks = grpc_pb.ImageLockServiceStub(channel)
        self._backups = backup_service_grpc.BackupServiceStub(channel)
        self._operations = operations_pb2_grpc.OperationsStub(channel)

    def check(self, backup: str) -> backup_pb2.Backup:
        """The backup, when an image can be made of it; refused with every rule in the way otherwise."""
        answer = self._locks.CheckImageEligibility(pb.CheckImageEligibilityRequest(backup=backup))
        if not answer.eligible:
            raise _refusal(answer)
        return answer.backup

    def lock(self, backup: str, image: str, request_id: str) -> tuple[int, content_pb2.Content | None]:
        """Locks the backup for the image; gives the fencing token, and the content if it is finished."""
        request = pb.LockBackupRequest(backup=backup, image=image, request_id=request_id)
        answer = self._locks.LockBackup(request)
        return answer.lock.token, answer.content if answer.HasField("content") else None

    def confirm(self, backup: str, image: str, token: int) -> None:
        """Makes the lock last."""
        self._locks.ConfirmLock(pb.ConfirmLockRequest(backup=backup, image=image, token=token))

    def release(self, backup: str, image: str, token: int, request_id: str) -> None:
        """Gives the lock back, by its token or by what it was asked for with."""
        request = pb.ReleaseLockRequest(backup=backup, image=image, token=token, request_id=request_id)
        self._locks.ReleaseLock(request)

    def content(self, backup: str, image: str, token: int) -> content_pb2.Content:
        """What the locked backup's disks are; refused with NOT_READY while it is being made."""
        request = pb.GetBackupContentRequest(backup=backup, image=image, token=token)
        return self._locks.GetBackupContent(request).content

    def state(self, backup: str) -> str:
        """The backup's state, by its name without the prefix."""
        answer = self._backups.GetBackup(backup_service.GetBackupRequest(name=backup))
        return backup_pb2.BackupState.Name(answer.backup.state).removeprefix("BACKUP_STATE_")

    def create(self, project: str, server: str, display_name: str, request_id: str) -> str:
        """Has a server backed up; gives the backup's name at once."""
        request = backup_service.CreateBackupRequest(
            parent=f"projects/{project}",
            backup=backup_pb2.Backup(server=server, display_name=display_name),
            request_id=request_id,
        )
        return self._backups.CreateBackup(request).backup.name

    def delete(self, work: Work, backup: str) -> None:
        """Deletes a backup, and waits for its end. One that is gone is no error."""
        request = backup_service.DeleteBackupRequest(name=backup, request_id=f"{work.id}-delete")
        try:
            follow(
                work, self._operations, "delete backup", lambda: self._backups.DeleteBackup(request).operation
            )
        except Refusal as refusal:
            if refusal.kind is not Kind.NOT_FOUND:
                raise


def _refusal(answer: pb.CheckImageEligibilityResponse) -> RemoteRefusal:
    """The refusal that LockBackup would give: the first rule in the way, and all of them as violations."""
    violations = [
        Violation(_reason(each.reason), each.resource, each.description) for each in answer.violations
    ]
    first = answer.violations[0]
    reason = _reason(first.reason)
    state = backup_pb2.BackupState.Name(answer.backup.state).removeprefix("BACKUP_STATE_")
    metadata = {
        "rule": first.rule,
        "backup": answer.backup.name,
        "state": state,
        _FACTS.get(reason, ""): first.resource,
    }
    return RemoteRefusal(
        Kind.ALREADY_EXISTS if reason == "BACKUP_ALREADY_HAS_IMAGE" else Kind.FAILED_PRECONDITION,
        reason,
        first.description,
        domain="csbs.recast",
        metadata={key: value for key, value in metadata.items() if key and value},
        violations=violations,
    )


def _reason(reason: int) -> str:
    return error_reason_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")  # type: ignore[arg-type]
