"""Looks: one statement on connections of their own, which cannot write and are left once they are gone."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import DataError, ProgrammingError
from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    LargeBinary,
    Text,
    bindparam,
    event,
    literal_column,
    select,
    text,
    union_all,
)

from recast.faults import Unavailable
from recast.unitofwork import Database, Look, UtcDateTime, connections, kept_statements

GIVEN = Look(select(bindparam("given", type_=Text)))
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
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

    def test_a_look_that_the_server_forgot_is_asked_again(self, database: Database) -> None:
        """Where a session is rolled back, psycopg has the server forget what is prepared, of others too."""
        assert database.look(GIVEN, {"given": "a"}) == [("a",)]
        database._looks.run(lambda cursor: cursor.execute("DEALLOCATE ALL"))
        assert database.look(GIVEN, {"given": "b"}) == [("b",)]

    def test_of_many_statements_the_server_keeps_some(self, database: Database) -> None:
        """Lists have as many as their callers think of; those after a hundred are asked all the same."""
        for number in range(2 * kept_statements._MOST):
            of = Look(select(literal_column(f"{number} + 0"), bindparam("given", type_=Text)))
            assert database.look(of, {"given": "a"}) == [(number, "a")]
        kept = Look(select(literal_column("count(*)")).select_from(text("pg_prepared_statements")))
        assert database.look(kept, {}) == [(kept_statements._MOST,)]

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (Text, "\u20ac"),
            (LargeBinary, b"\x00\xff"),
            (Boolean, True),
            (Boolean, False),
            (BigInteger, -(2**62)),
            (Double, 0.1),
            (Text, None),
            (UtcDateTime, NOW),
        ],
    )
    def test_a_value_comes_back(self, database: Database, kind: Any, value: Any) -> None:
        """As it was sent; a time as the driver has it."""
        given = Look(select(bindparam("given", type_=kind())))
        back = value.replace(tzinfo=None) if value is NOW else value
        assert database.look(given, {"given": value}) == [(back,)]

    def test_a_text_that_would_end_early_is_refused(self, database: Database) -> None:
        """PostgreSQL has no texts with a NUL, and what comes behind it must not be lost in silence."""
        with pytest.raises(DataError, match="NUL"):
            database.look(GIVEN, {"given": "a\0b"})
        with pytest.raises(ProgrammingError, match="object cannot be sent"):
            database.look(Look(select(bindparam("given"))), {"given": object()})
        assert database.look(GIVEN, {"given": "a"}) == [("a",)]

    def test_after_a_rest_no_look_is_lost(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that was idle for long is asked before it is used: nobody sees that it is gone."""
        assert database.look(GIVEN, {"given": "a"}) == [("a",)]
        monkeypatch.setattr(connections, "ASKED_AFTER_SECONDS", 0.0)
        _end_all(database)
        assert database.look(GIVEN, {"given": "b"}) == [("b",)]


def _end_all(database: Database) -> None:
    with database.write() as tx:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        tx.session.connection().execute(text(f"{ended} AND datname = current_database()"))
