"""A service's database goes from SQLite to PostgreSQL, whole or not at all."""

import importlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select, text

from recast.database import Database
from recast.migrations.migrate import metadata, migrate
from recast.migrations.move import MovedTable, MoveRefused, move
from recast.resources import RequestReplay
from tests.harness.filling import fill
from tests.harness.postgresql import PostgresqlServer

SERVICES = ["csbs", "ims", "ecs"]
MANY = 60_000


def tables(service: str) -> Sequence[Any]:
    """The tables of a service."""
    found: Sequence[Any] = importlib.import_module(f"{service}.storage.tables").TABLES
    return found


def make(folder: Path, service: str, rows: int = 12) -> str:
    """Makes the SQLite file of a service, with rows in every table, and closes it."""
    url = f"sqlite:///{folder}/{service}.db"
    database = Database(url)
    migrate(database, f"{service}.storage:migrations")
    fill(database, tables(service), rows)
    database.close()
    return url


def contents(url: str, service: str) -> dict[str, list[str]]:
    """Every row, by table, as the service reads it, in one order."""
    database = Database(url)
    try:
        with database.read() as session:
            return {
                table.name: sorted(repr(tuple(row)) for row in session.connection().execute(select(table)))
                for table in metadata(tables(service)).sorted_tables
            }
    finally:
        database.close()


def moved(source: str, target: str, service: str = "csbs") -> Sequence[MovedTable]:
    """Moves, without a report of progress."""
    return move(source, target, f"{service}.storage:migrations", tables(service), lambda *_: None)


def command(source: str, target: str) -> list[str]:
    """The command line of CSBS's move."""
    return [sys.executable, "-m", "csbs", "move-database", "--from", source, "--to", target]


def tables_in(url: str) -> list[str]:
    """The names of the tables that there are."""
    database = Database(url)
    with closing(database.engine.connect()) as connection:
        names = inspect(connection).get_table_names()
    database.close()
    return names


def change(url: str, statement: str) -> None:
    """Writes into a database, and closes it."""
    database = Database(url)
    with database.write() as tx:
        tx.session.connection().execute(text(statement))
        tx.commit()
    database.close()


@pytest.fixture
def target(postgresql: PostgresqlServer) -> str:
    """The URL of an empty database."""
    return postgresql.emptied()


@pytest.mark.parametrize("service", SERVICES)
def test_every_value_arrives_as_it_was(service: str, tmp_path: Path, target: str) -> None:
    """A service reads the same from the target as from the source, in every table and kind of column."""
    source = make(tmp_path, service)
    before = contents(source, service)
    assert {table.name: table.rows for table in moved(source, target, service)} == dict.fromkeys(before, 12)
    assert contents(target, service) == before == contents(source, service)
    migrate(Database(target), f"{service}.storage:migrations")


@pytest.mark.parametrize(("service", "table"), [("csbs", "backup"), ("ims", "image")])
def test_bytes_that_a_migration_left_as_a_text_are_bytes(
    service: str, table: str, tmp_path: Path, target: str
) -> None:
    """A column of bytes that was added later has its default as a text in SQLite's rows of before."""
    source = make(tmp_path, service)
    change(source, f"UPDATE {table} SET serialized = ''")
    moved(source, target, service)
    database = Database(target)
    with database.read() as session:
        found = session.connection().execute(text(f"SELECT serialized FROM {table}")).scalars().all()
    database.close()
    assert found == [b""] * 12


def test_the_command_reports_the_rows_and_the_source_stays(tmp_path: Path, target: str) -> None:
    """The command prints the number of rows of each table, and the next step."""
    source = make(tmp_path, "csbs")
    done = subprocess.run(command(source, target), capture_output=True, text=True, check=True, timeout=60)
    assert re.search(r"^backup +12 rows  [0-9a-f]{32}$", done.stdout, re.MULTILINE)
    assert "84 rows in 7 tables moved, read back and found equal" in done.stdout
    assert "Set RECAST_CSBS_DATABASE_URL to the target" in done.stdout
    assert done.stderr == ""
    again = subprocess.run(command(source, target), capture_output=True, text=True, check=False, timeout=60)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("csbs: nothing was moved: the target is not empty")
    assert again.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "at revision 0001, and this version's is 00"),
        ("UPDATE alembic_version SET version_num = '9999'", "run the newer version"),
        ("DROP TABLE alembic_version", "is no database of a service"),
        (
            "UPDATE operation SET ended = 0, verb = 'CreateBackup', target = 'x', lease_until = 9e9",
            "a worker has CreateBackup of x for another ",
        ),
        ("UPDATE backup SET version = 3000000000 WHERE name = 'row-1'", "table backup: .*version"),
        ("UPDATE backup SET description = 'a' || char(0) WHERE name = 'row-1'", "table backup: .*NUL"),
    ],
    ids=["older", "newer", "not a service's", "live lease", "too wide", "NUL"],
)
def test_a_source_that_cannot_be_moved_is_refused(
    tmp_path: Path, target: str, spoil: str, problem: str
) -> None:
    """A source at another revision, at work, or with values beyond the target leaves the target empty."""
    source = make(tmp_path, "csbs")
    change(source, spoil)
    before = contents(source, "csbs")
    with pytest.raises(MoveRefused, match=problem):
        moved(source, target)
    assert tables_in(target) == []
    assert contents(source, "csbs") == before


def test_a_source_in_use_is_refused(tmp_path: Path, target: str) -> None:
    """A process that has the file open, even an idle one, has the move refused."""
    source = make(tmp_path, "csbs")
    other = Database(source)
    with other.read() as session:
        session.connection()  # stays open in the pool
    with pytest.raises(MoveRefused, match="the source is in use: stop the service first"):
        moved(source, target)
    other.close()
    assert tables_in(target) == []
    moved(source, target)


def test_the_source_is_locked_while_it_is_moved(tmp_path: Path, target: str) -> None:
    """A service that is started meanwhile does not get the file."""
    source = make(tmp_path, "csbs")
    answers: list[str] = []

    def try_to_read(_table: str, _rows: int, _total: int) -> None:
        if not answers:
            answers.append(_answer_of(source))

    move(source, target, "csbs.storage:migrations", tables("csbs"), try_to_read)
    assert answers == ["database is locked"]


def _answer_of(url: str) -> str:
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM backup')"
    command_line = [sys.executable, "-c", script, url.removeprefix("sqlite:///")]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("OperationalError: ")[2]


def test_a_target_that_is_not_empty_is_refused(tmp_path: Path, target: str) -> None:
    """The content of a target is neither joined nor replaced, not even by a second move."""
    source = make(tmp_path, "csbs")
    moved(source, target)
    before = contents(target, "csbs")
    with pytest.raises(MoveRefused, match="the target is not empty, it has the table alembic_version"):
        moved(source, target)
    assert contents(target, "csbs") == before


@pytest.mark.parametrize(
    ("other_source", "other_target", "problem"),
    [
        ("sqlite:////nowhere/x.db", "", "the source /nowhere/x.db is not there"),
        ("postgresql+psycopg://u@h/x", "", "the source must be a SQLite file"),
        ("nonsense", "", "the source must be a SQLite file"),
        ("", "sqlite:////nowhere/y.db", "the target must be PostgreSQL"),
        ("", "nonsense", "the target cannot be used: its URL cannot be read"),
        ("", "postgresql+psycopg://u:secret@127.0.0.1:1/x", "the target cannot be used: connection failed"),
    ],
)
def test_an_unusable_source_or_target_is_named(
    tmp_path: Path, target: str, other_source: str, other_target: str, problem: str
) -> None:
    """An unusable source or target is an error of one line, without a password in it."""
    with pytest.raises(MoveRefused) as caught:
        moved(other_source or make(tmp_path, "csbs"), other_target or target)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def many(tmp_path: Path, opened: Callable[[str], Database]) -> str:
    """The URL of a file with very many rows in one table."""
    url = f"sqlite:///{tmp_path}/csbs.db"
    database = Database(url)
    migrate(database, "csbs.storage:migrations")
    fill(database, [RequestReplay], MANY)
    database.close()
    return url


def test_a_move_that_is_killed_leaves_nothing_and_can_be_made_again(many: str, target: str) -> None:
    """Killed with rows under way, a move leaves the target empty and the source whole; the next one is whole.

    On a terminal both say how far they are.
    """
    controller, terminal = pty.openpty()
    child = subprocess.Popen(command(many, target), stdout=subprocess.DEVNULL, stderr=terminal)
    printed = _read_until(controller, b"request_replay: 5,000 of 60,000 rows")
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    os.close(terminal)
    os.close(controller)
    assert b"60,000 of 60,000" not in printed
    _await_no_other(target)
    assert tables_in(target) == []
    [replays] = [table for table in moved(many, target) if table.name == "request_replay"]
    assert replays.rows == MANY


def _read_until(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    end = time.monotonic() + 60
    while wanted not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(terminal, 4096)
    return seen


def _await_no_other(url: str) -> None:
    """Returns when the server has noticed the end of a client that was amid a transaction.

    Other connections may be open, of idle pools.
    """
    database = Database(url)
    others = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid != pg_backend_pid() AND xact_start IS NOT NULL"
    )
    end = time.monotonic() + 30
    count = 1
    while count:
        assert time.monotonic() < end
        with database.read() as session:
            count = session.connection().execute(text(others)).scalar_one()
    database.close()


def test_memory_does_not_grow_with_the_rows(many: str, postgresql: PostgresqlServer, tmp_path: Path) -> None:
    """Moving 60,000 rows takes no more memory than moving twelve."""
    (tmp_path / "few").mkdir()
    few = make(tmp_path / "few", "csbs")
    peaks = [_peak(command(source, postgresql.emptied())) for source in (few, many)]
    assert peaks[1] - peaks[0] < 16 << 20


def _peak(argv: Sequence[str]) -> int:
    """The most memory that a command had, in bytes."""
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_maxrss << 10
