"""Backups by the million, written past the service into its own tables: valid rows, as its workflows end
them.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import MetaData, Table, text

from csbs.domain.backup import BackupState
from csbs.storage import backups as stored
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.database import Database

PROJECT = "load"
SERVERS = 1000
_BATCH = 20_000
_GIB = 1 << 30
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_ROLES = ((content_pb2.DISK_ROLE_SYSTEM, 0), (content_pb2.DISK_ROLE_DATA, 1))


def disk_messages(server: str) -> tuple[bytes, bytes]:
    """The disks and the content of every row: a system and a data disk, in the store of this project."""
    backup = backup_pb2.Backup()
    content = content_pb2.Content(store=content_pb2.ContentStore(url="file:///load", project=PROJECT))
    for role, position in _ROLES:
        disk = backup.disks.add(
            id=f"disk-{position}",
            disk=f"projects/{PROJECT}/disks/{server}-{position}",
            role=role,
            position=position,
            display_name=f"disk {position}",
            size_bytes=(position + 1) * 10 * _GIB,
            data_bytes=_GIB,
        )
        content.disks.add(
            id=disk.id,
            role=role,
            position=position,
            display_name=disk.display_name,
            size_bytes=disk.size_bytes,
            index=content_pb2.IndexRef(id=f"index-{position}", digest=bytes(32)),
            source_disk=disk.disk,
        )
    return backup.SerializeToString(), content.SerializeToString()


def backup_rows(count: int) -> Iterator[dict[str, object]]:
    """Three a second, so that the order has ties; one in a hundred in ERROR, one in ten not full."""
    disks, content = disk_messages("server")
    for number in range(count):
        moment = _BEGIN + timedelta(seconds=number // 3)
        is_error = number % 100 == 99
        row = {
            "name": f"projects/{PROJECT}/backups/b-{number:07}",
            "project": PROJECT,
            "version": 4,
            "create_time": moment,
            "update_time": moment + timedelta(seconds=60),
            "display_name": f"nightly-{number:07}",
            "description": "",
            "server": f"projects/{PROJECT}/servers/s-{number % SERVERS:04}",
            "server_display_name": f"s-{number % SERVERS:04}",
            "state": BackupState.ERROR if is_error else BackupState.AVAILABLE,
            "image_ready": not is_error,
            "incremental": number % 10 != 0,
            "size_bytes": (number % 97 + 1) * _GIB,
            "stored_bytes": _GIB,
            "lock_sequence": 0,
            "full": False,
            "disks": disks,
            "content": None if is_error else content,
            "error": None,
            "freeze_time": moment,
            "finish_time": moment + timedelta(seconds=60),
        }
        message = stored.message(BackupRow(**row)).SerializeToString()
        # The columns of other versions too: `write_backups` takes those that the database has.
        yield row | {"serialized": message, "shown": message, "disks_make_image": True}


def available(number: int) -> str:
    """The name of the nth backup that is AVAILABLE, and so may be locked."""
    return f"projects/{PROJECT}/backups/b-{number + number // 99:07}"


def write_backups(url: str, count: int) -> float:
    """Writes them in batches into a migrated database of this version or another; gives the seconds taken."""
    database, begun = Database(url), time.monotonic()
    table = Table("backup", MetaData(), autoload_with=database.engine)
    types = {name: column.type for name, column in BackupRow.__table__.c.items()}  # type: ignore[attr-defined]
    for column in table.columns:
        column.type = types.get(column.name, column.type)
    rows = ({name: row[name] for name in table.c.keys() & row.keys()} for row in backup_rows(count))
    while batch := list(islice(rows, _BATCH)):
        with database.write() as tx:
            tx.session.connection().execute(table.insert(), batch)
            tx.commit()
    if not database.is_sqlite:  # its own autovacuum would have done so by the time that there are so many
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    database.close()
    return time.monotonic() - begun
