"""ImageLockService, for IMS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from csbs.domain.backup import BackupState, image_obstacles
from csbs.domain.image_lock import ImageLock, LockEvent, LockState, advance, current, find_again, holder_of
from csbs.domain.refusals import BackupNotImageReady
from csbs.storage import backups, image_locks
from csbs.storage.chunks import BackupChunks
from recast.content.v1 import content_pb2
from recast.csbs.v1 import error_reason_pb2
from recast.csbs.v1 import image_lock_service_pb2 as pb
from recast.csbs.v1 import image_lock_service_pb2_grpc as grpc_pb
from recast.faults import Refusal, all_of
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name
from recast.unitofwork import Database


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
        with self.database.read() as session:
            row = backups.load(session, request.backup)
            obstacles = image_obstacles(backups.value(session, row), require_available=self.require_available)
            return pb.CheckImageEligibilityResponse(
                eligible=not obstacles,
                violations=[_violation(each) for each in obstacles],
                backup=backups.message(session, row),
            )

    def LockBackup(
        self, request: pb.LockBackupRequest, context: grpc.ServicerContext
    ) -> pb.LockBackupResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            held = backups.load_held(tx, request.backup)
            locks = image_locks.load_locks(tx, request.backup)
            lock, taken = find_again(locks, request.backup, request.image, request.request_id), self.now()
            if lock is not None:
                taken = image_locks.create_time(tx, lock)
            else:
                value = backups.value_of(request.backup, held, holder_of(locks))
                obstacles = image_obstacles(value, require_available=self.require_available)
                if obstacles:
                    raise all_of(obstacles)
                token = held.lock_sequence + 1
                lock = ImageLock(request.backup, request.image, token, request.request_id, LockState.HELD)
                image_locks.add_lock(tx, lock, taken)
                backups.count_lock(tx, held, taken)
            response = pb.LockBackupResponse(
                lock=_message(lock, lock.state, taken),
                backup=held.message,
                content=self._content(held.content, held.state, project),
            )
            response.backup.image = lock.image
            tx.commit()
            return response

    def ConfirmLock(
        self, request: pb.ConfirmLockRequest, context: grpc.ServicerContext
    ) -> pb.ConfirmLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            backups.load(tx.session, request.backup, lock=True)
            locks = image_locks.load_locks(tx, request.backup)
            lock = current(locks, request.backup, request.image, request.token)
            state = advance(lock, LockEvent.CONFIRMED)
            image_locks.save_lock(tx, lock, state)
            taken = image_locks.create_time(tx, lock)
            response = pb.ConfirmLockResponse(lock=_message(lock, state, taken))
            tx.commit()
            return response

    def ReleaseLock(
        self, request: pb.ReleaseLockRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            # A confirmation under way has read the lock, and would write over its release.
            backups.hold(tx.session, request.backup)
            locks = image_locks.load_locks(tx, request.backup)
            found = [lock for lock in locks if lock.image == request.image and _is_meant(lock, request)]
            # A release that overtakes its own LockBackup leaves the tombstone that refuses it.
            lock = (
                found[0]
                if found
                else ImageLock(
                    request.backup, request.image, request.token, request.request_id, LockState.RELEASED
                )
            )
            state = advance(lock, LockEvent.RELEASED)
            is_anothers = any(each.request_id == request.request_id for each in locks)
            if found:
                image_locks.save_lock(tx, lock, state)
            elif request.request_id and not is_anothers:
                image_locks.add_lock(tx, lock, self.now())
            response = pb.ReleaseLockResponse(
                lock=pb.ImageLock(
                    backup=lock.backup, image=lock.image, token=lock.token, state=pb.LOCK_STATE_RELEASED
                )
            )
            tx.commit()
            return response

    def GetBackupContent(
        self, request: pb.GetBackupContentRequest, context: grpc.ServicerContext
    ) -> pb.GetBackupContentResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.read() as session:
            row = backups.load(session, request.backup)
            locks = image_locks.read_locks(session, row.name)
            current(locks, row.name, request.image, request.token)
            content = self._content(row.content, row.state, project)
            if content is None:
                raise BackupNotImageReady(backup=row.name, state=row.state)
            return pb.GetBackupContentResponse(content=content, backup=backups.message(session, row))

    def _content(self, known: bytes | None, state: str, project: str) -> content_pb2.Content | None:
        """What the backup's disks are, with the key of the store; None while it is being made."""
        if known is None or state not in {BackupState.AVAILABLE, BackupState.RESTORING}:
            return None
        content = content_pb2.Content.FromString(known)
        content.store.CopyFrom(self.chunks.location(project))
        return content


def _is_meant(lock: ImageLock, request: pb.ReleaseLockRequest) -> bool:
    return lock.token == request.token if request.token else lock.request_id == request.request_id


def _message(lock: ImageLock, state: LockState, taken: datetime) -> pb.ImageLock:
    message = pb.ImageLock(
        backup=lock.backup,
        image=lock.image,
        token=lock.token,
        state=pb.LockState.Value(f"LOCK_STATE_{state}"),
    )
    message.create_time.FromDatetime(taken)
    return message


def _violation(obstacle: Refusal) -> pb.EligibilityViolation:
    return pb.EligibilityViolation(
        reason=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{obstacle.reason}"),
        rule=obstacle.rule,
        resource=obstacle.violation().resource,
        description=obstacle.text,
    )
