"""The suite of every database engine."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import func, text
from sqlalchemy.exc import IntegrityError, StatementError, UnboundExecutionError
from sqlmodel import Field, Session, SQLModel, select

from recast.database import Database, UtcDateTime
from recast.faults import Conflict, Unavailable
from tests.harness.expectations import until

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class Tally(SQLModel, table=True):
    """A row to count in."""

    __tablename__ = "conformance_tally"

    name: str = Field(primary_key=True)
    count: int = 0
    time: datetime = Field(default=NOW, sa_type=UtcDateTime)


def add(database: Database, name: str) -> None:
    """Writes a row and commits it."""
    with database.write() as tx:
        tx.session.add(Tally(name=name))
        tx.commit()


def count(session: Session) -> int:
    """The number of rows."""
    return session.exec(select(func.count()).select_from(Tally)).one()


def contended(database: Database, way: str, *, processes: int, rounds: int) -> list[int]:
    """The rounds that were won, once for every winner, of processes that began together."""
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, str(Path(__file__).with_name("contender.py")), url, way, str(rounds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        assert [each.stdout.readline() for each in running if each.stdout] == ["ready\n"] * processes
        for each in running:  # those after the first still find rounds to contend for
            assert each.stdin
            each.stdin.write("\n")
            each.stdin.flush()
        return [int(line) for each in running for line in each.communicate(timeout=60)[0].splitlines()]
    finally:
        for each in running:
            each.kill()
            each.wait()


class DatabaseSuite:
    """Subclass it with a `database` that is empty."""

    @pytest.fixture
    def database(self) -> Database:
        """The database under test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _tables(self, database: Database) -> None:
        with database.write() as tx:
            tables = [Tally.__table__]
            SQLModel.metadata.create_all(tx.session.connection(), tables=tables)
            tx.commit()

    # Writing.

    def test_what_is_not_committed_never_happened(self, database: Database) -> None:
        """A write that ends without a commit leaves nothing."""
        with database.write() as tx:
            tx.session.add(Tally(name="a"))
            tx.session.flush()
        with database.read() as session:
            assert count(session) == 0

    def test_an_error_rolls_back(self, database: Database) -> None:
        """An error between the write and its commit leaves nothing, and the next write goes through."""

        def fail() -> None:
            with database.write() as tx:
                tx.session.add(Tally(name="a"))
                tx.session.flush()
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        add(database, "b")
        with database.read() as session:
            assert session.exec(select(Tally.name)).all() == ["b"]

    def test_nothing_is_written_after_the_commit(self, database: Database) -> None:
        """A commit is the last step of a write: a session that is held longer writes nothing."""
        with database.write() as tx:
            session = tx.session
            session.add(Tally(name="a"))
            tx.commit()
            with pytest.raises(RuntimeError, match="a commit is its last step"):
                tx.session.add(Tally(name="b"))
            with pytest.raises(RuntimeError, match="a commit is its last step"):
                tx.commit()
            session.add(Tally(name="b"))
            with pytest.raises(UnboundExecutionError):
                session.flush()
        with database.read() as reading:
            assert reading.exec(select(Tally.name)).all() == ["a"]

    def test_a_write_of_which_a_statement_failed_is_not_committed(self, database: Database) -> None:
        """A write in which a statement failed cannot be committed on either engine, also after a catch."""
        add(database, "a")
        with database.write() as tx:
            tx.session.add(Tally(name="b"))
            tx.session.flush()
            tx.session.add(Tally(name="a"))
            with pytest.raises(IntegrityError):
                tx.session.flush()
            with pytest.raises(RuntimeError, match="must not happen"):
                tx.commit()
        with database.write() as tx:
            tx.session.add(Tally(name="c"))
            tx.session.flush()
            tx.session.rollback()
            with pytest.raises(RuntimeError, match="must not happen"):
                tx.commit()
        add(database, "d")
        with database.read() as session:
            assert set(session.exec(select(Tally.name))) == {"a", "d"}

    def test_a_session_that_was_rolled_back_writes_nothing_by_itself(self, database: Database) -> None:
        """A session that was rolled back has no transaction that could be committed."""

        def roll_back(session: Session, name: str) -> None:
            session.add(Tally(name=name))
            session.flush()
            session.rollback()
            session.add(Tally(name=f"{name} again"))

        with database.write() as tx:
            roll_back(tx.session, "a")
            tx.session.flush()
        with database.write() as tx:
            roll_back(tx.session, "b")
            with pytest.raises(RuntimeError, match="must not happen"):
                tx.commit()
        add(database, "c")
        with database.read() as reading:
            assert reading.exec(select(Tally.name)).all() == ["c"]

    def test_writes_one_after_the_other_share_a_connection(self, database: Database) -> None:
        """Writes that were committed, given up, or failed leave their connection to the next one."""
        used = []

        def write(name: str, *, commits: bool = True, fails: bool = False) -> None:
            with database.write() as tx:
                used.append(tx.session.connection().connection.driver_connection)
                tx.session.add(Tally(name=name))
                tx.session.flush()
                if fails:
                    raise RuntimeError
                if commits:
                    tx.commit()

        write("a")
        write("b", commits=False)
        with pytest.raises(RuntimeError):
            write("c", fails=True)
        write("d")
        assert used == [used[0]] * 4
        with database.read() as session:
            assert set(session.exec(select(Tally.name))) == {"a", "d"}

    def test_after_commit_runs_after_the_commit(self, database: Database) -> None:
        """An action for after the commit sees the commit's rows."""
        seen: list[int] = []

        def read() -> None:
            with database.read() as session:
                seen.append(count(session))

        with database.write() as tx:
            tx.session.add(Tally(name="a"))
            tx.after_commit(read)
            tx.commit()
        assert seen == [1]

    def test_after_commit_does_not_run_without_a_commit(self, database: Database) -> None:
        """An action for after the commit is not run when there was none."""
        seen: list[str] = []
        with database.write() as tx:
            tx.after_commit(lambda: seen.append("ran"))
        assert seen == []

    def test_concurrent_increments_are_all_counted(self, database: Database) -> None:
        """Of writers that read a row for update, change and write it, none overwrites another."""
        add(database, "a")

        def increment(_: int) -> None:
            with database.write() as tx:
                row = tx.session.exec(select(Tally).where(Tally.name == "a").with_for_update()).one()
                row.count += 1
                tx.commit()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(increment, range(30)))
        with database.read() as session:
            assert session.get_one(Tally, "a").count == 30

    @pytest.mark.parametrize("way", ["guard", "lock"])
    def test_of_many_contenders_for_one_change_exactly_one_wins(self, database: Database, way: str) -> None:
        """Of all processes and threads that make one change of a row's known state, exactly one succeeds."""
        with database.write() as tx:
            tx.session.connection().execute(text("CREATE TABLE contended (name TEXT, count INTEGER)"))
            tx.session.connection().execute(text("INSERT INTO contended VALUES ('a', 0)"))
            tx.commit()
        assert sorted(contended(database, way, processes=3, rounds=20)) == list(range(20))
        with database.read() as session:
            assert session.connection().execute(text("SELECT count FROM contended")).scalar_one() == 20

    # Reading.

    def test_a_read_is_one_snapshot(self, database: Database) -> None:
        """A read does not see commits made while it is open; the next read does."""
        with database.read() as session:
            assert count(session) == 0
            add(database, "a")
            assert count(session) == 0
        with database.read() as session:
            assert count(session) == 1

    def test_a_reader_does_not_wait_for_a_writer(self, database: Database) -> None:
        """While a write is under way, a reader is answered from the state before it."""
        with database.write() as tx:
            tx.session.add(Tally(name="a"))
            tx.session.flush()
            with database.read() as session:
                assert count(session) == 0
            tx.commit()

    def test_a_read_writes_nothing(self, database: Database) -> None:
        """Writes in a read are rolled back."""
        with database.read() as session:
            session.add(Tally(name="a"))
            session.flush()
        with database.read() as session:
            assert count(session) == 0

    # Times.

    def test_a_time_comes_back_as_the_same_instant_in_utc(self, database: Database) -> None:
        """A time in any zone comes back equal, to the microsecond, and in UTC."""
        given = NOW.astimezone(timezone(timedelta(hours=-7, minutes=-30)))
        with database.write() as tx:
            tx.session.add(Tally(name="a", time=given))
            tx.commit()
        with database.read() as session:
            found = session.get_one(Tally, "a").time
        assert found == given
        assert found.tzinfo is UTC

    def test_a_time_without_a_zone_is_refused(self, database: Database) -> None:
        """A naive time is a bug, and is not stored."""
        with database.write() as tx:
            tx.session.add(Tally(name="a", time=NOW.replace(tzinfo=None)))
            with pytest.raises(StatementError, match="without a zone"):
                tx.commit()

    def test_the_database_has_a_clock_of_seconds_since_1970(self, database: Database) -> None:
        """The clock of the database goes forward within one transaction, in seconds with a fraction."""
        with database.read() as session:
            clock = text(f"SELECT {database.now_sql()}")
            read = lambda: float(session.connection().execute(clock).scalar_one())  # noqa: E731
            first = read()
            later = until(lambda: read() != first and read(), "a later time")
        assert abs(first - time.time()) < 60
        assert 0 < later - first < 30


class TestSqliteDatabase(DatabaseSuite):
    """A SQLite file."""

    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """The database under test."""
        return sqlite_database

    def test_a_second_process_finds_the_first_one_s_writes(
        self, database: Database, opened: Callable[[str], Database]
    ) -> None:
        """Two engines on one file write one after the other, and each sees the other's commits."""
        other = opened(str(database.engine.url))
        for number, each in enumerate((database, other, database)):
            add(each, str(number))
        with other.read() as session:
            assert count(session) == 3


class TestPostgresqlDatabase(DatabaseSuite):
    """A PostgreSQL server."""

    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """The database under test."""
        return postgresql_database

    def test_a_key_that_was_taken_meanwhile_is_a_conflict(self, database: Database) -> None:
        """Of two writers that both found a key free, the second gets a conflict, which can be retried."""

        def write_late() -> None:
            with database.write() as late:
                assert late.session.get(Tally, "a") is None
                add(database, "a")
                late.session.add(Tally(name="a"))
                late.commit()

        with pytest.raises(Conflict):
            write_late()


@pytest.mark.parametrize("url", ["sqlite:////nowhere/x.db", "postgresql+psycopg://nobody@/x?host=/nowhere"])
def test_an_unreachable_database_is_unavailable(url: str, opened: Callable[[str], Database]) -> None:
    """A read or write while the database is unreachable is UNAVAILABLE, not a bug."""
    database = opened(url)
    with pytest.raises(Unavailable, match="the database did not answer"), database.read() as session:
        session.connection().execute(text("SELECT 1"))
    with pytest.raises(Unavailable, match="the database did not answer"), database.write() as tx:
        tx.session.connection().execute(text("SELECT 1"))
