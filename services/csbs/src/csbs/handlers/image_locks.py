"""ImageLockService, for IMS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc
from sqlmodel import Session

from csbs.domain.backup import SEALED, image_obstacles
from csbs.domain.image_lock import ImageLock, LockEvent, LockState, advance
from csbs.domain.refusals import BackupNotImageReady, LockReleased, LockTokenStale
from csbs.storage import backups, image_locks
from csbs.storage.chunks import BackupChunks
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.database import Database
from recast.faults import all_of
from recast.imagelock.v1 import image_lock_service_pb2 as pb
from recast.imagelock.v1 import image_lock_service_pb2_grpc as grpc_pb
from recast.reservations import Release, held, plan_release, take
from recast.resources import lock_row
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name

_STATES = {state: pb.LockState.Value(f"LOCK_STATE_{state}") for state in LockState}


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
            found = image_locks.find_by_request(tx.session, row.name, request.request_id)
            lock = take(found, request.image, LockReleased(backup=row.name, image=request.image))
            if lock is None:
                if obstacles := image_obstacles(
                    backups.value_from_row(row), require_available=self.require_available
                ):
                    raise all_of(obstacles)
                wanted = ImageLock(row.name, request.image, 0, request.request_id, LockState.HELD, self.now())
                lock = image_locks.take(tx, row, wanted)
                tx.commit()
        return pb.LockBackupResponse(lock=_message_from_lock(lock), content=self._content(row, project))

    def ConfirmLock(
        self, request: pb.ConfirmLockRequest, context: grpc.ServicerContext
    ) -> pb.ConfirmLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            backups.load(tx.session, request.backup, lock=True)
            lock = _held(tx.session, request)
            lock = lock._replace(state=advance(lock, LockEvent.CONFIRMED))
            image_locks.save(tx, lock)
            tx.commit()
        return pb.ConfirmLockResponse(lock=_message_from_lock(lock))

    def ReleaseLock(
        self, request: pb.ReleaseLockRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseLockResponse:
        enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.write() as tx:
            lock_row(tx.session, BackupRow, request.backup)
            by_request = image_locks.find_by_request(tx.session, request.backup, request.request_id)
            found = _find_by_token(tx.session, request) if request.token else by_request
            lock = found if found and found.image == request.image else _tombstone(request, self.now())
            plan = plan_release(found, request.image)
            if plan is Release.RELEASED:
                image_locks.save(tx, lock._replace(state=advance(lock, LockEvent.RELEASED)))
            elif plan is Release.TOMBSTONE and request.request_id and by_request is None:
                image_locks.add(tx, lock)
            tx.commit()
        return pb.ReleaseLockResponse(lock=_released(lock))

    def GetBackupContent(
        self, request: pb.GetBackupContentRequest, context: grpc.ServicerContext
    ) -> pb.GetBackupContentResponse:
        project = enter_project(parse_name(request.backup, "backups", "backup").project)
        with self.database.read() as session:
            row = backups.load(session, request.backup)
            _held(session, request)
        content = self._content(row, project)
        if content is None:
            raise BackupNotImageReady(backup=row.name, state=row.state)
        return pb.GetBackupContentResponse(content=content)

    def _content(self, row: BackupRow, project: str) -> content_pb2.Content | None:
        """The content of the backup with the key of the store; None while it is being made."""
        if row.content is None or row.state not in SEALED:
            return None
        content = content_pb2.Content.FromString(row.content)
        content.store.CopyFrom(self.chunks.location(project))
        return content


def _held(session: Session, request: pb.ConfirmLockRequest | pb.GetBackupContentRequest) -> ImageLock:
    """The lock that the token of the request names, when it is in force."""
    stale = LockTokenStale(backup=request.backup, image=request.image, token=request.token)
    return held(_find_by_token(session, request), request.image, stale)


def _find_by_token(
    session: Session, request: pb.ConfirmLockRequest | pb.GetBackupContentRequest | pb.ReleaseLockRequest
) -> ImageLock | None:
    return image_locks.find_by_token(session, request.backup, request.image, request.token)


def _tombstone(request: pb.ReleaseLockRequest, now: datetime) -> ImageLock:
    token = request.token if request.token <= image_locks.MAX_TOKEN else 0  # a token that was never given
    return ImageLock(request.backup, request.image, token, request.request_id, LockState.RELEASED, now)


def _message_from_lock(lock: ImageLock) -> pb.ImageLock:
    message = _released(lock)
    message.state = _STATES[lock.state]
    put_time(message.create_time, lock.create_time)
    return message


def _released(lock: ImageLock) -> pb.ImageLock:
    return pb.ImageLock(backup=lock.backup, image=lock.image, token=lock.token, state=pb.LOCK_STATE_RELEASED)
