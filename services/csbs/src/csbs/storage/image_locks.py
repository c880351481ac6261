"""Locks in the database."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, select

from csbs.domain.image_lock import ImageLock, LockState
from csbs.storage.tables import ImageLockRow
from recast.unitofwork import Transaction


def load_locks(session: Session, backup: str) -> Sequence[ImageLock]:
    """Every lock that the backup ever had, tombstones included."""
    rows = session.exec(select(ImageLockRow).where(ImageLockRow.backup == backup))
    return [ImageLock(row.backup, row.image, row.token, row.request_id, LockState(row.state)) for row in rows]


def holder(session: Session, backup: str) -> str:
    """The image that holds the backup now; empty when none does."""
    query = select(ImageLockRow.image).where(
        ImageLockRow.backup == backup, ImageLockRow.state != LockState.RELEASED
    )
    return session.exec(query).first() or ""


def holders(session: Session, backups: Sequence[str]) -> dict[str, str]:
    """The holders of several backups, by backup."""
    query = select(ImageLockRow.backup, ImageLockRow.image).where(
        ImageLockRow.backup.in_(backups),  # type: ignore[attr-defined]
        ImageLockRow.state != LockState.RELEASED,
    )
    return dict(session.exec(query).all())


def save_lock(tx: Transaction, lock: ImageLock, state: LockState, now: datetime) -> None:
    """Writes a lock's state; a lock that is not there yet is added."""
    row = tx.session.get(ImageLockRow, (lock.backup, lock.request_id))
    if row is None:
        row = ImageLockRow(
            backup=lock.backup,
            request_id=lock.request_id,
            image=lock.image,
            token=lock.token,
            state=state,
            create_time=now,
        )
    row.state = state
    tx.session.add(row)


def create_time(session: Session, lock: ImageLock) -> datetime:
    """When a lock was taken."""
    return session.get_one(ImageLockRow, (lock.backup, lock.request_id)).create_time
