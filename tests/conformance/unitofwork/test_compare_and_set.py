"""Compare and set, on both engines: all of it is written where a row is as it was seen, else nothing."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection
from sqlalchemy import NullPool, bindparam, create_engine, literal_column, update
from sqlmodel import Field, Session, SQLModel, select

from recast.faults import Conflict, Unavailable
from recast.unitofwork import CompareAndSet, Database, Look, Transaction


class Counted(SQLModel, table=True):
    """A row with a version."""

    __tablename__ = "set_counted"

    name: str = Field(primary_key=True)
    version: int = 1


class Note(SQLModel, table=True):
    """A row that comes with a change of another."""

    __tablename__ = "set_note"

    key: str = Field(primary_key=True)
    text: str


COUNTED: Any = Counted.__table__
NOTE: Any = Note.__table__
CHANGED = (
    update(COUNTED)
    .where(COUNTED.c.name == bindparam("of"), COUNTED.c.version == bindparam("seen"))
    .values(version=bindparam("to"))
)
BOTH = CompareAndSet(changed=CHANGED, added=NOTE)
CHANGE = CompareAndSet(changed=CHANGED)
ADD = CompareAndSet(added=NOTE)
FREE = literal_column("0")
BESIDE = CompareAndSet(
    changed=update(NOTE)
    .where(NOTE.c.key == bindparam("noted"), NOTE.c.text == bindparam("seen_text"))
    .values(text=bindparam("to_text")),
    beside=update(COUNTED).where(COUNTED.c.name == bindparam("of")).values(version=FREE),
)


class Ticket(SQLModel, table=True):
    """A row that has the number of a change, and the one that counts them."""

    __tablename__ = "set_ticket"

    key: str = Field(primary_key=True)
    number: int


TICKET: Any = Ticket.__table__
NUMBERED = CompareAndSet(
    changed=update(COUNTED).where(COUNTED.c.name == bindparam("of"), COUNTED.c.version < bindparam("end")),
    added=TICKET,
    counted={"number": COUNTED.c.version},
    given=(COUNTED.c.version, COUNTED.c.name),
)
VERSION = Look(select(COUNTED.c.version).where(COUNTED.c.name == bindparam("of")))


def asked(seen: int, key: str = "k", of: str = "a") -> dict[str, object]:
    """The values of any of the three."""
    return {"of": of, "seen": seen, "to": seen + 1, "key": key, "text": f"by {seen}"}


def state(database: Database) -> tuple[dict[str, int], dict[str, str]]:
    """Every row."""
    with database.read() as session:
        counted = {each.name: each.version for each in session.exec(select(Counted))}
        return counted, {each.key: each.text for each in session.exec(select(Note))}


def tickets(database: Database) -> dict[str, int]:
    """The number of each."""
    with database.read() as session:
        return {each.key: each.number for each in session.exec(select(Ticket))}


class CompareAndSetSuite:
    """Subclass it with a `database` that is empty."""

    @pytest.fixture
    def database(self) -> Database:
        """The database under test."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _tables(self, database: Database) -> None:
        with database.write() as tx:
            SQLModel.metadata.create_all(tx.session.connection(), tables=[COUNTED, NOTE, TICKET])
            tx.session.add_all([Counted(name="a"), Counted(name="b")])
            tx.commit()

    def test_what_is_as_it_was_seen_is_set(self, database: Database) -> None:
        """The change and what comes with it, or one alone."""
        assert database.compare_and_set(BOTH, asked(1))
        assert database.compare_and_set(CHANGE, asked(2))
        assert database.compare_and_set(ADD, asked(3, "l"))
        assert state(database) == ({"a": 3, "b": 1}, {"k": "by 1", "l": "by 3"})

    @pytest.mark.parametrize("what", [BOTH, CHANGE])
    def test_what_was_changed_meanwhile_is_left(self, database: Database, what: CompareAndSet) -> None:
        """A row at another version, and one that is not there: nothing is written of all that was asked."""
        assert not database.compare_and_set(what, asked(2))
        assert not database.compare_and_set(what, asked(1, of="c"))
        assert state(database) == ({"a": 1, "b": 1}, {})

    @pytest.mark.parametrize("what", [BOTH, ADD])
    def test_a_key_that_is_taken_leaves_all(self, database: Database, what: CompareAndSet) -> None:
        """The new row is there already: it stays as it is, and so does the row that would have changed."""
        assert database.compare_and_set(ADD, asked(7))
        assert not database.compare_and_set(what, asked(1))
        assert state(database) == ({"a": 1, "b": 1}, {"k": "by 7"})

    def test_another_rule_that_is_broken_is_told(self, database: Database) -> None:
        """It is no race: asked again, it would be broken again. Nothing is written."""
        with pytest.raises(Exception, match=r"(?i)not.null"):
            database.compare_and_set(BOTH, asked(1) | {"text": None})
        assert state(database) == ({"a": 1, "b": 1}, {})
        assert database.compare_and_set(BOTH, asked(1))

    def test_of_many_who_want_one_change_exactly_one_gets_it(self, database: Database) -> None:
        """Eight threads see the same version thirty times; every number has one winner and one note."""
        together = threading.Barrier(8)
        won: list[int] = []

        def contend(thread: int) -> None:
            for number in range(1, 31):
                together.wait(20)
                if database.compare_and_set(BOTH, asked(number, f"{number}-{thread}")):
                    won.append(number)

        running = [threading.Thread(target=contend, args=(thread,)) for thread in range(8)]
        for each in running:
            each.start()
        for each in running:
            each.join()
        assert won == list(range(1, 31))
        versions, notes = state(database)
        assert versions == {"a": 31, "b": 1}
        assert sorted(int(key.partition("-")[0]) for key in notes) == won

    def test_what_is_given_of_a_row_is_as_it_was_set(self, database: Database) -> None:
        """A new row is numbered by the one that was changed, of which is given what it is then."""
        values = {"of": "b", "end": 3}
        assert database.set_and_get(NUMBERED, values | {"key": "x"}) == [(2, "b")]
        assert database.set_and_get(NUMBERED, values | {"key": "x"}) == []  # the key is taken
        assert database.set_and_get(NUMBERED, values | {"key": "y"}) == [(3, "b")]
        assert database.set_and_get(NUMBERED, values | {"key": "z"}) == []  # the condition does not hold
        assert tickets(database) == {"x": 2, "y": 3}
        assert state(database)[0] == {"a": 1, "b": 3}

    def test_of_many_none_gets_a_number_twice(self, database: Database) -> None:
        """Eight threads take sixty numbers, and not one more, whichever of them comes first."""

        def take(thread: int) -> list[int]:
            taken = []
            for turn in range(20):
                key = f"{thread}-{turn}"
                taken += database.set_and_get(NUMBERED, {"of": "a", "end": 61, "key": key})
            return [number for number, _ in taken]

        with ThreadPoolExecutor(8) as pool:
            given = [number for each in pool.map(take, range(8)) for number in each]
        assert sorted(given) == list(range(2, 62)) == sorted(tickets(database).values())

    def test_what_is_set_beside_goes_with_it(self, database: Database) -> None:
        """Another row is changed in the same write."""
        assert database.compare_and_set(ADD, asked(7))
        values = {"noted": "k", "seen_text": "by 7", "to_text": "done", "of": "b"}
        assert database.compare_and_set(BESIDE, values)
        assert state(database) == ({"a": 1, "b": 0}, {"k": "done"})
        assert not database.compare_and_set(BESIDE, values | {"of": "a"})  # it was done: nor is this
        assert state(database) == ({"a": 1, "b": 0}, {"k": "done"})
        gone = {"noted": "k", "seen_text": "done", "to_text": "late", "of": "c"}
        assert database.compare_and_set(BESIDE, gone)  # the other one is not there any more
        assert state(database) == ({"a": 1, "b": 0}, {"k": "late"})

    def test_what_is_set_beside_waits_for_a_write(self, database: Database) -> None:
        """Somebody has the other row in hand while several want the same: one of them sets both."""
        assert database.compare_and_set(ADD, asked(7))
        values = {"noted": "k", "seen_text": "by 7", "to_text": "done", "of": "a"}
        with ThreadPoolExecutor(4) as pool:
            with database.write() as tx:
                row = tx.session.exec(select(Counted).where(Counted.name == "a").with_for_update()).one()
                done = [pool.submit(database.compare_and_set, BESIDE, values) for _ in range(4)]
                wait(done, 0.2)
                row.version = 5
                tx.session.add(row)
                tx.commit()
            assert sorted(each.result(20) for each in done) == [False, False, False, True]
        assert state(database) == ({"a": 0, "b": 1}, {"k": "done"})

    def test_it_does_not_overtake_a_write(self, database: Database) -> None:
        """A write that has the row in hand is waited for; what it left is what counts."""
        begun, go = threading.Event(), threading.Event()
        done: list[bool] = []

        def write() -> None:
            with database.write() as tx:
                row = tx.session.exec(select(Counted).where(Counted.name == "a").with_for_update()).one()
                begun.set()
                go.wait(20)
                row.version = 5
                tx.session.add(row)
                tx.commit()

        def late() -> None:
            done.append(database.compare_and_set(BOTH, asked(1)))

        running = [threading.Thread(target=write), threading.Thread(target=late)]
        running[0].start()
        begun.wait(20)
        running[1].start()
        running[1].join(0.1)
        assert not done
        go.set()
        for each in running:
            each.join(20)
        assert done == [False]
        assert state(database) == ({"a": 5, "b": 1}, {})

    def test_who_comes_too_late_decides_again(self, database: Database) -> None:
        """Eight threads count to eighty together: no number is lost, and nobody is overtaken for ever."""

        def count(asked_of: Database | Transaction) -> bool | None:
            ((version,),) = asked_of.look(VERSION, {"of": "a"})
            return asked_of.compare_and_set(CHANGE, asked(version)) or None

        def work() -> None:
            for _ in range(10):
                assert database.settle(hold, count)

        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(work) for _ in range(8)]:
                each.result(60)
        assert state(database)[0]["a"] == 81

    def test_an_attempt_sees_that_a_key_is_taken(self, database: Database) -> None:
        """It is told, and may decide by that."""
        assert database.compare_and_set(ADD, asked(7))
        decided = database.settle(hold, lambda it: "new" if it.compare_and_set(BOTH, asked(1)) else "known")
        assert decided == "known"
        assert state(database) == ({"a": 1, "b": 1}, {"k": "by 7"})

    def test_who_cannot_be_in_time_is_told(self, database: Database) -> None:
        """An attempt that fails with the row in hand is a Conflict, and nothing of it is written."""

        def attempt(asked_of: Database | Transaction) -> None:
            if asked_of is not database:
                assert asked_of.compare_and_set(ADD, asked(1))

        with pytest.raises(Conflict):
            database.settle(hold, attempt)
        assert state(database) == ({"a": 1, "b": 1}, {})


def hold(session: Session) -> None:
    """Keeps the row from everybody else."""
    session.exec(select(Counted).where(Counted.name == "a").with_for_update()).one()


def overtaken(database: Database) -> tuple[list[str], list[bool]]:
    """What a settled attempt was given each time, and whether somebody came before it meanwhile."""
    others: list[Future[bool]] = []
    attempts: list[str] = []

    def attempt(asked_of: Database | Transaction) -> str | None:
        attempts.append(type(asked_of).__name__)
        ((version,),) = asked_of.look(VERSION, {"of": "a"})
        others.append(pool.submit(database.compare_and_set, CHANGE, asked(version)))
        wait(others, 20 if asked_of is database else 0.1)
        return "done" if asked_of.compare_and_set(BOTH, asked(version)) else None

    with ThreadPoolExecutor(1) as pool:
        assert database.settle(hold, attempt) == "done"
    return attempts, [each.result(20) for each in others]


class TestSqlite(CompareAndSetSuite):
    """A SQLite file."""

    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """The database under test."""
        return sqlite_database

    def test_nobody_overtakes_an_attempt(self, database: Database) -> None:
        """It is made in a write: whoever comes between its look and its change must wait."""
        assert overtaken(database) == (["Transaction"], [False])
        assert state(database) == ({"a": 2, "b": 1}, {"k": "by 1"})

    def test_an_attempt_that_fails_late_leaves_nothing(self, database: Database) -> None:
        """What it wrote before is undone, and who comes next finds all as it was."""

        def attempt(asked_of: Database | Transaction) -> None:
            assert asked_of.compare_and_set(BOTH, asked(1))
            raise ValueError("too late")

        with pytest.raises(ValueError, match="too late"):
            database.settle(hold, attempt)
        assert database.compare_and_set(CHANGE, asked(1))
        assert state(database) == ({"a": 2, "b": 1}, {})


class TestPostgresql(CompareAndSetSuite):
    """A PostgreSQL server."""

    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """The database under test."""
        return postgresql_database

    def test_who_was_overtaken_three_times_holds_the_row(self, database: Database) -> None:
        """Others change it before each attempt; before the last they must wait, so that one is in time."""
        assert overtaken(database) == (["Database"] * 3 + ["Transaction"], [True, True, True, False])
        assert state(database) == ({"a": 5, "b": 1}, {"k": "by 4"})

    def test_a_statement_that_is_new_after_a_rollback_has_a_name_of_its_own(self, database: Database) -> None:
        """psycopg has the server forget all after a rollback; what is prepared anew meets no old name."""
        ways = [CHANGE, ADD, BOTH]
        for number in range(6):
            for connections in (database._writes._connections, database._writes._pipeline._connections):
                connections.run(lambda cursor: cursor.execute("DEALLOCATE ALL"))
            versions, _ = state(database)
            for what in (ways[number % 3], ways[(number + 1) % 3]):
                database.compare_and_set(what, asked(versions["a"], f"{number}-{id(what)}"))
            assert database.compare_and_set(CHANGE, asked(state(database)[0]["a"]))

    def test_it_outlives_its_connections(self, database: Database) -> None:
        """When the server ended every connection, one is UNAVAILABLE at most, and the next is done."""
        assert database.compare_and_set(CHANGE, asked(1))
        with elsewhere(database) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = user AND "
                          "datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        with pytest.raises(Unavailable):
            database.compare_and_set(CHANGE, asked(2))
        assert database.compare_and_set(CHANGE, asked(2))
        assert state(database)[0]["a"] == 3


@contextmanager
def elsewhere(database: Database) -> Iterator["Connection[Any]"]:
    """A connection of its own, which is in no pool."""
    engine = create_engine(database.engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection.connection.driver_connection  # type: ignore[misc]
