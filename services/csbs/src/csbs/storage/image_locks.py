"""The locks of images on backups in the database."""

from sqlmodel import Session, select

from csbs.domain.image_lock import ImageLock, LockState
from csbs.storage import backups
from csbs.storage.tables import BackupRow, ImageLockRow
from recast.database import Transaction

MAX_TOKEN = (1 << 31) - 1


def find_by_request(session: Session, backup: str, request_id: str) -> ImageLock | None:
    """The lock that a request took on a backup, or its tombstone."""
    row = session.get(ImageLockRow, (backup, request_id))
    return _lock_from_row(row) if row else None


def find_by_token(session: Session, backup: str, image: str, token: int) -> ImageLock | None:
    """The lock of an image that has the token, or its tombstone.

    A backup that was made anew counts tokens from the beginning: its lock precedes an older tombstone. A
    tombstone that came before its lock has the token 0, which names none.
    """
    if not 0 < token <= MAX_TOKEN:  # no lock has it, and the column cannot hold it
        return None
    rows = session.exec(
        select(ImageLockRow).where(
            ImageLockRow.backup == backup,
            ImageLockRow.image == image,
            ImageLockRow.fencing_token == token,
        )
    )
    return min(map(_lock_from_row, rows), key=lambda lock: lock.is_released, default=None)


def _lock_from_row(row: ImageLockRow) -> ImageLock:
    return ImageLock(
        row.backup, row.image, row.fencing_token, row.request_id, LockState(row.state), row.create_time
    )


def take(tx: Transaction, row: BackupRow, lock: ImageLock) -> ImageLock:
    """Writes a lock on the backup with the next token, and gives it.

    The owner's etag and update time stay: a lock is no change of the backup.
    """
    row.lock_sequence += 1
    row.image = lock.image
    backups.save(tx, row)
    taken = lock._replace(token=row.lock_sequence)
    add(tx, taken)
    return taken


def add(tx: Transaction, lock: ImageLock) -> None:
    """Writes a lock or a tombstone that nothing was written for yet."""
    tx.session.add(
        ImageLockRow(
            backup=lock.backup,
            request_id=lock.request_id,
            image=lock.image,
            fencing_token=lock.token,
            state=lock.state,
            create_time=lock.create_time,
        )
    )


def save(tx: Transaction, lock: ImageLock) -> None:
    """Writes the state of a lock; a release frees the backup that it held."""
    row = tx.session.get_one(ImageLockRow, (lock.backup, lock.request_id))
    is_release = lock.state is LockState.RELEASED and row.state != LockState.RELEASED
    row.state = lock.state
    tx.session.add(row)
    backup = tx.session.get(BackupRow, lock.backup)
    if is_release and backup is not None and backup.image == lock.image:
        backup.image = ""
        backups.save(tx, backup)
