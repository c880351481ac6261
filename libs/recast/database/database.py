"""Reads and writes of one database."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from recast.database import postgresql, sqlite
from recast.database.engines import open_engine
from recast.database.sqlite.reserve import Reserve
from recast.database.transaction import FAILED, Transaction
from recast.faults import Conflict, StorageFull, Unavailable


class Database:
    """One database; `url` is SQLAlchemy's.

    DatabaseUnusable when the URL cannot be read or names an unsupported engine. `reserve_bytes` is the size
    of the reserve for a full storage, beside a file of SQLite; 0 for none.
    """

    def __init__(self, url: str, reserve_bytes: int = 0) -> None:
        self.engine = open_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        event.listen(self.engine, "handle_error", _mark_failed)
        # PostgreSQL's default gives each statement a snapshot of its own.
        snapshots = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self.engine.execution_options(**snapshots)
        self._writes = self.engine.execution_options(is_write=True)
        self._queue = sqlite.WriteQueue() if self.is_sqlite else None
        file = self.engine.url.database
        self._reserve = (
            Reserve(Path(file), reserve_bytes) if self.is_sqlite and file and reserve_bytes else None
        )
        if self._reserve:
            self._reserve.prepare(takes_space=False)  # even to open the file may take space

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; its writes are rolled back.

        Unavailable when the database does not answer.
        """
        with _unavailable(), Session(self._snapshots, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self, *, takes_space: bool = False) -> Iterator[Transaction]:
        """A transaction that rolls back unless it is committed; never held across a call to a peer.

        `takes_space`: it begins what takes space, and gets StorageFull when the storage has none; any other
        write may use the reserve.
        Conflict when another write inserted a row with the same key meanwhile: a second attempt finds it.
        Unavailable when the database does not answer.
        """
        queue = self._queue.turn() if self._queue else nullcontext()
        with _unavailable(), queue:
            if self._reserve:
                self._reserve.prepare(takes_space)
            with self._full_storage(takes_space), self._writes.connect() as connection:
                transaction = Transaction(connection)
                try:
                    yield transaction
                except IntegrityError as problem:
                    if not postgresql.is_unique_violation(problem):  # SQLite has no concurrent writes
                        raise
                    raise Conflict(resource="the resource") from problem
                finally:
                    transaction.close()
        if transaction.is_committed:
            for action in transaction.actions:
                action()

    @contextmanager
    def _full_storage(self, takes_space: bool) -> Iterator[None]:
        """Frees the reserve when the storage filled up during a write: a second attempt has room."""
        try:
            yield
        except OperationalError as problem:
            if not (sqlite.is_full(problem) or postgresql.is_full(problem)):
                raise
            if self._reserve:
                self._reserve.free()
            if takes_space:
                raise self._reserve.full() if self._reserve else StorageFull(free_bytes=0) from problem
            raise

    def truncate_log(self) -> bool:
        """Removes deleted bytes from SQLite's write-ahead log; False when it is in use: to be repeated.

        PostgreSQL's log is its operator's.
        """
        if self._queue is None:
            return True
        with _unavailable(), self._queue.turn():
            return sqlite.truncate_log(self.engine)

    def close(self) -> None:
        """Closes every idle connection; the next use opens new ones."""
        self.engine.dispose()

    def now_sql(self) -> str:
        """An SQL expression for the database's own clock, in seconds since 1970, with a fraction."""
        return sqlite.CLOCK if self.is_sqlite else postgresql.CLOCK


@contextmanager
def _unavailable() -> Iterator[None]:
    """A database that is unreachable, locked, full or out of connections is UNAVAILABLE: callers may retry.

    An uncommitted write had no effect. Callers get only the first line: drivers add hints.
    """
    try:
        yield
    except (OperationalError, InterfaceError, PoolExhausted) as problem:
        lines = str(problem.orig if isinstance(problem, OperationalError | InterfaceError) else problem)
        raise Unavailable(problem=f"the database did not answer: {lines.partition(chr(10))[0]}") from problem


def _mark_failed(context: Any) -> None:
    if context.connection is not None:
        context.connection.info[FAILED] = True
