"""A backup and its locks: taken where nothing is in the way, else looked at together, and written if they are
still as they were seen.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, literal_column, or_, true, update
from sqlalchemy import select as sa_select

from csbs.domain.backup import SEALED
from csbs.domain.image_lock import ImageLock, LockState
from csbs.domain.refusals import BackupNotFound
from csbs.storage import backups
from csbs.storage.tables import BackupRow, ImageLockRow
from recast.csbs.v1 import backup_pb2 as pb
from recast.unitofwork import CompareAndSet, Database, Look, Transaction, value

Asked = Database | Transaction

_BACKUP: Any = BackupRow.__table__  # type: ignore[attr-defined]
_LOCK: Any = ImageLockRow.__table__  # type: ignore[attr-defined]
_AS_IT_IS: Any = literal_column("backup.create_time")
_NOBODY: Any = literal_column("''")


def _written(state: StrEnum) -> ColumnElement[str]:
    """Not as a parameter: it never varies."""
    return literal_column(f"'{state}'")


_LOCK_COLUMNS = tuple(
    _LOCK.c[name] for name in ("image", "fencing_token", "request_id", "state", "create_time")
)
# What was written for this request or this token before; not every tombstone.
_MATTERS = or_(
    _LOCK.c.request_id == bindparam("request"),
    _LOCK.c.fencing_token == bindparam("known_token", type_=BigInteger),  # whatever a caller says
)
_WITH_BACKUP = Look(
    sa_select(
        *(_BACKUP.c.shown, _BACKUP.c.name, _BACKUP.c.state, _BACKUP.c.image_ready, _BACKUP.c.image),
        *(_BACKUP.c.disks, _BACKUP.c.content, _BACKUP.c.version, _AS_IT_IS, *_LOCK_COLUMNS),
    )
    .select_from(_BACKUP.outerjoin(_LOCK, (_LOCK.c.backup == _BACKUP.c.name) & _MATTERS))
    .where(_BACKUP.c.name == bindparam("of_backup"))
)
_ALONE = Look(sa_select(*_LOCK_COLUMNS).where(_LOCK.c.backup == bindparam("of_backup"), _MATTERS))
_TAKE = CompareAndSet(
    changed=update(_BACKUP)
    .where(
        _BACKUP.c.name == bindparam("of_backup"),
        _BACKUP.c.image == _NOBODY,
        or_(
            and_(_BACKUP.c.state.in_([_written(state) for state in SEALED]), _BACKUP.c.disks_make_image),
            and_(
                _BACKUP.c.version == bindparam("seen_version"),
                # Another may have been made of that name. It is compared as the driver gave it.
                bindparam("seen_create_time") == _AS_IT_IS,
            ),
        ),
    )
    # What was seen and passed the rules: its disks have as well, if that was not known of it.
    .values(image=bindparam("to_image"), disks_make_image=true()),
    added=_LOCK,
    counted={"fencing_token": _BACKUP.c.lock_sequence},
    given=(_BACKUP.c.shown, _BACKUP.c.state, _BACKUP.c.content, _BACKUP.c.lock_sequence),
)
_ADD = CompareAndSet(added=_LOCK)
_CONFIRM = CompareAndSet(
    changed=update(_LOCK)
    .where(
        _LOCK.c.backup == bindparam("of_backup"),
        _LOCK.c.request_id == bindparam("request"),
        _LOCK.c.state == _written(LockState.HELD),
    )
    .values(state=_written(LockState.CONFIRMED))
)
_RELEASE = CompareAndSet(
    changed=update(_LOCK)
    .where(
        _LOCK.c.backup == bindparam("of_backup"),
        _LOCK.c.request_id == bindparam("request"),
        _LOCK.c.state != _written(LockState.RELEASED),
    )
    .values(state=_written(LockState.RELEASED)),
    beside=update(_BACKUP)
    .where(
        _BACKUP.c.name == bindparam("of_backup"),
        _BACKUP.c.image == bindparam("of_image"),
    )
    .values(image=_NOBODY),
)


@dataclass
class SeenBackup:
    """A backup and those of its locks that matter, as they were at one moment."""

    name: str
    state: str
    image_ready: bool
    image: str
    disks: bytes
    content: bytes | None
    version: int
    create_time: object
    locks: Sequence[ImageLock]


@dataclass
class LockedBackup:
    """A backup as it was locked."""

    state: str
    content: bytes | None
    lock: ImageLock


def take(
    asked: Asked, lock: ImageLock, seen: SeenBackup | None = None, *, message: pb.Backup
) -> LockedBackup | None:
    """Writes a lock with the next token, and fills the message with its backup.

    None where that needs a look: unseen, a backup must be SEALED, its disks make an image, and nobody hold
    it; one that was seen must be as it was. None too where the lock's request had one before; on PostgreSQL
    within a write that is a Conflict.
    """
    values = {
        "of_backup": lock.backup,
        "to_image": lock.image,
        "seen_version": seen.version if seen else 0,
        "seen_create_time": seen.create_time if seen else None,
    }
    rows = asked.set_and_get(_TAKE, values | _columns(lock))
    if not rows:
        return None
    shown, state, content, token = rows[0]
    _fill(message, asked, lock.backup, shown, lock.image)
    return LockedBackup(state, content, lock._replace(token=token))


def look(
    asked: Asked, backup: str, request_id: str = "", token: int = 0, *, message: pb.Backup | None = None
) -> SeenBackup:
    """The backup, with any lock of this request or this token; or BackupNotFound.

    `message` is filled with it: a field of an answer need not be copied there.
    """
    rows = asked.look(_WITH_BACKUP, _values(backup, request_id, token))
    if not rows:
        raise BackupNotFound(backup=backup)
    known = rows[0][: -len(_LOCK_COLUMNS)]
    shown, name, state, image_ready, image, disks, content, version, create_time = known
    locks = [_lock(asked, backup, row[-len(_LOCK_COLUMNS) :]) for row in rows if row[-1] is not None]
    if message is not None:
        _fill(message, asked, backup, shown, image)
    return SeenBackup(name, state, bool(image_ready), image, disks, content, version, create_time, locks)


def _fill(message: pb.Backup, asked: Asked, backup: str, shown: bytes, image: str) -> None:
    if not shown:  # a row of an earlier version: what would be kept of it
        with asked.read() if isinstance(asked, Database) else nullcontext(asked.session) as session:
            shown = backups.message(backups.load(session, backup)).SerializeToString()
    message.ParseFromString(shown)
    message.image = image


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


def add(asked: Asked, lock: ImageLock) -> bool:
    """Writes a tombstone; False where its request has a lock by now, or Conflict as with `take`."""
    return asked.compare_and_set(_ADD, _columns(lock) | {"fencing_token": lock.token})


def move(asked: Asked, lock: ImageLock, state: LockState) -> bool:
    """Writes a lock's state, if it is another; False where somebody else moved it meanwhile."""
    if state is lock.state:
        return True
    values: dict[str, object] = {"of_backup": lock.backup, "request": lock.request_id}
    if state is LockState.CONFIRMED:
        return asked.compare_and_set(_CONFIRM, values)
    return asked.compare_and_set(_RELEASE, values | {"of_image": lock.image})


def _columns(lock: ImageLock) -> dict[str, object]:
    """All but the token."""
    return {
        "backup": lock.backup,
        "request_id": lock.request_id,
        "image": lock.image,
        "state": lock.state,
        "create_time": lock.create_time,
    }
