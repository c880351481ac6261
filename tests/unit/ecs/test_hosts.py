"""The hosts that are alive, by their last reports."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel

from ecs.storage.hosts import Reporter, candidates
from ecs.storage.tables import HostRow
from recast.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """A database with the table of hosts alone."""
    database = Database(f"sqlite:///{tmp_path / 'ecs.db'}")
    SQLModel.metadata.create_all(database.engine, tables=[HostRow.__table__])  # type: ignore[attr-defined]
    return database


@pytest.mark.fault("FAULT-N06")
@pytest.mark.parametrize(
    ("ahead", "is_alive"), [(0, True), (-10, True), (10, True), (-20, False), (20, False), (86400, False)]
)
def test_a_host_is_alive_by_a_report_of_now(
    database: Database, tmp_path: Path, ahead: int, is_alive: bool
) -> None:
    """A dead host whose clock was a day ahead is not alive for a day."""
    Reporter(database, "one", tmp_path).report()
    with database.write() as tx:
        tx.session.connection().execute(text(f"UPDATE host SET seen = seen + {ahead}"))
        tx.commit()
    with database.read() as session:
        assert [each.is_alive for each in candidates(database, session)] == [is_alive]
