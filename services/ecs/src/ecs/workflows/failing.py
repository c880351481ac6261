"""Leaves servers and disks in ERROR, with the reason, when they cannot be made or removed."""

from datetime import datetime

from ecs.domain.disk import DiskEvent, DiskState
from ecs.domain.server import ServerEvent
from ecs.storage import disks as disk_rows
from ecs.storage import servers
from ecs.storage.tables import DiskRow, ServerRow
from recast.database import Transaction
from recast.faults import Refusal
from recast.rpc.status import status_from_refusal

DOMAIN = "ecs.recast"


def fail_disk(tx: Transaction, name: str, error: Refusal, now: datetime) -> None:
    """Leaves a disk in ERROR; a disk that does not exist is no error."""
    row = tx.session.get(DiskRow, name)
    if row is not None:
        row.error = status_from_refusal(error, DOMAIN).SerializeToString()
        disk_rows.move(tx, row, DiskEvent.FAILED, now)


def fail_server(tx: Transaction, name: str, error: Refusal, now: datetime) -> None:
    """Leaves a server in ERROR, with its CREATING disks; a server that does not exist is no error."""
    row = tx.session.get(ServerRow, name)
    if row is not None:
        row.error = status_from_refusal(error, DOMAIN).SerializeToString()
        servers.move(tx, row, ServerEvent.FAILED, now)
        for _, disk in disk_rows.attached_to(tx.session, name):
            if disk.state == DiskState.CREATING:
                fail_disk(tx, disk.name, error, now)
