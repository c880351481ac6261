"""A service's database: SQLite in one file, or PostgreSQL.

A read is a snapshot, a look a single statement. A write rolls back unless it is committed in so many words.
On SQLite it begins with the write lock in hand (`BEGIN IMMEDIATE`), and one thread of the process writes at a
time: several would busy-poll each other, with waits of half a second. On PostgreSQL writes run side by side:
a row that a decision rests on is read `FOR UPDATE`.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from recast.faultpoints import reach
from recast.faults import Conflict, Unavailable
from recast.unitofwork.engines import open_engine, open_looks_engine
from recast.unitofwork.look import Change, Look
from recast.unitofwork.look_connections import LookConnections

Result = TypeVar("Result")
_WRITE_WAIT_SECONDS = 15.0
_CURSOR = "recast_cursor"
_AWAY = (OperationalError, InterfaceError, PoolExhausted)
_UNIQUE_VIOLATION = "23505"  # PostgreSQL's; on SQLite nobody writes between a look and a write


class Transaction:
    """A write under way; nothing has happened until `commit` returns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: Session | None = None
        self._after: list[Callable[[], None]] = []
        self.committed = False

    @property
    def session(self) -> Session:
        """SQLModel's; made when it is asked for, as not every write needs one."""
        if self._session is None:
            self._session = Session(self._connection, expire_on_commit=False)
        return self._session

    def close(self) -> None:
        """Lets go of the session's rows."""
        if self._session is not None:
            self._session.close()

    def look(self, look: Look, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The rows of one statement, as this transaction sees them."""
        return self._run(look.rows, values)

    def change(self, change: Change, values: Mapping[str, object]) -> int:
        """Writes by one statement, past the session; gives how many rows."""
        return self._run(change.run, values)

    def _cursor(self) -> Any:
        """The connection's own for kept statements, as long as it lives."""
        if _CURSOR not in self._connection.info:
            self._connection.info[_CURSOR] = self._connection.connection.cursor()
        return self._connection.info[_CURSOR]

    def _run(self, run: Callable[..., Result], values: Mapping[str, object]) -> Result:
        dialect: Any = self._connection.dialect
        try:
            return run(self._cursor(), dialect, values)
        except dialect.loaded_dbapi.Error as problem:
            known = self._connection.connection.dbapi_connection
            if dialect.is_disconnect(problem, known, None):
                self._connection.invalidate()
            raise DBAPIError.instance(None, None, problem, dialect.loaded_dbapi.Error) from problem

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the commit is durable; for hints such as waking a worker, never for anything
        that must happen.
        """
        self._after.append(action)

    def commit(self) -> None:
        """Makes everything written durable."""
        reach("commit")
        if self._session is not None:
            self._session.commit()  # it writes what it has; the transaction is not its own
        self._connection.commit()
        reach("committed")
        self.committed = True


class Database:
    """Reads and writes against one database; `url` as SQLAlchemy has it.

    DatabaseUnusable when the URL is none, or names no engine that is known here.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self.dialect = self.engine.dialect
        self.is_sqlite = self.dialect.name == "sqlite"
        driver: Any = self.dialect.loaded_dbapi
        self._driver_away: type[Exception] = driver.OperationalError
        self._writer = threading.Lock() if self.is_sqlite else nullcontext()
        # PostgreSQL's default gives each statement a snapshot of its own.
        snapshots = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self.engine.execution_options(**snapshots)
        self._writes = self.engine.execution_options(recast_write=True)
        self._looks = LookConnections(open_looks_engine(self.engine))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; what is written in it is rolled back.

        Unavailable when the database is away.
        """
        with _answering(), Session(self._snapshots, expire_on_commit=False) as session:
            yield session

    def look(self, look: Look, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a snapshot by itself: no transaction begins and ends around it.

        Unavailable when the database is away.
        """
        try:
            return self._looks.rows(look, values)
        except (*_AWAY, self._driver_away) as problem:
            raise _unavailable(problem) from problem

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that rolls back unless it is committed.

        Never held across a call to another service. Conflict where somebody else wrote a row with the same
        key meanwhile: asked again, the row is found. Unavailable when the database is away.
        """
        with self._one_writer(), _answering(), self._writes.connect() as connection:
            connection.begin()
            transaction = Transaction(connection)
            try:
                yield transaction
            except IntegrityError as problem:
                if getattr(problem.orig, "sqlstate", "") != _UNIQUE_VIOLATION:
                    raise
                raise Conflict(resource="what was asked for") from problem
            finally:
                transaction.close()
        if transaction.committed:
            for action in transaction._after:
                action()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if isinstance(self._writer, nullcontext):
            yield
            return
        # The timeout turns a stuck writer into a clear answer instead of a server without threads.
        if not self._writer.acquire(timeout=_WRITE_WAIT_SECONDS):
            raise Unavailable(problem="the database is busy")
        try:
            yield
        finally:
            self._writer.release()

    def close(self) -> None:
        """Gives up every connection that nobody uses at the moment; the next use opens new ones."""
        self.engine.dispose()
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


@contextmanager
def _answering() -> Iterator[None]:
    """A database that is away, locked, full or out of connections for now is UNAVAILABLE.

    Its callers may come back, work is tried again. What was not committed has not happened.
    """
    try:
        yield
    except _AWAY as problem:
        raise _unavailable(problem) from problem


def _unavailable(problem: BaseException) -> Unavailable:
    told = str(problem).partition("\n")[0]
    return Unavailable(problem=f"the database did not answer: {told}")
