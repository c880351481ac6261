"""Looks: one statement on connections of their own, which cannot write and are left once they are gone."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Integer,
    LargeBinary,
    NullPool,
    Text,
    bindparam,
    column,
    create_engine,
    event,
    insert,
    literal_column,
    select,
    table,
    text,
    union_all,
    update,
)

from recast.faults import Conflict, Unavailable
from recast.unitofwork import Change, Database, Look, connections

GIVEN = Look(select(bindparam("given", type_=Text)))
KEPT = table("kept", column("name", Text), column("number", Integer))
ADD = Change(insert(KEPT).values(name=bindparam("name"), number=bindparam("number")))
COUNT = Change(update(KEPT).where(KEPT.c.name == bindparam("of")).values(number=bindparam("to")))
ALL = Look(select(KEPT.c.name, KEPT.c.number))
PID = Look(select(literal_column("pg_backend_pid()")))
TEXTS = ["", "a,b;c", '\u20ac "quoted"', "\x7f"]


@contextmanager
def opened(database: Database) -> Iterator[list[object]]:
    """The connections for looks that are opened meanwhile."""
    made: list[object] = []
    engine = database._looks._engine
    event.listen(engine, "connect", note := lambda connection, _record: made.append(connection))
    yield made
    event.remove(engine, "connect", note)


class LooksSuite:
    """Subclass it with a `database`."""

    @pytest.fixture
    def database(self) -> Database:
        """The database under test."""
        raise NotImplementedError

    def test_a_look_cannot_write(self, database: Database) -> None:
        """A statement that would write is refused by the database itself."""
        with database.write() as tx:
            tx.session.connection().execute(text("CREATE TABLE looked_at (a INTEGER)"))
            tx.commit()
        written = Look(select(literal_column("1")))
        assert database.look(written, {}) == [(1,)]
        taken = database._looks.take()
        with pytest.raises(database._looks._engine.dialect.loaded_dbapi.Error):
            taken.cursor.execute("INSERT INTO looked_at VALUES (1)")
        taken.connection.invalidate()

    def test_looks_one_after_the_other_share_a_connection(self, database: Database) -> None:
        """What was given back is taken again."""
        with opened(database) as made:
            for _ in range(20):
                assert database.look(GIVEN, {"given": "a"}) == [("a",)]
        assert len(made) <= 1

    def test_connections_are_closed_by_several_at_once(self, database: Database) -> None:
        """Between a look at how many there are and the last of them, another may have taken it."""

        class Contended(deque[Any]):
            def __bool__(self) -> bool:
                return True

        database._looks._idle = Contended()
        database.close()

    def test_of_many_connections_few_are_kept(self, database: Database) -> None:
        """However many look at once, at most sixteen connections stay open."""
        threads = 2 * connections._KEPT
        together = threading.Barrier(threads)

        def hold() -> None:
            taken = database._looks.take()
            together.wait()
            database._looks.give_back(taken)

        running = [threading.Thread(target=hold) for _ in range(threads)]
        for each in running:
            each.start()
        for each in running:
            each.join()
        assert len(database._looks._idle) == connections._KEPT
        database.close()
        assert not database._looks._idle
        assert database.look(GIVEN, {"given": "again"}) == [("again",)]

    def test_a_statement_that_fails_loses_its_connection_alone(self, database: Database) -> None:
        """An error of one look is no error of the next."""
        assert database.look(GIVEN, {"given": "a"}) == [("a",)]
        with pytest.raises(Exception, match="elsewhere"):
            database.look(Look(select(literal_column("elsewhere"))), {})
        assert database.look(GIVEN, {"given": "b"}) == [("b",)]

    def test_a_change_tells_how_many_rows_and_waits_for_the_commit(self, database: Database) -> None:
        """A write by kept statements sees what it wrote; without a commit nobody else does, ever."""
        _make_table(database)
        with database.write() as tx:
            assert tx.change(ADD, {"name": "a", "number": 1}) == 1
            assert tx.change(COUNT, {"of": "a", "to": 2}) == 1
            assert tx.change(COUNT, {"of": "b", "to": 2}) == 0
            assert tx.look(ALL, {}) == [("a", 2)]
        assert database.look(ALL, {}) == []
        with database.write() as tx:
            tx.change(ADD, {"name": "a", "number": 1})
            tx.session.connection().execute(text("UPDATE kept SET number = 7"))
            tx.commit()
        assert database.look(ALL, {}) == [("a", 7)]

    def test_packed_rows_are_the_rows(self, database: Database) -> None:
        """Rows that come as one are those that come one by one, in their order, bytes and all."""
        rows = [
            select(
                bindparam(None, bytes(range(256)) * number, type_=LargeBinary).label("bytes"),
                bindparam(None, word, type_=Text).label("word"),
                literal_column(str(2**62 + number)).label("number"),
            )
            for number, word in enumerate(TEXTS)
        ]
        several = union_all(*rows).subquery()
        for statement in (
            select(several).order_by(several.c.number.desc()),
            select(several).where(several.c.number < 0),
        ):
            plain = database.look(Look(statement), {})
            assert database.look(Look(statement, packed=True), {}) == plain
        assert len(plain) == 0


class TestSqliteLooks(LooksSuite):
    """A SQLite file."""

    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """The database under test."""
        return sqlite_database


class TestPostgresqlLooks(LooksSuite):
    """A PostgreSQL server."""

    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """The database under test."""
        return postgresql_database

    def test_a_look_outlives_its_connections(self, database: Database) -> None:
        """When the server ended every connection, one look is UNAVAILABLE at most, the next answered."""
        assert database.look(GIVEN, {"given": "a"}) == [("a",)]
        _end_all(database)
        with pytest.raises(Unavailable):
            database.look(GIVEN, {"given": "b"})
        assert database.look(GIVEN, {"given": "c"}) == [("c",)]

    def test_a_row_that_is_there_is_a_conflict(self, database: Database) -> None:
        """A kept statement answers as a session does: the second of two equal rows is a Conflict."""
        _make_table(database)
        with pytest.raises(Conflict):
            _add_twice(database)
        assert database.look(ALL, {}) == []

    def test_a_change_outlives_its_connections(self, database: Database) -> None:
        """When the server ended every connection, a write is UNAVAILABLE, and the next is done."""
        _make_table(database)
        with pytest.raises(Unavailable):
            _add_after_the_end(database)
        with database.write() as tx:
            assert tx.change(ADD, {"name": "a", "number": 1}) == 1
            tx.commit()
        assert database.look(ALL, {}) == [("a", 1)]

    def test_after_a_rest_no_look_is_lost(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that was idle for long is asked before it is used: nobody sees that it is gone."""
        assert database.look(GIVEN, {"given": "a"}) == [("a",)]
        monkeypatch.setattr(connections, "ASKED_AFTER_SECONDS", 0.0)
        _end_all(database)
        assert database.look(GIVEN, {"given": "b"}) == [("b",)]


@contextmanager
def postgresql_elsewhere(database: Database) -> Iterator[Connection]:
    """A connection of its own, which is in no pool."""
    engine = create_engine(database.engine.url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _make_table(database: Database) -> None:
    with database.write() as tx:
        tx.session.connection().execute(text("CREATE TABLE kept (name VARCHAR PRIMARY KEY, number INTEGER)"))
        tx.commit()


def _add_twice(database: Database) -> None:
    with database.write() as tx:
        tx.change(ADD, {"name": "a", "number": 1})
        tx.change(ADD, {"name": "a", "number": 2})
        tx.commit()


def _add_after_the_end(database: Database) -> None:
    """A write whose connection the server ends in the middle."""
    with database.write() as tx:
        ((pid,),) = tx.look(PID, {})
        with postgresql_elsewhere(database) as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        tx.change(ADD, {"name": "a", "number": 1})
        tx.commit()


def _end_all(database: Database) -> None:
    with database.write() as tx:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        tx.session.connection().execute(text(f"{ended} AND datname = current_database()"))
