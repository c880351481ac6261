"""Deleted bytes are in no file of a SQLite database."""

from pathlib import Path

import pytest
from sqlalchemy import text

from recast.database import Database

KEY = b"a key of thirty-two bytes, or so"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A database with a row that held a key, and further rows."""
    made = Database(f"sqlite:///{tmp_path}/x.db")
    execute(made, "CREATE TABLE work (id INTEGER PRIMARY KEY, request BLOB)")
    execute(made, "INSERT INTO work VALUES (1, :key), (2, :long)", key=KEY, long=KEY * 1000)
    return made


def execute(database: Database, statement: str, **values: object) -> None:
    """Runs a statement in a write of its own."""
    with database.write() as tx:
        tx.session.connection().execute(text(statement), values)
        tx.commit()


def holders(folder: Path) -> set[str]:
    """The files that hold the key."""
    return {path.name for path in folder.iterdir() if KEY in path.read_bytes()}


@pytest.mark.parametrize("deletion", ["UPDATE work SET request = x''", "DELETE FROM work"])
@pytest.mark.fault("FAULT-KEY-IN-LOG")
def test_a_deleted_key_is_in_no_file(database: Database, tmp_path: Path, deletion: str) -> None:
    """After a deletion and the truncation of the log no file has the bytes, of a short or a long value."""
    assert "x.db-wal" in holders(tmp_path)
    assert database.truncate_log()
    assert holders(tmp_path) == {"x.db"}
    execute(database, deletion)
    assert database.truncate_log()
    assert holders(tmp_path) == set()
    assert (tmp_path / "x.db-wal").stat().st_size == 0


@pytest.mark.fault("FAULT-KEY-IN-LOG")
def test_a_log_in_use_is_truncated_later(database: Database, tmp_path: Path) -> None:
    """A reader on an old snapshot is not waited for: the truncation reports that it is to be repeated."""
    with database.read() as session:
        session.connection().execute(text("SELECT count(*) FROM work")).one()
        execute(database, "DELETE FROM work")
        assert not database.truncate_log()
    assert database.truncate_log()
    assert holders(tmp_path) == set()
