"""Backups, as IMS needs them from CSBS: check, lock, read, release, make, delete."""

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as backup_service
from recast.csbs.v1 import backup_service_pb2_grpc as backup_service_grpc
from recast.faults import Kind, Refusal, all_of
from recast.imagelock.v1 import image_lock_service_pb2 as pb
from recast.imagelock.v1 import image_lock_service_pb2_grpc as grpc_pb
from recast.imagelock.v1.image_eligibility_service_pb2 import CheckImageEligibilityRequest, ImageEligibility
from recast.imagelock.v1.image_eligibility_service_pb2_grpc import ImageEligibilityServiceStub
from recast.longrunning.v1 import operation_metadata_pb2
from recast.operations import Work
from recast.operations.peer import await_end, follow
from recast.rpc.status import refusal_from_status

NOT_READY = frozenset({"BACKUP_NOT_IMAGE_READY", "BACKUP_NOT_AVAILABLE"})
"""The refusals of a backup whose content is not fixed yet, or not complete yet."""

_POLL_SECONDS = 0.25  # the end of a backup is noticed this late at most
_POLLS_OF_PROGRESS = 8  # the progress of a backup is read at every eighth poll


def _source_request(work: Work, project: str, server: str) -> backup_service.CreateBackupRequest:
    """Its ids are those of the work, so that the work finds the backup again."""
    return backup_service.CreateBackupRequest(
        parent=f"projects/{project}",
        backup_id=work.id,
        backup=backup_pb2.Backup(server=server, display_name="image-source"),
        request_id=work.id,
    )


class Backups:
    """The backups of CSBS. Every method that changes something may be repeated."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._eligibility = ImageEligibilityServiceStub(channel)
        self._locks = grpc_pb.ImageLockServiceStub(channel)
        self._backups = backup_service_grpc.BackupServiceStub(channel)
        self._operations = operations_pb2_grpc.OperationsStub(channel)

    def check(self, project: str, backup: str) -> ImageEligibility:
        """The answer for the backup, when an image can be made of it.

        Otherwise the refusal of CSBS, with every rule in the way.
        """
        return self._check(CheckImageEligibilityRequest(parent=f"projects/{project}", backups=[backup]))

    def check_server(self, project: str, server: str) -> None:
        """Refuses as `check` does when no image could be made of a backup of the server, made now."""
        self._check(CheckImageEligibilityRequest(parent=f"projects/{project}", servers=[server]))

    def _check(self, request: CheckImageEligibilityRequest) -> ImageEligibility:
        (result,) = self._eligibility.CheckImageEligibility(request).results
        if not result.eligible:
            raise all_of([refusal_from_status(each) for each in result.violations])
        return result

    def lock(self, backup: str, image: str, request_id: str) -> tuple[int, content_pb2.Content | None]:
        """Locks the backup for the image; returns the fencing token, and the content of a finished backup."""
        request = pb.LockBackupRequest(backup=backup, image=image, request_id=request_id)
        answer = self._locks.LockBackup(request)
        return answer.lock.token, answer.content if answer.HasField("content") else None

    def confirm(self, backup: str, image: str, token: int) -> None:
        """Confirms the lock."""
        self._locks.ConfirmLock(pb.ConfirmLockRequest(backup=backup, image=image, token=token))

    def release(self, backup: str, image: str, token: int, request_id: str) -> None:
        """Releases the lock, by its token or by its request id."""
        request = pb.ReleaseLockRequest(backup=backup, image=image, token=token, request_id=request_id)
        self._locks.ReleaseLock(request)

    def content(self, backup: str, image: str, token: int) -> content_pb2.Content:
        """The content of the locked backup; refused with NOT_READY while it is being made."""
        request = pb.GetBackupContentRequest(backup=backup, image=image, token=token)
        return self._locks.GetBackupContent(request).content

    def progress(self, backup: str) -> operation_metadata_pb2.OperationMetadata:
        """How far the newest creation of the backup is; empty when that is not known."""
        parent, _, _ = backup.partition("/backups/")
        request = operations_pb2.ListOperationsRequest(
            name=parent, filter=f'verb = "CreateBackup" AND target = "{backup}"', page_size=1
        )
        metadata = operation_metadata_pb2.OperationMetadata()
        try:
            for operation in self._operations.ListOperations(request).operations:
                operation.metadata.Unpack(metadata)
        except Refusal as refusal:
            # A figure for people: no wait ends for want of it. An absent peer is waited for, as ever.
            if refusal.kind in {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED}:
                raise
        return metadata

    def state(self, backup: str) -> str:
        """The backup's state, by its name without the prefix."""
        answer = self._backups.GetBackup(backup_service.GetBackupRequest(name=backup))
        return backup_pb2.BackupState.Name(answer.backup.state).removeprefix("BACKUP_STATE_")

    def create(self, work: Work, project: str, server: str) -> str:
        """Begins the backup of a server that an image is made of; returns the backup's name at once."""
        return self._backups.CreateBackup(_source_request(work, project, server)).backup.name

    def withdraw(self, work: Work, project: str, server: str) -> None:
        """Cancels and deletes the backup that `create` made for this work, if it did."""
        request = _source_request(work, project, server)
        backup = f"{request.parent}/backups/{request.backup_id}"
        try:
            state = self.state(backup)
        except Refusal as refusal:
            if refusal.kind is not Kind.NOT_FOUND:
                raise
            return
        if state == "CREATING":
            operation = self._backups.CreateBackup(request).operation.name  # the answer of then
            self._operations.CancelOperation(operations_pb2.CancelOperationRequest(name=operation))
            await_end(work, self._operations, operation)
        self.delete(work, backup)

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


class BackupWait:
    """The pauses of work that waits for a backup: its operation shows which, and how far that is."""

    def __init__(self, work: Work, backups: Backups, backup: str) -> None:
        self._work = work
        self._backups = backups
        self._backup = backup
        self._polls = 0
        self._progress = operation_metadata_pb2.OperationMetadata()

    def pause(self) -> None:
        """Waits between two polls of the backup."""
        if self._polls % _POLLS_OF_PROGRESS == 0:
            self._progress = self._backups.progress(self._backup)
        self._polls += 1
        self._work.wait_for(f"backup {self._backup}", self._progress, _POLL_SECONDS)
