"""Freezes in the database: each is used once, and leaves a tombstone."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session

from ecs.domain.freeze import Freeze, FreezeEvent, FreezeState, advance
from ecs.domain.refusals import FreezeNotFound
from ecs.storage.tables import FreezeRow
from recast.database import Transaction
from recast.ecs.v1 import backup_source_service_pb2 as pb


def find(session: Session, server: str, freeze_id: str) -> FreezeRow | None:
    """The freeze, if it was ever recorded."""
    return session.get(FreezeRow, (server, freeze_id))


def load(session: Session, server: str, freeze_id: str) -> FreezeRow:
    """The freeze; FreezeNotFound when it was never recorded."""
    row = find(session, server, freeze_id)
    if row is None:
        raise FreezeNotFound(server=server, freeze=freeze_id)
    return row


def value_from_row(row: FreezeRow) -> Freeze:
    """The freeze as the domain's value."""
    return Freeze(row.server, row.freeze_id, row.backup, FreezeState(row.state))


def add(
    tx: Transaction, server: str, freeze_id: str, backup: str, answer: pb.FreezeServerResponse, now: datetime
) -> FreezeRow:
    """Records a freeze, FREEZING, with its disks."""
    row = FreezeRow(
        server=server,
        freeze_id=freeze_id,
        backup=backup,
        state=FreezeState.FREEZING,
        answer=answer.SerializeToString(),
        create_time=now,
    )
    tx.session.add(row)
    return row


def move(tx: Transaction, row: FreezeRow, event: FreezeEvent) -> None:
    """Moves a freeze to the state after the event, by the state table; FreezeNotFound after a thaw."""
    row.state = advance(value_from_row(row), event)
    tx.session.add(row)


def frozen_disks(session: Session, server: str, freeze_id: str) -> Sequence[str]:
    """The disks of a freeze; none when it was never recorded."""
    row = find(session, server, freeze_id)
    answer = pb.FreezeServerResponse.FromString(row.answer if row else b"")
    return [disk.disk for disk in answer.disks]


def mark_thawed(tx: Transaction, server: str, freeze_id: str) -> None:
    """Ends a freeze."""
    row = find(tx.session, server, freeze_id)
    if row is not None:
        move(tx, row, FreezeEvent.THAWED)
