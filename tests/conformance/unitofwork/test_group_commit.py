"""Writes to SQLite that wait for one another share a commit, and nothing else."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, SQLModel, select

from recast.faults import Unavailable
from recast.unitofwork import CompareAndSet, Database, Transaction, group_commit
from recast.unitofwork.baton import Baton, Turn
from tests.conformance.unitofwork.turns import until, waiting  # found by the line above


class Mark(SQLModel, table=True):
    """A row that says who was here."""

    __tablename__ = "group_mark"

    name: str = Field(primary_key=True)


MARK = CompareAndSet(added=Mark.__table__)


class Refused(Exception):
    """What a write decides."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with the table."""
    made = Database(f"sqlite:///{tmp_path / 'group.db'}")
    with made.write() as tx:
        SQLModel.metadata.create_all(tx.session.connection(), tables=[Mark.__table__])
        tx.commit()
    yield made
    made.close()


@pytest.fixture
def commits(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every COMMIT of this database from now on. A group may last as long as it likes."""
    seen: list[str] = []
    run = database._writes._run

    def note(group: Any, statement: str) -> None:
        if statement == "COMMIT":
            seen.append(statement)
        run(group, statement)

    monkeypatch.setattr(database._writes, "_run", note)
    monkeypatch.setattr(group_commit, "_GROUP_SECONDS", 60.0)
    return seen


def marks(database: Database) -> set[str]:
    """Who was here, as everybody else sees it."""
    with database.read() as session:
        return set(session.exec(select(Mark.name)))


def mark(database: Database, name: str, then: Callable[[Transaction], None] | None = None) -> None:
    """Writes a row, and commits it if `then` lets it."""
    with database.write() as tx:
        tx.session.add(Mark(name=name))
        tx.session.flush()
        if then:
            then(tx)
        tx.commit()


class Queue:
    """Writes that come one after the other while the first is held."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool = ThreadPoolExecutor(16)
        self._held = threading.Event()
        self.go = threading.Event()
        self.first = self._pool.submit(mark, database, "first", self._hold)
        self._held.wait(20)

    def _hold(self, _tx: Transaction) -> None:
        self._held.set()
        self.go.wait(20)

    def add(self, name: str, then: Callable[[Transaction], None] | None = None) -> "Future[None]":
        """One more, which waits for those before it."""
        return self._waiting(lambda: mark(self._database, name, then))

    def set(self, name: str | None) -> "Future[bool]":
        """The same, as a compare-and-set."""
        return self._waiting(lambda: self._database.compare_and_set(MARK, {"name": name}))

    def _waiting(self, what: Callable[[], Any]) -> "Future[Any]":
        before = waiting(self._database._writes._baton)
        added = self._pool.submit(what)
        until(lambda: waiting(self._database._writes._baton) == before + 1)
        return added

    def close(self) -> None:
        """Lets all of them go."""
        self.go.set()
        self._pool.shutdown()


@contextmanager
def queue_of(database: Database) -> Iterator[Queue]:
    """A queue whose first write holds all others up."""
    queue = Queue(database)
    try:
        yield queue
    finally:
        queue.close()


def refuse(_tx: Transaction) -> None:
    """Decides against it."""
    raise Refused


def test_writes_that_wait_share_a_commit(database: Database, commits: list[str]) -> None:
    """Nine writes, one commit; each by itself, nine."""
    with queue_of(database) as queue:
        added = [queue.add(str(number)) for number in range(8)]
        queue.go.set()
        for each in [queue.first, *added]:
            each.result(20)
    assert commits == ["COMMIT"]
    assert marks(database) == {"first", *map(str, range(8))}
    for number in range(8, 17):
        mark(database, str(number))
    assert len(commits) == 10


def test_a_write_is_undone_alone(database: Database, commits: list[str]) -> None:
    """One that is refused and one that breaks a rule of the table leave those around them as they are."""

    def again(tx: Transaction) -> None:
        tx.session.add(Mark(name="first"))
        tx.session.flush()

    with queue_of(database) as queue:
        refused = queue.add("a", refuse)
        kept = queue.add("b")
        broken = queue.add("c", again)
        last = queue.add("d", refuse)
        queue.go.set()
        queue.first.result(20)
        kept.result(20)
        for each in (refused, last):
            with pytest.raises(Refused):
                each.result(20)
        with pytest.raises(IntegrityError):
            broken.result(20)
    assert commits == ["COMMIT"]
    assert marks(database) == {"first", "b"}


def test_what_waits_is_done_by_who_is_before_it(database: Database, commits: list[str]) -> None:
    """Compare-and-sets among writes, in their order: each is told its own result, and all share a commit."""
    with queue_of(database) as queue:
        before = [queue.set("a"), queue.set("first"), queue.set("b")]
        broken = queue.set(None)
        among = queue.add("c")
        after = [queue.set("c"), queue.set("d")]
        queue.go.set()
        queue.first.result(20)
        among.result(20)
        assert [each.result(20) for each in before] == [True, False, True]
        assert [each.result(20) for each in after] == [False, True]
        with pytest.raises(IntegrityError, match="NOT NULL"):
            broken.result(20)
    assert commits == ["COMMIT"]
    assert marks(database) == {"first", "a", "b", "c", "d"}


def test_an_act_is_its_owners(database: Database, commits: list[str]) -> None:
    """Another thread does it, in the context of who wants it; if it raises, he is told, and it is undone."""
    owner: ContextVar[str] = ContextVar("owner", default="nobody")
    done_by: list[str] = []

    def act(tx: Transaction) -> str:
        done_by.append(threading.current_thread().name)
        assert tx.compare_and_set(MARK, {"name": owner.get()})
        if owner.get() == "b":
            raise Refused
        return owner.get()

    def as_owner(name: str) -> "Future[str]":
        context = copy_context()
        context.run(owner.set, name)
        return queue._waiting(lambda: context.run(database._writes.done, act))

    with queue_of(database) as queue:
        first, broken, last = map(as_owner, "abc")
        queue.go.set()
        assert first.result(20) == "a"
        assert last.result(20) == "c"
        with pytest.raises(Refused):
            broken.result(20)
    assert len(set(done_by)) == 1
    assert commits == ["COMMIT"]
    assert marks(database) == {"first", "a", "c"}


def test_who_is_stopped_in_an_act_leaves_no_half_of_it(database: Database) -> None:
    """Ctrl-C in the middle: nothing of it has happened, and the next write goes through."""

    def stop(tx: Transaction) -> None:
        assert tx.compare_and_set(MARK, {"name": "half"})
        raise KeyboardInterrupt

    baton = database._writes._baton
    assert baton.take(Turn(), 1)
    with ThreadPoolExecutor(2) as pool:
        stopped = pool.submit(database._writes.done, stop)
        until(lambda: waiting(baton) == 1)
        other = pool.submit(database.compare_and_set, MARK, {"name": "other"})
        until(lambda: waiting(baton) == 2)
        baton.put_down()
        with pytest.raises(KeyboardInterrupt):
            stopped.result(20)
        assert other.result(20) is True
    assert marks(database) == {"other"}


def test_whoever_comes_while_nobody_writes_waits_for_nobody(database: Database, commits: list[str]) -> None:
    """One by one, each has a commit of its own."""
    for number in range(5):
        assert database.compare_and_set(MARK, {"name": str(number)})
        assert not database.compare_and_set(MARK, {"name": str(number)})
    assert len(commits) == 10


def test_nobody_returns_before_the_commit(database: Database, commits: list[str]) -> None:
    """Neither who wrote nor who decided by it; until then nobody else sees anything."""
    reached, go = threading.Event(), threading.Event()

    def hold(_tx: Transaction) -> None:
        reached.set()
        go.wait(20)

    with queue_of(database) as queue:
        refused = queue.add("a", refuse)
        last = queue.add("b", hold)
        queue.go.set()
        reached.wait(20)
        time.sleep(0.05)
        assert not queue.first.done()
        assert not refused.done()
        assert marks(database) == set()
        go.set()
        queue.first.result(20)
        last.result(20)
        with pytest.raises(Refused):
            refused.result(20)
    assert marks(database) == {"first", "b"}


def test_a_commit_that_fails_fails_for_all(database: Database, commits: list[str]) -> None:
    """None of the group is told that it was written, and none was; the next write goes through."""

    def forbid(tx: Transaction) -> None:
        driver = tx.session.connection().connection.driver_connection
        driver.set_authorizer(
            lambda action, what, *_: (
                sqlite3.SQLITE_DENY
                if (action, what) == (sqlite3.SQLITE_TRANSACTION, "COMMIT")
                else sqlite3.SQLITE_OK
            )
        )

    with queue_of(database) as queue:
        added = [queue.add("a", forbid), queue.add("b", refuse), queue.set("s"), queue.add("c")]
        queue.go.set()
        for each in [queue.first, *added]:
            with pytest.raises(Unavailable, match=r"did not commit: .*not authorized"):
                each.result(20)
    assert marks(database) == set()
    mark(database, "next")
    assert marks(database) == {"next"}


def test_a_transaction_that_sqlite_undoes_is_nobodys(database: Database, commits: list[str]) -> None:
    """What SQLite undoes by itself, as where its disk is full, was written by nobody."""

    def undo(tx: Transaction) -> None:
        tx.session.connection().connection.driver_connection.execute("ROLLBACK")

    with queue_of(database) as queue:
        added = [queue.add("a", undo), queue.add("b")]
        queue.go.set()
        for each in [queue.first, added[0]]:
            with pytest.raises(Unavailable):
                each.result(20)
        added[1].result(20)
    assert marks(database) == {"b"}


def test_a_session_that_cannot_be_closed_stops_nobody(database: Database) -> None:
    """Its savepoint went with the transaction that SQLite undid: the next write goes through."""

    def undo(tx: Transaction) -> None:
        tx.session.begin_nested()
        tx.session.connection().connection.driver_connection.execute("ROLLBACK")
        raise Refused

    with pytest.raises(Unavailable, match="undid what was written"):
        mark(database, "a", undo)
    mark(database, "next")
    assert marks(database) == {"next"}


def test_a_group_does_not_last(database: Database, commits: list[str], monkeypatch: Any) -> None:
    """The first of it has waited long enough, whoever still comes."""
    monkeypatch.setattr(group_commit, "_GROUP_SECONDS", 0.0)
    with queue_of(database) as queue:
        added = [queue.add("a"), queue.add("b")]
        queue.go.set()
        for each in [queue.first, *added]:
            each.result(20)
    assert len(commits) == 3


def test_what_was_told_is_what_is_there(database: Database) -> None:
    """Eight threads write, refuse and collide as it comes: each was told the truth."""
    told: list[set[str]] = [set() for _ in range(8)]

    def work(thread: int) -> None:
        chance = Random(thread)
        for number in range(60):
            name = f"{thread}-{number}" if chance.random() < 0.7 else f"shared-{chance.randrange(20)}"
            with suppress(Refused, IntegrityError):
                if chance.random() < 0.5:
                    mark(database, name, refuse if chance.random() < 0.2 else None)
                elif not database.compare_and_set(MARK, {"name": name}):
                    continue
                told[thread].add(name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sum(map(len, told)) == len(set.union(*told))
    assert marks(database) == set.union(*told)


def test_who_gives_up_waiting_is_not_handed_the_baton() -> None:
    """Whoever hands on must know whether somebody takes it."""
    baton = Baton()
    assert baton.take(Turn(), 1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(baton.take, Turn(), 0.01).result(20) is False
        assert baton.following() is None
        baton.put_down()
        assert pool.submit(baton.take, Turn(), 0.01).result(20) is True


def test_a_stuck_writer_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long gets an answer, and the writer goes on."""
    monkeypatch.setattr(group_commit, "WAIT_SECONDS", 0.05)
    with queue_of(database) as queue:
        with pytest.raises(Unavailable, match="busy"):
            mark(database, "late")
        queue.go.set()
        queue.first.result(20)
    assert marks(database) == {"first"}


def test_what_waited_too_long_is_not_done(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was told that the database is busy may rely on it."""
    monkeypatch.setattr(group_commit, "WAIT_SECONDS", 0.05)
    with queue_of(database) as queue:
        with pytest.raises(Unavailable, match="busy"):
            queue.set("late").result(20)
        queue.go.set()
        queue.first.result(20)
    assert marks(database) == {"first"}


def test_what_is_not_known_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was done for somebody, and its commit does not end: it may be there or not, and in the end it is."""
    reached, go = threading.Event(), threading.Event()
    run = database._writes._run

    def stuck(group: Any, statement: str) -> None:
        if statement == "COMMIT":
            reached.set()
            go.wait(20)
        run(group, statement)

    with queue_of(database) as queue:
        added = queue.set("a")
        monkeypatch.setattr(group_commit, "WAIT_SECONDS", 1.0)  # long enough to have it done
        late = queue._pool.submit(database.compare_and_set, MARK, {"name": "b"})
        until(lambda: waiting(database._writes._baton) == 2)
        monkeypatch.setattr(database._writes, "_run", stuck)
        queue.go.set()
        assert reached.wait(20)
        with pytest.raises(Unavailable, match="not known"):
            late.result(20)
        go.set()
        assert added.result(20) is True
    assert marks(database) == {"first", "a", "b"}
