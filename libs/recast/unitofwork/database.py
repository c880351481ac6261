"""A service's database: SQLite in one file, or PostgreSQL.

A read is a snapshot, a look a single statement. A write rolls back unless it is committed in so many words.
On SQLite it begins with the write lock in hand (`BEGIN IMMEDIATE`), and one thread of the process writes at a
time: several would busy-poll each other, with waits of half a second; those that wait for one another share a
commit. On PostgreSQL writes run side by side: a row that a decision rests on is read `FOR UPDATE`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from recast.faultpoints import reach
from recast.faults import Conflict
from recast.unitofwork.away import unanswered
from recast.unitofwork.compare_and_set import CompareAndSet
from recast.unitofwork.connections import Connections
from recast.unitofwork.engines import (
    open_engine,
    open_impatient_engine,
    open_looks_engine,
    open_writes_engine,
)
from recast.unitofwork.group_commit import GroupCommit
from recast.unitofwork.look import Look, Row
from recast.unitofwork.own_commit import OwnCommit
from recast.unitofwork.transaction import Transaction

Decided = TypeVar("Decided")

_TRIES = 3
_UNIQUE_VIOLATION = "23505"  # PostgreSQL's


class Database:
    """Reads and writes against one database; `url` as SQLAlchemy has it.

    DatabaseUnusable when the URL is none, or names no engine that is known here.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.dialect = self.engine.dialect
        self.is_sqlite = self.dialect.name == "sqlite"
        driver: Any = self.dialect.loaded_dbapi
        self._answering = _Answering(
            *(OperationalError, InterfaceError, PoolExhausted),
            *(driver.OperationalError, driver.InterfaceError),  # as they come where no session is
        )
        # PostgreSQL's default gives each statement a snapshot of its own.
        snapshots = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self.engine.execution_options(**snapshots)
        writing = open_writes_engine(self.engine)
        self._groups = GroupCommit(writing) if self.is_sqlite else None
        self._writes = self._groups or OwnCommit(writing, open_impatient_engine(self.engine))
        looking = open_looks_engine(self.engine)
        self._looks_dialect = looking.dialect
        self._looks = Connections(looking)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; what is written in it is rolled back.

        Unavailable when the database is away.
        """
        with self._answering, Session(self._snapshots, expire_on_commit=False) as session:
            yield session

    def look(self, look: Look, values: Mapping[str, object]) -> list[Row]:
        """The rows of one statement, which is a snapshot by itself: no transaction begins and ends around it.

        Unavailable when the database is away.
        """
        with self._answering:
            return self._looks.run(lambda cursor: look.rows(cursor, self._looks_dialect, values))

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that rolls back unless it is committed.

        Never held across a call to another service. Conflict where somebody else wrote a row with the same
        key meanwhile: asked again, the row is found. Unavailable when the database is away.
        """
        with self._answering, self._writes.transaction() as transaction:
            try:
                yield transaction
            except IntegrityError as problem:
                if not _is_taken(problem):  # on SQLite nobody wrote since this write looked
                    raise
                raise Conflict(resource="what was asked for") from problem
        if transaction.committed:
            for action in transaction.then:
                action()

    def compare_and_set(self, asked: CompareAndSet, values: Mapping[str, object]) -> bool:
        """Whether it was done: not, where a row is not as it was seen, or a new one is there already.

        Unavailable when the database is away; it may have been done.
        """
        return bool(self.set_and_get(asked, values))

    def set_and_get(self, asked: CompareAndSet, values: Mapping[str, object]) -> list[Row]:
        """The same; what is given of the row, or no row."""

        def write() -> list[Row]:
            try:
                return self._writes.compare_and_set(asked, values)
            except IntegrityError as problem:
                if not _is_taken(problem):
                    raise
                return []

        return self._by_itself(write)

    def settle(
        self, hold: Callable[[Session], object], attempt: "Callable[[Database | Transaction], Decided | None]"
    ) -> Decided:
        """What an attempt gives, which looks, decides, and compares and sets, all by what it is given.

        On PostgreSQL it is made again while it gives None, as others were faster. After three it is made
        once more in a write, in which `hold` keeps what it rests on from everybody else. On SQLite nobody
        is faster than a write; whichever thread has one under way makes the attempt. Whatever else an
        attempt does may be lost.
        """

        def in_time(tx: Transaction) -> Decided:
            decided = attempt(tx)
            if decided is None:
                raise Conflict(resource="what was asked for")
            return decided

        if (groups := self._groups) is not None:
            return self._by_itself(lambda: groups.done(in_time))
        for _ in range(_TRIES):
            decided = attempt(self)
            if decided is not None:
                return decided
        with self.write() as tx:
            hold(tx.session)
            decided = in_time(tx)
            tx.commit()
            return decided

    def _by_itself(self, write: Callable[[], Decided]) -> Decided:
        """What a write of one step gives."""
        with self._answering:
            reach("commit")
            given = write()
            reach("committed")
            return given

    def close(self) -> None:
        """Gives up every connection that nobody uses at the moment; the next use opens new ones."""
        self.engine.dispose()
        self._writes.close()
        self._looks.close()

    def now_sql(self) -> str:
        """An SQL expression for the database's own clock, in seconds since 1970, with a fraction."""
        if self.is_sqlite:
            return "((julianday('now') - 2440587.5) * 86400.0)"
        return "extract(epoch from clock_timestamp())"

    def is_reachable(self) -> bool:
        """Whether a trivial query is answered."""
        with self.read() as session:
            return session.connection().execute(text("SELECT 1")).scalar() == 1


def _is_taken(problem: IntegrityError) -> bool:
    """Whether it is of a new row whose key another has, on PostgreSQL."""
    return getattr(problem.orig, "sqlstate", None) == _UNIQUE_VIOLATION


class _Answering:
    """A database that is away, locked, full or out of connections for now is UNAVAILABLE.

    Its callers may come back, work is tried again. What was not committed has not happened.
    """

    def __init__(self, *away: type[Exception]) -> None:
        self._away = away

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, _kind: object, problem: BaseException | None, _traceback: object) -> None:
        """Raises Unavailable."""
        if isinstance(problem, self._away):
            raise unanswered(problem) from problem
