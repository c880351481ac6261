"""Servers and their holds in the database: their rows, and the domain value and the message of a row."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from google.rpc import status_pb2
from sqlmodel import Session, col, select

from ecs.domain.disk import device_name
from ecs.domain.refusals import ServerNotFound
from ecs.domain.server import Server, ServerEvent, ServerState, advance
from ecs.storage import disks
from ecs.storage.tables import AttachmentRow, DiskRow, EndedHoldRow, ImageHoldRow, ServerRow
from recast.contracts.times import put_time
from recast.database import Transaction
from recast.ecs.v1 import server_pb2 as pb
from recast.reservations import Reservation
from recast.resources import Field, Listing, choice

LISTING: Listing[ServerRow] = Listing(
    ServerRow,
    {
        "state": choice(ServerRow.state, ServerState, "SERVER_STATE_"),
        "display_name": Field(ServerRow.display_name, sortable=True),
        "image": Field(ServerRow.image),
        "create_time": Field(ServerRow.create_time, parse=datetime.fromisoformat, sortable=True),
    },
    tie_breaker="name",
)


def load(session: Session, name: str, *, lock: bool = False) -> ServerRow:
    """The row, or ServerNotFound. `lock` locks the row until the transaction ends."""
    query = select(ServerRow).where(ServerRow.name == name)
    row = session.exec(query.with_for_update() if lock else query).first()
    if row is None:
        raise ServerNotFound(server=name)
    return row


def holds(session: Session, server: str) -> Sequence[str]:
    """The images that are being made from a server."""
    query = select(ImageHoldRow.image).where(ImageHoldRow.server == server)
    return session.exec(query.order_by(col(ImageHoldRow.image))).all()


def find_hold(session: Session, server: str, image: str, hold_id: str) -> Reservation | None:
    """The hold of an image under an id, or its tombstone. Holds from before migration 0003 have no id."""
    if session.get(EndedHoldRow, (hold_id, server)) is not None:
        return Reservation(image, is_released=True)
    hold = session.get(ImageHoldRow, (server, image))
    return Reservation(hold.image) if hold and hold.hold_id in {"", hold_id} else None


def frozen_with(session: Session, server: str) -> ServerRow | None:
    """A frozen server that has a disk of this server: itself, or one that shares a disk with it."""
    own = select(AttachmentRow.disk).where(AttachmentRow.server == server)
    query = select(ServerRow).join(AttachmentRow, col(AttachmentRow.server) == ServerRow.name)
    return session.exec(query.where(ServerRow.freeze_id != "", col(AttachmentRow.disk).in_(own))).first()


def value_from_row(session: Session, row: ServerRow) -> Server:
    """The domain value of a row."""
    return Server(
        row.name,
        ServerState(row.state),
        row.frozen_for,
        holds(session, row.name),
        dict(disks.changing_at(session, row.name)),
    )


def move(tx: Transaction, row: ServerRow, event: ServerEvent, now: datetime) -> None:
    """Moves a server to the state after the event, by the state table."""
    row.state = advance(value_from_row(tx.session, row), event)
    row.touch(now)
    tx.session.add(row)


def message_from_row(session: Session, row: ServerRow) -> pb.Server:
    """The message of a row."""
    return messages_from_rows(session, [row])[0]


def current(session: Session, name: str) -> pb.Server:
    """The current message of a server; with its name alone when it was deleted meanwhile."""
    try:
        return message_from_row(session, load(session, name))
    except ServerNotFound:
        return pb.Server(name=name)


def messages_from_rows(session: Session, rows: Iterable[ServerRow]) -> list[pb.Server]:
    """The messages of several rows, with one SELECT for all their disks, and one for all their holds."""
    rows = list(rows)
    names = [row.name for row in rows]
    attached: dict[str, list[tuple[AttachmentRow, DiskRow]]] = {}
    query = (
        select(AttachmentRow, DiskRow)
        .join(DiskRow, col(DiskRow.name) == AttachmentRow.disk)
        .where(col(AttachmentRow.server).in_(names))
    )
    for place, disk in session.exec(query.order_by(col(AttachmentRow.position))):
        attached.setdefault(place.server, []).append((place, disk))
    held: dict[str, list[str]] = {}
    for hold in session.exec(select(ImageHoldRow).where(col(ImageHoldRow.server).in_(names))):
        held.setdefault(hold.server, []).append(hold.image)
    return [_message_from_row(row, attached.get(row.name, []), held.get(row.name, [])) for row in rows]


def _message_from_row(
    row: ServerRow, attached: Iterable[tuple[AttachmentRow, DiskRow]], held: list[str]
) -> pb.Server:
    server = pb.Server(
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        state=pb.ServerState.Value(f"SERVER_STATE_{row.state}"),
        image=row.image,
        host=row.host,
        image_holds=sorted(held),
        frozen_for=row.frozen_for,
        etag=row.etag,
    )
    for place, disk in attached:
        server.disks.add(
            disk=disk.name,
            role=disks.role(disk),
            position=place.position,
            device=device_name(place.position),
            display_name=disk.display_name,
            size_bytes=disk.size_bytes,
            shared=disk.shared,
        )
    if row.error:
        server.error.CopyFrom(status_pb2.Status.FromString(row.error))
    put_time(server.create_time, row.create_time)
    put_time(server.update_time, row.update_time)
    return server
