"""Disks and their attachments in the database: their rows, and the domain value and the message of a row."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from google.rpc import status_pb2
from sqlmodel import Session, col, select

from ecs.domain.disk import Disk, DiskEvent, DiskState, advance, decide_attachment_end, device_name
from ecs.domain.refusals import DiskNotFound
from ecs.storage.tables import AttachmentRow, DiskRow, ServerRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.database import Transaction
from recast.ecs.v1 import disk_pb2 as pb
from recast.resources import Field, Listing, boolean, choice

SYSTEM, DATA = "SYSTEM", "DATA"

LISTING: Listing[DiskRow] = Listing(
    DiskRow,
    {
        "state": choice(DiskRow.state, DiskState, "DISK_STATE_"),
        "role": choice(DiskRow.role, (SYSTEM, DATA), "DISK_ROLE_"),
        "display_name": Field(DiskRow.display_name, sortable=True),
        "shared": boolean(DiskRow.shared),
        "size_bytes": Field(DiskRow.size_bytes, parse=int, sortable=True),
        "create_time": Field(DiskRow.create_time, parse=datetime.fromisoformat, sortable=True),
    },
    tie_breaker="name",
)


def load(session: Session, name: str, *, lock: bool = False) -> DiskRow:
    """The row, or DiskNotFound. `lock` reads the row again, locked until the transaction ends."""
    query = select(DiskRow).where(DiskRow.name == name)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = session.exec(query).first()
    if row is None:
        raise DiskNotFound(disk=name)
    return row


def attachments(session: Session, disk: str) -> Sequence[AttachmentRow]:
    """The attachments of a disk."""
    return session.exec(select(AttachmentRow).where(AttachmentRow.disk == disk)).all()


def attached_to(session: Session, server: str) -> list[tuple[AttachmentRow, DiskRow]]:
    """The disks of a server with their attachments, by position; the system disk is the first."""
    query = (
        select(AttachmentRow, DiskRow)
        .join(DiskRow, col(DiskRow.name) == AttachmentRow.disk)
        .where(AttachmentRow.server == server)
        .order_by(col(AttachmentRow.position))
    )
    return list(session.exec(query))


def lock_attached(session: Session, server: str) -> list[tuple[AttachmentRow, DiskRow]]:
    """As `attached_to`; the rows of the disks are locked until the transaction ends.

    Another server can gain or lose a shared disk at the same time. Locked in the order of their names.
    """
    names = session.exec(select(AttachmentRow.disk).where(AttachmentRow.server == server)).all()
    for name in sorted(names):
        load(session, name, lock=True)
    return attached_to(session, server)


def changing_at(session: Session, server: str) -> Sequence[tuple[str, str]]:
    """The disks of a server that are being attached or detached, with their states."""
    query = (
        select(DiskRow.name, DiskRow.state)
        .join(AttachmentRow, col(AttachmentRow.disk) == DiskRow.name)
        .where(AttachmentRow.server == server)
        .where(col(DiskRow.state).in_([DiskState.ATTACHING, DiskState.DETACHING]))
    )
    return session.exec(query.order_by(col(DiskRow.name))).all()


def value_from_row(session: Session, row: DiskRow) -> Disk:
    """The domain value of a row."""
    servers = [each.server for each in attachments(session, row.name)]
    return Disk(row.name, DiskState(row.state), row.role == SYSTEM, row.shared, servers)


def end_attachment(tx: Transaction, name: str, server: str, now: datetime, *, is_attached: bool) -> None:
    """Ends the attachment or detachment of a disk: its attachment stays, or is removed."""
    server_row = tx.session.get_one(ServerRow, server, with_for_update=True)
    row = load(tx.session, name, lock=True)
    if not is_attached:
        tx.session.delete(tx.session.get_one(AttachmentRow, (server, name)))
        tx.session.flush()
    row.state = decide_attachment_end(value_from_row(tx.session, row))
    for each in (row, server_row):
        each.touch(now)
        tx.session.add(each)


def move(tx: Transaction, row: DiskRow, event: DiskEvent, now: datetime) -> None:
    """Moves a disk to the state after the event, by the state table."""
    row.state = advance(value_from_row(tx.session, row), event)
    row.touch(now)
    tx.session.add(row)


def role(row: DiskRow) -> content_pb2.DiskRole.ValueType:
    """The disk's role as the contract's enum."""
    return content_pb2.DISK_ROLE_SYSTEM if row.role == SYSTEM else content_pb2.DISK_ROLE_DATA


def messages_from_rows(session: Session, rows: Iterable[DiskRow]) -> list[pb.Disk]:
    """The messages of several rows, with one SELECT for all their attachments."""
    rows = list(rows)
    query = select(AttachmentRow).where(col(AttachmentRow.disk).in_([row.name for row in rows]))
    places: dict[str, list[AttachmentRow]] = {}
    for place in session.exec(query.order_by(col(AttachmentRow.server))):
        places.setdefault(place.disk, []).append(place)
    return [_message_from_row(row, places.get(row.name, [])) for row in rows]


def message_from_row(session: Session, row: DiskRow, allocated_bytes: int = 0) -> pb.Disk:
    """The message of a row. `allocated_bytes` are those of its files."""
    disk = messages_from_rows(session, [row])[0]
    disk.allocated_bytes = allocated_bytes
    return disk


def current(session: Session, name: str) -> pb.Disk:
    """The current message of a disk; with its name alone when it was deleted meanwhile."""
    try:
        return message_from_row(session, load(session, name))
    except DiskNotFound:
        return pb.Disk(name=name)


def _message_from_row(row: DiskRow, places: Iterable[AttachmentRow]) -> pb.Disk:
    disk = pb.Disk(
        name=row.name,
        display_name=row.display_name,
        role=role(row),
        state=pb.DiskState.Value(f"DISK_STATE_{row.state}"),
        size_bytes=row.size_bytes,
        shared=row.shared,
        source_image=row.source_image,
        source_image_disk=row.source_image_disk,
        host=row.host,
        etag=row.etag,
    )
    for place in places:
        disk.attachments.add(server=place.server, position=place.position, device=device_name(place.position))
    if row.error:
        disk.error.CopyFrom(status_pb2.Status.FromString(row.error))
    put_time(disk.create_time, row.create_time)
    put_time(disk.update_time, row.update_time)
    return disk
