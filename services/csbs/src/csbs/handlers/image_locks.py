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
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.database import Database
from recast.faults import all_of
from recast.imagelock.v1 import image_lock_service_pb2 as pb
from recast.imagelock.v1 import image_lock_service_pb2_grpc as grpc_pb
from recast.resources import lock_row
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name

_STATES = {state: pb.LockState.Value(f"LOCK_STATE_{state}") for state in LockState}
_MOST_LOCKS = (1 << 31) - 1


@dataclass(frozen=True)
class ImageLocks(grpc_pb.ImageLockServiceServicer):
    """What its RPCs need. `require_available` is the strict reading of R06."""

    database: Database
    chunks: BackupChunks
    require_available: bool
    now: Callable[[], datetime]

    def LockBackup(
        self, request: pb.LockBackupRequest, context: grpc.ServicerContext
    ) -> pb.LockBackupResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            row = backups.load(tx.session, request.backup, lock=True)
            locks = image_locks.find(tx.session, row.name, request_id=request.request_id)
            lock = find_again(locks, row.name, request.image, request.request_id)
            if lock is None:
                if obstacles := image_obstacles(backups.value(row), require_available=self.require_available):
                    raise all_of(obstacles)
                wanted = ImageLock(row.name, request.image, 0, request.request_id, LockState.HELD, self.now())
                lock = image_locks.take(tx, row, wanted)
                tx.commit()
        return pb.LockBackupResponse(lock=_message(lock), content=self._content(row, project))

    def ConfirmLock(
        self, request: pb.ConfirmLockRequest, context: grpc.ServicerContext
    ) -> pb.ConfirmLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            row = backups.load(tx.session, request.backup, lock=True)
            locks = image_locks.find(tx.session, row.name, token=request.token)
            lock = current(locks, row.name, request.image, request.token)
            lock = lock._replace(state=advance(lock, LockEvent.CONFIRMED))
            image_locks.save(tx, lock)
            tx.commit()
        return pb.ConfirmLockResponse(lock=_message(lock))

    def ReleaseLock(
        self, request: pb.ReleaseLockRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            lock_row(tx.session, BackupRow, request.backup)
            locks = image_locks.find(
                tx.session, request.backup, request_id=request.request_id, token=request.token
            )
            meant = [each for each in locks if each.image == request.image and _is_meant(each, request)]
            # A backup of this name before may have left a tombstone of the same token.
            meant.sort(key=lambda each: each.state is LockState.RELEASED)
            if meant:
                lock = meant[0]
                image_locks.save(tx, lock._replace(state=advance(lock, LockEvent.RELEASED)))
            else:
                # A release that overtakes its own LockBackup leaves the tombstone that refuses it.
                lock = _tombstone(request, self.now())
                is_anothers = any(each.request_id == request.request_id for each in locks)
                if request.request_id and not is_anothers:
                    image_locks.add(tx, lock)
            tx.commit()
        return pb.ReleaseLockResponse(lock=_released(lock))

    def GetBackupContent(
        self, request: pb.GetBackupContentRequest, context: grpc.ServicerContext
    ) -> pb.GetBackupContentResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.read() as session:
            row = backups.load(session, request.backup)
            locks = image_locks.find(session, row.name, token=request.token)
        current(locks, row.name, request.image, request.token)
        content = self._content(row, project)
        if content is None:
            raise BackupNotImageReady(backup=row.name, state=row.state)
        return pb.GetBackupContentResponse(content=content)

    def _content(self, row: BackupRow, project: str) -> content_pb2.Content | None:
        """What the backup's disks are, with the key of the store; None while it is being made."""
        if row.content is None or row.state not in SEALED:
            return None
        content = content_pb2.Content.FromString(row.content)
        content.store.CopyFrom(self.chunks.location(project))
        return content


def _is_meant(lock: ImageLock, request: pb.ReleaseLockRequest) -> bool:
    return lock.token == request.token if request.token else lock.request_id == request.request_id


def _tombstone(request: pb.ReleaseLockRequest, now: datetime) -> ImageLock:
    token = request.token if request.token <= _MOST_LOCKS else 0  # that was nobody's
    return ImageLock(request.backup, request.image, token, request.request_id, LockState.RELEASED, now)


def _message(lock: ImageLock) -> pb.ImageLock:
    message = _released(lock)
    message.state = _STATES[lock.state]
    put_time(message.create_time, lock.create_time)
    return message


def _released(lock: ImageLock) -> pb.ImageLock:
    return pb.ImageLock(backup=lock.backup, image=lock.image, token=lock.token, state=pb.LOCK_STATE_RELEASED)
