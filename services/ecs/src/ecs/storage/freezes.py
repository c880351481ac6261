"""Freezes in the database: each is used once, and leaves a tombstone."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlmodel import Session

from ecs.storage.tables import FreezeRow
from recast.database import Transaction
from recast.ecs.v1 import backup_source_service_pb2 as pb


class FreezeState(StrEnum):
    """Where a freeze stands."""

    FREEZING = "FREEZING"
    """Recorded, its disks are being frozen. FreezeServer, repeated, and ThawServer move it on."""
    FROZEN = "FROZEN"
    """ThawServer moves it on."""
    THAWED = "THAWED"


def find(session: Session, server: str, freeze_id: str) -> FreezeRow | None:
    """The freeze, if it was ever asked for."""
    return session.get(FreezeRow, (server, freeze_id))


def add(
    tx: Transaction, server: str, freeze_id: str, backup: str, answer: pb.FreezeServerResponse, now: datetime
) -> FreezeRow:
    """Records a freeze, FREEZING, with the disks that it is about."""
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


def frozen_disks(session: Session, server: str, freeze_id: str) -> Sequence[str]:
    """The disks of a freeze; none when it was never asked for."""
    row = find(session, server, freeze_id)
    answer = pb.FreezeServerResponse.FromString(row.answer if row else b"")
    return [disk.disk for disk in answer.disks]


def mark_thawed(tx: Transaction, server: str, freeze_id: str) -> None:
    """Ends a freeze."""
    row = find(tx.session, server, freeze_id)
    if row is not None:
        row.state = FreezeState.THAWED
        tx.session.add(row)
