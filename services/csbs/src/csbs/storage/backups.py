"""Backups in the database, and how a row looks to the rules and to callers."""

from collections.abc import Iterable
from datetime import datetime

from google.rpc import status_pb2
from sqlalchemy import text
from sqlmodel import Session, select

from csbs.domain.backup import Backup, BackupDisk, BackupEvent, BackupState, advance
from csbs.domain.refusals import BackupNotFound
from csbs.storage.image_locks import holder, holders
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2 as pb
from recast.unitofwork import Field, Listing, Transaction

LISTING: Listing[BackupRow] = Listing(
    BackupRow,
    {
        "state": Field(BackupRow.state, parse=lambda text: BackupState(text.removeprefix("BACKUP_STATE_"))),
        "server": Field(BackupRow.server),
        "display_name": Field(BackupRow.display_name, sortable=True),
        "image_ready": Field(BackupRow.image_ready, parse=lambda text: {"true": True, "false": False}[text]),
        "size_bytes": Field(BackupRow.size_bytes, parse=int, sortable=True),
        "create_time": Field(BackupRow.create_time, parse=datetime.fromisoformat, sortable=True),
    },
    id_column="name",
)


def load(session: Session, name: str, *, lock: bool = False) -> BackupRow:
    """The row, or BackupNotFound. `lock` holds it until the transaction ends."""
    query = select(BackupRow).where(BackupRow.name == name)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise BackupNotFound(backup=name)
    return row


def hold(session: Session, name: str) -> None:
    """Keeps the row, if there is one, from everybody else until the transaction ends."""
    session.exec(select(BackupRow.name).where(BackupRow.name == name).with_for_update()).first()


def unfinished_backup_of(session: Session, project: str, server: str) -> str:
    """The backup of the project's server that is being made; empty when there is none.

    Nobody else gets an answer until the transaction ends: on PostgreSQL by an advisory lock, as there is no
    row to lock; on SQLite there is one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(
            text("SELECT pg_advisory_xact_lock(hashtext(:server))"), {"server": server}
        )
    query = select(BackupRow.name).where(
        BackupRow.project == project, BackupRow.server == server, BackupRow.state == BackupState.CREATING
    )
    return session.exec(query).first() or ""


def live_contents(session: Session, project: str) -> list[content_pb2.Content]:
    """The contents of every backup of a project that holds one: what must stay in the chunk store."""
    query = select(BackupRow.content).where(BackupRow.project == project, BackupRow.content.is_not(None))  # type: ignore[union-attr]
    return [content_pb2.Content.FromString(content) for content in session.exec(query) if content]


def value(session: Session, row: BackupRow) -> Backup:
    """The row as the rules see it."""
    disks = [
        BackupDisk(
            disk.id, disk.disk, disk.role == content_pb2.DISK_ROLE_SYSTEM, disk.shared, disk.size_bytes
        )
        for disk in pb.Backup.FromString(row.disks).disks
    ]
    return Backup(row.name, BackupState(row.state), row.image_ready, holder(session, row.name), disks)


def move(tx: Transaction, row: BackupRow, event: BackupEvent, now: datetime) -> None:
    """Moves a backup to the state that the table says."""
    row.state = advance(value(tx.session, row), event)
    row.touch(now)
    tx.session.add(row)


def message(session: Session, row: BackupRow) -> pb.Backup:
    """The row as callers see it."""
    return _message(row, holder(session, row.name))


def current(session: Session, name: str) -> pb.Backup:
    """The backup as it is now; by its name alone when it was deleted meanwhile."""
    try:
        return message(session, load(session, name))
    except BackupNotFound:
        return pb.Backup(name=name)


def messages(session: Session, rows: Iterable[BackupRow]) -> list[pb.Backup]:
    """Several rows as callers see them, with one look for all their locks."""
    rows = list(rows)
    images = holders(session, [row.name for row in rows])
    return [_message(row, images.get(row.name, "")) for row in rows]


def _message(row: BackupRow, image: str) -> pb.Backup:
    backup = pb.Backup(
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        server=row.server,
        server_display_name=row.server_display_name,
        state=pb.BackupState.Value(f"BACKUP_STATE_{row.state}"),
        image_ready=row.image_ready,
        incremental=row.incremental,
        disks=pb.Backup.FromString(row.disks).disks,
        size_bytes=row.size_bytes,
        stored_bytes=row.stored_bytes,
        image=image,
        etag=row.etag,
    )
    if row.error:
        backup.error.CopyFrom(status_pb2.Status.FromString(row.error))
    backup.create_time.FromDatetime(row.create_time)
    backup.update_time.FromDatetime(row.update_time)
    if row.freeze_time:
        backup.freeze_time.FromDatetime(row.freeze_time)
    if row.finish_time:
        backup.finish_time.FromDatetime(row.finish_time)
    return backup
