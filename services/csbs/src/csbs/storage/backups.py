"""Backups in the database: their rows, and the domain value and the message of a row."""

from collections.abc import Collection
from datetime import datetime

from google.rpc import status_pb2
from sqlalchemy import bindparam
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from csbs.domain.backup import Backup, BackupDisk, BackupEvent, BackupState, advance
from csbs.domain.refusals import BackupNotFound
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.csbs.v1 import backup_pb2 as pb
from recast.csbs.v1 import backup_service_pb2
from recast.database import Transaction, lock_name
from recast.resources import Field, Listing, boolean, choice

LISTING: Listing[BackupRow] = Listing(
    BackupRow,
    {
        "state": choice(BackupRow.state, BackupState, "BACKUP_STATE_"),
        "server": Field(BackupRow.server),
        "display_name": Field(BackupRow.display_name, sortable=True),
        "image_ready": boolean(BackupRow.image_ready),
        "size_bytes": Field(BackupRow.size_bytes, parse=int, sortable=True),
        "create_time": Field(BackupRow.create_time, parse=datetime.fromisoformat, sortable=True),
    },
    tie_breaker="name",
)
# Built once: GetBackup, the most frequent call, would spend half of its time on building its statement.
_SERIALIZED = sql_select(col(BackupRow.serialized)).where(col(BackupRow.name) == bindparam("backup"))


def load(session: Session, name: str, *, lock: bool = False) -> BackupRow:
    """The row, or BackupNotFound. `lock` locks the row until the transaction ends."""
    query = select(BackupRow).where(BackupRow.name == name)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise BackupNotFound(backup=name)
    return row


def find(session: Session, names: Collection[str]) -> dict[str, BackupRow]:
    """The rows of these names, by name; a name without a row is left out."""
    rows = session.exec(select(BackupRow).where(col(BackupRow.name).in_(names)))
    return {row.name: row for row in rows}


def unfinished_backup_of(session: Session, project: str, server: str) -> str:
    """The CREATING backup of the project's server; empty when there is none.

    Other transactions that call this for the server wait until this transaction ends.
    """
    lock_name(session, server)
    query = select(BackupRow.name).where(
        BackupRow.project == project, BackupRow.server == server, BackupRow.state == BackupState.CREATING
    )
    return session.exec(query).first() or ""


def live_contents(session: Session, project: str) -> list[content_pb2.Content]:
    """The contents of a project's backups: a collection leaves their chunks in the chunk store."""
    query = select(BackupRow.content).where(BackupRow.project == project, BackupRow.content.is_not(None))  # type: ignore[union-attr]
    return [content_pb2.Content.FromString(content) for content in session.exec(query) if content]


def value_from_row(row: BackupRow) -> Backup:
    """The domain value of a row."""
    disks = [
        BackupDisk(
            disk.id, disk.disk, disk.role == content_pb2.DISK_ROLE_SYSTEM, disk.shared, disk.size_bytes
        )
        for disk in pb.Backup.FromString(row.disks).disks
    ]
    return Backup(row.name, BackupState(row.state), row.image_ready, row.image, disks)


def save(tx: Transaction, row: BackupRow) -> None:
    """Writes a new or a changed row, with its serialized message."""
    row.serialized = message_from_row(row).SerializeToString()
    tx.session.add(row)


def update(tx: Transaction, row: BackupRow, now: datetime) -> None:
    """Writes a row after a change that its owner can see, with a new etag and update time."""
    row.touch(now)
    save(tx, row)


def move(tx: Transaction, row: BackupRow, event: BackupEvent, now: datetime) -> None:
    """Moves a backup to the state after the event, by the state table."""
    row.state = advance(value_from_row(row), event)
    update(tx, row, now)


def get(session: Session, name: str) -> pb.Backup:
    """The message of a backup, or BackupNotFound."""
    serialized = session.connection().execute(_SERIALIZED, {"backup": name}).scalar()
    if serialized is None:
        raise BackupNotFound(backup=name)
    return _read(session, name, serialized)


def page(
    session: Session, request: backup_service_pb2.ListBackupsRequest, project: str
) -> backup_service_pb2.ListBackupsResponse:
    """A page of a project's backups."""
    found = LISTING.page(
        session,
        col(BackupRow.project) == project,
        scope=f"backups/{project}",
        filter_text=request.filter,
        order_by=request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
        columns=(BackupRow.serialized,),
    )
    backups, token = found.answer([_read(session, name, each) for each, *_, name in found.rows])
    return backup_service_pb2.ListBackupsResponse(backups=backups, next_page_token=token)


def _read(session: Session, name: str, serialized: bytes) -> pb.Backup:
    """The message of a row; built for a row that was written before migration 0005."""
    return pb.Backup.FromString(serialized) if serialized else message_from_row(load(session, name))


def current(session: Session, name: str) -> pb.Backup:
    """The current message of a backup; with its name alone when it was deleted meanwhile."""
    try:
        return message_from_row(load(session, name))
    except BackupNotFound:
        return pb.Backup(name=name)


def message_from_row(row: BackupRow) -> pb.Backup:
    """The message of a row, built from its columns."""
    backup = pb.Backup.FromString(row.disks)
    backup.name = row.name
    backup.display_name = row.display_name
    backup.description = row.description
    backup.server = row.server
    backup.server_display_name = row.server_display_name
    backup.state = pb.BackupState.Value(f"BACKUP_STATE_{row.state}")
    backup.image_ready = row.image_ready
    backup.incremental = row.incremental
    backup.size_bytes = row.size_bytes
    backup.stored_bytes = row.stored_bytes
    backup.image = row.image
    backup.etag = row.etag
    if row.error:
        backup.error.CopyFrom(status_pb2.Status.FromString(row.error))
    put_time(backup.create_time, row.create_time)
    put_time(backup.update_time, row.update_time)
    if row.freeze_time:
        put_time(backup.freeze_time, row.freeze_time)
    if row.finish_time:
        put_time(backup.finish_time, row.finish_time)
    return backup
