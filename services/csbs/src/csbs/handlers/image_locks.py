"""ImageLockService, for IMS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from csbs.domain.backup import SEALED, image_obstacles
from csbs.domain.image_lock import ImageLock, LockEvent, LockState, advance, current, find_again
from csbs.domain.refusals import BackupNotImageReady
from csbs.storage import backups, image_locks
from csbs.storage.chunks import BackupChunks
from csbs.storage.image_locks import Asked, LockedBackup, SeenBackup
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.csbs.v1 import error_reason_pb2
from recast.csbs.v1 import image_lock_service_pb2 as pb
from recast.csbs.v1 import image_lock_service_pb2_grpc as grpc_pb
from recast.faults import Refusal, all_of
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name
from recast.unitofwork import Database

_STATES = {state: pb.LockState.Value(f"LOCK_STATE_{state}") for state in LockState}
_MOST_LOCKS = (1 << 31) - 1


@dataclass(frozen=True)
class ImageLocks(grpc_pb.ImageLockServiceServicer):
    """What its RPCs need. `require_available` is the strict reading of R06."""

    database: Database
    chunks: BackupChunks
    require_available: bool
    now: Callable[[], datetime]

    def CheckImageEligibility(
        self, request: pb.CheckImageEligibilityRequest, context: grpc.ServicerContext
    ) -> pb.CheckImageEligibilityResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        answer = pb.CheckImageEligibilityResponse()
        obstacles = self._obstacles(image_locks.look(self.database, request.backup, message=answer.backup))
        answer.eligible = not obstacles
        answer.violations.extend(_violation(each) for each in obstacles)
        return answer

    def LockBackup(
        self, request: pb.LockBackupRequest, context: grpc.ServicerContext
    ) -> pb.LockBackupResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)

        def lock_it(asked: Asked) -> pb.LockBackupResponse | None:
            answer, request_id = pb.LockBackupResponse(), request.request_id
            wanted = ImageLock(request.backup, request.image, 0, request_id, LockState.HELD, self.now())
            locked = image_locks.take(asked, wanted, message=answer.backup)
            if locked is None:
                seen = image_locks.look(asked, request.backup, request_id, message=answer.backup)
                if lock := find_again(seen.locks, request.backup, request.image, request_id):
                    locked = LockedBackup(seen.state, seen.content, lock)
                elif obstacles := self._obstacles(seen):
                    raise all_of(obstacles)
                else:
                    locked = image_locks.take(asked, wanted, seen, message=answer.backup)
            if locked is None:
                return None
            answer.lock.CopyFrom(_message(locked.lock, locked.lock.state))
            self._show_content(locked, project, answer.content)
            return answer

        return self.database.settle(lambda session: backups.hold(session, request.backup), lock_it)

    def ConfirmLock(
        self, request: pb.ConfirmLockRequest, context: grpc.ServicerContext
    ) -> pb.ConfirmLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)

        def confirm(asked: Asked) -> pb.ConfirmLockResponse | None:
            seen = image_locks.look(asked, request.backup, token=request.token)
            lock = current(seen.locks, request.backup, request.image, request.token)
            state = advance(lock, LockEvent.CONFIRMED)
            is_moved = image_locks.move(asked, lock, state)
            return pb.ConfirmLockResponse(lock=_message(lock, state)) if is_moved else None

        return self.database.settle(lambda session: backups.hold(session, request.backup), confirm)

    def ReleaseLock(
        self, request: pb.ReleaseLockRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)

        def release(asked: Asked) -> pb.ReleaseLockResponse | None:
            locks = image_locks.look_alone(asked, request.backup, request.request_id, request.token)
            meant = [each for each in locks if each.image == request.image and _is_meant(each, request)]
            # A backup of this name before may have left a tombstone of the same token.
            meant.sort(key=lambda each: each.state is LockState.RELEASED)
            # A release that overtakes its own LockBackup leaves the tombstone that refuses it.
            lock = meant[0] if meant else _tombstone(request, self.now())
            if meant:
                is_done = image_locks.move(asked, lock, advance(lock, LockEvent.RELEASED))
            else:
                is_anothers = any(each.request_id == request.request_id for each in locks)
                is_kept = bool(request.request_id) and not is_anothers
                is_done = not is_kept or image_locks.add(asked, lock)
            return pb.ReleaseLockResponse(lock=_released(lock)) if is_done else None

        return self.database.settle(lambda session: backups.hold(session, request.backup), release)

    def GetBackupContent(
        self, request: pb.GetBackupContentRequest, context: grpc.ServicerContext
    ) -> pb.GetBackupContentResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)
        answer = pb.GetBackupContentResponse()
        seen = image_locks.look(self.database, request.backup, token=request.token, message=answer.backup)
        current(seen.locks, request.backup, request.image, request.token)
        if not self._show_content(seen, project, answer.content):
            raise BackupNotImageReady(backup=request.backup, state=seen.state)
        return answer

    def _obstacles(self, backup: SeenBackup) -> list[Refusal]:
        return image_obstacles(backups.value(backup), require_available=self.require_available)

    def _show_content(
        self, backup: SeenBackup | LockedBackup, project: str, message: content_pb2.Content
    ) -> bool:
        """What the backup's disks are, with the key of the store; False while it is being made."""
        if backup.content is None or backup.state not in SEALED:
            return False
        message.ParseFromString(backup.content)
        message.store.CopyFrom(self.chunks.location(project))
        return True


def _is_meant(lock: ImageLock, request: pb.ReleaseLockRequest) -> bool:
    return lock.token == request.token if request.token else lock.request_id == request.request_id


def _tombstone(request: pb.ReleaseLockRequest, now: datetime) -> ImageLock:
    token = request.token if request.token <= _MOST_LOCKS else 0  # that was nobody's
    return ImageLock(request.backup, request.image, token, request.request_id, LockState.RELEASED, now)


def _message(lock: ImageLock, state: LockState) -> pb.ImageLock:
    message = _released(lock)
    message.state = _STATES[state]
    put_time(message.create_time, lock.create_time)
    return message


def _released(lock: ImageLock) -> pb.ImageLock:
    return pb.ImageLock(backup=lock.backup, image=lock.image, token=lock.token, state=pb.LOCK_STATE_RELEASED)


def _violation(obstacle: Refusal) -> pb.EligibilityViolation:
    return pb.EligibilityViolation(
        reason=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{obstacle.reason}"),
        rule=obstacle.rule,
        resource=obstacle.violation().resource,
        description=obstacle.text,
    )
