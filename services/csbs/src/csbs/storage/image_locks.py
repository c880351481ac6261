"""Locks in the database."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ScalarSelect, bindparam, insert, literal_column, update
from sqlalchemy import select as sa_select
from sqlmodel import Session, select

from csbs.domain.image_lock import ImageLock, LockState
from csbs.storage.tables import ImageLockRow
from recast.unitofwork import Change, Look, Transaction

_TABLE: Any = ImageLockRow.__table__  # type: ignore[attr-defined]
_THIS = (_TABLE.c.backup == bindparam("of_backup"), _TABLE.c.request_id == bindparam("of_request"))
_OF_BACKUP = sa_select(_TABLE.c.image, _TABLE.c.token, _TABLE.c.request_id, _TABLE.c.state).where(
    _TABLE.c.backup == bindparam("of_backup")
)
_LOAD = Look(_OF_BACKUP)
_CREATE_TIME = sa_select(_TABLE.c.create_time).where(*_THIS)
_SAVE = Change(update(_TABLE).where(*_THIS).values(state=bindparam("to_state")))
_ADD = Change(insert(_TABLE))


def load_locks(tx: Transaction, backup: str) -> list[ImageLock]:
    """Every lock that the backup ever had, tombstones included."""
    return _locks(backup, tx.look(_LOAD, {"of_backup": backup}))


def read_locks(session: Session, backup: str) -> list[ImageLock]:
    """The same, for who reads alone."""
    return _locks(backup, session.connection().execute(_OF_BACKUP, {"of_backup": backup}))


def _locks(backup: str, rows: Iterable[Any]) -> list[ImageLock]:
    return [
        ImageLock(backup, image, token, request_id, LockState(state))
        for image, token, request_id, state in rows
    ]


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
    values = {
        "backup": lock.backup,
        "request_id": lock.request_id,
        "image": lock.image,
        "token": lock.token,
        "state": lock.state,
        "create_time": now,
    }
    tx.change(_ADD, values)


def save_lock(tx: Transaction, lock: ImageLock, state: LockState) -> None:
    """Writes the state of a lock that is there."""
    tx.change(_SAVE, _named(lock) | {"to_state": state})


def create_time(tx: Transaction, lock: ImageLock) -> datetime:
    """When a lock was taken."""
    taken: datetime = tx.session.connection().execute(_CREATE_TIME, _named(lock)).scalar_one()
    return taken


def _named(lock: ImageLock) -> dict[str, object]:
    return {"of_backup": lock.backup, "of_request": lock.request_id}
