"""Backups in the database, and how a row looks to the rules and to callers."""

from datetime import datetime
from typing import Any, Protocol

from google.rpc import status_pb2
from sqlalchemy import bindparam, text
from sqlalchemy import select as sa_select
from sqlmodel import Session, select

from csbs.domain.backup import Backup, BackupDisk, BackupEvent, BackupState, advance, disk_obstacles
from csbs.domain.refusals import BackupNotFound
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.csbs.v1 import backup_pb2 as pb
from recast.csbs.v1 import backup_service_pb2
from recast.unitofwork import (
    Database,
    Field,
    Listing,
    Look,
    Transaction,
    by_bytes,
    joined,
    keep,
    keep_shown,
)

_TABLE: Any = BackupRow.__table__  # type: ignore[attr-defined]
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
    shown=(_TABLE.c.shown, _TABLE.c.image),
)
_ONE = Look(
    sa_select(_TABLE.c.shown, _TABLE.c.image, _TABLE.c.name).where(_TABLE.c.name == bindparam("backup"))
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
        BackupRow.project == project,
        by_bytes(BackupRow.server) == server,
        BackupRow.state == BackupState.CREATING,
    )
    return session.exec(query).first() or ""


def live_contents(session: Session, project: str) -> list[content_pb2.Content]:
    """The contents of every backup of a project that holds one: what must stay in the chunk store."""
    query = select(BackupRow.content).where(BackupRow.project == project, BackupRow.content.is_not(None))  # type: ignore[union-attr]
    return [content_pb2.Content.FromString(content) for content in session.exec(query) if content]


class Decisive(Protocol):
    """What the rules look at, of a row or of what a look found: never what is kept for callers."""

    name: str
    state: str
    image_ready: bool
    image: str
    disks: bytes


def value(row: Decisive) -> Backup:
    """The backup as the rules see it."""
    disks = [
        BackupDisk(
            disk.id, disk.disk, disk.role == content_pb2.DISK_ROLE_SYSTEM, disk.shared, disk.size_bytes
        )
        for disk in pb.Backup.FromString(row.disks).disks
    ]
    return Backup(row.name, BackupState(row.state), row.image_ready, row.image, disks)


def move(tx: Transaction, row: BackupRow, event: BackupEvent, now: datetime) -> None:
    """Moves a backup to the state that the table says."""
    row.state = advance(value(row), event)
    row.touch(now)
    tx.session.add(row)


def shown(database: Database, name: str) -> pb.Backup:
    """A backup as callers see it, or BackupNotFound."""
    rows = database.look(_ONE, {"backup": name})
    if not rows:
        raise BackupNotFound(backup=name)
    return pb.Backup.FromString(_shown(database, *rows[0]))


def shown_page(database: Database, request: backup_service_pb2.ListBackupsRequest, project: str) -> bytes:
    """A page of a project's backups as callers see them: a serialized ListBackupsResponse."""
    page = LISTING.shown_page(
        database,
        project,
        scope=f"backups/{project}",
        filter_text=request.filter,
        order_by=request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
    )
    rest = backup_service_pb2.ListBackupsResponse(next_page_token=page.next_token)
    kept = [_shown(database, known, image, name) for known, image, *_, name in page.rows]
    return joined(rest.BACKUPS_FIELD_NUMBER, kept) + rest.SerializeToString()


def _shown(database: Database, known: bytes, image: str, name: str) -> bytes:
    """A backup as it was kept; one that was not, by a look of its own."""
    if not known:
        with database.read() as session:
            return message(load(session, name)).SerializeToString()
    return known + pb.Backup(image=image).SerializeToString() if image else known


def current(session: Session, name: str) -> pb.Backup:
    """The backup as it is now; by its name alone when it was deleted meanwhile."""
    try:
        return message(load(session, name))
    except BackupNotFound:
        return pb.Backup(name=name)


def message(row: BackupRow) -> pb.Backup:
    """The row as callers see it."""
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


def _unheld(row: BackupRow) -> pb.Backup:
    """The same, without the image: that changes by itself."""
    backup = message(row)
    backup.image = ""
    return backup


keep_shown(BackupRow, _unheld)
keep(BackupRow, "disks_make_image", lambda row: not disk_obstacles(value(row)))
