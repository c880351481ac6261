"""Kept statements on PostgreSQL: a plan that was made while a table was empty is no plan for a full one."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Text, bindparam, insert, literal_column, select, table, text

from csbs.domain.image_lock import ImageLock, LockState
from csbs.domain.refusals import BackupNotFound
from csbs.storage import image_locks
from csbs.storage.tables import BackupRow, ImageLockRow
from recast.csbs.v1 import backup_pb2
from recast.unitofwork import Database, Look
from recast.unitofwork.migration import migrate

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LOCK = ImageLock("projects/demo/backups/b", "projects/demo/images/i", 1, "r", LockState.HELD, NOW)
READ = Look(
    select(literal_column("seq_tup_read"))
    .select_from(table("pg_stat_user_tables"))
    .where(literal_column("relname", Text) == bindparam("table", type_=Text))
)
FLUSH = Look(select(literal_column("pg_stat_force_next_flush()")))


def ask(database: Database) -> None:
    """Asks for a backup and its locks in every way, often enough for the server to settle on a plan."""
    for _ in range(12):
        assert image_locks.take(database, LOCK, message=backup_pb2.Backup()) is None
        for state in (LockState.CONFIRMED, LockState.RELEASED):
            assert not image_locks.move(database, LOCK, state)
        with pytest.raises(BackupNotFound):
            image_locks.look(database, "projects/demo/backups/b", "r")
        assert image_locks.look_alone(database, "projects/demo/backups/b", "r", 1) == []


def read_one_by_one(database: Database) -> dict[str, int]:
    """How many rows were read so far by going through a whole table."""
    database.look(FLUSH, {})  # by the same connection, which counts for itself until then
    tables = BackupRow.__tablename__, ImageLockRow.__tablename__
    return {name: database.look(READ, {"table": name})[0][0] for name in tables}


def test_the_plan_of_an_empty_table_is_none_of_a_full_one(postgresql_database: Database) -> None:
    """The first locks of a service are taken while there are none: what they cost does not grow with them."""
    migrate(postgresql_database, "csbs.storage:migrations")
    with postgresql_database.write() as tx:
        tx.session.connection().execute(text("ANALYZE"))  # as the server does by itself, sooner or later
        tx.commit()
    ask(postgresql_database)
    known = {"image": "i", "fencing_token": 9, "state": "HELD", "create_time": NOW}
    rows = [
        {"backup": f"projects/demo/backups/o{number}", "request_id": "o"} | known for number in range(3_000)
    ]
    with postgresql_database.write() as tx:
        tx.session.connection().execute(insert(ImageLockRow), rows)
        tx.commit()
    before = read_one_by_one(postgresql_database)
    ask(postgresql_database)
    assert read_one_by_one(postgresql_database) == before
