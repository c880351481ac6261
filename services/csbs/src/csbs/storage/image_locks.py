"""A backup and its locks: looked at together, and written if they are still as they were seen."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, literal_column, or_, update
from sqlalchemy import select as sa_select

from csbs.domain.backup import Backup
from csbs.domain.image_lock import ImageLock, LockState, holder_of
from csbs.domain.refusals import BackupNotFound
from csbs.storage import backups
from csbs.storage.tables import BackupRow, ImageLockRow
from recast.contracts.times import put_time
from recast.csbs.v1 import backup_pb2 as pb
from recast.unitofwork import CompareAndSet, Database, Look, Transaction, next_etag, value

Asked = Database | Transaction

_BACKUP: Any = BackupRow.__table__  # type: ignore[attr-defined]
_LOCK: Any = ImageLockRow.__table__  # type: ignore[attr-defined]
_AS_IT_IS: Any = literal_column("backup.create_time")
_LOCK_COLUMNS = (_LOCK.c.image, _LOCK.c.token, _LOCK.c.request_id, _LOCK.c.state, _LOCK.c.create_time)
# The one that holds, and what was written for this request or this token before; not every tombstone.
_MATTERS = or_(
    _LOCK.c.state != literal_column(f"'{LockState.RELEASED}'"),
    _LOCK.c.request_id == bindparam("request"),
    _LOCK.c.token == bindparam("known_token", type_=BigInteger),  # whatever a caller says
)
_WITH_BACKUP = Look(
    sa_select(
        *(_BACKUP.c.shown, _BACKUP.c.state, _BACKUP.c.image_ready, _BACKUP.c.disks, _BACKUP.c.content),
        *(_BACKUP.c.version, _BACKUP.c.lock_sequence, _AS_IT_IS, *_LOCK_COLUMNS),
    )
    .select_from(_BACKUP.outerjoin(_LOCK, (_LOCK.c.backup == _BACKUP.c.name) & _MATTERS))
    .where(_BACKUP.c.name == bindparam("of_backup"))
)
_ALONE = Look(sa_select(*_LOCK_COLUMNS).where(_LOCK.c.backup == bindparam("of_backup"), _MATTERS))
_TAKE = CompareAndSet(
    changed=update(_BACKUP)
    .where(
        _BACKUP.c.name == bindparam("of_backup"),
        _BACKUP.c.version == bindparam("seen_version"),
        # Another may have been made of that name. It is compared as the driver gave it.
        bindparam("seen_create_time") == _AS_IT_IS,
    )
    .values(
        lock_sequence=bindparam("to_sequence"),
        version=bindparam("to_version"),
        update_time=bindparam("to_time"),
        shown=bindparam("to_shown"),
    ),
    added=_LOCK,
)
_ADD = CompareAndSet(added=_LOCK)
_MOVE = CompareAndSet(
    changed=update(_LOCK)
    .where(
        _LOCK.c.backup == bindparam("of_backup"),
        _LOCK.c.request_id == bindparam("request"),
        _LOCK.c.state == bindparam("seen_state"),
    )
    .values(state=bindparam("to_state"))
)


@dataclass
class LockedBackup:
    """A backup and those of its locks that matter, as they were at one moment."""

    message: pb.Backup
    state: str
    image_ready: bool
    disks: bytes
    content: bytes | None
    version: int
    lock_sequence: int
    create_time: object
    locks: Sequence[ImageLock]

    @property
    def value(self) -> Backup:
        """The backup as the rules see it."""
        return backups.value_of(self.message.name, self, self.message.image)


def look(
    asked: Asked, backup: str, request_id: str = "", token: int = 0, *, message: pb.Backup | None = None
) -> LockedBackup:
    """The backup with the lock that holds it, and any of this request or this token; or BackupNotFound.

    `message` is filled with it: a field of an answer need not be copied there.
    """
    rows = asked.look(_WITH_BACKUP, _values(backup, request_id, token))
    if not rows:
        raise BackupNotFound(backup=backup)
    known = rows[0][: -len(_LOCK_COLUMNS)]
    shown, state, image_ready, disks, content, version, lock_sequence, create_time = known
    locks = [_lock(asked, backup, row[-len(_LOCK_COLUMNS) :]) for row in rows if row[-1] is not None]
    message = pb.Backup() if message is None else message
    message.ParseFromString(shown or _built(asked, backup))
    message.image = holder_of(locks)
    return LockedBackup(
        message, state, bool(image_ready), disks, content, version, lock_sequence, create_time, locks
    )


def _built(asked: Asked, backup: str) -> bytes:
    """What would be kept of a row of an earlier version."""
    with asked.read() if isinstance(asked, Database) else nullcontext(asked.session) as session:
        return backups.message_of(backups.load(session, backup)).SerializeToString()


def look_alone(asked: Asked, backup: str, request_id: str, token: int) -> list[ImageLock]:
    """The same locks, whether or not the backup is still there."""
    rows = asked.look(_ALONE, _values(backup, request_id, token))
    return [_lock(asked, backup, row) for row in rows]


def _values(backup: str, request_id: str, token: int) -> dict[str, object]:
    # Tombstones of releases that came first have no token: 0.
    return {"of_backup": backup, "request": request_id, "known_token": token or -1}


def _lock(asked: Asked, backup: str, row: Sequence[Any]) -> ImageLock:
    image, token, request_id, state, taken = row
    create_time = value(_LOCK.c.create_time.type, taken, asked.dialect)
    return ImageLock(backup, image, token, request_id, LockState(state), create_time)


def take(asked: Asked, seen: LockedBackup, lock: ImageLock) -> bool:
    """Writes a new lock and counts it; False where the backup is not as it was seen. Changes the message."""
    message, version = seen.message, seen.version + 1
    message.image = ""  # who holds it is not kept with it
    message.etag = next_etag(message.etag, version)
    put_time(message.update_time, lock.create_time)
    values = {
        "of_backup": lock.backup,
        "seen_version": seen.version,
        "seen_create_time": seen.create_time,
        "to_sequence": lock.token,
        "to_version": version,
        "to_time": lock.create_time,
        "to_shown": message.SerializeToString(),
    }
    message.image = lock.image
    return asked.compare_and_set(_TAKE, values | _columns(lock))


def add(asked: Asked, lock: ImageLock) -> bool:
    """Writes a tombstone; False where its request has a lock by now."""
    return asked.compare_and_set(_ADD, _columns(lock))


def move(asked: Asked, lock: ImageLock, state: LockState) -> bool:
    """Writes a lock's state, if it is another; False where somebody else moved it meanwhile."""
    if state is lock.state:
        return True
    values = {"of_backup": lock.backup, "request": lock.request_id}
    return asked.compare_and_set(_MOVE, values | {"seen_state": lock.state, "to_state": state})


def _columns(lock: ImageLock) -> dict[str, object]:
    return {
        "backup": lock.backup,
        "request_id": lock.request_id,
        "image": lock.image,
        "token": lock.token,
        "state": lock.state,
        "create_time": lock.create_time,
    }
