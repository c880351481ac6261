"""Locks in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, bindparam, insert, literal_column, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, select

from csbs.domain.image_lock import ImageLock, LockState
from csbs.storage.tables import ImageLockRow
from recast.unitofwork import Transaction

_TABLE: Any = ImageLockRow.__table__  # type: ignore[attr-defined]
_THIS = (_TABLE.c.backup == bindparam("of_backup"), _TABLE.c.request_id == bindparam("of_request"))
_OF_BACKUP = sa_select(_TABLE).where(_TABLE.c.backup == bindparam("of_backup"))
_CREATE_TIME = sa_select(_TABLE.c.create_time).where(*_THIS)
_SAVE = update(_TABLE).where(*_THIS).values(state=bindparam("to_state"))
_ADD = insert(_TABLE)


def load_locks(session: Session, backup: str) -> Sequence[ImageLock]:
    """Every lock that the backup ever had, tombstones included."""
    rows = session.connection().execute(_OF_BACKUP, {"of_backup": backup})
    return [ImageLock(row.backup, row.image, row.token, row.request_id, LockState(row.state)) for row in rows]


def holder(session: Session, backup: str) -> str:
    """The image that holds the backup now; empty when none does."""
    query = select(ImageLockRow.image).where(
        ImageLockRow.backup == backup, ImageLockRow.state != LockState.RELEASED
    )
    return session.exec(query).first() or ""


def held_image(backup: Any) -> ScalarSelect[Any]:
    """The holder of a backup, as a column of a query over backups."""
    released: Any = literal_column(f"'{LockState.RELEASED}'")
    held = sa_select(_TABLE.c.image).where(_TABLE.c.backup == backup, _TABLE.c.state != released)
    return held.limit(literal_column("1")).scalar_subquery()


def add_lock(tx: Transaction, lock: ImageLock, now: datetime) -> None:
    """Writes a lock, or a tombstone, that is not there yet."""
    tx.session.connection().execute(
        _ADD,
        {
            "backup": lock.backup,
            "request_id": lock.request_id,
            "image": lock.image,
            "token": lock.token,
            "state": lock.state,
            "create_time": now,
        },
    )


def save_lock(tx: Transaction, lock: ImageLock, state: LockState) -> None:
    """Writes the state of a lock that is there."""
    tx.session.connection().execute(_SAVE, _named(lock) | {"to_state": state})


def create_time(session: Session, lock: ImageLock) -> datetime:
    """When a lock was taken."""
    taken: datetime = session.connection().execute(_CREATE_TIME, _named(lock)).scalar_one()
    return taken


def _named(lock: ImageLock) -> dict[str, object]:
    return {"of_backup": lock.backup, "of_request": lock.request_id}
